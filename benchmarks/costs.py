"""Operation counts of each way of scoring, to compare with measurements.

K labels of l tokens, a text of t tokens, D hidden size, I intermediate size, N layers. A joint pass over all labels
grows with K l, pairwise scoring with K (t + l).
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CostModel:
    """Operations of an encoder, from its configuration; a multiply-add counts as two."""

    hidden: int
    intermediate: int
    layers: int
    relative: bool  # DeBERTa: two more products of the same size as the attention scores

    @classmethod
    def of(cls, config: Any) -> "CostModel":
        """Build from a transformers configuration."""
        relative = config.model_type == "deberta-v2"
        return cls(config.hidden_size, config.intermediate_size, config.num_hidden_layers, relative)

    def sequence(self, tokens: float) -> float:
        """Operations per sequence: 2 N (4 D^2 + 2 D I) per token, 4 N D per pair of tokens (8 N D if `relative`)."""
        dense = 2 * self.layers * (4 * self.hidden**2 + 2 * self.hidden * self.intermediate)
        return dense * tokens + self._pairs() * tokens**2

    def encoder(self, tokens: float, pairs: float) -> float:
        """Operations of sequences with these total numbers of tokens and pairs of tokens."""
        return (self.sequence(1) - self._pairs()) * tokens + self._pairs() * pairs

    def _pairs(self) -> float:
        return 4 * self.layers * self.hidden * (2 if self.relative else 1)

    def joint(self, text: float, label: float, labels: int, in_one: int) -> float:
        """Operations for a text with all labels, `in_one` labels per sequence: [CLS] text [SEP] label [LAB] ..."""
        full, rest = divmod(labels, in_one)
        parts = [in_one] * full + ([rest] if rest else [])
        return sum(self.sequence(text + 2 + part * (label + 1)) for part in parts)

    def pairwise(self, text: float, label: float, labels: int) -> float:
        """Operations for one sequence per label: [CLS] text [SEP] label [SEP]."""
        return labels * self.sequence(text + label + 3)

    def invariant(self, text: float, label: float, labels: int) -> float:
        """Operations for the text once, and each label's tokens, which attend to the text and to themselves."""
        tokens = labels * (label + 1)
        return self.sequence(text + 2) + self.encoder(tokens, tokens * (text + label + 3))

    def separate(self, text: float) -> float:
        """Operations for the text alone; label vectors are precomputed."""
        return self.sequence(text + 2)
