"""The frozen NLI model: entailment scores of (text, hypothesis) pairs, and token embeddings of texts.

Shapes: n texts, L hypotheses, B batch, T tokens, D hidden size.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from gliznet.batching import consecutive_batches, device_token_budget, length_limit, token_budget_batches
from gliznet.device import to_device
from gliznet.fast.caching import evaluating
from gliznet.fast.encoders import use_fast_encoders
from gliznet.fast.packed import first_token_only, is_packed
from gliznet.loading import load_model
from hybridnli.data import DEFAULT_TEMPLATE
from hybridnli.pairs import IdsBatch, SpecialTokens, tokenize

__all__ = ["NLIEncoder", "entailment_columns", "nli_scores", "pair_scores", "score_ids"]

PairScore = Callable[[Sequence[Sequence[np.ndarray]]], Tensor]  # (text, hypothesis) token ids of B pairs -> (B,)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
DESCRIPTION_TOKENS = 64  # published length limit of label descriptions, in tokens


class NLIEncoder:
    """An NLI sequence-classification model with its tokenizer and hypothesis template.

    A model loaded from a path is frozen and uses the fast encoder. A loaded model passed by the caller may be in
    training, so its weights, encoder, mode and `requires_grad` are left unchanged (scores are still computed in
    evaluation mode); call `use_fast_encoders(model)` first to speed it up.

    Args:
        path_or_model: folder or hub id with safetensors weights, or a loaded model.
        tokenizer: its tokenizer; None loads it from the same path (required for a loaded model).
        template: hypothesis template with one `{}` for the label description.
        device: device for a model given by path; None keeps the current one.
        dtype: "float32", or autocast to "bfloat16" or "float16" (weights are not converted).

    Raises:
        ValueError: no entailment label, a template without `{}`, an unknown dtype, no tokenizer for a loaded model, or
            a folder that is not a complete and safe checkpoint (see `gliznet.checkpoint_files`).
    """

    def __init__(
        self,
        path_or_model: str | Path | PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase | None = None,
        template: str = DEFAULT_TEMPLATE,
        *,
        device: str | torch.device | None = None,
        dtype: str = "float32",
    ) -> None:
        if isinstance(path_or_model, (str, Path)):
            model = load_model(AutoModelForSequenceClassification, path_or_model).eval().requires_grad_(False)
            use_fast_encoders(model)  # exact
            if device is not None:
                model.to(device)
            tokenizer = tokenizer or AutoTokenizer.from_pretrained(path_or_model, trust_remote_code=False)
        else:
            model = path_or_model
        if tokenizer is None:
            raise ValueError("tokenizer: is None; a model that is already loaded needs its tokenizer")
        if template.format("x") == template:
            raise ValueError(f"template: {template!r} has no {{}}, where the label goes")
        if dtype not in DTYPES:
            raise ValueError(f"dtype: {dtype!r} is not allowed; allowed: {', '.join(DTYPES)}")
        self.model = model
        self.tokenizer, self.template, self.dtype = tokenizer, template, dtype
        self.entailment_index, self.opposite_index = entailment_columns(self.model.config.label2id)
        self.hidden_dim: int = self.model.config.hidden_size
        self.max_length = length_limit(self.model, tokenizer.model_max_length)
        self.name = str(self.model.config.name_or_path)
        self.single, self.pair = SpecialTokens.of(tokenizer, 1), SpecialTokens.of(tokenizer, 2)

    @property
    def device(self) -> torch.device:
        """Current device of the weights, which may have been moved as part of a larger model."""
        return self.model.device

    @property
    def token_budget(self) -> int:
        """Default number of tokens per batch, padding included."""
        return device_token_budget(self.device.type)

    @cached_property
    def identity(self) -> str:
        """SHA-256 (hex) of everything the outputs depend on: weights, config, tokenizer and compute dtype."""
        digest = hashlib.sha256(self.dtype.encode())
        config = self.model.config.to_dict()
        for volatile in ("_name_or_path", "transformers_version", "architectures", "dtype"):
            config.pop(volatile, None)
        digest.update(json.dumps(config, sort_keys=True, default=str).encode())
        backend = self.tokenizer.backend_tokenizer
        backend.no_truncation()  # left over from the latest call
        backend.no_padding()
        digest.update(backend.to_str().encode())
        for name, weight in sorted(self.model.state_dict().items()):
            flat = weight.detach().cpu().contiguous().reshape(-1)
            digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
            digest.update(flat.view(torch.uint8).numpy())
        return digest.hexdigest()

    def hypotheses(self, descriptions: Sequence[str]) -> list[str]:
        """The template filled with each label description."""
        return [self.template.format(description) for description in descriptions]

    def tokenize(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Token ids of each text without special tokens, truncated to the model's limit."""
        return tokenize(self.tokenizer, texts, self.max_length)

    def text_lengths(self, ids: Sequence[np.ndarray], max_length: int) -> list[int]:
        """Number of tokens that `embed_ids` uses per text, after truncation and including special tokens."""
        limit = min(max_length, self.max_length)
        return [min(len(row) + self.single.count, limit) for row in ids]

    @torch.inference_mode()
    def embed_ids(self, ids: Sequence[np.ndarray], max_length: int) -> tuple[Tensor, Tensor]:
        """Last hidden states of texts, including special tokens, truncated to `max_length` and the model's limit.

        Args:
            ids: token ids of each text without special tokens.
            max_length: maximum tokens per text, including special tokens.

        Returns:
            H (B, T, D) float32 and mask (B, T) bool, on the model's device.
        """
        room = min(max_length, self.max_length) - self.single.count
        if room < 0:
            raise ValueError(f"max_length: {max_length} is below the {self.single.count} special tokens of a text")
        batch = self._to_device(self.single.batch([(row[:room],) for row in ids]))
        with evaluating(self.model), self._autocast():
            H = self.model.base_model(**batch).last_hidden_state
        return H.float(), batch["attention_mask"].bool()

    def describe(self, descriptions: Sequence[str], max_length: int = DESCRIPTION_TOKENS) -> Tensor:
        """Label embeddings (L, D): mean of the last hidden states over all tokens, including special tokens."""
        H, mask = self.embed_ids(self.tokenize(descriptions), max_length)
        weights = mask[..., None].float()
        return (H * weights).sum(dim=1) / weights.sum(dim=1)  # (L, T, D) -> (L, D)

    @torch.inference_mode()
    def entailment(self, pairs: Sequence[Sequence[np.ndarray]]) -> Tensor:
        """P(entailment) against its opposite for (text, hypothesis) token ids: (B,) float32 on the model's device."""
        logits = self._logits(pairs)
        return (logits[:, self.entailment_index] - logits[:, self.opposite_index]).sigmoid()

    @torch.inference_mode()
    def entailment_logits(self, pairs: Sequence[Sequence[np.ndarray]]) -> Tensor:
        """Entailment logits of (text, hypothesis) token ids, (B,) float32; ranks labels if exactly one is true."""
        return self._logits(pairs)[:, self.entailment_index]

    def _logits(self, pairs: Sequence[Sequence[np.ndarray]]) -> Tensor:
        """Logits (B, classes) float32 of (text, hypothesis) token ids."""
        batch = self._to_device(self.pair.batch(pairs))
        with evaluating(self.model), self._autocast(), first_token_only(self.model):
            return self.model(**batch).logits.float()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=DTYPES[self.dtype], enabled=self.dtype != "float32")

    def _to_device(self, batch: IdsBatch) -> IdsBatch:
        names = self.tokenizer.model_input_names
        return {name: to_device(tensor, self.device) for name, tensor in batch.items() if name in names}


