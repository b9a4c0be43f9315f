"""How many tokens a model takes: one rule for every family."""

from typing import Any

from torch import nn

TABLES = ("position_embeddings", "embed_positions", "wpe")  # what transformers calls learned absolute positions
NO_LIMIT = 10**18  # tokenizers without a limit say about 1e30
LEAST = 512  # where neither tokenizer, weights nor config say anything


def position_limit(model: nn.Module) -> int | None:
    """Tokens for which a model has absolute positions; None where they are relative or rotary.

    Read off the table itself. RoBERTa, MPNet and their kin count from the padding's id on, BART from 2 on: so many
    rows are no position of a token.
    """
    limits = [
        module.num_embeddings - (getattr(module, "offset", 0) if module.padding_idx is None else module.padding_idx + 1)
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding) and name.rpartition(".")[2] in TABLES
    ]
    return min(limits, default=None)


def length_limit(model: nn.Module, *stated: int | None) -> int:
    """Tokens of a sequence: the smallest of what is stated (the tokenizer's limit, say) and the model's positions.

    Args:
        model: a transformers model, or a module that holds one.
        stated: limits; None and numbers like 1e30 are none.

    Returns:
        Where there is no limit at all, the length that the config says it was trained for.
    """
    known = [limit for limit in (*stated, position_limit(model)) if limit is not None and limit < NO_LIMIT]
    if known:
        return min(known)
    config: Any = getattr(model, "config", None)
    return getattr(config, "max_position_embeddings", None) or LEAST
