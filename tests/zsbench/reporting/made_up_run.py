"""A made-up `results/<run>` in the stored format: cells of known quality, measured and compared for real."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.measured import measure
from zsbench.config.load import load_resources
from zsbench.evaluation.claims import write_claims
from zsbench.evaluation.compare import compare
from zsbench.evaluation.confusable import compare_confusable
from zsbench.evaluation.label_slopes import gather_label_counts
from zsbench.store.layout import WORKFLOW, Layout
from zsbench.store.provenance import digest, read_json, write_atomic, write_json

# id: (title, labels, domain)
DATASETS = {
    "newsgroups": ("20 Newsgroups (letters only)", 20, "discussion groups"),
    "r8": ("Reuters-21578 R8 (letters only)", 8, "news"),
    "movies": ("Movie-review snippets", 2, "reviews"),
    "products": ("Product-review snippets", 2, "reviews"),
}
TOPICS = ["Technology", "Health", "Finance", "Economy", "Environment"]
BOTH = ("gliclass", "topics")
# id: (family, signal of the gold label over unit noise, trained, suites, texts per second)
SYSTEMS: dict[str, tuple[str, float, bool, tuple[str, ...], float]] = {
    "gliznet-full": ("gliznet", 2.2, True, BOTH, 62.0),
    "gliznet-no-margin": ("gliznet", 2.1, True, BOTH, 61.0),
    "gliznet-no-vicreg": ("gliznet", 1.7, True, BOTH, 63.0),
    "gliznet-no-bce": ("gliznet", 2.3, True, BOTH, 60.0),
    "gliznet-warm": ("gliznet", 2.9, True, BOTH, 58.0),
    "nli-mini": ("nli", 1.2, True, BOTH, 9.0),
    "hybrid": ("hybridnli", 2.4, True, ("topics",), 11.0),
    "hybrid-heads": ("hybridnli", 2.0, True, ("topics",), 11.0),
    "biencoder": ("biencoder", 2.5, False, BOTH, 240.0),
    "prior-random": ("control", 0.0, False, BOTH, 90000.0),
    "oracle": ("control", 50.0, False, BOTH, 90000.0),
}
REFERENCE = "gliznet-full"
VARIANTS: dict[str, dict[str, Any]] = {
    "full": {},
    "no-margin": {"margin": 0.0},
    "no-vicreg": {"vicreg_weight": 0.0},
    "no-bce": {"bce_weight": 0.0},
    "warm": {"order_invariant": True, "head_init": "identity"},
}
ROWS = 60


def spec_of(seeds: tuple[int, ...] = (1, 2, 3)) -> dict[str, Any]:
    """The analysis spec of the made-up run."""
    datasets = [
        _dataset(name, title, "single", [f"{name} label {k}" for k in range(count)], domain)
        for name, (title, count, domain) in DATASETS.items()
    ]
    entry = _dataset("topics-mini", "Topics (authored)", "multi", TOPICS, "mixed")
    suites: dict[str, Any] = {"gliclass": single_suite(datasets), "topics": multi_suite([entry])}
    systems = [
        {
            "id": name,
            "family": family,
            "settings": _settings(name, family),
            "seeds": list(seeds) if trained else [0],
            "suites": [suite for suite in own if suite in suites],
            "trained": trained,
            "model": {"biencoder": "minilm"}.get(name, name.partition("-")[0] if family == "hybridnli" else name),
            "control": family == "control",
        }
        for name, (family, _, trained, own, _) in SYSTEMS.items()
    ]
    return {
        "run": "synthetic",
        "suites": suites,
        "systems": [system for system in systems if system["suites"]],
        "gliznet": {"base": {}, "variants": VARIANTS, "compounds": {"warm": ["warm", "full"]}},
        "statistics": {"draws": 1000, "seed": 11, "level": 0.95, "margin": 0.01, "system": REFERENCE},
        "sensitivity": {"orders": 9, "wordings": True},
        "claims": load_resources(WORKFLOW / "resources")["claims"],
        "confusable": {"cosine": 0.5},
        "label_counts": {REFERENCE: "joint", "biencoder": "biencoder"},
    }


def single_suite(datasets: list[dict[str, Any]], title: str = "Single-label suite", **keys: str) -> dict[str, Any]:
    """A suite of the analysis spec."""
    return {
        "title": title,
        "task": "single",
        "metric": "macro_f1",
        "datasets": datasets,
        "protocols": ["argmax"],
    } | keys


def multi_suite(datasets: list[dict[str, Any]], title: str = "Topics", **keys: str) -> dict[str, Any]:
    """A suite of the analysis spec."""
    protocols = ["fixed-0.5", "val-tuned", "cv", "held-out"]
    decisions = {"protocols": protocols, "folds": 5, "fold_seed": 0, "partitions": 20}
    return {"title": title, "task": "multi", "metric": "macro_f1", "datasets": datasets, **decisions} | keys


def _settings(name: str, family: str) -> dict[str, Any]:
    if family == "hybridnli":
        return {"nli": "nli-mini", "dataset": "topics-mini", "blend": name.partition("-")[2] or "learned"}
    return {"control": name} if family == "control" else {}


def _dataset(name: str, title: str, task: str, labels: list[str], domain: str) -> dict[str, Any]:
    labels_twice = {"labels": labels, "label_names": labels}
    return {"id": name, "title": title, "task": task, "domain": domain, "wordings": 3, **labels_twice}


def make_run(root: Path, spec: dict[str, Any]) -> None:
    """Write cells, dataset cards, training records and analysis frames below `root`."""
    layout, random = Layout(root), np.random.default_rng(5)
    for suite, block in spec["suites"].items():
        for entry in block["datasets"]:
            write_json(layout.dataset_card(entry["id"]), _dataset_card(entry))
            gold = _gold(entry, random)
            texts = [f"Text {k} of <{entry['title']}>. " * (1 + k % 30) for k in range(len(gold))]
            rows = pd.DataFrame({"sample_id": [f"{k:016x}-0" for k in range(len(gold))], "text": texts})
            write_atomic(layout.dataset(entry["id"]), lambda path, rows=rows: rows.to_parquet(path, index=False))
            for system in spec["systems"]:
                for seed in system["seeds"] if suite in system["suites"] else []:
                    _cell(layout, (suite, entry["id"], system["id"], seed), entry, gold, random)
    measure(root, spec)
    compare(root, spec)
    write_sensitivity(root, spec)
    _trainings(layout, spec, random)
    judge_claims(root, spec)


VOLATILE = {"volatile": ["environment", "seconds"]}  # of a record of increasing numbers of labels


def judge_claims(root: Path, spec: dict[str, Any]) -> None:
    """Made-up confusable labels and answers for increasing numbers of labels, and the analysis of both."""
    layout = Layout(root)
    write_json(layout.label_pairs, {"encoder": "minilm", "cosine": 0.5, "pairs": {"newsgroups": [[0, 1], [2, 3]]}})
    for system, cost in zip(spec.get("label_counts", {}), (5.0, 0.0), strict=False):
        counts: list[dict[str, Any]] = [
            {"labels": K, "skipped": "", "answers": [k % (2 + K // 40) for k in range(8)], "seconds": 0.1 + 0.01 * K}
            | {
                "read": 8 * K,
                "tokens": 20 + cost * K,
                "sequences": max(1.0, cost * K / 100),
                "first_tokens": 20 + 6 * K,
            }
            for K in (2, 10, 50)
        ]
        counts.append({"labels": 1000, "skipped": "about 9,000 encoder tokens, over the budget of 5,000"})
        found = {"own": 2, "available": 1000, "gold": [0, 1] * 4, "counts": counts}
        facts = {"seed": 1, "datasets": ["movies"], "counts": [2, 10, 50, 1000]}
        write_json(layout.label_counts(system), {"spec": facts, "reason": "", "sets": {"movies": found}} | VOLATILE)
    gather_label_counts(root, spec)
    compare_confusable(root, spec)
    write_claims(root, spec)


def lose(root: Path, lost: dict[tuple[str, str, str, int], tuple[str, str]], spec: dict[str, Any]) -> None:
    """Remove the scores of cells (cell -> status and reason), like a failed scoring; then measure and compare."""
    layout = Layout(root)
    for place, (status, reason) in lost.items():
        empty = pd.read_parquet(layout.scores(*place)).head(0)
        empty.to_parquet(layout.scores(*place), index=False)
        sha = hashlib.sha256(layout.scores(*place).read_bytes()).hexdigest()
        card = read_json(layout.card(*place)) | {"status": status, "reason": reason, "scores_sha256": sha}
        write_json(layout.card(*place), card)
    measure(root, spec)
    compare(root, spec)
    write_sensitivity(root, spec)


def write_sensitivity(root: Path, spec: dict[str, Any]) -> None:
    """Made-up answers under other label orders and wordings."""
    frame = _sensitivity(spec)
    write_atomic(root / "analysis" / "sensitivity.parquet", lambda path: frame.to_parquet(path, index=False))


def _dataset_card(entry: dict[str, Any]) -> dict[str, Any]:
    quality = {"rows": 5 * ROWS, "empty_texts": 2, "duplicate_texts": 7, "rows_without_gold": 1, "rows_per_label": {}}
    return {
        "id": entry["id"],
        "title": entry["title"],
        "origin": "made up",
        "revision": "0" * 8,
        "files": {},
        "licence": "CC BY 4.0",
        "citation": "nobody",
        "note": "A <note> & more.",
        "domain": entry["domain"],
        "task": entry["task"],
        "labels": entry["labels"],
        "labels_digest": digest(entry["labels"]),
        "verbalisation": "plain",
        "rows": {"test": ROWS} | ({"train": 2 * ROWS, "validation": ROWS} if entry["task"] == "multi" else {}),
        "sample": {"rows": ROWS, "seed": 7},
        "rows_sha256": "a" * 64,
        "quality": quality | {"words_mean": 81.2, "words_p95": 240.0, "long_share": 0.012},
    }


def _gold(entry: dict[str, Any], random: np.random.Generator) -> list[list[int]]:
    count = len(entry["labels"])
    if entry["task"] == "single":
        return [[int(k)] for k in random.integers(0, count, ROWS)]
    return [sorted(map(int, np.flatnonzero(random.random(count) < 0.3))) for _ in range(2 * ROWS)]


def _cell(
    layout: Layout,
    where: tuple[str, str, str, int],
    entry: dict[str, Any],
    gold: list[list[int]],
    random: np.random.Generator,
) -> None:
    """Write scores (unit noise plus the system's signal on gold labels) and the card."""
    suite, dataset, system, seed = where
    family, signal, _, _, speed = SYSTEMS[system]
    scores = random.normal(size=(len(gold), len(entry["labels"])))
    for row, found in enumerate(gold):
        scores[row, found] += signal
    if entry["task"] == "multi":
        scores = 1 / (1 + np.exp(-(scores - signal / 2)))
    splits = ["test"] * ROWS if entry["task"] == "single" else ["validation"] * ROWS + ["test"] * ROWS
    frame = pd.DataFrame({"sample_id": [f"{k:016x}-0" for k in range(len(gold))], "split": splits, "gold": gold})
    for k, label in enumerate(entry["labels"]):
        frame[f"score:{label}"] = scores[:, k].astype(np.float32)
    path = layout.scores(*where)
    write_atomic(path, lambda temporary: frame.to_parquet(temporary, index=False))
    speed /= len(entry["labels"]) ** 0.5
    card = {
        "suite": suite,
        "dataset": dataset,
        "system": system,
        "seed": seed,
        "family": family,
        "settings": _settings(system, family),
        "precision": "bf16",
        "token_budget": 4096,
        "revision": "0" * 8,
        "labels": entry["labels"],
        "labels_digest": digest(entry["labels"]),
        "verbalisation": "plain",
        "task": entry["task"],
        "rows": {split: splits.count(split) for split in dict.fromkeys(splits)},
        "rows_sha256": "a" * 64,
        "model": ["trained", system],
        "licences": {"minilm": "Apache-2.0", "rows": "CC BY 4.0"},
        "system_digest": digest(system),
        "weights_sha256": "b" * 64,
        "source": "c" * 16,
        "environment": {"torch": "2.13", "python": "3.11"},
        "device": "cpu",
        "dtype": "bfloat16",
        "seconds": round(len(gold) / speed, 4),
        "texts_per_second": round(speed, 3),
        "peak_memory_mb": 410.5,
        "truncated_texts": 3,
        "truncated_labels": 0,
        "scores_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "key": "f" * 16,
        "seen": "no",
        "command": f"zsbench score --root results/synthetic --spec '{system}'",
    }
    if family != "control":
        heads = 2_136_072 if family == "hybridnli" else 436_148_232
        card |= {"parameters": 436_148_232, "trained_parameters": heads}
    write_json(layout.card(*where), card)


def _sensitivity(spec: dict[str, Any]) -> pd.DataFrame:
    """Ranges over label orders (for systems that read all labels at once) and over wordings."""
    rows = []
    suites = [suite for suite, entry in spec["suites"].items() if entry["task"] == "single"]
    datasets = [(suite, entry["id"]) for suite in suites for entry in spec["suites"][suite]["datasets"]]
    for system in spec["systems"] if spec["sensitivity"] else ():
        name, family = system["id"], system["family"]
        scored = [dataset for suite, dataset in datasets if suite in system["suites"]]
        for place, dataset in enumerate(scored if family != "control" else ()):
            for kind, k in (("order", 10), ("verbalisation", 3)):
                if kind == "verbalisation" or family == "gliznet":
                    spread = 0.02 + 0.02 * place
                    rows.append(
                        (
                            kind,
                            dataset,
                            name,
                            1,
                            k,
                            0.6,
                            0.6 - spread,
                            0.6 + spread / 2,
                            spread,
                            0.0,
                            2 * spread,
                            0.0,
                            spread / 4,
                            200,
                        )
                    )
    names = ["kind", "dataset", "system", "seed", "k", "mean", "low", "high", "flip_rate"]
    names += ["flip_low", "flip_high", "floor", "median_shift", "rows"]
    return pd.DataFrame(rows, columns=names)


def _trainings(layout: Layout, spec: dict[str, Any], random: np.random.Generator) -> None:
    for system in spec["systems"]:
        if not system["trained"] or system["id"] == "hybrid-heads":
            continue
        for seed in system["seeds"]:
            history = _epochs() if system["family"] == "hybridnli" else _steps(system["family"], random)
            record = {
                "spec": {"id": system["id"], "seed": seed, "family": system["family"]} | _recipe(system["family"]),
                "history": history,
                "best": {"step": 140, "validation": 0.55},
                "selection_never_moved": False,
                "seconds": 61.5,
                "device": "cpu",
                "parameters": 22_713_216,
                "weights_sha256": "b" * 64,
            }
            write_json(layout.model(system["id"], seed), record)


def _recipe(family: str) -> dict[str, Any]:
    recipe = {"backbone": "minilm", "steps": 140, "effective_batch": 16, "precision": "bf16", "selection": "mean_ap"}
    return {} if family == "hybridnli" else {"recipe": recipe}


def _epochs() -> list[dict[str, Any]]:
    """History of a hybrid: alphas that diverge from one half."""
    names = [name for name in TOPICS if name != "Health"]
    return [
        {
            "step": k,
            "losses": {"poly": 1 / k, "total": 2 / k},
            "validation": 0.5 + 0.02 * k,
            "gradient_norms": {},
            "learning_rate": 1e-3,
            "alpha": {name: 0.5 - 0.02 * k * (place - 1.5) for place, name in enumerate(names)},
        }
        for k in range(1, 11)
    ]


def _steps(family: str, random: np.random.Generator) -> list[dict[str, Any]]:
    """History of a model trained by steps: falling losses, rising validation metric."""
    terms = {"softmax": 1.5, "bce": 0.9, "vicreg": 0.6, "total": 3.0} if family == "gliznet" else {"total": 1.1}
    return [
        {
            "step": k,
            "losses": {name: value * (0.4 + 20 / (k + 20)) + 0.05 * random.random() for name, value in terms.items()},
            "validation": 0.6 - 8 / (k + 20) + 0.03 * random.random(),
            "gradient_norms": {name: value / (k + 5) for name, value in terms.items()},
            "learning_rate": 1e-4,
        }
        for k in range(20, 141, 20)
    ]
