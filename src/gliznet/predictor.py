"""Inference: the pipeline of the published model card, raw logits, and the two ways to compute them.

Ordered top down: `ZeroShotClassificationPipeline` (probabilities); `score_texts` (logits in input order); scoring with
one sequence per text and chunk of labels; and, in order-invariant mode with one label set, with each text encoded once.

Shapes: B batch, K labels, M tokens per label, S tokens per text, T tokens per sequence, D hidden size.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from gliznet.batching import device_token_budget, token_budget_batches
from gliznet.fast.text_cache import can_cache_texts, encode_labels, encode_text
from gliznet.model import GliZNetForSequenceClassification
from gliznet.published import HUB_KEYWORDS
from gliznet.tokenizer import GliZNETTokenizer, Row

__all__ = ["Classification", "LabelScore", "ScoringReport", "ZeroShotClassificationPipeline", "score_texts"]

LabelSets = Sequence[str] | Sequence[Sequence[str]]
Progress = Callable[[int, int], object]  # (sequences done, total sequences)
ClassificationType = Literal["multi-label", "multi-class"]
BAR_FROM = 1000  # number of texts from which a progress bar is shown by default


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
    ) -> None:
        _check_type(classification_type)
        self.model = model.eval()
        if device is not None:
            self.model.to(torch.device(device))  # type: ignore[arg-type]
        self.tokenizer = tokenizer
        self.classification_type = classification_type
        self.token_budget = token_budget
        self.autocast_dtype = autocast_dtype
        self.report = ScoringReport()  # counts of the latest call

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        classification_type: ClassificationType = "multi-label",
        device: str | torch.device | None = None,
        *,
        token_budget: int | None = None,
        autocast_dtype: str | None = None,
        **keywords: Any,
    ) -> Self:
        """Load the model and tokenizer of a checkpoint.

        Args:
            source: folder or hub id.
            classification_type, device, token_budget, autocast_dtype: see the class.
            keywords: passed to the model's `from_pretrained`; hub options (`revision`, `token`, ...) also apply to the
                tokenizer.

        Raises:
            ValueError: unknown `classification_type`, or an invalid or unsafe checkpoint.
        """
        _check_type(classification_type)
        model = GliZNetForSequenceClassification.from_pretrained(source, **keywords)
        hub = {name: keywords[name] for name in HUB_KEYWORDS if name in keywords}
        tokenizer = GliZNETTokenizer.from_pretrained(source, **hub)
        return cls(model, tokenizer, classification_type, device, token_budget, autocast_dtype)

    def __call__(
        self,
        texts: str | Sequence[str],
        labels: LabelSets,
        threshold: float | None = None,
        *,
        classification_type: ClassificationType | None = None,
        top_k: int | None = None,
        progress: bool | None = None,
    ) -> Classification | list[Classification]:
        """Classify one or more texts.

        Args:
            texts: a text or a list of texts.
            labels: one label list for all texts, or one list per text.
            threshold: drop labels below this probability.
            classification_type: overrides that of the pipeline for this call.
            top_k: keep the k best labels, best first; by default, all labels in input order.
            progress: whether to show a progress bar; None shows it for 1,000 texts or more.

        Returns:
            A `Classification` for a single text, a list of them for a list of texts.

        Raises:
            ValueError: no labels, an empty label, `threshold` outside [0, 1], `top_k` < 1, unknown
                `classification_type`.
        """
        kind = _check_type(classification_type or self.classification_type)
        if threshold is not None and not 0 <= threshold <= 1:
            raise ValueError(f"threshold: {threshold} is not allowed; allowed: 0 to 1")
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k: {top_k} is not allowed; allowed: >= 1")
        many = [texts] if isinstance(texts, str) else list(texts)
        label_sets, shared = _label_sets(labels, len(many))
        self.report = ScoringReport()
        show = len(many) >= BAR_FROM if progress is None else progress
        with tqdm(disable=not show, unit="seq", desc="classify") as bar:
            logits = score_texts(
                self.model,
                self.tokenizer,
                many,
                label_sets[0] if shared else label_sets,
                token_budget=self.token_budget,
                autocast_dtype=self.autocast_dtype,
                progress=partial(_advance, bar),
                report=self.report,
            )
        results = [
            Classification(text, _select(names, _probabilities(row, names, kind), threshold, top_k))
            for text, row, names in zip(many, logits, label_sets * len(many) if shared else label_sets, strict=True)
        ]
        return results[0] if isinstance(texts, str) else results


def _check_type(value: str) -> str:
    """Validate and return the classification type."""
    if value not in get_args(ClassificationType):
        allowed = ", ".join(map(repr, get_args(ClassificationType)))
        raise ValueError(f"classification_type: {value!r} is not allowed; allowed: {allowed}")
    return value


def _probabilities(logits: np.ndarray, labels: list[str], kind: str) -> np.ndarray:
    """(K,) probabilities from (K,) logits."""
    wide = logits.astype(np.float64)
    if kind == "multi-label":
        return np.exp(-np.logaddexp(0.0, -wide))
    first = [labels.index(label) for label in dict.fromkeys(labels)]  # a label given twice counts once
    shifted = np.exp(wide - wide.max())
    return shifted / shifted[first].sum()


def _advance(bar: tqdm, done: int, total: int) -> None:
    bar.total = total
    bar.update(done - bar.n)


def _select(labels: list[str], scores: np.ndarray, threshold: float | None, top_k: int | None) -> list[LabelScore]:
    """Labels and scores after applying threshold and top-k; ties keep the input order."""
    pairs = [LabelScore(label, float(score)) for label, score in zip(labels, scores, strict=True)]
    if threshold is not None:
        pairs = [pair for pair in pairs if pair.score >= threshold]
    if top_k is not None:
        pairs = sorted(pairs, key=lambda pair: -pair.score)[:top_k]
    return pairs


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
    label_sets, shared = _label_sets(labels, len(texts))
    distinct = [list(dict.fromkeys(names)) for names in label_sets]
    scores = [np.full(len(distinct[0 if shared else i]), -np.inf, dtype=np.float32) for i in range(len(texts))]
    scoring = _Scoring(
        model,
        tokenizer,
        device_token_budget(model.device.type) if token_budget is None else token_budget,
        autocast_dtype,
        progress or (lambda done, total: None),
        ScoringReport() if report is None else report,
    )
    with _evaluating(model):
        if shared and texts and _use_text_cache(model, tokenizer, distinct[0]):
            _score_with_text_cache(scoring, texts, distinct[0], scores)
        else:
            _score_sequences(scoring, _sequences(tokenizer, texts, distinct, shared), scores)
    columns = [[unique.index(name) for name in names] for unique, names in zip(distinct, label_sets, strict=True)]
    if shared:
        return np.stack(scores)[:, columns[0]] if scores else np.zeros((0, len(label_sets[0])), dtype=np.float32)
    return [row[column] for row, column in zip(scores, columns, strict=True)]


def _label_sets(labels: LabelSets, texts: int) -> tuple[list[list[str]], bool]:
    """Label lists, and whether all texts share one list. Arrays and generators are accepted.

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
        return [list(map(str, given))], True
    if any(isinstance(entry, str) for entry in given):
        raise ValueError("labels: mixes strings and lists; give one list of strings, or one list per text")
    if len(given) != texts:
        raise ValueError(f"labels: {len(given)} lists for {texts} texts; give one list, or one per text")
    if [] in given:
        raise ValueError(f"labels[{given.index([])}]: is empty; a text needs at least one label")
    return given, False  # type: ignore[return-value]


