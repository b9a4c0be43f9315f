"""Order-invariant mode, one label set for many texts: every text is encoded once, however many labels there are.

B batch, K labels, M tokens of a label, S tokens of a text, D hidden.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gliznet.attention.cached import TextStates, encode_labels, encode_text
from gliznet.batching import token_budget_batches
from gliznet.model import GliZNetForSequenceClassification
from gliznet.tokenizer import GliZNETTokenizer


@dataclass(frozen=True)
class Chunk:
    """Some labels of the set, of about equal length: their columns and their tokens with [LAB], (1, K, M) each."""

    columns: list[int]
    ids: Tensor
    mask: Tensor


def label_chunks(tokenizer: GliZNETTokenizer, labels: Sequence[str]) -> list[Chunk]:
    """Labels in chunks of at most `max_length` padded tokens (a longer label has one of its own), shortest first.

    Scores do not depend on the chunks.
    """
    pieces = [[*ids, tokenizer.lab_token_id] for ids in tokenizer.label_pieces(labels)]
    groups = token_budget_batches([len(ids) for ids in pieces], tokenizer.options.max_length, len(pieces))
    return [_chunk(tokenizer, pieces, group) for group in reversed(groups)]


def _chunk(tokenizer: GliZNETTokenizer, pieces: Sequence[Sequence[int]], columns: list[int]) -> Chunk:
    ids, mask = _stack([pieces[i] for i in columns], tokenizer.backend.pad_token_id)
    return Chunk(columns, ids.unsqueeze(0), mask.unsqueeze(0))


def _stack(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Token ids and a bool mask (rows, longest)."""
    T = max(map(len, rows))
    ids = torch.tensor([[*row, *[pad] * (T - len(row))] for row in rows])
    return ids, torch.arange(T) < torch.tensor([len(row) for row in rows]).unsqueeze(1)


@dataclass(frozen=True)
class Work:
    """What there is to score: texts with their specials, labels in chunks, texts in batches, texts that were cut."""

    texts: list[list[int]]
    chunks: list[Chunk]
    batches: list[list[int]]
    cut: int


def plan(tokenizer: GliZNETTokenizer, texts: Sequence[str], labels: Sequence[str], token_budget: int) -> Work:
    """Cut, group and batch.

    Raises:
        LabelBudgetError: a label does not fit its reserve. ValueError: an empty label.
    """
    room = tokenizer.text_room(labels)
    ids = tokenizer.tokenize_texts(texts)
    cls, sep = tokenizer.backend.cls_token_id, tokenizer.backend.sep_token_id
    rows = [[cls, *text[:room], sep] for text in ids]
    chunks = label_chunks(tokenizer, labels)
    widest = max(chunk.mask.numel() for chunk in chunks)
    # The head looks at a text and a chunk of labels at once.
    batches = token_budget_batches([len(row) + widest for row in rows], token_budget)
    return Work(rows, chunks, batches, sum(len(text) > room for text in ids))


@torch.inference_mode()
def score_shared(
    model: GliZNetForSequenceClassification,
    tokenizer: GliZNETTokenizer,
    work: Work,
    scores: Sequence[np.ndarray],
    autocast: Callable[[], AbstractContextManager[object]],
    progress: Callable[[int, int], object] | None,
) -> None:
    """Write the logits of every text to `scores[text]`, (labels,) each."""
    device, o = model.device, model.options
    alone = None
    if o.label_context == "none":  # these states are the same beside every text
        with autocast():
            alone = [
                encode_labels(model.backbone, None, chunk.ids.to(device), chunk.mask.to(device), o)
                for chunk in work.chunks
            ]
    done = 0
    for batch in work.batches:
        ids, mask = _stack([work.texts[i] for i in batch], tokenizer.backend.pad_token_id)
        with autocast():
            text = encode_text(model.backbone, ids.to(device), mask.to(device).long(), o)
            for chunk, logits in zip(work.chunks, _logits(model, text, work.chunks, alone), strict=True):
                for row, values in zip(batch, logits.cpu().numpy(), strict=True):
                    scores[row][chunk.columns] = values
        done += len(batch)
        if progress is not None:
            progress(done, len(work.texts))


def _logits(
    model: GliZNetForSequenceClassification, text: TextStates, chunks: Sequence[Chunk], alone: list[Tensor] | None
) -> Iterator[Tensor]:
    """(B, K) of each chunk."""
    for i, chunk in enumerate(chunks):
        ids, mask = chunk.ids.to(model.device), chunk.mask.to(model.device)
        states = encode_labels(model.backbone, text, ids, mask, model.options) if alone is None else alone[i]
        yield model.score_states(text, states, mask)
