"""What a run fills: the tables and figures of its report, and in words what it lacks. A function of the config alone.

The plan asks here which files to expect, the renderers which to write, the page what to call absent.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zsbench.families import INSENSITIVE, JOINT
from zsbench.plan.comparisons import hybrid_contrasts, peers
from zsbench.plan.contrasts import derive

SUITE, TOPICS = "gliclass", "topics"
Spec = dict[str, Any]  # the analysis spec


def _systems(spec: Spec, suite: str) -> list[dict[str, Any]]:
    """Systems of a suite, controls aside."""
    return [entry for entry in spec["systems"] if suite in entry["suites"] and not entry["control"]]


def _compared(spec: Spec) -> bool:
    """The named system is in the suite and has somebody to be compared with."""
    ids = [entry["id"] for entry in _systems(spec, SUITE)]
    return spec["statistics"]["system"] in ids and len(ids) > 1


def _sensitive(spec: Spec) -> bool:
    """Some system was asked for other label orders, or for other wordings of a dataset that has several."""
    asked, systems = spec["sensitivity"], _systems(spec, SUITE)
    families = {entry["family"] for entry in systems if entry["id"] in asked.get("systems", [entry["id"]])}
    if asked.get("orders", 0) > 0 and not families.isdisjoint(JOINT):
        return True
    worded = asked.get("wordings", False) and not families <= set(INSENSITIVE)
    return worded and any(entry["wordings"] > 1 for entry in spec["suites"][SUITE]["datasets"])


def _topic_deltas(spec: Spec) -> bool:
    """Two systems of which one is NLI, or a hybrid with an ablation."""
    kinds = [entry["family"] for entry in _systems(spec, TOPICS)]
    return ("nli" in kinds and len(kinds) > 1) or any(hybrid_contrasts(spec, TOPICS))


def _trained_by_steps(spec: Spec) -> bool:
    return any(entry["trained"] and entry["family"] != "hybridnli" for entry in spec["systems"])


@dataclass(frozen=True)
class Part:
    """Tables and figures that need the same thing of a config; a file that several parts name needs all of them."""

    title: str
    without: str  # why the part is absent, after "no <title>: "
    filled: Callable[[Spec], bool]
    tables: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()


PARTS = (
    Part(
        "single-label suite",
        "the config has no suite gliclass",
        lambda spec: SUITE in spec["suites"],
        ("gliclass_suite", "ablations", "peers", "sensitivity"),
        ("suite_heatmap", "delta_forest", "ablations", "cost", "throughput", "sensitivity", "reliability"),
    ),
    Part(
        "plots of accuracy and cost",
        "suite gliclass has only controls",
        lambda spec: SUITE not in spec["suites"] or bool(_systems(spec, SUITE)),
        figures=("suite_heatmap", "cost", "throughput", "reliability"),
    ),
    Part(
        "comparison of systems",
        "suite gliclass has no second system to test statistics.system against",
        lambda spec: SUITE not in spec["suites"] or _compared(spec),
        figures=("delta_forest",),
    ),
    Part(
        "ablations",
        "no two variants differ in exactly one factor, and no compound is named",
        lambda spec: SUITE not in spec["suites"] or any(derive(spec["gliznet"])),
        ("ablations",),
        ("ablations",),
    ),
    Part(
        "comparison of trained kinds",
        "fewer than two kinds of system were trained",
        lambda spec: SUITE not in spec["suites"] or len(peers(spec, SUITE)) > 1,
        ("peers",),
    ),
    Part(
        "label orders and wordings",
        "scoring.sensitivity is not set, or no system and dataset have any",
        lambda spec: SUITE not in spec["suites"] or _sensitive(spec),
        ("sensitivity",),
        ("sensitivity",),
    ),
    Part(
        "topics",
        "the config has no suite topics",
        lambda spec: TOPICS in spec["suites"],
        ("topics", "topic_deltas"),
        ("topics_f1", "pr_curves", "threshold_sensitivity"),
    ),
    Part(
        "plots of topics",
        "suite topics has only controls",
        lambda spec: TOPICS not in spec["suites"] or bool(_systems(spec, TOPICS)),
        figures=("topics_f1", "pr_curves", "threshold_sensitivity"),
    ),
    Part(
        "differences on topics",
        "suite topics has no NLI system and no second hybrid to compare with",
        lambda spec: TOPICS not in spec["suites"] or _topic_deltas(spec),
        ("topic_deltas",),
    ),
    Part(
        "blend weights",
        "no hybrid was trained",
        lambda spec: any(entry["family"] == "hybridnli" and entry["trained"] for entry in spec["systems"]),
        figures=("alpha",),
    ),
    Part("training curves", "nothing was trained by steps", _trained_by_steps, figures=("training_curves",)),
    Part("", "", lambda spec: True, ("published", "calibration", "cost", "integrity")),
)


def filled(spec: Spec, kind: str) -> list[str]:
    """Names of the run's tables or figures.

    Args:
        spec: the analysis spec.
        kind: "tables" or "figures".
    """
    without = {name for part in PARTS if not part.filled(spec) for name in getattr(part, kind)}
    names = dict.fromkeys(name for part in PARTS for name in getattr(part, kind))
    return [name for name in names if name not in without]


def absent(spec: Spec) -> list[str]:
    """What the run's config leaves empty, each as `no <part>: <why>`."""
    return [f"no {part.title}: {part.without}" for part in PARTS if not part.filled(spec)]
