"""The summary at the top of a report: at most five sentences computed from the analysis frames, main result first."""

import pandas as pd

from zsbench.evaluation.verdicts import NO_EFFECT, UNDECIDED
from zsbench.reporting.frames import AVERAGE, SINGLE, RunData
from zsbench.reporting.header import sampled
from zsbench.reporting.render import interval_text, number, p_text
from zsbench.reporting.tables.base import best_trivial

MOST_LEADERS, MOST_NAMES = 2, 4  # suites with their own statement; names in one list


def sentences(run: RunData) -> list[str]:
    """Which system leads, whether that is significant, what ablations change, systems below chance, and limitations."""
    leaders = [sentence for suite in run.spec["suites"] if (sentence := _leader(run, suite))][:MOST_LEADERS]
    return [sentence for sentence in (*leaders, _ablations(run), _below(run), _limits(run)) if sentence]


def joined(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`; for a long list, the first few and the number of others."""
    if len(names) > MOST_NAMES + 1:
        names = [*names[:MOST_NAMES], f"{len(names) - MOST_NAMES} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _ranking(run: RunData, suite: str) -> tuple[pd.Series, bool]:
    """Average of each zero-shot system, best first, and whether systems trained on the suite's data were excluded."""
    means = run.suite_means(suite)[AVERAGE].dropna()
    systems = means[~means.index.isin(run.controls)].sort_values(ascending=False, kind="stable")
    trained = {
        name for dataset in run.datasets(suite) for name, seen in run.seen(suite, dataset).items() if seen == "yes"
    }
    fair = systems[~systems.index.isin(trained)]
    return (fair, len(fair) < len(systems)) if len(fair) else (systems, False)


def _leader(run: RunData, suite: str) -> str:
    """The best system of a suite, and how the reference compares with it."""
    ranking, others = _ranking(run, suite)
    if ranking.empty:
        return ""
    best, sets = ranking.index[0], len(run.datasets(suite))
    verb, among = "is alone on", ""
    if len(ranking) > 1:
        verb = "leads"
        among = f", the highest of {len(ranking)} systems{' that were not trained on its data' * others}"
    text = (
        f"{best} {verb} {run.suite_title(suite)}: {run.metric_name(suite)} {ranking.iloc[0]:.3f}"
        f"{f' on average over {sets} datasets' * (sets > 1)}{among}"
    )
    text += _below_its_encoder(run, ranking)
    return text + (_tested(run, suite, ranking) if run.spec["suites"][suite]["task"] == SINGLE else "") + "."


def _below_its_encoder(run: RunData, ranking: pd.Series) -> str:
    """A statement that the reference is worse than its own encoder before training, if the run shows that."""
    recipes = {model: record.get("spec", {}).get("recipe", {}) for (model, _), record in run.trainings.items()}
    backbone = recipes.get(str(run.system(run.reference).get("model")), {}).get("backbone")
    before = [name for name in ranking.index if backbone and run.system(name).get("model") == backbone]
    if not before or run.reference not in ranking.index or ranking[before[0]] <= ranking[run.reference]:
        return ""
    values = f"{ranking[run.reference]:.3f} vs. {ranking[before[0]]:.3f}"
    return f". The reference {run.reference} scores below its untrained encoder {before[0]} ({values})"


def _tested(run: RunData, suite: str, ranking: pd.Series) -> str:
    """The difference between the reference and the best other system."""
    tests = run.against_reference(suite).query("dataset == @AVERAGE").set_index("system")
    rivals = [name for name in ranking.index if name in tests.index]
    if run.reference not in ranking.index or not rivals:
        return ""
    row, sure = tests.loc[rivals[0]], tests.loc[rivals, "p_adjusted"] < run.alpha
    difference = f"{number(row['delta'], 3, signed=True)} {interval_text(row['low'], row['high'])}"
    text = f". {rivals[0]} minus the reference {run.reference} is {difference}"
    if pd.isna(row["p_adjusted"]):  # two seeds
        return f"{text} (not tested)"
    verdict = f"{'' if sure[rivals[0]] else 'not '}significant, adjusted p {p_text(row['p_adjusted'])}"
    above, below = ((sure & (tests.loc[rivals, "delta"] * sign < 0)).sum() for sign in (1, -1))
    others = f"significantly better than {above} and worse than {below} of {len(rivals)} others"
    return f"{text} ({verdict}); the reference is {others}"


def _ablations(run: RunData) -> str:
    """How many ablations change the average significantly, the largest changes, and the power for the others."""
    rows = run.deltas[(run.deltas["table"] == "ablations") & (run.deltas["dataset"] == AVERAGE)]
    if rows.empty:
        return ""
    rows = rows.sort_values("delta", key=abs, ascending=False, kind="stable")
    sure = rows[rows["p_adjusted"] < run.alpha]
    shown = sure if len(sure) else rows.head(1)
    changes = joined(
        [
            f"{row.factor} ({row.system}: {number(row.delta, 3, True)} {interval_text(row.low, row.high)})"
            for row in shown.itertuples()
        ]
    )
    single = len(rows) == 1
    if rows["p_adjusted"].isna().all():  # two seeds
        which = "The ablation is" if single else f"The {len(rows)} ablations are"
        return f"{which} not tested; the largest difference is {changes}."
    undecided = rows[rows["verdict"] == UNDECIDED]
    missed = (
        joined([f"{row.factor} (±{number(row.mde, 3)})" for row in undecided.itertuples()]) if len(undecided) else ""
    )
    none = rows.loc[rows["verdict"] == NO_EFFECT, "factor"].tolist()
    rest = f" No effect beyond ±{run.spec['statistics']['margin']:g}: {joined(none)}." if none else ""
    rest += f" Undecided, with the smallest difference detectable at 80 % power: {missed}." * bool(missed)
    if len(sure):
        change = "changes" if len(sure) == 1 else "change"
        which = "The ablation changes" if single else f"{len(sure)} of {len(rows)} ablations {change}"
        return f"{which} the average significantly: {changes}.{rest}"
    which = "The ablation does not change" if single else f"None of {len(rows)} ablations changes"
    return f"{which} the average significantly; the largest difference is {changes}.{rest}"


def _below(run: RunData) -> str:
    """Systems that are no better than a trivial control, per suite."""
    parts = []
    for suite in run.spec["suites"]:
        values = run.suite_means(suite)[AVERAGE].dropna().to_dict()
        control = best_trivial(run, suite, values)
        names = [
            name
            for name, value in values.items()
            if control is not None and name not in run.controls and value <= control
        ]
        parts += [f"{joined(names)} on {run.suite_title(suite)} ({control:.3f})"] if names else []
    return f"No better than the best control that ignores the text: {'; '.join(parts)}." if parts else ""


def _limits(run: RunData) -> str:
    """Limitations due to seeds, sampling, model selection and missing cells."""
    seeds, limits = len(run.trained_seeds), []
    if seeds == 1:
        limits.append("one seed per trained system, so intervals reflect only the sampling of rows")
    elif seeds:
        limits.append(f"{seeds} seeds per trained system (their variation is included in the intervals)")
    samples = sum(sampled(card) for name in run.titles if (card := run.dataset_card(name)))
    if samples:
        which = f"{samples} of {len(run.titles)} datasets" if len(run.titles) > 1 else "the dataset"
        limits.append(f"{which} {'is a sample' if samples == 1 else 'are samples'}")
    if names := [entry["id"] for entry in run.spec["systems"] if entry["id"] in run.unmoved]:
        limits.append(f"validation never improved for {joined(names)} (§)")
    if run.missing:
        limits.append(f"no numbers for {_without_numbers(run)}")
    return f"Limits: {'; '.join(limits)}." if limits else ""


def _without_numbers(run: RunData, at_most: int = 3) -> str:
    """The first few missing results with their reasons, and the number of others."""
    phrases = [
        f"{system} on {run.titles[dataset]} ({cell.word}: {cell.reason})"
        for (_, dataset, system), cell in run.missing.items()
    ]
    rest = len(phrases) - at_most
    return ", ".join(phrases[:at_most]) + (f" and {rest} more (named on the page)" if rest > 0 else "")
