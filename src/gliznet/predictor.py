"""Zero-shot classification of texts: probabilities by label, in the manner of the published model card."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from tqdm.auto import tqdm

from gliznet.model import GliZNetForSequenceClassification
from gliznet.scoring import LabelSets, ScoringReport, as_lists, is_shared, score_texts
from gliznet.tokenizer import GliZNETTokenizer

__all__ = ["Classification", "LabelScore", "ScoringReport", "ZeroShotClassificationPipeline", "score_texts"]

ClassificationType = Literal["multi-label", "multi-class"]
_BAR_FROM = 1000  # texts from which on a progress bar is shown unless told otherwise


@dataclass(frozen=True)
class LabelScore:
    """One label and its probability."""

    label: str
    score: float


@dataclass(frozen=True)
class Classification:
    """Result for one text: `labels` in the order they were given, or best first when `top_k` was given."""

    text: str
    labels: list[LabelScore]


class ZeroShotClassificationPipeline:
    """Probabilities of free labels for one text or many.

    Args:
        model: a trained model.
        tokenizer: the model's.
        classification_type: "multi-label" gives each label its own sigmoid, "multi-class" a softmax over the distinct
            labels of a text.
        device: where to put the model, such as "cuda" or "cpu"; None leaves it where it is.
        token_budget: padded tokens a batch; None takes what suits the device.
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
        if classification_type not in get_args(ClassificationType):
            allowed = ", ".join(map(repr, get_args(ClassificationType)))
            raise ValueError(f"classification_type={classification_type!r} is not allowed; it must be one of {allowed}")
        self.model = model.eval()
        if device is not None:
            self.model.to(torch.device(device))  # type: ignore[arg-type]
        self.tokenizer = tokenizer
        self.classification_type = classification_type
        self.token_budget = token_budget
        self.autocast_dtype = autocast_dtype
        self.report = ScoringReport()  # of the latest call

    def __call__(
        self,
        texts: str | Sequence[str],
        labels: LabelSets,
        *,
        threshold: float | None = None,
        top_k: int | None = None,
        progress: bool | None = None,
    ) -> Classification | list[Classification]:
        """Classify one text, or many.

        Args:
            texts: a text or a list of texts.
            labels: one label list for all texts, or one list a text.
            threshold: leave out labels below this probability.
            top_k: the k best labels, best first.
            progress: show a progress bar; None shows it from 1,000 texts on.

        Returns:
            A `Classification` for a text, a list of them for a list.

        Raises:
            ValueError: no labels, an empty label, `threshold` outside [0, 1], `top_k` < 1.
        """
        if threshold is not None and not 0 <= threshold <= 1:
            raise ValueError(f"threshold={threshold} is not allowed; it must be in [0, 1]")
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k={top_k} is not allowed; it must be >= 1")
        many, labels = [texts] if isinstance(texts, str) else list(texts), as_lists(labels)
        self.report = ScoringReport()
        logits = self._logits(many, labels, len(many) >= _BAR_FROM if progress is None else progress)
        sets = [list(labels)] * len(many) if is_shared(labels) else [list(one) for one in labels]
        results = [
            Classification(text, _select(names, self._probabilities(row, names), threshold, top_k))  # type: ignore[arg-type]
            for text, row, names in zip(many, logits, sets, strict=True)
        ]
        return results[0] if isinstance(texts, str) else results

    def _logits(self, texts: Sequence[str], labels: LabelSets, bar: bool) -> np.ndarray | list[np.ndarray]:
        """Raw logits, with a progress bar that counts sequences."""
        with tqdm(disable=not bar, unit="seq", desc="classify") as shown:
            return score_texts(
                self.model,
                self.tokenizer,
                texts,
                labels,
                token_budget=self.token_budget,
                autocast_dtype=self.autocast_dtype,
                progress=_advance(shown),
                report=self.report,
            )

    def _probabilities(self, logits: np.ndarray, labels: Sequence[str]) -> np.ndarray:
        """(K,) probabilities from (K,) logits."""
        wide = logits.astype(np.float64)
        if self.classification_type == "multi-label":
            return np.exp(-np.logaddexp(0.0, -wide))
        first = [labels.index(label) for label in dict.fromkeys(labels)]  # a label given twice counts once
        shifted = np.exp(wide - wide.max())
        return shifted / shifted[first].sum()


def _advance(bar: tqdm) -> Callable[[int, int], None]:
    """A progress callback that moves a bar."""

    def step(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return step


def _select(labels: Sequence[str], scores: np.ndarray, threshold: float | None, top_k: int | None) -> list[LabelScore]:
    """Labels with their scores after threshold and top-k; ties keep the given order."""
    pairs = [LabelScore(label, float(score)) for label, score in zip(labels, scores, strict=True)]
    if threshold is not None:
        pairs = [pair for pair in pairs if pair.score >= threshold]
    if top_k is not None:
        pairs = sorted(pairs, key=lambda pair: -pair.score)[:top_k]
    return pairs
