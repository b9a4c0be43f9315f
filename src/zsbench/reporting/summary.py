"""The report's first lines: plain sentences made from the analysis frames, each true of any run."""

import pandas as pd

from zsbench.plan.contents import absent
from zsbench.reporting.diff import compare_runs
from zsbench.reporting.frames import AVERAGE, SIGNIFICANT, RunData
from zsbench.reporting.marks import UNMOVED, chosen_on
from zsbench.reporting.missing import missing_groups, sets_text
from zsbench.reporting.tables_topics import attribution
from zsbench.store.provenance import read_json
from zsbench.store.status import FAILED

SUITE, TOPICS = "gliclass", "topics"


def sentences(run: RunData) -> list[str]:
    """Who leads, by how much, whether that is significant, and what limits these numbers."""
    parts = [
        _replicas(run),
        _missing(run),
        _suite(run),
        _reference(run),
        _ablations(run),
        _topics(run),
        *_tuning(run),
        _controls(run),
        _unmoved(run),
        _seeds(run),
        _samples(run),
        _absent(run),
    ]
    return [part for part in parts if part]


def _missing(run: RunData) -> str:
    """Every cell without a number, and why."""
    if not run.missing:
        return ""
    groups = missing_groups(run, run.spec["suites"])
    why = [f"{'; '.join(where)} ({word}: {reason.rstrip('.')})" for (word, reason), where in groups.items()]
    failed = any(missing.status == FAILED for missing in run.missing.values())
    again = " The same command tries those again that failed." if failed else ""
    return f"Without numbers: {'; '.join(why)}. Only systems with every set are ranked by their average.{again}"


