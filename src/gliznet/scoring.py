"""Score texts against labels with a trained model: raw logits in input order.

B batch, K labels, T tokens.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch

from gliznet.attention.cached import can_cache
from gliznet.batching import device_token_budget, token_budget_batches
from gliznet.model import GliZNetForSequenceClassification
from gliznet.shared_labels import Work, plan, score_shared
from gliznet.tokenizer import GliZNETTokenizer, Row

LabelSets = Sequence[str] | Sequence[Sequence[str]]


@dataclass
class ScoringReport:
    """What scoring cut and computed; fill one by passing it to `score_texts`.

    Attributes:
        texts, pairs: texts, and (text, label) pairs scored.
        truncated_texts: texts that lost tokens in at least one of their sequences.
        truncated_labels, lost_labels: (text, label) pairs, non-zero under reference truncation only.
        sequences, real_tokens, padded_tokens: encoder rows, their tokens, and tokens with padding.
    """

    texts: int = 0
    pairs: int = 0
    truncated_texts: int = 0
    truncated_labels: int = 0
    lost_labels: int = 0
    sequences: int = 0
    real_tokens: int = 0
    padded_tokens: int = 0


@dataclass(frozen=True)
class _Job:
    """One sequence to score: which text, and which of its distinct labels."""

    text: int
    columns: list[int]
    row: Row = field(repr=False)


def as_lists(labels: LabelSets) -> LabelSets:
    """Labels as lists of str: a generator can be read once only, and an array has no truth value.

    Raises:
        TypeError: one string.
    """
    if isinstance(labels, str):
        raise TypeError(f"labels={labels!r:.60} is one text; it must be a list of labels")
    return [str(one) if isinstance(one, str) else list(map(str, one)) for one in labels]  # type: ignore[return-value]


def is_shared(labels: LabelSets) -> bool:
    """Whether `labels` is one list of labels for all texts, rather than one list a text."""
    return all(isinstance(label, str) for label in labels)


def _label_sets(labels: LabelSets, texts: int) -> list[list[str]]:
    """One list for all texts, or one a text, checked.

    Raises:
        ValueError: no labels, labels and lists mixed, or not one list a text.
    """
    if is_shared(labels):
        if not labels and texts:
            raise ValueError("labels is empty; give at least one label")
        return [[str(label) for label in labels]]
    if any(isinstance(one, str) for one in labels):
        raise ValueError("labels mixes strings and lists; give one list of strings, or one list a text")
    if len(labels) != texts:
        raise ValueError(f"{texts} texts but {len(labels)} label lists; give one list, or one a text")
    for i, one in enumerate(labels):
        if not one:
            raise ValueError(f"labels[{i}] is empty; a text needs at least one label")
    return [list(one) for one in labels]


def _jobs(tokenizer: GliZNETTokenizer, texts: Sequence[str], sets: Sequence[Sequence[str]], shared: bool) -> list[_Job]:
    """All sequences: each text with each chunk of its label set."""
    plans: dict[tuple[str, ...], list[list[int]]] = {}
    jobs = []
    for i, ids in enumerate(tokenizer.tokenize_texts(texts)):
        key = tuple(sets[0] if shared else sets[i])
        if key not in plans:
            if not shared:
                plans.clear()  # per-text sets seldom repeat: do not keep them all
            plans[key] = tokenizer.plan_chunks(key)
        jobs += [_Job(i, chunk, tokenizer.build_row(ids, [key[j] for j in chunk])) for chunk in plans[key]]
    return jobs


def _autocast(device: torch.device, dtype: str | None) -> AbstractContextManager[object]:
    if dtype not in (None, "bf16"):
        raise ValueError(f"autocast_dtype={dtype!r} is not allowed; it must be None or 'bf16'")
    return torch.autocast(device.type, dtype=torch.bfloat16) if dtype else nullcontext()


def _fill(report: ScoringReport, jobs: Sequence[_Job], batches: Sequence[Sequence[int]]) -> None:
    report.texts += len({job.text for job in jobs})
    report.truncated_texts += len({job.text for job in jobs if job.row.text_cut})
    report.truncated_labels += sum(job.row.labels_cut for job in jobs)
    report.lost_labels += sum(job.row.labels_lost for job in jobs)
    report.pairs += sum(len(job.columns) for job in jobs)
    report.sequences += len(jobs)
    report.real_tokens += sum(len(job.row.input_ids) for job in jobs)
    report.padded_tokens += sum(len(b) * max(len(jobs[i].row.input_ids) for i in b) for b in batches)


def _apart(model: GliZNetForSequenceClassification, tokenizer: GliZNETTokenizer, labels: Sequence[str]) -> bool:
    """Whether to encode texts and labels apart: the same scores, for less work unless one short sequence holds all."""
    if not (model.options.order_invariant and can_cache(model.backbone)):
        return False
    return model.options.label_context == "none" or len(tokenizer.plan_chunks(labels)) > 1


def _fill_shared(report: ScoringReport, work: Work, label_context: str) -> None:
    times = 1 if label_context == "none" else len(work.texts)  # that the labels are encoded
    report.texts += len(work.texts)
    report.truncated_texts += work.cut
    report.pairs += len(work.texts) * sum(len(chunk.columns) for chunk in work.chunks)
    report.sequences += len(work.texts)
    report.real_tokens += sum(map(len, work.texts)) + times * sum(int(chunk.mask.sum()) for chunk in work.chunks)
    report.padded_tokens += sum(len(batch) * max(len(work.texts[i]) for i in batch) for batch in work.batches)
    report.padded_tokens += times * sum(chunk.mask.numel() for chunk in work.chunks)


def score_texts(
    model: GliZNetForSequenceClassification,
    tokenizer: GliZNETTokenizer,
    texts: Sequence[str],
    labels: LabelSets,
    *,
    token_budget: int | None = None,
    autocast_dtype: str | None = None,
    progress: Callable[[int, int], object] | None = None,
    report: ScoringReport | None = None,
) -> np.ndarray | list[np.ndarray]:
    """Raw logits of every label of every text.

    A label that occurs twice in a set is scored once and copied. Sets that do not fit one sequence are scored in
    chunks (outside order-invariant mode, the chunk a label is in changes its score a little). In order-invariant mode
    and with one label list, each text is encoded once, whatever the number of labels; labels that see no text are
    encoded once in all.

    Args:
        model: in eval mode (it is put there, and back).
        tokenizer: the model's.
        texts: n texts.
        labels: one label list for all texts, or one list a text.
        token_budget: padded tokens a batch; None takes what suits the device.
        autocast_dtype: None or "bf16" (encoder only: the head stays in float32).
        progress: called after each batch with (sequences done, sequences in all).
        report: counts are added to it.

    Returns:
        (n texts, n labels) float32 for one list, or n arrays for one list a text. A label that reference truncation
        cut off has -inf.

    Raises:
        ValueError: no label or an empty one, or as many lists as texts are not given. LabelBudgetError: a label alone
        does not fit a sequence.
    """
    labels = as_lists(labels)
    shared = is_shared(labels)
    sets = _label_sets(labels, len(texts))
    distinct = [list(dict.fromkeys(one)) for one in sets]
    budget = device_token_budget(model.device.type) if token_budget is None else token_budget
    scores = [np.full(len(distinct[0 if shared else i]), -np.inf, dtype=np.float32) for i in range(len(texts))]
    with _evaluating(model):
        if shared and texts and _apart(model, tokenizer, distinct[0]):
            work = plan(tokenizer, texts, distinct[0], budget)
            if report is not None:
                _fill_shared(report, work, model.options.label_context)
            score_shared(model, tokenizer, work, scores, lambda: _autocast(model.device, autocast_dtype), progress)
        else:
            jobs = _jobs(tokenizer, texts, distinct, shared)
            batches = token_budget_batches([len(job.row.input_ids) for job in jobs], budget)
            if report is not None:
                _fill(report, jobs, batches)
            _run(model, tokenizer, jobs, batches, scores, autocast_dtype, progress)
    columns = [[one.index(label) for label in full] for one, full in zip(distinct, sets, strict=True)]
    if shared:
        return np.stack(scores)[:, columns[0]] if scores else np.zeros((0, len(labels)), dtype=np.float32)
    return [row[column] for row, column in zip(scores, columns, strict=True)]


@contextmanager
def _evaluating(model: GliZNetForSequenceClassification) -> Iterator[None]:
    """Eval mode, and back."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


@torch.inference_mode()
def _run(
    model: GliZNetForSequenceClassification,
    tokenizer: GliZNETTokenizer,
    jobs: Sequence[_Job],
    batches: Sequence[Sequence[int]],
    scores: list[np.ndarray],
    autocast_dtype: str | None,
    progress: Callable[[int, int], object] | None,
) -> None:
    """Score every batch and write the logits to `scores[text][column]`."""
    device, done = model.device, 0
    for batch in batches:
        group = [jobs[i] for i in batch]
        encoding = tokenizer.pad([job.row for job in group])
        inputs = {name: tensor.to(device, non_blocking=True) for name, tensor in encoding.inputs().items()}
        with _autocast(device, autocast_dtype):
            output = model(**inputs, num_labels=max(len(job.columns) for job in group))
        logits = output.logits.cpu().numpy()  # (B, K)
        for job, row in zip(group, logits, strict=True):
            scores[job.text][job.columns] = row[: len(job.columns)]
        done += len(group)
        if progress is not None:
            progress(done, len(jobs))
