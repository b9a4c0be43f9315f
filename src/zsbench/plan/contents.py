"""The contents of a report: its tables and figures, and a description of what is missing, from the analysis spec alone.

Used by the plan (files to expect), the renderers (files to write) and the page (what it lists as absent). Tables and
figures of a suite are named after it: `<id>_suite` for single-label suites, `<id>` and `<id>_deltas` for multi-label.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from zsbench.families import INSENSITIVE, JOINT
from zsbench.plan.comparisons import deltas_table, derive, hybrid_contrasts, peers, suite_table
from zsbench.plan.suites import suite_systems, suites_of

Spec = dict[str, Any]  # the analysis spec

OF_SINGLE = ("ablations", "confusable", "peers", "sensitivity", "risk_coverage")  # tables over all single-label suites
OF_ALL = ("published", "calibration", "cost", "parameters", "integrity")
OF_LABEL_COUNTS = ("label_counts", "label_slopes")


@dataclass(frozen=True)
class ReportItem:
    """A table or figure.

    Attributes:
        kind: kind of content; also the name of its caption in `workflow/report/`.
        suite: the suite it is about; "" if it is about all suites.
    """

    kind: str
    suite: str = ""


def tables(spec: Spec) -> dict[str, ReportItem]:
    """The tables of a run by name, in report order."""
    single, multi = suites_of(spec, "single"), suites_of(spec, "multi")
    items = {suite_table(suite): ReportItem("suite", suite) for suite in single}
    items |= {name: ReportItem(name) for name in OF_SINGLE if single and not _lacks(spec, name)}
    for suite in multi:
        items[suite] = ReportItem("multi", suite)
        if _has_deltas(spec, suite):
            items[deltas_table(suite)] = ReportItem("deltas", suite)
    items |= {"claims": ReportItem("claims")} if spec.get("claims") else {}
    items |= {name: ReportItem(name) for name in OF_ALL}
    return items | {name: ReportItem(name) for name in OF_LABEL_COUNTS if spec.get("label_counts")}


def figures(spec: Spec) -> dict[str, ReportItem]:
    """The figures of a run by name, in report order."""
    single, multi = ([s for s in suites_of(spec, task) if _systems(spec, s)] for task in ("single", "multi"))
    items: dict[str, ReportItem] = {}
    for suite in single:
        items[f"{suite}_heatmap"] = ReportItem("heatmap", suite)
        if _is_compared(spec, suite):
            items[f"{suite}_forest"] = ReportItem("forest", suite)
    if suites_of(spec, "single") and not _lacks(spec, "ablations"):
        items["ablations"] = ReportItem("ablations")
    if single:
        items |= {name: ReportItem(name) for name in ("cost", "reliability")}
        if not _lacks(spec, "sensitivity"):
            items["sensitivity"] = ReportItem("sensitivity")
    if spec.get("label_counts"):
        items["label_counts"] = ReportItem("label_counts")
    for suite in multi:
        items |= {f"{suite}_{kind}": ReportItem(kind, suite) for kind in ("f1", "pr_curves", "threshold_sensitivity")}
    trained = [entry["family"] == "hybridnli" for entry in spec["systems"] if entry["trained"]]
    if any(trained):
        items["alpha"] = ReportItem("alpha")
    if not all(trained):
        items["training_curves"] = ReportItem("training_curves")
    return items


def absent(spec: Spec) -> list[str]:
    """What the report lacks because of the config, as lines `no <what>: <why>`."""
    return [f"no {what}: {why}" for what, why in _absent(spec)]


def _absent(spec: Spec) -> Iterator[tuple[str, str]]:
    single, multi = suites_of(spec, "single"), suites_of(spec, "multi")
    if not single:
        yield "single-label suite", "the config has no suite of task single"
    for suite in single:
        if not _systems(spec, suite):
            yield f"plots of {suite}", "the suite has only controls"
        if not _is_compared(spec, suite):
            yield (
                f"comparison of systems on {suite}",
                "the suite has no second system to compare statistics.system with",
            )
    for name, what in (
        ("ablations", "ablations"),
        ("peers", "comparison of trained systems of different kinds"),
        ("sensitivity", "label orders and wordings"),
        ("confusable", "confusable labels"),
    ):
        if single and (why := _lacks(spec, name)):
            yield what, why
    if single and not spec.get("label_counts"):
        yield "increasing numbers of labels", "scoring.label_counts is not set"
    if not multi:
        yield "multi-label suite", "the config has no suite of task multi"
    for suite in multi:
        if not _systems(spec, suite):
            yield f"plots of {suite}", "the suite has only controls"
        if not _has_deltas(spec, suite):
            yield f"differences on {suite}", "the suite has no NLI system and no second hybrid to compare with"
    if not spec.get("claims"):
        yield "claims", "those of the project are about GliZNet and HybridNLI, and the config names none"
    trained = [entry["family"] for entry in spec["systems"] if entry["trained"]]
    if "hybridnli" not in trained:
        yield "blend weights", "no hybrid was trained"
    if set(trained) <= {"hybridnli"}:
        yield "training curves", "nothing was trained step by step"


def _systems(spec: Spec, suite: str) -> list[dict[str, Any]]:
    """Systems of a suite, except controls."""
    return [entry for entry in suite_systems(spec, suite) if not entry["control"]]


def _is_compared(spec: Spec, suite: str) -> bool:
    """Whether the reference system is in the suite together with at least one other system."""
    ids = [entry["id"] for entry in _systems(spec, suite)]
    return spec["statistics"]["system"] in ids and len(ids) > 1


def _lacks(spec: Spec, table: str) -> str:
    """Why a table over all single-label suites is empty; "" if it is not."""
    single = suites_of(spec, "single")
    if table == "ablations":
        return (
            ""
            if any(derive(spec["gliznet"]))
            else "no two variants differ in exactly one factor, and no compound is defined"
        )
    if table == "confusable":
        if not spec.get("confusable"):
            return "scoring.confusable is not set"
        return "" if any(derive(spec["gliznet"])) else "no two variants differ in exactly one factor"
    if table == "risk_coverage":
        return "" if any(_systems(spec, suite) for suite in single) else "the suites have only controls"
    if table == "peers":
        kinds = max((len(peers(spec, suite)) for suite in single), default=0)
        return "" if kinds > 1 else "fewer than two kinds of system were trained"
    if any(_is_sensitive(spec, suite) for suite in single):
        return ""
    return "scoring.sensitivity is not set, or does not apply to any system and dataset"


def _is_sensitive(spec: Spec, suite: str) -> bool:
    """Whether any system is scored with other label orders or label wordings."""
    options, systems = spec["sensitivity"], _systems(spec, suite)
    families = {entry["family"] for entry in systems if entry["id"] in options.get("systems", [entry["id"]])}
    if options.get("orders", 0) > 0 and not families.isdisjoint(JOINT):
        return True
    worded = options.get("wordings", False) and not families <= set(INSENSITIVE)
    return worded and any(entry["wordings"] > 1 for entry in spec["suites"][suite]["datasets"])


def _has_deltas(spec: Spec, suite: str) -> bool:
    """Whether the suite has an NLI system and another one, or a hybrid with an ablation."""
    families = [entry["family"] for entry in _systems(spec, suite)]
    return ("nli" in families and len(families) > 1) or any(hybrid_contrasts(spec, suite))
