"""Macro-F1 and accuracy of single-label decisions as an `evaluate` module, loaded by path."""

import datasets
import evaluate
import numpy as np

from zsbench.evaluation.metrics import one_hot, single_label


class SuiteMacroF1(evaluate.Metric):
    """Macro-F1 over the labels that occur in references or predictions, and accuracy."""

    def _info(self) -> evaluate.MetricInfo:
        features = datasets.Features({"predictions": datasets.Value("int32"), "references": datasets.Value("int32")})
        return evaluate.MetricInfo(
            description=__doc__,
            citation="F. Pedregosa et al., Scikit-learn, JMLR 2011",
            inputs_description="predictions, references: one label index a row",
            features=features,
        )

    def _compute(self, predictions: list[int], references: list[int]) -> dict[str, float]:
        labels = max(max(predictions), max(references)) + 1
        return single_label(one_hot(np.array(references), labels), one_hot(np.array(predictions), labels))
