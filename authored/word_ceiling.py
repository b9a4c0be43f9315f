"""How well bags of words solve hardset-mini: a simple (text, label) classifier, which must stay below a ceiling.

If surface overlap or a label's prior were enough to distinguish true from false labels, a model could do well without
understanding the text. The classifier here uses only bag-of-words features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from authored.findings import Finding, gather, words
from zsbench.training.selection import mean_average_precision

# Pooled ROC-AUC over all test (text, label) pairs; 0.5 is chance. Set before the first measurement.
AUC_CEILING = 0.65


@dataclass(frozen=True)
class WordScores:
    """Test results of a set of features: pooled ROC-AUC, and mean over texts of average precision."""

    auc: float
    mean_ap: float


@dataclass(frozen=True)
class _Pairs:
    """P (text, label) pairs of a split.

    Texts and labels are distinct; `text` and `label` (P,) are indices into them, `true` (P,) is the target.
    """

    texts: list[str]
    labels: list[str]
    text: np.ndarray
    label: np.ndarray
    true: np.ndarray


def _pairs(rows: Sequence[dict[str, Any]], split: str) -> _Pairs:
    part = [row for row in rows if row["split"] == split]
    index = {label: i for i, label in enumerate(sorted({x for row in part for x in row["labels"] + row["not_labels"]}))}
    flat = [
        (i, index[label], truth)
        for i, row in enumerate(part)
        for truth, labels in ((1, row["labels"]), (0, row["not_labels"]))
        for label in labels
    ]
    text, label, true = np.array(flat).T
    return _Pairs([row["text"] for row in part], list(index), text, label, true)


class _Features:
    """Features of pairs, fitted on training pairs: text words, label words, and their overlap."""

    def __init__(self, train: _Pairs) -> None:
        both = train.texts + train.labels
        self.text = TfidfVectorizer(sublinear_tf=True, min_df=2).fit(train.texts)
        self.label = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b").fit(train.labels)
        # Two vocabularies shared by texts and labels: words, and character n-grams for inflections (rent, rented).
        self.shared = [
            TfidfVectorizer(sublinear_tf=True).fit(both),
            TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), min_df=2).fit(both),
        ]

    def overlap(self, pairs: _Pairs) -> csr_matrix:
        """(P, 5): cosines over words and over character n-grams, share of the label's words in the text, lengths."""
        columns = []
        for vectorizer in self.shared:
            cosine = (vectorizer.transform(pairs.texts) @ vectorizer.transform(pairs.labels).T).toarray()
            columns.append(5 * cosine[pairs.text, pairs.label])  # (T, L) -> (P,)
        inside, own = [set(words(text)) for text in pairs.texts], [set(words(label)) for label in pairs.labels]
        both = zip(pairs.text, pairs.label, strict=True)
        columns.append(np.array([len(own[j] & inside[i]) / max(1, len(own[j])) for i, j in both]))
        columns.append(np.array([len(label) for label in pairs.labels])[pairs.label] / 20)
        columns.append(np.array([len(text) for text in pairs.texts])[pairs.text] / 200)
        return csr_matrix(np.stack(columns, axis=1))

    def groups(self, pairs: _Pairs) -> dict[str, csr_matrix]:
        """Matrices (P, features) by name: `label` only (its prior), `overlap` only, and `all`, including the text."""
        label, overlap = self.label.transform(pairs.labels)[pairs.label], self.overlap(pairs)
        text = self.text.transform(pairs.texts)[pairs.text]
        return {"label": label, "overlap": overlap, "all": hstack([text, label, overlap]).tocsr()}


def measure_words(rows: Sequence[dict[str, Any]]) -> dict[str, WordScores]:
    """Fit logistic regressions on the train split and evaluate them on the test split.

    Args:
        rows: all rows of hardset-mini.

    Returns:
        Scores of the feature groups `label`, `overlap` and `all`, and of `chance` (seeded random scores).
    """
    train, test = _pairs(rows, "train"), _pairs(rows, "test")
    features = _Features(train)
    fit, held_out = features.groups(train), features.groups(test)
    scores = {"chance": np.random.default_rng(0).random(len(test.true))}
    for name in fit:
        model = LogisticRegression(C=1.0, max_iter=500).fit(fit[name], train.true)
        scores[name] = model.decision_function(held_out[name])
    of_text = [test.text == i for i in np.unique(test.text)]  # a mask (P,) per text
    true = [test.true[mask] for mask in of_text]
    return {
        name: WordScores(
            float(roc_auc_score(test.true, value)), mean_average_precision([value[mask] for mask in of_text], true)
        )
        for name, value in scores.items()
    }


def check_ceiling(rows: Sequence[dict[str, Any]]) -> Finding:
    """Rule: no group of word features has a pooled test ROC-AUC above `AUC_CEILING`."""
    found = measure_words(rows)
    measured = ", ".join(f"{name} AUC {value.auc:.3f} mAP {value.mean_ap:.3f}" for name, value in found.items())
    problems = [(-1, f"{name}: AUC {value.auc:.3f}") for name, value in found.items() if value.auc > AUC_CEILING]
    return gather("words alone", f"AUC <= {AUC_CEILING}", measured, problems)