@dataclass(frozen=True)
class _Scoring:
    """The arguments of `score_texts` other than texts and labels."""

    model: GliZNetForSequenceClassification
    tokenizer: GliZNETTokenizer
    budget: int  # padded tokens per batch
    autocast_dtype: str | None
    progress: Progress
    report: ScoringReport

    def __post_init__(self) -> None:
        if self.autocast_dtype not in (None, "bf16"):
            raise ValueError(f"autocast_dtype: {self.autocast_dtype!r} is not allowed; allowed: None, 'bf16'")

    def autocast(self) -> AbstractContextManager[object]:
        device = self.model.device.type
        return torch.autocast(device, dtype=torch.bfloat16) if self.autocast_dtype else nullcontext()


@contextmanager
def _evaluating(model: GliZNetForSequenceClassification) -> Iterator[None]:
    """Switch to eval mode inside the block and back afterwards."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


@dataclass(frozen=True)
class _Sequence:
    """One sequence to score: index of its text, indices (columns) of its labels, and tokens."""

    text: int
    columns: list[int]
    row: Row = field(repr=False)


def _sequences(
    tokenizer: GliZNETTokenizer, texts: Sequence[str], label_sets: Sequence[Sequence[str]], shared: bool
) -> list[_Sequence]:
    """A sequence for each text and each chunk of its label set."""
    plans: dict[tuple[str, ...], list[list[int]]] = {}
    sequences = []
    for i, ids in enumerate(tokenizer.tokenize_texts(texts)):
        labels = tuple(label_sets[0 if shared else i])
        if labels not in plans:
            if not shared:
                plans.clear()  # per-text label sets rarely repeat: keep only the latest
            plans[labels] = tokenizer.plan_chunks(labels)
        rows = [tokenizer.build_row(ids, [labels[j] for j in chunk]) for chunk in plans[labels]]
        sequences += [_Sequence(i, chunk, row) for chunk, row in zip(plans[labels], rows, strict=True)]
    return sequences


@torch.inference_mode()
def _score_sequences(scoring: _Scoring, sequences: Sequence[_Sequence], scores: list[np.ndarray]) -> None:
    """Write the logits of each sequence to `scores[text][columns]` and update the report."""
    model, report = scoring.model, scoring.report
    lengths = [len(sequence.row.input_ids) for sequence in sequences]
    batches = token_budget_batches(lengths, scoring.budget)
    report.truncated_texts += len({sequence.text for sequence in sequences if sequence.row.text_cut})
    report.truncated_labels += sum(sequence.row.labels_cut for sequence in sequences)
    report.lost_labels += sum(sequence.row.labels_lost for sequence in sequences)
    report.real_tokens += sum(lengths)
    report.padded_tokens += sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    done = 0
    for batch in batches:
        group = [sequences[i] for i in batch]
        inputs = scoring.tokenizer.pad([sequence.row for sequence in group]).inputs()
        inputs = {name: tensor.to(model.device, non_blocking=True) for name, tensor in inputs.items()}
        with scoring.autocast():
            output = model(**inputs, num_labels=max(len(sequence.columns) for sequence in group))
        for sequence, row in zip(group, output.logits.cpu().numpy(), strict=True):
            scores[sequence.text][sequence.columns] = row[: len(sequence.columns)]
        done += len(group)
        scoring.progress(done, len(sequences))


def _use_text_cache(model: GliZNetForSequenceClassification, tokenizer: GliZNETTokenizer, labels: list[str]) -> bool:
    """Whether to encode texts and labels separately.

    The scores are the same. It is cheaper unless all labels fit into one sequence that must include the text anyway.
    """
    if not (model.options.order_invariant and can_cache_texts(model.backbone)):
        return False
    return model.options.label_context == "none" or len(tokenizer.plan_chunks(labels)) > 1


@torch.inference_mode()
def _score_with_text_cache(
    scoring: _Scoring, texts: Sequence[str], labels: Sequence[str], scores: list[np.ndarray]
) -> None:
    """Write the logits (labels,) of each text to `scores[text]` and update the report.

    Raises:
        LabelBudgetError: a label does not fit into its reserved positions.
        ValueError: an empty label.
    """
    model, tokenizer, report = scoring.model, scoring.tokenizer, scoring.report
    device, o, pad = model.device, model.options, tokenizer.backend.pad_token_id
    room = tokenizer.text_room(labels)
    ids = tokenizer.tokenize_texts(texts)
    rows = [[tokenizer.backend.cls_token_id, *text[:room], tokenizer.backend.sep_token_id] for text in ids]
    chunks = _label_chunks(tokenizer, labels)
    # The head processes a text together with a chunk of labels.
    widest = max(chunk.mask.numel() for chunk in chunks)
    batches = token_budget_batches([len(row) + widest for row in rows], scoring.budget)

    times = 1 if o.label_context == "none" else len(rows)  # how often the labels are encoded
    report.truncated_texts += sum(len(text) > room for text in ids)
    report.real_tokens += sum(map(len, rows)) + times * sum(int(chunk.mask.sum()) for chunk in chunks)
    report.padded_tokens += sum(len(batch) * max(len(rows[i]) for i in batch) for batch in batches)
    report.padded_tokens += times * sum(chunk.mask.numel() for chunk in chunks)

    chunks = [_LabelChunk(chunk.columns, chunk.ids.to(device), chunk.mask.to(device)) for chunk in chunks]
    alone = None
    if o.label_context == "none":  # the label states do not depend on the text
        with scoring.autocast():
            alone = [encode_labels(model.backbone, None, chunk.ids, chunk.mask, o) for chunk in chunks]
    done = 0
    for batch in batches:
        text_ids, text_mask = _stack([rows[i] for i in batch], pad)
        with scoring.autocast():
            text = encode_text(model.backbone, text_ids.to(device), text_mask.to(device).long(), o)
            for i, chunk in enumerate(chunks):
                states = alone[i] if alone else encode_labels(model.backbone, text, chunk.ids, chunk.mask, o)
                logits = model.score_states(text, states, chunk.mask)  # (B, K)
                for row, values in zip(batch, logits.cpu().numpy(), strict=True):
                    scores[row][chunk.columns] = values
        done += len(batch)
        scoring.progress(done, len(rows))


@dataclass(frozen=True)
class _LabelChunk:
    """Labels of similar length: their indices (columns), token ids with [LAB] and mask, (1, K, M) each."""

    columns: list[int]
    ids: Tensor
    mask: Tensor


def _label_chunks(tokenizer: GliZNETTokenizer, labels: Sequence[str]) -> list[_LabelChunk]:
    """Split labels into chunks of at most `max_length` padded tokens (a longer label gets its own), shortest first.

    Scores do not depend on the chunking.
    """
    pieces = [[*ids, tokenizer.lab_token_id] for ids in tokenizer.label_pieces(labels)]
    groups = token_budget_batches([len(ids) for ids in pieces], tokenizer.options.max_length, len(pieces))
    chunks = []
    for columns in reversed(groups):
        ids, mask = _stack([pieces[i] for i in columns], tokenizer.backend.pad_token_id)
        chunks.append(_LabelChunk(columns, ids.unsqueeze(0), mask.unsqueeze(0)))
    return chunks


def _stack(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Right-pad rows to the longest: token ids and a bool mask, (rows, longest) each."""
    T = max(map(len, rows))
    ids = torch.tensor([[*row, *[pad] * (T - len(row))] for row in rows])
    return ids, torch.arange(T) < torch.tensor([len(row) for row in rows]).unsqueeze(1)
