"""Estimate a run before it starts: stages, downloads, disk space, hours, and the smallest detectable effect.

Rates and variances come from earlier runs in this directory, or from `make gpu-check`. Quantities that were never
measured are reported as unknown.
"""

import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsbench.families import FAMILIES
from zsbench.plan.plan import Plan
from zsbench.store.cells import FAILED, state
from zsbench.store.errors import counted
from zsbench.store.integrity import read_intact
from zsbench.store.layout import Layout

PAIRWISE = ("nli", "reranker", "hybridnli", "llm")  # families with one pass per (text, label) pair
SCORE_BYTES = 4  # bytes per (text, label) pair in a cell
TRAINED = "training"


@dataclass(frozen=True)
class Rates:
    """Measured speed in texts per second, or (text, label) pairs per second for `PAIRWISE` families.

    Attributes:
        per_second: family, or `TRAINED`, -> rate. `*` and `*pairs` are used for families that were not measured.
        where: where the rates were measured.
    """

    per_second: dict[str, float]
    where: str

    def of(self, family: str) -> float | None:
        return self.per_second.get(family) or self.per_second.get("*pairs" if family in PAIRWISE else "*")


def measured_rates(results: Path, reports: Path) -> Rates | None:
    """Rates of a gpu-check, else of the run that trained or scored last; None if there is neither."""
    for path in sorted((reports / "gpu").glob("*.json")):
        record = read_intact(path) or {}
        if record.get("parts") and not record["dry_run"] and (rates := _of_gpu_check(record["parts"])):
            return Rates(rates, f"{path} ({record['device']})")
    runs = sorted(results.glob("*/scores/*/seed*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for root in dict.fromkeys(path.parents[2] for path in runs):
        if rates := _of_run(Layout(root)):
            return Rates(rates, str(root))
    return None


def _of_gpu_check(measurements: dict[str, Any]) -> dict[str, float]:
    """Rates of the slowest shape."""
    rates: dict[str, list[float]] = {}
    for name, measured in measurements.items():
        if name.startswith("training: "):
            rates.setdefault(TRAINED, []).append(measured["gliznet"]["texts_per_second"])
        for group, key in (("joint", "*"), ("pairs", "*pairs")):
            for one in measured.get(group, {}).values() if name.startswith("scoring: ") else ():
                labels = one["labels"] if group == "pairs" else 1
                rates.setdefault(key, []).append(one["texts_per_second"]["wall"]["median"] * labels)
    return {key: min(values) for key, values in rates.items()}


def _of_run(layout: Layout) -> dict[str, float]:
    work: dict[str, list[float]] = {}  # -> [texts or pairs, seconds]

    def add(key: str, amount: float, seconds: float) -> None:
        total = work.setdefault(key, [0.0, 0.0])
        total[0], total[1] = total[0] + amount, total[1] + seconds

    for path in layout.root.glob("models/*/seed*/training.json"):
        record = read_intact(path) or {}
        if "effective_batch" in record.get("spec", {}).get("recipe", {}):
            add(TRAINED, record["step"] * record["spec"]["recipe"]["effective_batch"], record["seconds"])
    for path in layout.root.glob("cells/*/*/*/seed*/card.json"):
        card = read_intact(path) or {}
        if card.get("seconds"):
            family, texts = card["family"], sum(card["rows"].values())
            add(family, texts * (len(card["label_names"]) if family in PAIRWISE else 1), card["seconds"])
    return {key: amount / seconds for key, (amount, seconds) in work.items() if amount and seconds}


def estimate(plan: Plan, rates: Rates | None, detectable: float | None) -> list[str]:
    """Lines of the estimate, about one screen."""
    undone = [job for job in plan.trainings if not plan.layout.model(*job).is_file()]
    cells = [cell for cell in plan.cells if state(plan.layout, cell) in (None, FAILED)]
    unscored = len({cell[2:] for cell in cells})
    fetched = [name for name in plan.sources if plan.layout.fetched(name).is_file()]
    hours = f"on one device as fast as in {rates.where}" if rates else "unknown: no earlier run or gpu-check here"
    lines = [
        f"{'stage':9} {'jobs':>5} {'to do':>6}  hours {hours}",
        f"{'fetch':9} {len(plan.sources):5} {len(plan.sources) - len(fetched):6}",
        f"{'train':9} {len(plan.trainings):5} {len(undone):6}  {_training_hours(plan, undone, rates)}".rstrip(),
        f"{'score':9} {len(plan.jobs):5} {unscored:6}  {_scoring_hours(plan, cells, rates)}".rstrip(),
        f"{'cells':9} {len(plan.cells):5} {len(cells):6}",
        f"download  {_downloads(plan)}",
        f"disk      {_disk(plan)}; {shutil.disk_usage(Path()).free / 1e9:,.0f} GB free here",
    ]
    smallest = "unknown until a first run" if detectable is None else f"about {detectable:.3f} of the average metric"
    return [*lines, f"effect    smallest difference detectable at 80 % power: {smallest}"]


def _training_hours(plan: Plan, undone: list[tuple[str, int]], rates: Rates | None) -> str:
    recipes = [plan.trained[name]["recipe"] for name, _ in undone if name in plan.trained]
    heads = ", HybridNLI's heads not counted" if len(recipes) < len(undone) else ""
    rate = rates.of(TRAINED) if rates and TRAINED in rates.per_second else None
    if not recipes:
        return ""
    lengths = [_training_texts(plan, recipe) for recipe in recipes]
    if None in lengths:
        return "unknown: the preset does not give the rows of the training set"
    texts = sum(filter(None, lengths))
    return f"{texts:,} texts: {_hours(texts / rate) if rate else 'unknown'}{heads}, without early stopping"


def _training_texts(plan: Plan, recipe: dict[str, Any]) -> int | None:
    """Number of texts that a training reads; None if it is set in epochs and the number of rows is unknown."""
    if recipe.get("epochs") is None:
        return int(recipe["steps"] * recipe["effective_batch"])
    expected = plan.training_set_spec(recipe["training_set"]).get("expected_rows") or {}
    return recipe["epochs"] * expected["train"] if "train" in expected else None


def _scoring_hours(plan: Plan, cells: list[tuple[str, str, str, int]], rates: Rates | None) -> str:
    seconds, without, unknown = 0.0, 0, set()
    for suite, dataset, system, _ in cells:
        family, rows = plan.systems[system].family, rows_of(plan, suite, dataset)
        if not FAMILIES[family].packages or family in ("control", "supervised", "imported"):
            continue
        rate = rates.of(family) if rates else None
        if rate is None or rows is None:
            without += 1
            unknown |= {family if rate is None else dataset}
            continue
        labels = len(plan.dataset_spec(dataset)["labels"]) if family in PAIRWISE else 1
        seconds += rows * labels / rate
    phrases = [_hours(seconds)] if seconds else []
    phrases += [f"unknown for {counted(without, 'cell')} ({', '.join(sorted(unknown))})"] if without else []
    return " and ".join(phrases)


def rows_of(plan: Plan, suite: str, dataset: str) -> int | None:
    """Number of rows to score: as prepared, else as expected by the preset; None if unknown."""
    splits = ("test",) if plan.config["suites"][suite]["task"] == "single" else ("validation", "test")
    spec, card = plan.dataset_spec(dataset), read_intact(plan.layout.dataset_card(dataset))
    rows = card["rows"] if card else spec.get("expected_rows")
    if not rows:
        return None
    most = spec["rows"] or math.inf
    return int(sum(min(count, most) for split, count in rows.items() if split in splits))


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} h" if seconds >= 360 else f"{seconds / 60:.1f} min"


def source_bytes(plan: Plan, name: str) -> int | None:
    """Size of a source in bytes: as fetched, else as pinned; None if unknown."""
    if manifest := read_intact(plan.layout.fetched(name)):
        return sum(entry["bytes"] for entry in manifest["files"])
    lock = plan.source_spec(name).get("lock")
    return sum(entry["bytes"] for entry in lock["files"].values()) if lock else None


def _downloads(plan: Plan) -> str:
    remote = [name for name in plan.sources if plan.source_spec(name)["kind"] in ("hub", "https", "package")]
    remote = [name for name in remote if not plan.layout.fetched(name).is_file()]
    known = {name: size for name in remote if (size := source_bytes(plan, name)) is not None}
    unknown = {name: plan.source_spec(name)["kind"] for name in remote if name not in known}
    asks = " (`zsbench fetch --lock` asks the hub)" if "hub" in unknown.values() else ""
    phrases = [f"{sum(known.values()) / 1e9:.2f} GB"] if known or not remote else []
    phrases += [f"{counted(len(unknown), 'source')} of unknown size{asks}"] if unknown else []
    return " and ".join(phrases)


def _disk(plan: Plan) -> str:
    """Disk space for fetched files, checkpoints (assumed as large as their backbones) and scores."""
    sizes = [source_bytes(plan, name) for name in plan.sources]
    backbones = [source_bytes(plan, spec["recipe"]["backbone"]) for spec in plan.trained.values() for _ in plan.seeds]
    scores = sum(
        (rows_of(plan, suite, dataset) or 0) * len(plan.dataset_spec(dataset)["labels"]) * SCORE_BYTES
        for suite, dataset, _, _ in plan.cells
    )
    known = sum(size for size in [*sizes, *backbones] if size is not None) + scores
    lacking = sum(size is None for size in [*sizes, *backbones])
    return f"{known / 1e9:.2f} GB" + (f" and {lacking} of unknown size (sources, checkpoints)" if lacking else "")


def detectable_effect(plan: Plan, results: Path) -> float | None:
    """Median minimum detectable effect of an earlier run's suite averages, scaled to this run's rows; None without one.

    A standard error over rows shrinks with the square root of their number. The further reduction from more seeds is
    ignored.
    """
    import pandas as pd

    paths = sorted(results.glob("*/analysis/deltas.parquet"), key=lambda path: path.stat().st_mtime, reverse=True)
    single = [name for name, suite in plan.config["suites"].items() if suite["task"] == "single"]
    rows = [rows_of(plan, suite, dataset) for suite in single for dataset in plan.datasets(suite)]
    for path in paths:
        try:
            frame = pd.read_parquet(path, columns=["dataset", "mde", "n_rows", "protocol"])
        except (OSError, ValueError):  # damaged: see `read_intact`
            continue
        averages = frame[(frame["dataset"] == "average") & frame["mde"].notna() & (frame["protocol"] == "argmax")]
        if len(averages) and rows and None not in rows:
            before, now = averages["n_rows"].median(), sum(filter(None, rows))
            return float(averages["mde"].median() * math.sqrt(before / now)) if now else None
    return None


def plan_lines(plan: Plan) -> Iterator[str]:
    """The output of `zsbench plan` and of a dry run."""
    results = Path("results")
    yield from estimate(plan, measured_rates(results, Path("reports")), detectable_effect(plan, results))
