"""Logistic regression on the training rows of the data set, as a weak supervised baseline."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from zsbench.families import SupervisedOptions
from zsbench.store.layout import Layout


class SupervisedSystem:
    """One logistic regression per label, fitted separately for each data set.

    Features are `words` (sublinear TF-IDF of words and word pairs) or `length` (log of the number of words; a score
    above chance means that the data set leaks labels through text length).
    """

    def __init__(self, spec: dict[str, Any], layout: Layout) -> None:
        self.features = SupervisedOptions.model_construct(**spec["settings"]).features

    def fit_and_score(self, texts: Sequence[str], gold: np.ndarray, others: Sequence[str]) -> np.ndarray:
        """P(label | text) of other texts, (n, L) in [0, 1].

        Args:
            gold: (len(texts), L) of 0 and 1, their labels.
            others: n texts to score.
        """
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.multiclass import OneVsRestClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import FunctionTransformer

        if self.features == "words":
            read: Any = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        else:
            read = FunctionTransformer(log_words)
        # Balanced, because labels are rare and otherwise few rows would reach 0.5.
        model = make_pipeline(read, OneVsRestClassifier(LogisticRegression(C=10.0, class_weight="balanced")))
        model.fit(list(texts), gold.astype(int))
        return np.asarray(model.predict_proba(list(others)))


def log_words(texts: Sequence[str]) -> np.ndarray:
    """(n, 1) log of 1 + the number of words."""
    return np.log1p([[len(text.split())] for text in texts])
