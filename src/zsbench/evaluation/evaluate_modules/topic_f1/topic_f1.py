"""F1 family of multi-label decisions as an `evaluate` module, loaded by path."""

import datasets
import evaluate
import numpy as np

from zsbench.evaluation.metrics import multi_label


class TopicF1(evaluate.Metric):
    """Macro and micro F1, Hamming accuracy, exact match, macro precision and recall over all labels."""

    def _info(self) -> evaluate.MetricInfo:
        row = datasets.List(datasets.Value("int32"))
        return evaluate.MetricInfo(
            description=__doc__,
            citation="F. Pedregosa et al., Scikit-learn, JMLR 2011",
            inputs_description="predictions, references: one list of 0 and 1 a row, a value a label",
            features=datasets.Features({"predictions": row, "references": row}),
        )

    def _compute(self, predictions: list[list[int]], references: list[list[int]]) -> dict[str, float]:
        return multi_label(np.array(references), np.array(predictions))
