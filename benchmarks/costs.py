"""Arithmetic that each way of scoring needs, to print beside what was measured.

K labels of l tokens, a text of t tokens, D hidden, I intermediate, N layers. Nothing here is constant in K: a joint
pass over all labels grows with K l, and pairwise scoring with K (t + l).
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CostModel:
    """Multiply-adds (counted as two operations) of one encoder, from its configuration."""

    hidden: int
    intermediate: int
    layers: int
    relative: bool  # DeBERTa: two more products of the size of the attention scores

    @classmethod
    def of(cls, config: Any) -> "CostModel":
        """From a transformers configuration."""
        relative = config.model_type == "deberta-v2"
        return cls(config.hidden_size, config.intermediate_size, config.num_hidden_layers, relative)

    def sequence(self, tokens: float) -> float:
        """Operations of one sequence: 2 N (4 D^2 + 2 D I) a token, and 4 N D a pair of tokens (8 with relative)."""
        dense = 2 * self.layers * (4 * self.hidden**2 + 2 * self.hidden * self.intermediate)
        return dense * tokens + self._pairs() * tokens**2

    def encoder(self, tokens: float, pairs: float) -> float:
        """Operations of sequences with so many tokens and pairs of tokens in all."""
        return (self.sequence(1) - self._pairs()) * tokens + self._pairs() * pairs

    def _pairs(self) -> float:
        return 4 * self.layers * self.hidden * (2 if self.relative else 1)

    def joint(self, text: float, label: float, labels: int, in_one: int) -> float:
        """A text with all its labels, `in_one` of them a sequence: [CLS] text [SEP] label [LAB] ..."""
        full, rest = divmod(labels, in_one)
        parts = [in_one] * full + ([rest] if rest else [])
        return sum(self.sequence(text + 2 + part * (label + 1)) for part in parts)

    def pairwise(self, text: float, label: float, labels: int) -> float:
        """A sequence a label: [CLS] text [SEP] label [SEP]."""
        return labels * self.sequence(text + label + 3)

    def invariant(self, text: float, label: float, labels: int) -> float:
        """The text once, and every label's tokens against it and themselves."""
        tokens = labels * (label + 1)
        return self.sequence(text + 2) + self.encoder(tokens, tokens * (text + label + 3))

    def separate(self, text: float) -> float:
        """The text alone; the labels' vectors are kept."""
        return self.sequence(text + 2)
