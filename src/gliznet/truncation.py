"""How many tokens of the text and of each label go into one sequence. Pure arithmetic on lengths.

A sequence is `[CLS] text [SEP] label_1 [LAB] ... label_K [LAB]`: 2 + text + sum(label + 1) tokens.
"""

from collections.abc import Sequence

from gliznet.options import GliZNetOptions


class LabelBudgetError(ValueError):
    """The labels leave the text too few tokens, or one label alone is too long; the message gives the numbers."""


def keep_lengths(text: int, labels: Sequence[int], options: GliZNetOptions) -> tuple[int, list[int]]:
    """Tokens to keep of the text and of each label under `options.truncation`.

    Args:
        text: tokens of the text, without specials.
        labels: word pieces of each label, without `[LAB]`.
        options: policy and limits.

    Returns:
        (tokens of the text, pieces of each label).

    Raises:
        LabelBudgetError: label-first, and the labels leave less than `min_text_tokens` (split them in chunks).
    """
    if options.truncation == "reference":
        return _reference(text, labels, options)
    return min(text, text_room(labels, options)), list(labels)


def text_room(labels: Sequence[int], options: GliZNetOptions) -> int:
    """Text tokens that fit beside uncut labels.

    In order-invariant mode all labels share the same positions, so the room depends on no label: it is
    `max_length - 2 - label_reserve`, and each label has `label_reserve` positions for its pieces and `[LAB]`
    (with `label_context="none"`: `max_length - 2`, and `max_length` positions for each label).

    Raises:
        LabelBudgetError: less than `min_text_tokens`, or (order-invariant) a label longer than its reserve.
    """
    if options.order_invariant:
        alone = options.label_context == "none"  # then labels have separate positions, and the text has all
        limit, name = (options.max_length, "max_length") if alone else (options.label_reserve, "label_reserve")
        longest = max(labels, default=0) + 1
        if longest > limit:
            raise LabelBudgetError(f"a label needs {longest} tokens with its [LAB], {name} is {limit}; raise it")
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
    """The published policy: labels shrink first; the caller still cuts at max_length (docs/models/gliznet.md 3)."""
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
    """Split a label set into the fewest consecutive chunks that fit a sequence, of about equal size.

    The labels of a chunk take at most half of `max_length` (unless a single one is longer), so that the text keeps
    the other half; the plan depends on the labels alone, hence is the same for every text. Order-invariant mode has
    no limit of labels per chunk (scores do not depend on the plan). Reference truncation is limited by count alone.

    Args:
        labels: word pieces of each label, without `[LAB]`.
        options: `max_labels`, `max_length`, policy.

    Returns:
        Lists of indices into `labels`, in order; each index occurs once.

    Raises:
        LabelBudgetError: one label alone does not fit.

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
    """Fill chunks in order with at most `most` labels and `budget` tokens each."""
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
