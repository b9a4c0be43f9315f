"""How many tokens of the text and of each label fit into one sequence. Pure arithmetic on lengths.

A sequence is `[CLS] text [SEP] label_1 [LAB] ... label_K [LAB]`: 2 + text + sum(label + 1) tokens.
"""

from collections.abc import Sequence

from gliznet.options import GliZNetOptions

# Limits of the published policy at inference (the published training uses 16, 1 and 5).
SERVED = {"max_tokens_per_label": 64, "min_label_tokens": 2, "min_text_tokens": 10}


class LabelBudgetError(ValueError):
    """The labels leave too few tokens for the text, or a single label is too long; the message gives the numbers."""


def keep_lengths(text: int, labels: Sequence[int], options: GliZNetOptions) -> tuple[int, list[int]]:
    """Tokens to keep of the text and of each label under `options.truncation`.

    Args:
        text: number of text tokens, without special tokens.
        labels: number of word pieces of each label, without `[LAB]`.
        options: policy and limits.

    Returns:
        Numbers of text tokens and of pieces of each label to keep.

    Raises:
        LabelBudgetError: with label-first truncation, the labels leave fewer than `min_text_tokens`; split them into
            chunks.
    """
    if options.truncation == "reference":
        return _reference(text, labels, options)
    return min(text, text_room(labels, options)), list(labels)


def text_room(labels: Sequence[int], options: GliZNetOptions) -> int:
    """Number of text tokens that fit together with complete labels.

    In order-invariant mode all labels share the same positions, so the result does not depend on the labels: it is
    `max_length - 2 - label_reserve`, and each label has `label_reserve` positions for its pieces and `[LAB]`
    (with `label_context="none"`: `max_length - 2`, and `max_length` positions for each label).

    Args:
        labels: number of word pieces of each label, without `[LAB]`.
        options: policy and limits.

    Raises:
        LabelBudgetError: fewer than `min_text_tokens` fit, or (order-invariant mode) a label exceeds its positions.
    """
    if options.order_invariant:
        alone = options.label_context == "none"  # labels have separate positions, so the text can use all
        limit, name = (options.max_length, "max_length") if alone else (options.label_reserve, "label_reserve")
        longest = max(labels, default=0) + 1
        if longest > limit:
            raise LabelBudgetError(f"a label needs {longest} tokens with its [LAB], but {name} is {limit}; increase it")
        return options.max_length - 2 - (0 if alone else options.label_reserve)
    needed = sum(labels) + len(labels)
    room = options.max_length - 2 - needed
    if room < options.min_text_tokens:
        raise LabelBudgetError(
            f"{len(labels)} labels need {needed} tokens with their [LAB]; max_length={options.max_length} then leaves "
            f"{room} for the text, less than min_text_tokens={options.min_text_tokens}; split them with plan_chunks"
        )
    return room


def _reference(text: int, labels: Sequence[int], options: GliZNetOptions) -> tuple[int, list[int]]:
    """The published policy: truncate labels first; the caller then cuts the sequence at max_length.

    Source: docs/models/gliznet.md 3.
    """
    limit, floor = options.max_length, options.min_label_tokens
    text = min(text, limit)
    labels = [min(n, options.max_tokens_per_label) for n in labels]
    if 2 + text + sum(labels) + len(labels) <= limit:
        return text, labels
    surplus = limit - 2 - text - len(labels) * (1 + floor)
    if surplus >= 0:
        total = sum(labels)
        return text, [min(n, floor + surplus * n // total) for n in labels]
    rest = limit - 2 - len(labels) * (1 + floor)
    return min(text, max(rest, options.min_text_tokens)), [min(n, floor) for n in labels]


def plan_chunks(labels: Sequence[int], options: GliZNetOptions) -> list[list[int]]:
    """Split a label set into the fewest consecutive chunks of similar size that fit into a sequence.

    The labels of a chunk take at most half of `max_length` (unless a single label is longer), leaving the other half
    for the text. The plan depends only on the labels, so it is the same for all texts. In order-invariant mode the
    number of labels per chunk is unlimited, because scores do not depend on the plan. Reference truncation limits only
    the number of labels.

    Args:
        labels: number of word pieces of each label, without `[LAB]`.
        options: `max_labels`, `max_length`, policy.

    Returns:
        Lists of indices into `labels`, in order; each index occurs once.

    Raises:
        LabelBudgetError: a single label does not fit.

    >>> [len(chunk) for chunk in plan_chunks([3] * 21, GliZNetOptions())]
    [11, 10]
    """
    for n in labels:
        keep_lengths(0, [n], options)
    most = len(labels) if options.order_invariant else options.max_labels
    if options.truncation == "reference":
        budget = sum(labels) + len(labels)
    else:
        budget = options.max_length // 2
    fewest = _greedy(labels, most, budget)
    even = _greedy(labels, -(-len(labels) // max(1, len(fewest))), budget)
    return even if len(even) == len(fewest) else fewest


def _greedy(labels: Sequence[int], most: int, budget: int) -> list[list[int]]:
    """Fill chunks in order, each with at most `most` labels and `budget` tokens."""
    chunks: list[list[int]] = []
    used = 0
    for i, n in enumerate(labels):
        if chunks and len(chunks[-1]) < most and used + n + 1 <= budget:
            chunks[-1].append(i)
            used += n + 1
        else:
            chunks.append([i])
            used = n + 1
    return chunks