def score_ids(
    encoder: NLIEncoder,
    text_ids: Sequence[np.ndarray],
    hypothesis_ids: Sequence[np.ndarray],
    max_length: int | None = None,
    token_budget: int | None = None,
    *,
    pairs: np.ndarray | None = None,
    score: PairScore | None = None,
) -> np.ndarray:
    """Scores of token ids without special tokens; see `nli_scores` for other arguments and errors.

    Args:
        pairs: indices of texts and hypotheses, (2, m); None: every text with every hypothesis.
        score: applied to each batch of pairs: `encoder.entailment` (default) or `encoder.entailment_logits`.

    Returns:
        (texts, hypotheses) float32; with `pairs`, (m,).
    """
    shape = (len(text_ids), len(hypothesis_ids))
    rows, columns = np.indices(shape).reshape(2, -1) if pairs is None else pairs
    score = score or encoder.entailment
    token_budget = encoder.token_budget if token_budget is None else token_budget
    max_length = encoder.max_length if max_length is None else min(max_length, encoder.max_length)
    hypothesis_lengths = np.array([len(ids) for ids in hypothesis_ids], dtype=np.int64)
    room = max_length - encoder.pair.count - hypothesis_lengths  # (L,): only texts are truncated
    if len(room) and room.min() < 1:
        raise ValueError(
            f"hypothesis {int(room.argmin())} has {hypothesis_lengths.max()} tokens; max_length={max_length} with "
            f"{encoder.pair.count} special tokens leaves no room for the text"
        )
    lengths = np.minimum(np.array([len(ids) for ids in text_ids], dtype=np.int64)[rows], room[columns])  # (m,)
    whole = lengths + hypothesis_lengths[columns] + encoder.pair.count  # (m,)
    if is_packed(encoder.model):  # padding is free, so keep pairs of a text together: they share projections
        order = np.lexsort((columns, rows, -lengths))
        batches = [order[batch].tolist() for batch in consecutive_batches(whole[order].tolist(), token_budget)]
    else:
        batches = token_budget_batches(whole.tolist(), token_budget)
    results = [  # on the device, so that the next batch is built while this one is computed
        score([(text_ids[rows[i]][: lengths[i]], hypothesis_ids[columns[i]]) for i in batch]) for batch in batches
    ]
    scores = np.empty(len(lengths), dtype=np.float32)
    if batches:
        scores[np.concatenate(batches)] = torch.cat(results).cpu().numpy()
    return scores.reshape(shape) if pairs is None else scores


