"""Test split of hardset-mini: the effect of training on its train split, compared with the untrained sentence encoder.

n texts, L_i labels of text i.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import bootstrap
from sklearn.metrics import average_precision_score

from zsbench.data.authored_sets import HARDSET, read_authored
from zsbench.data.fetched import open_fetched
from zsbench.data.label_order import shown_labels
from zsbench.evaluation.label_pairs import sentence_encoder
from zsbench.jobs.runtime import resolve_precision
from zsbench.store.integrity import open_model
from zsbench.store.layout import Layout
from zsbench.store.provenance import write_json


def _average_precisions(scores: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> np.ndarray:
    """(n,) average precision of each text's labels."""
    return np.array([average_precision_score(t, s) for s, t in zip(scores, targets, strict=True)])


def bundle_means(values: np.ndarray, bundles: Sequence[str]) -> np.ndarray:
    """Mean of each bundle, (bundles,). Texts of a bundle share labels and a situation, so bundles are resampled."""
    names = np.asarray(bundles)
    return np.array([values[names == name].mean() for name in dict.fromkeys(bundles)])


def trained_scores(
    checkpoint: Path, texts: list[str], labels: list[list[str]], precision: str, token_budget: int
) -> list[np.ndarray]:
    """Logits of a trained GliZNet, one array (L_i,) per text.

    Args:
        token_budget: padded tokens in a batch.
    """
    from gliznet.model import GliZNetForSequenceClassification
    from gliznet.predictor import score_texts
    from gliznet.tokenizer import GliZNETTokenizer

    model = GliZNetForSequenceClassification.from_pretrained(checkpoint)
    tokenizer = GliZNETTokenizer.from_pretrained(checkpoint)
    dtype = None if precision == "fp32" else precision
    return list(score_texts(model, tokenizer, texts, labels, token_budget=token_budget, autocast_dtype=dtype))


def untrained_scores(folder: Path, texts: list[str], labels: list[list[str]]) -> list[np.ndarray]:
    """Cosine similarities from the untrained sentence encoder, one array (L_i,) per text."""
    embed = sentence_encoder(folder)
    distinct = sorted({label for row in labels for label in row})
    vectors = dict(zip(distinct, embed(distinct), strict=True))
    embedded = embed(texts)
    return [np.stack([vectors[label] for label in row]) @ text for row, text in zip(labels, embedded, strict=True)]


def measure_hardset(root: Path, spec: dict[str, Any]) -> None:
    """Write `analysis/hardset.json`: mean average precision of each trained model and of the untrained encoder.

    Args:
        spec: `models` (ids of trained GliZNet models), `seed`, `backbone` (source id), `precision`, `token_budget`,
            `draws`, `level`, `rng`.
    """
    layout, precision = Layout(root), resolve_precision(spec["precision"], "cpu")
    rows = [row for row in read_authored(HARDSET) if row["split"] == "test"]
    texts = [row["text"] for row in rows]
    shown = [shown_labels(row["text"], row["labels"], row["not_labels"]) for row in rows]
    labels, targets = [names for names, _ in shown], [np.array(truth) for _, truth in shown]
    bundles = [row["bundle"] for row in rows]
    folder, _ = open_fetched(layout.fetched(spec["backbone"]))
    base = bundle_means(_average_precisions(untrained_scores(folder, texts, labels), targets), bundles)
    generator = np.random.default_rng(spec["rng"])
    rows_of_models = []
    for model in spec["models"]:
        checkpoint = open_model(layout, model, spec["seed"])
        scores = trained_scores(checkpoint, texts, labels, precision, spec["token_budget"])
        trained = bundle_means(_average_precisions(scores, targets), bundles)
        interval = bootstrap(
            (trained - base,),
            np.mean,
            n_resamples=spec["draws"],
            confidence_level=spec["level"],
            method="percentile",
            rng=generator,
        ).confidence_interval
        rows_of_models.append(
            {
                "where": f"hardset-mini test, {model}",
                "metric": "mean AP",
                "trained": round(float(trained.mean()), 4),
                "untrained": round(float(base.mean()), 4),
                "difference": round(float((trained - base).mean()), 4),
                "low": round(float(interval.low), 4),
                "high": round(float(interval.high), 4),
                "texts": len(texts),
                "seeds": 1,
            }
        )
    write_json(layout.root / "analysis" / "hardset.json", {"level": spec["level"], "rows": rows_of_models})
