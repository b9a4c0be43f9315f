"""The report's first lines: plain sentences made from the analysis frames, the answer first."""

import pandas as pd

from zsbench.plan.contents import absent
from zsbench.reporting.frames import AVERAGE, SINGLE, RunData
from zsbench.reporting.render import MARKS, interval_text, number
from zsbench.reporting.tables.base import best_trivial, missing_groups
from zsbench.reporting.tables.multi import attribution
from zsbench.store.cells import FAILED


def sentences(run: RunData) -> list[str]:
    """Who leads each suite and whether that is significant, what ablations change, and what limits these numbers."""
    said = [
        _replicas(run),
        *(_leader(run, suite) for suite in run.spec["suites"]),
        _ablations(run),
        _limits(run),
        _missing(run),
        _absent(run),
    ]
    return [sentence for sentence in said if sentence]


def joined(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _leader(run: RunData, suite: str) -> str:
    """The best system of a suite, and how those that it was tested with compare."""
    means = run.suite_means(suite)[AVERAGE].dropna()
    systems = means[[name for name in means.index if name not in run.controls]]
    if systems.empty:
        return ""
    trained = {
        name for dataset in run.datasets(suite) for name, seen in run.seen(suite, dataset).items() if seen == "yes"
    }
    fair = systems[~systems.index.isin(trained)]  # a supervised row would lead the zero-shot ones
    ranking = (fair if len(fair) else systems).sort_values(ascending=False, kind="stable")
    sets = len(run.datasets(suite))
    protocol, split = run.decision(suite) or ("", "")
    how = "" if protocol == "argmax" else f" under {protocol} on the {split} split"
    over = f"on average over {sets} datasets" if sets > 1 else "on its one dataset"
    who = "system that was not trained on its data" if len(fair) < len(systems) else "system"
    rank = f"the highest of {len(ranking)} {who.replace('system', 'systems', 1).replace('was', 'were')}"
    metric = run.metric_name(suite)
    article = "an" if metric[0] in "aeiou" else "a"
    text = (
        f"{ranking.index[0]} leads {run.suite_title(suite)} with {article} {metric} of {ranking.iloc[0]:.3f}"
        f" {over}{how}, {rank if len(ranking) > 1 else f'the only {who}'}"
    )
    if run.spec["suites"][suite]["task"] == SINGLE:
        text += _tested(run, suite, ranking)
    else:
        supervised = systems[systems.index.isin(trained)].sort_values(ascending=False)
        if len(fair) and len(supervised):
            text += f"; of those that were, {supervised.index[0]} has the highest, {supervised.iloc[0]:.3f}"
        said = [sentence for sentence in attribution(run, suite) if f", {protocol} on {split}:" in sentence]
        text = ". ".join([text, *(sentence.rstrip(".") for sentence in said[:1])])
    control = best_trivial(run, suite, means.to_dict())
    below = [name for name, value in ranking.items() if control is not None and value <= control]
    return f"{text}.{f' Not above the best control without a model ({control:.3f}): {joined(below)}.' if below else ''}"


def _tested(run: RunData, suite: str, ranking: pd.Series) -> str:
    """The reference's tested differences to the others, in words."""
    rows = run.deltas[(run.deltas["table"] == f"{suite}_suite") & (run.deltas["dataset"] == AVERAGE)]
    tests = rows.set_index("baseline")
    first = ranking.index[0]
    rivals = [name for name in ranking.index if name in tests.index]
    if run.reference not in ranking.index or not rivals:
        return ""
    groups: dict[str, list[str]] = {
        "significantly above": [],
        "significantly below": [],
        "not distinguishable from": [],
        "not tested against": [],  # two seeds
    }
    for rival in rivals:
        row = tests.loc[rival]
        sure = row["p_adjusted"] < run.alpha
        side = "significantly above" if row["delta"] > 0 else "significantly below"
        unsure = "not tested against" if pd.isna(row["p_adjusted"]) else "not distinguishable from"
        groups[side if sure else unsure].append(rival)
    other = rivals[0] if first == run.reference else first
    row = tests.loc[other]
    verdicts = [f"{words} {joined(names)}" for words, names in groups.items() if names]
    p = "" if pd.isna(row["p_adjusted"]) else f" (adjusted p {number(row['p_adjusted'], 4)})"
    return (
        f". The reference {run.reference} ({ranking[run.reference]:.3f}) differs from {other} by {row['delta']:+.3f}"
        f" {interval_text(row['low'], row['high'])}{p};"
        f" it is {'; '.join(verdicts)}"
    )


def _ablations(run: RunData) -> str:
    """How many contrasts change the average significantly, and which most."""
    rows = run.deltas[(run.deltas["table"] == "ablations") & (run.deltas["dataset"] == AVERAGE)]
    if rows.empty:
        return ""
    sure = rows[rows["p_adjusted"] < run.alpha]
    shown = sure if len(sure) else rows.loc[[rows["delta"].abs().idxmax()]]
    changes = [f"{row.factor} ({row.system} minus {row.baseline}: {row.delta:+.3f})" for row in shown.itertuples()]
    count = f"{len(sure) or 'None'} of {len(rows)} contrasts between variants"
    lead = "" if len(sure) else "the largest difference is "
    if rows["p_adjusted"].isna().all():  # two seeds
        return f"The {len(rows)} contrasts between variants are not tested: {lead}{changes[0]}."
    return f"{count} {'changes' if len(sure) == 1 else 'change'} the average significantly: {lead}{'; '.join(changes)}."


def _limits(run: RunData) -> str:
    """What seeds, samples and selection leave out."""
    counts = {len(entry["seeds"]) for entry in run.spec["systems"] if entry["trained"]}
    limits = []
    if counts == {1}:
        limits.append("trained systems have one seed each, so intervals hold the variation of rows alone")
    elif counts:
        limits.append(f"trained systems have {max(counts)} seeds each, whose variation is in the intervals")
    samples = [card["sample"]["rows"] for name in run.titles if (card := run.dataset_card(name)).get("sample")]
    if samples:
        limits.append(
            f"{len(samples)} datasets are seeded samples of at most {max(samples)} rows a split, not comparable with"
            " published numbers on whole test sets"
        )
    names = [entry["id"] for entry in run.spec["systems"] if entry["id"] in run.unmoved]
    if names:
        limits.append(f"the metric that chooses weights never moved for {joined(names)} ({MARKS['unmoved']})")
    return f"Limits: {'; '.join(limits)}." if limits else ""


def _missing(run: RunData) -> str:
    """Every cell without a number, and why."""
    if not run.missing:
        return ""
    groups = missing_groups(run, run.spec["suites"])
    why = [f"{'; '.join(where)} ({word}: {reason.rstrip('.')})" for (word, reason), where in groups.items()]
    again = " The same command tries those again that failed." * any(m.status == FAILED for m in run.missing.values())
    return f"Without numbers: {'; '.join(why)}. Only systems with every dataset are ranked by their average.{again}"


def _replicas(run: RunData) -> str:
    """Says first of all that a rehearsal is one."""
    if not any(run.dataset_card(name).get("replica") for name in run.titles):
        return ""
    return "This is a rehearsal on miniature replicas (made-up rows, random weights): no number below means anything."


def _absent(run: RunData) -> str:
    """What of a report this run's config leaves out."""
    lacks = absent(run.spec)
    return f"Not in this report: {'; '.join(lacks)}." if lacks else ""
