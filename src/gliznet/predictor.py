"""Inference: the pipeline of the published model card, raw logits, and the two ways to compute them.

Top down: `ZeroShotClassificationPipeline` (probabilities); `score_texts` (logits in input order); one sequence per text
and chunk of labels; and, in order-invariant mode with one label set, each text encoded once. `top_labels` is where
scores go.

B batch, C labels of a block, K labels, M tokens of a label, S tokens of a text, T tokens of a sequence, D hidden size.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import islice
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from gliznet.batching import device_token_budget, token_budget_batches
from gliznet.device import ahead, to_device, to_host
from gliznet.fast.caching import evaluating
from gliznet.fast.text_cache import TextStates, can_cache_texts, encode_labels, encode_text
from gliznet.model import GliZNetForSequenceClassification
from gliznet.published import HUB_KEYWORDS
from gliznet.texts import check_texts
from gliznet.tokenizer import GliZNETTokenizer, Row
from gliznet.top_labels import AllScores, Collector, TopScores

__all__ = ["Classification", "LabelScore", "ScoringReport", "ZeroShotClassificationPipeline", "score_texts"]

LabelSets = Sequence[str] | Sequence[Sequence[str]]
Progress = Callable[[int, int], object]  # (sequences done, total sequences)
ClassificationType = Literal["multi-label", "multi-class"]
Blocks = Iterator[tuple[Tensor, Tensor]]  # columns (C,), on the host, and logits (B, C) of some labels
BAR_FROM = 1000  # texts from which on a progress bar is shown unless told otherwise
WINDOW = 8192  # texts or sequences that are tokenised and sorted by length together; more are not held in memory
LARGEST_TENSOR = 2**20  # floats of the largest tensor when texts meet a block of the label matrix


@dataclass(frozen=True)
class LabelScore:
    """One label and its probability."""

    label: str
    score: float


@dataclass(frozen=True)
class Classification:
    """Result for one text: labels with probabilities, in input order, or best first if `top_k` was given."""

    text: str
    labels: list[LabelScore]

    @property
    def best(self) -> LabelScore | None:
        """The most probable label (the first one in a tie); None if `threshold` removed all labels."""
        return max(self.labels, key=lambda found: found.score, default=None)


@dataclass
class ScoringReport:
    """Truncation and token counts of scoring. Pass an instance to `score_texts` to fill it.

    Attributes:
        truncated_texts: number of texts truncated in at least one of their sequences.
        truncated_labels, lost_labels: number of (text, label) pairs whose label was truncated or dropped; non-zero only
            under reference truncation.
        real_tokens, padded_tokens: tokens processed by the encoder, without and with padding.
    """

    truncated_texts: int = 0
    truncated_labels: int = 0
    lost_labels: int = 0
    real_tokens: int = 0
    padded_tokens: int = 0


class ZeroShotClassificationPipeline:
    """Zero-shot classification of one or more texts with arbitrary labels.

    Args:
        model: a trained model.
        tokenizer: the tokenizer of the model.
        classification_type: "multi-label" (a sigmoid per label) or "multi-class" (a softmax over a text's distinct
            labels).
        device: device to move the model to, such as "cuda" or "cpu"; None keeps the current one.
        token_budget: tokens per batch, padding included; None chooses a value for the device.
        autocast_dtype: None or "bf16".
        reranker: pipeline of a second model, for `rerank`.

    Raises:
        ValueError: unknown `classification_type`.
    """

    def __init__(
        self,
        model: GliZNetForSequenceClassification,
        tokenizer: GliZNETTokenizer,
        classification_type: ClassificationType = "multi-label",
        device: str | torch.device | None = None,
        token_budget: int | None = None,
        autocast_dtype: str | None = None,
        reranker: "ZeroShotClassificationPipeline | None" = None,
    ) -> None:
        _check_type(classification_type)
        self.model = model.eval()
        if device is not None:
            self.model.to(torch.device(device))  # type: ignore[arg-type]
        self.tokenizer = tokenizer
        self.classification_type = classification_type
        self.token_budget = token_budget
        self.autocast_dtype = autocast_dtype
        self.reranker = reranker
        self.report = ScoringReport()  # of the latest call

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        classification_type: ClassificationType = "multi-label",
        device: str | torch.device | None = None,
        *,
        token_budget: int | None = None,
        autocast_dtype: str | None = None,
        reranker: "ZeroShotClassificationPipeline | None" = None,
        **keywords: Any,
    ) -> Self:
        """Load the model and tokenizer of a checkpoint.

        Args:
            source: folder or hub id.
            classification_type, device, token_budget, autocast_dtype, reranker: see the class.
            keywords: passed to the model's `from_pretrained`; hub options (`revision`, `token`, ...) also apply to the
                tokenizer.

        Raises:
            ValueError: unknown `classification_type`, or an invalid or unsafe checkpoint.
        """
        _check_type(classification_type)
        model = GliZNetForSequenceClassification.from_pretrained(source, **keywords)
        hub = {name: keywords[name] for name in HUB_KEYWORDS if name in keywords}
        tokenizer = GliZNETTokenizer.from_pretrained(source, **hub)
        return cls(model, tokenizer, classification_type, device, token_budget, autocast_dtype, reranker)

    def __call__(
        self,
        texts: str | Sequence[str],
        labels: LabelSets,
        threshold: float | None = None,
        *,
        classification_type: ClassificationType | None = None,
        top_k: int | None = None,
        rerank: int | None = None,
        progress: bool | None = None,
    ) -> Classification | list[Classification]:
        """Classify one or more texts.

        Args:
            texts: a text or a list of texts.
            labels: one label list for all texts, or one list per text.
            threshold: drop labels below this probability.
            classification_type: overrides that of the pipeline for this call.
            top_k: keep the k best labels, best first (equal logits in input order); by default, all labels in input
                order. Memory then grows with texts x k, not with texts x labels.
            rerank: two passes. This model finds the k best labels per text, and `reranker` scores these, listed in
                input order; the other labels are dropped, also from the softmax. With k >= the number of labels, the
                result is that of `reranker` alone. `report` of each pipeline has the counts of its pass.
            progress: whether to show a progress bar; None shows it for 1,000 texts or more.

        Returns:
            A `Classification` for a single text, a list of them for a list of texts.

        Raises:
            ValueError: no labels, an empty label, `threshold` outside [0, 1], `top_k` or `rerank` < 1, `rerank`
                without `reranker` or below `top_k`, unknown `classification_type`.
        """
        kind = _check_type(classification_type or self.classification_type)
        if threshold is not None and not 0 <= threshold <= 1:
            raise ValueError(f"threshold: {threshold} is not allowed; allowed: 0 to 1")
        _check_count("top_k", top_k)
        _check_count("rerank", rerank)
        many = [texts] if isinstance(texts, str) else list(texts)
        sets, scorer = _label_sets(labels, len(many)), self
        if rerank is not None:
            if self.reranker is None:
                raise ValueError(f"rerank: {rerank} needs a pipeline with `reranker`; allowed: None")
            if top_k is not None and top_k > rerank:
                raise ValueError(f"top_k: {top_k} is more than rerank={rerank}; allowed: 1 to {rerank}")
            scorer = self.reranker
            if rerank < sets.most:
                best = self._label_logits(many, sets, rerank, False, progress)
                kept = [[sets.of(i)[place] for place in sorted(places)] for i, (places, *_) in enumerate(best)]
                sets = _LabelSets(kept, False)
        results = []
        scored = scorer._label_logits(many, sets, top_k, kind == "multi-class", progress)
        for i, (places, logits, total) in enumerate(scored):
            values = np.exp(-np.logaddexp(0.0, -logits) if kind == "multi-label" else logits - total)
            found = [LabelScore(sets.of(i)[place], float(value)) for place, value in zip(places, values, strict=True)]
            kept_labels = [one for one in found if threshold is None or one.score >= threshold]
            results.append(Classification(many[i], kept_labels))
        return results[0] if isinstance(texts, str) else results

    def _label_logits(
        self, texts: list[str], sets: "_LabelSets", top_k: int | None, softmax: bool, progress: bool | None
    ) -> Iterator[tuple[list[int], np.ndarray, float]]:
        """Per text: places of labels in its list, their logits, and log sum exp of all distinct labels (for a softmax).

        All labels in input order, or the `top_k` best, best first.
        """
        self.report = ScoringReport()
        keep: Collector
        if top_k is None:
            keep = AllScores(sets.empty(len(texts)))
        else:
            keep = TopScores(len(texts), min(top_k, sets.most), softmax)
        show = len(texts) >= BAR_FROM if progress is None else progress
        with tqdm(disable=not show, unit="seq", desc="classify") as bar:
            advance, amp = partial(_advance, bar), self.autocast_dtype
            scoring = _Scoring(self.model, self.tokenizer, self.token_budget, amp, advance, self.report)
            _score(scoring, texts, sets, keep)
        places: list[list[int]] = []  # of each column
        for i in range(len(texts)):
            if not places or not sets.shared:
                places = _places(sets.of(i))
            columns, logits, total = keep.of(i)
            found = [(place, x) for column, x in zip(columns, logits.tolist(), strict=True) for place in places[column]]
            found = sorted(found) if top_k is None else sorted(found, key=lambda one: (-one[1], one[0]))[:top_k]
            yield [place for place, _ in found], np.array([x for _, x in found]), total


def _check_type(value: str) -> str:
    """Validate and return the classification type."""
    if value not in get_args(ClassificationType):
        allowed = ", ".join(map(repr, get_args(ClassificationType)))
        raise ValueError(f"classification_type: {value!r} is not allowed; allowed: {allowed}")
    return value


def _check_count(name: str, value: object) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, Integral) or value < 1):
        raise ValueError(f"{name}: {value!r} is not allowed; allowed: an integer >= 1")


def _advance(bar: tqdm, done: int, total: int) -> None:
    bar.total = total
    bar.update(done - bar.n)


def score_texts(
    model: GliZNetForSequenceClassification,
    tokenizer: GliZNETTokenizer,
    texts: Sequence[str],
    labels: LabelSets,
    *,
    token_budget: int | None = None,
    autocast_dtype: str | None = None,
    progress: Progress | None = None,
    report: ScoringReport | None = None,
) -> np.ndarray | list[np.ndarray]:
    """Raw logits of every label of every text.

    A duplicate label in a set is scored once and copied. Label sets that do not fit into one sequence are scored in
    chunks; this slightly affects scores, except in order-invariant mode. In order-invariant mode with a single label
    list, each text is encoded once regardless of the number of labels, and with `label_context="none"` each label is
    encoded once in total.

    Args:
        model: the model; it is switched to eval mode and back.
        tokenizer: the tokenizer of the model.
        texts: n texts.
        labels: one label list for all texts, or one list per text.
        token_budget: tokens per batch, padding included; None chooses a value for the device.
        autocast_dtype: None or "bf16" (encoder only; the head stays in float32).
        progress: called after each batch with (sequences done, total sequences).
        report: truncation and token counts are added to it.

    Returns:
        (texts, labels) float32 for a single label list; a list of (labels,) arrays for one list per text. Labels lost
        to reference truncation have -inf.

    Raises:
        ValueError: no labels, an empty label, or different numbers of label lists and texts.
        LabelBudgetError: a single label does not fit into a sequence.
    """
    sets = _label_sets(labels, len(texts))
    scores = sets.empty(len(texts))
    advance = progress or (lambda done, total: None)
    scoring = _Scoring(model, tokenizer, token_budget, autocast_dtype, advance, report or ScoringReport())
    _score(scoring, texts, sets, AllScores(scores))
    if not sets.shared:
        return [row[columns] for row, columns in zip(scores, map(_columns, sets.given), strict=True)]
    columns = _columns(sets.given[0])
    return np.asarray(scores) if len(sets.distinct[0]) == len(columns) else np.asarray(scores)[:, columns]


@dataclass(frozen=True)
class _LabelSets:
    """One label list for all texts, or one per text."""

    given: list[list[str]]
    shared: bool

    @cached_property
    def distinct(self) -> list[list[str]]:
        """Each list without duplicates; a column of scores is a place in this list."""
        return [list(dict.fromkeys(names)) for names in self.given]

    @property
    def most(self) -> int:
        """Labels of the longest list."""
        return max(map(len, self.given), default=0)

    def of(self, text: int) -> list[str]:
        return self.given[0 if self.shared else text]

    def empty(self, texts: int) -> np.ndarray | list[np.ndarray]:
        """(texts, columns) of -inf; an array per text if each has its own list."""
        if self.shared:
            return np.full((texts, len(self.distinct[0])), -np.inf, dtype=np.float32)
        return [np.full(len(names), -np.inf, dtype=np.float32) for names in self.distinct]


def _columns(names: list[str]) -> list[int]:
    """The column of each label; duplicates share one."""
    column = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return [column[name] for name in names]


def _places(names: list[str]) -> list[list[int]]:
    """Where the label of each column is in the list."""
    places: list[list[int]] = [[] for _ in dict.fromkeys(names)]
    for place, column in enumerate(_columns(names)):
        places[column].append(place)
    return places


def _label_sets(labels: LabelSets, texts: int) -> _LabelSets:
    """The label lists; arrays and generators are accepted.

    Raises:
        TypeError: a single string.
        ValueError: no labels, a mix of labels and lists, or not one list per text.
    """
    if isinstance(labels, str):
        raise TypeError(f"labels: {labels!r:.60} is a single text; must be a list of labels")
    given = [entry if isinstance(entry, str) else list(map(str, entry)) for entry in labels]
    if all(isinstance(entry, str) for entry in given):
        if not given and texts:
            raise ValueError("labels: is empty; give at least one label")
        return _LabelSets([list(map(str, given))], True)
    if any(isinstance(entry, str) for entry in given):
        raise ValueError("labels: mixes strings and lists; give one list of strings, or one list per text")
    if len(given) != texts:
        raise ValueError(f"labels: {len(given)} lists for {texts} texts; give one list, or one per text")
    if [] in given:
        raise ValueError(f"labels[{given.index([])}]: is empty; a text needs at least one label")
    return _LabelSets(given, False)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Scoring:
    """The arguments of `score_texts` other than texts and labels."""

    model: GliZNetForSequenceClassification
    tokenizer: GliZNETTokenizer
    token_budget: int | None
    autocast_dtype: str | None
    progress: Progress
    report: ScoringReport

    def __post_init__(self) -> None:
        if self.autocast_dtype not in (None, "bf16"):
            raise ValueError(f"autocast_dtype: {self.autocast_dtype!r} is not allowed; allowed: None, 'bf16'")

    @property
    def budget(self) -> int:
        """Padded tokens of a batch."""
        return device_token_budget(self.model.device.type) if self.token_budget is None else self.token_budget

    def autocast(self) -> AbstractContextManager[object]:
        device = self.model.device.type
        return torch.autocast(device, dtype=torch.bfloat16) if self.autocast_dtype else nullcontext()


def _score(scoring: _Scoring, texts: Sequence[str], sets: _LabelSets, keep: Collector) -> None:
    """Pass the logits of all labels of all texts to `keep`, and count into the report."""
    check_texts("texts", texts)
    if not len(texts):
        return
    with evaluating(scoring.model), torch.inference_mode(), scoring.autocast():
        if sets.shared and _use_text_cache(scoring.model, scoring.tokenizer, sets.distinct[0]):
            _score_with_text_cache(scoring, texts, sets.distinct[0], keep)
        else:
            _score_sequences(scoring, texts, sets, keep)


@dataclass(frozen=True)
class _Sequence:
    """One sequence to score: index of its text, indices (columns) of its labels, and tokens."""

    text: int
    columns: list[int]
    row: Row = field(repr=False)


def _sequences(
    tokenizer: GliZNETTokenizer, texts: Sequence[str], sets: _LabelSets, plans: list[list[list[int]]]
) -> Iterator[_Sequence]:
    """Each text with each chunk of its label set; `plans` has the chunks of each set."""
    for start in range(0, len(texts), WINDOW):
        for i, ids in enumerate(tokenizer.tokenize_texts(texts[start : start + WINDOW]), start):
            number = 0 if sets.shared else i
            for chunk in plans[number]:
                yield _Sequence(i, chunk, tokenizer.build_row(ids, [sets.distinct[number][j] for j in chunk]))


def _windows(sequences: Iterator[_Sequence]) -> Iterator[list[_Sequence]]:
    """`WINDOW` sequences at a time."""
    while window := list(islice(sequences, WINDOW)):
        yield window


def _score_sequences(scoring: _Scoring, texts: Sequence[str], sets: _LabelSets, keep: Collector) -> None:
    """One pass over a text and a chunk of its labels."""
    plans = [scoring.tokenizer.plan_chunks(names) for names in sets.distinct]
    for group, logits in to_host(_launch_sequences(scoring, texts, sets, plans)):
        for sequence, row in zip(group, logits, strict=True):
            columns = torch.tensor(sequence.columns)
            keep.add([sequence.text], columns, keep.reduce(columns, row[: len(columns)].unsqueeze(0)))


def _launch_sequences(
    scoring: _Scoring, texts: Sequence[str], sets: _LabelSets, plans: list[list[list[int]]]
) -> Iterator[tuple[list[_Sequence], Tensor]]:
    """The sequences of each batch and their logits (B, K)."""
    model, tokenizer, report = scoring.model, scoring.tokenizer, scoring.report
    total = sum(map(len, plans)) * (len(texts) if sets.shared else 1)
    cut, done = set[int](), 0
    for sequences in ahead(_windows(_sequences(tokenizer, texts, sets, plans)), model.device):
        lengths = [len(sequence.row.input_ids) for sequence in sequences]
        batches = token_budget_batches(lengths, scoring.budget)
        cut |= {sequence.text for sequence in sequences if sequence.row.text_cut}
        report.truncated_labels += sum(sequence.row.labels_cut for sequence in sequences)
        report.lost_labels += sum(sequence.row.labels_lost for sequence in sequences)
        report.real_tokens += sum(lengths)
        report.padded_tokens += sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
        for batch in batches:
            group = [sequences[i] for i in batch]
            batched = tokenizer.pad([sequence.row for sequence in group])
            inputs = {name: to_device(tensor, model.device) for name, tensor in batched.items()}
            yield group, model(**inputs, num_labels=max(len(sequence.columns) for sequence in group)).logits
            done += len(group)
            scoring.progress(done, total)
    report.truncated_texts += len(cut)


def _use_text_cache(model: GliZNetForSequenceClassification, tokenizer: GliZNETTokenizer, labels: list[str]) -> bool:
    """Whether to encode texts and labels separately.

    The scores are the same. It is cheaper unless all labels fit into one sequence that must include the text anyway.
    """
    if not (model.options.order_invariant and can_cache_texts(model.backbone)):
        return False
    return model.options.label_context == "none" or len(tokenizer.plan_chunks(labels)) > 1


def _score_with_text_cache(scoring: _Scoring, texts: Sequence[str], labels: Sequence[str], keep: Collector) -> None:
    """One pass over each text, and a block of labels at a time: beside the text, or as rows of the label matrix.

    Raises:
        LabelBudgetError: a label does not fit into its reserved positions.
        ValueError: an empty label.
    """
    for (numbers, columns), reduced in to_host(_launch_texts(scoring, texts, labels, keep)):
        keep.add(numbers, columns, reduced)


def _text_windows(
    tokenizer: GliZNETTokenizer, texts: Sequence[str], room: int
) -> Iterator[tuple[int, list[list[int]], int]]:
    """`WINDOW` texts at a time: index of the first, token ids of each, and the number truncated to `room` tokens."""
    cls, sep = tokenizer.backend.cls_token_id, tokenizer.backend.sep_token_id
    for start in range(0, len(texts), WINDOW):
        ids = tokenizer.tokenize_texts(texts[start : start + WINDOW])
        yield start, [[cls, *text[:room], sep] for text in ids], sum(len(text) > room for text in ids)


def _launch_texts(
    scoring: _Scoring, texts: Sequence[str], labels: Sequence[str], keep: Collector
) -> Iterator[tuple[tuple[list[int], Tensor], Tensor]]:
    """The texts and columns of each block, and what `keep` needs of its logits."""
    model, tokenizer, report = scoring.model, scoring.tokenizer, scoring.report
    alone = model.options.label_context == "none"
    room = tokenizer.text_room(labels)
    chunks = _label_chunks(tokenizer, labels, scoring.budget if alone else model.options.max_length)
    times = 1 if alone else len(texts)  # that the labels are encoded
    report.real_tokens += times * sum(int(chunk.mask.sum()) for chunk in chunks)
    report.padded_tokens += times * sum(chunk.mask.numel() for chunk in chunks)
    chunks = [chunk.to(model.device) for chunk in chunks]
    if alone:
        blocks = partial(_matrix_blocks, model, _label_matrix(scoring, chunks, len(labels)))
        widest = 0
    else:
        blocks = partial(_chunk_blocks, model, chunks)
        widest = max(chunk.mask.numel() for chunk in chunks)  # a layer takes a text and a chunk of labels at once
    for start, rows, cut in ahead(_text_windows(tokenizer, texts, room), model.device):
        batches = token_budget_batches([len(row) + widest for row in rows], scoring.budget)
        report.truncated_texts += cut
        report.real_tokens += sum(map(len, rows))
        report.padded_tokens += sum(len(batch) * max(len(rows[i]) for i in batch) for batch in batches)
        done = start
        for batch in batches:
            ids, mask = _stack([rows[i] for i in batch], tokenizer.backend.pad_token_id)
            ids, mask = to_device(ids, model.device), to_device(mask, model.device)
            text = encode_text(model.backbone, ids, mask.long(), model.options)
            numbers = [start + i for i in batch]
            for columns, logits in blocks(text):
                yield (numbers, columns), keep.reduce(columns, logits)
            done += len(batch)
            scoring.progress(done, len(texts))


def _label_matrix(scoring: _Scoring, chunks: Sequence["_LabelChunk"], labels: int) -> Tensor:
    """Vectors (K, D) of labels that see no text."""
    model = scoring.model
    matrix = torch.empty(labels, model.backbone.config.hidden_size, device=model.device)
    for chunk in chunks:
        states = encode_labels(model.backbone, None, chunk.ids, chunk.mask, model.options)
        matrix[to_device(chunk.columns, model.device)] = model.label_matrix(states[0], chunk.mask[0])
    return matrix


def _matrix_blocks(model: GliZNetForSequenceClassification, matrix: Tensor, text: TextStates) -> Blocks:
    """As many labels at a time as `LARGEST_TENSOR` allows."""
    B, S, D = text.last.shape
    width = 1 if model.options.text_repr in ("cls", "mean") else max(S, D)  # floats per text and label
    size = max(1, LARGEST_TENSOR // (B * width))
    for start in range(0, len(matrix), size):
        block = matrix[start : start + size]
        yield torch.arange(start, start + len(block)), model.score_matrix(text, block)


def _chunk_blocks(model: GliZNetForSequenceClassification, chunks: Sequence["_LabelChunk"], text: TextStates) -> Blocks:
    """A chunk of labels at a time, encoded beside each text."""
    for chunk in chunks:
        states = encode_labels(model.backbone, text, chunk.ids, chunk.mask, model.options)
        yield chunk.columns, model.score_states(text, states, chunk.mask)


@dataclass(frozen=True)
class _LabelChunk:
    """Labels of similar length: their indices (columns, on the host), token ids with [LAB] and mask, (1, K, M) each."""

    columns: Tensor
    ids: Tensor
    mask: Tensor

    def to(self, device: torch.device) -> "_LabelChunk":
        return _LabelChunk(self.columns, to_device(self.ids, device), to_device(self.mask, device))


def _label_chunks(tokenizer: GliZNETTokenizer, labels: Sequence[str], budget: int) -> list[_LabelChunk]:
    """Split labels into chunks of at most `budget` padded tokens (a longer label gets its own), shortest first.

    Scores do not depend on the chunking.
    """
    pieces = [[*ids, tokenizer.lab_token_id] for ids in tokenizer.label_pieces(labels)]
    groups = token_budget_batches([len(ids) for ids in pieces], budget, len(pieces))
    chunks = []
    for columns in reversed(groups):
        ids, mask = _stack([pieces[i] for i in columns], tokenizer.backend.pad_token_id)
        chunks.append(_LabelChunk(torch.tensor(columns), ids.unsqueeze(0), mask.unsqueeze(0)))
    return chunks


def _stack(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Right-pad rows to the longest: token ids and a bool mask, (rows, longest) each."""
    T = max(map(len, rows))
    ids = torch.tensor([[*row, *[pad] * (T - len(row))] for row in rows])
    return ids, torch.arange(T) < torch.tensor([len(row) for row in rows]).unsqueeze(1)
