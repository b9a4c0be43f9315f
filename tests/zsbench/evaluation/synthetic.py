"""Synthetic runs: cells in the stored format, made from random numbers in a temporary folder."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from zsbench.store.layout import Layout
from zsbench.store.provenance import write_json

TOPICS = ["Technology", "Health", "Finance", "Economy", "Environment"]


def write_cell(layout: Layout, place, frame: pd.DataFrame, **card) -> None:
    """Write one cell: scores.parquet and a matching card."""
    path = layout.scores(*place)
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(path, index=False)
    suite, dataset, system, seed = place
    values = {
        "suite": suite,
        "dataset": dataset,
        "system": system,
        "seed": seed,
        "revision": "r1",
        "device": "cpu",
        "rows": frame["split"].value_counts().to_dict(),
        "seconds": 2.0,
        "texts_per_second": len(frame) / 2.0,
        "peak_memory_mb": 100.0,
        "truncated_texts": 1,
        "truncated_labels": 0,
        "seen": "no",
        "scores_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    write_json(layout.card(*place), values | card)


def frame_of(gold: list[list[int]], scores: np.ndarray, labels: list[str], split: list[str]) -> pd.DataFrame:
    frame = pd.DataFrame({"sample_id": [f"id{i}" for i in range(len(gold))], "split": split, "gold": gold})
    for index, label in enumerate(labels):
        frame[f"score:{label}"] = scores[:, index].astype(np.float32)
    return frame


def single_scores(rng, wanted: np.ndarray, labels: int, signal: float) -> np.ndarray:
    return signal * np.eye(labels)[wanted] + rng.normal(size=(len(wanted), labels))


def system(name, family="gliznet", seeds=(1,), suites=("gliclass", "topics"), trained=True, control="", **settings):
    return {
        "id": name,
        "family": family,
        "model": settings.get("hybrid", name) if trained else None,
        "settings": settings | ({"control": control} if control else {}),
        "seeds": list(seeds),
        "suites": list(suites),
        "trained": trained,
        "control": bool(control),
    }


def make_spec(seeds=(1, 2, 3), draws=500):
    systems = [
        system("gliznet-full", seeds=seeds),
        system("gliznet-no-margin", seeds=seeds),
        system("gliznet-no-vicreg", seeds=seeds),
        system("gliznet-warm", seeds=seeds),
        system("nli-mini", "nli", seeds=seeds),
        system(
            "hybrid", "hybridnli", seeds=seeds, suites=("topics",), blend="learned", hybrid="hybrid", nli="nli-mini"
        ),
        system(
            "hybrid-heads", "hybridnli", seeds=seeds, suites=("topics",), blend="heads", hybrid="hybrid", nli="nli-mini"
        ),
        system("biencoder", "biencoder", seeds=(0,), trained=False),
        system("majority", "control", (0,), ("gliclass",), False, "majority"),
        system("always-positive", "control", (0,), ("topics",), False, "always-positive"),
        system("oracle", "control", (0,), trained=False, control="oracle"),
    ]
    return {
        "run": "synthetic",
        "suites": {
            "gliclass": {
                "task": "single",
                "metric": "macro_f1",
                "datasets": [
                    {"id": "alpha", "title": "Alpha", "task": "single", "labels": ["no", "yes"], "domain": "reviews"}
                    | {"label_names": ["no", "yes"]},
                    {"id": "beta", "title": "Beta", "task": "single", "labels": ["a", "b", "c"], "domain": "news"}
                    | {"label_names": ["a", "b", "c"]},
                ],
            },
            "topics": {
                "task": "multi",
                "metric": "macro_f1",
                "datasets": [
                    {"id": "mini", "title": "Mini", "task": "multi", "labels": [f"about {t}" for t in TOPICS]}
                    | {"label_names": TOPICS, "domain": "mixed"}
                ],
                "protocols": ["fixed-0.5", "val-tuned", "cv", "held-out"],
                "folds": 5,
                "fold_seed": 0,
                "partitions": 3,
            },
        },
        "systems": systems,
        "gliznet": {
            "base": {},
            "variants": {
                "full": {},
                "no-margin": {"margin": 0.0},
                "no-vicreg": {"vicreg_weight": 0.0},
                "warm": {"order_invariant": True, "label_repr": "mean"},
            },
            "compounds": {"warm": ["warm", "full"]},
        },
        "statistics": {"draws": draws, "seed": 11, "level": 0.95, "margin": 0.01, "system": "gliznet-full"},
        "sensitivity": {},
    }


def _scores(rng, entry, gold: np.ndarray, signal: float) -> np.ndarray:
    if entry["settings"].get("control") == "oracle":
        return gold.astype(float)
    if entry["control"]:
        return np.ones(gold.shape) if gold.sum(axis=1).max() > 1 else np.eye(gold.shape[1])[np.zeros(len(gold), int)]
    if gold.sum(axis=1).max() > 1:
        return 1 / (1 + np.exp(-(signal * (2 * gold - 1) + rng.normal(size=gold.shape) - 1.0)))
    return single_scores(rng, gold.argmax(axis=1), gold.shape[1], signal)


def make_run(root: Path, spec=None, rows=120, seed=0):
    """Write all cells of a run; returns the spec."""
    spec = spec or make_spec()
    layout, rng = Layout(root), np.random.default_rng(seed)
    for suite, entry in spec["suites"].items():
        for dataset in entry["datasets"]:
            labels = len(dataset["labels"])
            if dataset["task"] == "single":
                gold, split = np.eye(labels, dtype=int)[rng.integers(labels, size=rows)], ["test"] * rows
            else:
                gold = (rng.random((rows, labels)) < 0.5).astype(int)
                gold[:, 0] |= gold.sum(axis=1) == 0
                split = ["validation"] * (rows // 2) + ["test"] * (rows - rows // 2)
            for index, of_system in enumerate(spec["systems"]):
                if suite not in of_system["suites"]:
                    continue
                for number in of_system["seeds"]:
                    scores = _scores(rng, of_system, gold, 0.6 + 0.15 * index)
                    lists = [np.flatnonzero(row).tolist() for row in gold]
                    frame = frame_of(lists, scores, dataset["label_names"], split)
                    write_cell(layout, (suite, dataset["id"], of_system["id"], number), frame)
    return spec