def nli_scores(
    encoder: NLIEncoder,
    texts: Sequence[str],
    hypotheses: Sequence[str],
    *,
    max_length: int | None = None,
    token_budget: int | None = None,
) -> np.ndarray:
    """P(entailment) of every text (premise) with every hypothesis; each pair is scored independently.

    Equals the transformers zero-shot pipeline with `multi_label=True` (to 1e-5 in float32), but uses length-sorted
    batches and tokenises every text and hypothesis only once.

    Args:
        encoder: the NLI model. Its template is not applied; use `encoder.hypotheses(descriptions)` for that.
        texts: n premises; only they are truncated.
        hypotheses: L complete hypotheses.
        max_length: maximum tokens per pair; capped at the model's limit, which is the default.
        token_budget: tokens per batch, padding included; None: `encoder.token_budget`.

    Returns:
        (n, L) float32 in [0, 1].

    Raises:
        ValueError: a hypothesis leaves no room for the text, or a score is not finite (with its text's index).
    """
    text_ids, hypothesis_ids = encoder.tokenize(texts), encoder.tokenize(hypotheses)
    scores = score_ids(encoder, text_ids, hypothesis_ids, max_length, token_budget)
    _check_finite(list(scores))
    return scores


def pair_scores(
    encoder: NLIEncoder,
    texts: Sequence[str],
    hypothesis_lists: Sequence[Sequence[str]],
    *,
    token_budget: int | None = None,
) -> list[np.ndarray]:
    """`nli_scores` with different hypotheses for each text; all pairs are batched together.

    Args:
        encoder: the NLI model; its `dtype` sets the precision.
        texts: n premises; only they are truncated.
        hypothesis_lists: for each text, a list of complete hypotheses of any length.
        token_budget: as in `nli_scores`.

    Returns:
        One float32 array in [0, 1] per text, with one value per hypothesis.

    Raises:
        ValueError: different numbers of texts and lists, a hypothesis leaves no room for the text, or a score is not
            finite (with its text's index).
    """
    if len(texts) != len(hypothesis_lists):
        raise ValueError(f"hypothesis_lists: {len(hypothesis_lists)} for {len(texts)} texts; give one list per text")
    hypotheses = [hypothesis for group in hypothesis_lists for hypothesis in group]
    index = {hypothesis: i for i, hypothesis in enumerate(dict.fromkeys(hypotheses))}
    counts = [len(group) for group in hypothesis_lists]
    rows, columns = np.repeat(np.arange(len(texts)), counts), [index[hypothesis] for hypothesis in hypotheses]
    pairs = np.array([rows, columns], dtype=np.int64)  # (2, m)
    text_ids, hypothesis_ids = encoder.tokenize(texts), encoder.tokenize(list(index))
    flat = score_ids(encoder, text_ids, hypothesis_ids, token_budget=token_budget, pairs=pairs)
    scores = np.split(flat, np.cumsum(counts)[:-1]) if counts else []
    _check_finite(scores)
    return scores


def _check_finite(scores: Sequence[np.ndarray]) -> None:
    bad = [i for i, row in enumerate(scores) if not np.isfinite(row).all()]
    if bad:
        raise ValueError(f"NLI scores of texts {bad[:10]} (of {len(bad)}) are not finite")


def entailment_columns(label2id: Mapping[str, int]) -> tuple[int, int]:
    """Logit columns (entailment, its opposite) from a model's label map.

    Entailment is the label whose name starts with "entail". The opposite is the only other class or, with more classes,
    the one whose name starts with "contra"; failing that, the last class if entailment is first, else the first class,
    as in the transformers zero-shot pipeline.

    Raises:
        ValueError: no entailment label, or no other class; the message shows the map.
    """
    ids = {str(name).lower(): int(index) for name, index in label2id.items()}
    entail = [index for name, index in ids.items() if name.startswith("entail")]
    others = [index for index in ids.values() if index not in entail]
    if len(entail) != 1 or not others:
        raise ValueError(
            f"label2id {dict(label2id)} must have one label that starts with 'entail' and at least one other; "
            "this is not an NLI model, or its config names its classes LABEL_0, LABEL_1"
        )
    contradiction = [index for name, index in ids.items() if name.startswith("contra")]
    fallback = max(others) if entail[0] == 0 else min(others)
    return entail[0], contradiction[0] if contradiction else fallback