def joined(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def p_text(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def delta_of(run: RunData, system: str, baseline: str) -> pd.Series | None:
    """The tested difference of suite averages, whichever way round it is stored; None if the pair is not tested."""
    deltas = run.deltas
    rows = deltas[(deltas["suite"] == SUITE) & (deltas["dataset"] == AVERAGE) & deltas["p_holm"].notna()]
    rows = rows[rows["metric"] == "macro_f1"]
    for first, second, sign in ((system, baseline, 1), (baseline, system, -1)):
        found = rows[(rows["system"] == first) & (rows["baseline"] == second)]
        if len(found):
            row = found.iloc[0].copy()
            if sign < 0:
                row["delta"], row["low"], row["high"] = -row["delta"], -row["high"], -row["low"]
            return row
    return None


def _ranking(run: RunData) -> pd.Series:
    """Average macro-F1 of every system that is no control, best first."""
    means = run.suite_means(SUITE)
    if means.empty:
        return pd.Series(dtype=float)
    names = [name for name in run.systems(SUITE, controls=False) if name in means.index]
    return means.loc[names, AVERAGE].dropna().sort_values(ascending=False, kind="stable")


def _suite(run: RunData) -> str:
    ranking = _ranking(run)
    if ranking.empty:
        return ""
    datasets = len(run.datasets(SUITE))
    over = "on its one dataset" if datasets == 1 else f"averaged over {datasets} datasets"
    if len(ranking) == 1:
        others = "" if all(run.complete(SUITE, name) for name in run.systems(SUITE)) else " with every dataset"
        return (
            f"{ranking.index[0]} is the suite's only system{others} beside controls: macro-F1 {ranking.iloc[0]:.3f}"
            f" {over}."
        )
    partly = [name for name in run.systems(SUITE, controls=False) if not run.complete(SUITE, name)]
    whole = " that have them all" if partly else ""
    text = (
        f"{ranking.index[0]} leads the suite: macro-F1 {ranking.iloc[0]:.3f} {over}, the highest of {len(ranking)}"
        f" systems{whole}."
    )
    first, second = ranking.index[:2]
    tested, how = delta_of(run, first, second), "corrected over all pairs of the suite"
    if tested is None:
        tested, how = _test_now(run, first, second), "of this one pair, which was picked for being on top"
    verdict = "significant" if tested["p_holm"] < SIGNIFICANT else "not significant"
    return (
        f"{text} That is {ranking.iloc[0] - ranking.iloc[1]:.3f} above the second, {second}: {verdict} (interval "
        f"{tested['low']:+.3f} to {tested['high']:+.3f}; {p_text(tested['p_holm'])}, {how})."
    )


def _test_now(run: RunData, system: str, baseline: str) -> pd.Series:
    """The paired test of two suite averages that no table holds, by the same method."""
    found = compare_runs(run.root, run.root, (baseline, system), run.spec["statistics"], SUITE).deltas
    return found[found["dataset"] == AVERAGE].iloc[0]


def _reference(run: RunData) -> str:
    ranking = _ranking(run)
    if run.reference not in ranking.index or len(ranking) == 1:
        return ""
    groups: dict[str, list[str]] = {
        "significantly above": [],
        "significantly below": [],
        "not distinguishable from": [],
    }
    for rival in ranking.index.drop(run.reference):
        tested = delta_of(run, run.reference, rival)
        if tested is not None:
            sure = tested["p_holm"] < SIGNIFICANT
            side = "significantly above" if tested["delta"] > 0 else "significantly below"
            groups[side if sure else "not distinguishable from"].append(rival)
    place = list(ranking.index).index(run.reference) + 1
    verdicts = [f"{words} {joined(names)}" for words, names in groups.items() if names]
    text = (
        f"{run.reference}, the system that the tests compare with, has {ranking[run.reference]:.3f} (place {place} of"
        f" {len(ranking)})"
    )
    return f"{text}: {'; '.join(verdicts)}." if verdicts else f"{text}."


def _ablations(run: RunData) -> str:
    deltas = run.deltas
    rows = deltas[(deltas["table"] == "ablations") & (deltas["dataset"] == AVERAGE)]
    if rows.empty:
        return ""
    compound = rows["factor"].str.startswith("compound")
    sets = len(run.datasets(SUITE))
    kinds = ((rows[~compound], "one-factor contrast"), (rows[compound], "compound contrast"))
    parts = [_contrasts(part, kind, sets) for part, kind in kinds]
    return " ".join(part for part in parts if part)


def _contrasts(rows: pd.DataFrame, kind: str, sets: int) -> str:
    """How many contrasts of a kind change the average (over `sets` datasets) significantly, and which most."""
    if rows.empty:
        return ""
    sure = rows[rows["p_holm"] < SIGNIFICANT]
    shown = sure if len(sure) else rows.loc[[rows["delta"].abs().idxmax()]]
    found = [
        f"{row.factor}, {row.system} minus {row.baseline}, {row.delta:+.3f}{sets_text(int(row.n_sets), sets)}"
        f" ({p_text(row.p_holm)})"
        for row in shown.itertuples()
    ]
    count = f"{len(sure) or 'None'} of {len(rows)} {kind}{'s' if len(rows) > 1 else ''}"
    verb = "changes" if len(sure) < 2 else "change"
    lead = "" if len(sure) else "the largest difference is "
    return f"{count} {verb} average macro-F1 significantly: {lead}{'; '.join(found)}."


def _topics(run: RunData) -> str:
    shown = run.topic_protocol()
    if shown is None:
        return ""
    frame = run.metrics
    picked = frame[
        (frame["suite"] == TOPICS)
        & (frame["protocol"] == shown[0])
        & (frame["split"] == shown[1])
        & (frame["metric"] == "macro_f1")
        & frame["system"].isin([name for name in run.systems(TOPICS, controls=False) if run.complete(TOPICS, name)])
    ]
    means = picked.groupby("system", observed=True)["value"].mean().sort_values(ascending=False)
    if means.empty:
        return ""
    trained = set().union(*(run.trained_on(TOPICS, dataset) for dataset in run.datasets(TOPICS)))
    own, others = means[means.index.isin(trained)], means[~means.index.isin(trained)]
    best = others if len(others) else own
    second = f", then {best.index[1]} with {best.iloc[1]:.3f}" if len(best) > 1 else ""
    chosen = any(chosen_on(run, best.index[0], dataset, shown[1]) for dataset in run.datasets(TOPICS))
    apart = len(own) and len(others)
    return (
        f"On the topics ({shown[1]} split, protocol {shown[0]}) {best.index[0]} has the highest macro-F1"
        f"{' of the systems that were not trained on the set' * bool(apart)}, {best.iloc[0]:.3f}{second}."
        f"{' Its weights were chosen on these rows.' if chosen else ''}"
        f"{f' Of those that were, {own.index[0]} has the highest, {own.iloc[0]:.3f}.' if apart else ''}"
    )


def _tuning(run: RunData) -> list[str]:
    """What fitting thresholds gives over 0.5, and how much of a hybrid's gain that is."""
    shown = run.topic_protocol()
    if shown is None or shown[0] == "fixed-0.5":
        return []
    deltas = run.deltas
    rows = deltas[(deltas["suite"] == TOPICS) & (deltas["dataset"] == AVERAGE) & (deltas["factor"] == "thresholds")]
    rows = rows[rows["protocol"] == shown[0]]
    if rows.empty:
        return []
    most = rows.loc[rows["delta"].idxmax()]
    better = int(((rows["delta"] > 0) & (rows["p_holm"] < SIGNIFICANT)).sum())
    text = (
        f"Fitted thresholds ({shown[0]}) give significantly more macro-F1 than 0.5 to {better} of {len(rows)} systems:"
        f" {rows['delta'].median():+.3f} in the median, most to {most['system']} ({most['delta']:+.3f})."
    )
    return [text, *(sentence for sentence in attribution(run) if f", {shown[0]} on " in sentence)]


def _unmoved(run: RunData) -> str:
    """Systems whose training chose no weights."""
    names = [entry["id"] for entry in run.spec["systems"] if entry["id"] in run.unmoved]
    if not names:
        return ""
    return (
        f"No validation was better than the first in the training of {joined(names)} (at least one seed): the weights"
        f" of the first were kept ({UNMOVED} in the tables)."
    )


def _controls(run: RunData) -> str:
    """Systems that a control without any model beats."""
    means = run.suite_means(SUITE)
    trivial = [
        entry["id"]
        for entry in run.spec["systems"]
        if entry["control"] and entry["id"] in means.index and entry["settings"].get("control") != "oracle"
        if run.complete(SUITE, entry["id"])
    ]
    if not trivial:
        return ""
    best = means.loc[trivial, AVERAGE].idxmax()
    level = means.loc[best, AVERAGE]
    below = [name for name, value in _ranking(run).items() if value <= level]
    text = f"The best control without a model is {best} ({level:.3f})"
    return f"{text}; not above it: {joined(below)}." if below else f"{text}; every system is above it."


def _seeds(run: RunData) -> str:
    counts = {len(entry["seeds"]) for entry in run.spec["systems"] if entry["trained"]}
    if not counts:
        return ""
    if counts == {1}:
        return "Trained systems have one seed each: intervals hold the variation of rows, not that between trainings."
    return f"Trained systems have {max(counts)} seeds each; intervals hold the variation of rows and of seeds."


def _replicas(run: RunData) -> str:
    """Says first of all that a rehearsal is one."""
    paths = [run.layout.dataset_card(name) for name in [*run.datasets(SUITE), *run.datasets(TOPICS)]]
    if not any(path.is_file() and read_json(path).get("replica") for path in paths):
        return ""
    return "This is a rehearsal on miniature replicas (made-up rows, random weights): no number below means anything."


def _samples(run: RunData) -> str:
    """Whether the datasets are parts of the published ones."""
    sizes = []
    for name in [*run.datasets(SUITE), *run.datasets(TOPICS)]:
        path = run.layout.dataset_card(name)
        sample = read_json(path).get("sample") if path.is_file() else None
        if sample:
            sizes.append(sample["rows"])
    if not sizes:
        return ""
    return (
        f"{len(sizes)} of the datasets are seeded samples of at most {max(sizes)} rows a split, so these numbers"
        " cannot be compared with published ones on whole test sets."
    )


def _absent(run: RunData) -> str:
    """Parts of a report that this run's config does not fill."""
    parts = absent(run.spec)
    return f"Not in this report: {'; '.join(parts)}." if parts else ""
