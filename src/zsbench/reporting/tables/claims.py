"""Tables of claims and the evidence for them: claims, confusable labels, label counts, risk and coverage."""

from zsbench.plan.claims import CONTRADICTED, NOT_TESTABLE, RULES, SUPPORTED, UNDECIDED
from zsbench.reporting.frames import AVERAGE, SINGLE, RunData
from zsbench.reporting.render import Column, Table
from zsbench.reporting.tables.base import delta_columns, missing_notes, over_seeds, table, verdict_columns, verdict_note
from zsbench.store.provenance import read_json

SYSTEM, DATASET = Column("System", "system"), Column("Dataset", "title")


@table("claims", "claims")
def claims(run: RunData) -> Table:
    """One row per claim: source, rule, measured value, verdict and reason."""
    frame = run.frame("claims")
    frame = frame.assign(tests=frame["rule"].map({name: rule.tests for name, rule in RULES.items()}))
    columns = (
        Column("Claim", "claim"),
        Column("Source", "source"),
        Column("Rule", "rule"),
        Column("Measured", "measured"),
        Column("Value", "value", "number", interval=("low", "high"), status=""),
        Column("Verdict", "verdict"),
        Column("Why", "why"),
    )
    counts = frame["verdict"].value_counts()
    words = (SUPPORTED, CONTRADICTED, UNDECIDED, NOT_TESTABLE)
    used = [name for name in RULES if name in set(frame["rule"])]
    notes = (
        f"Of {len(frame)} claims: {', '.join(f'{counts.get(word, 0)} {word}' for word in words)}.",
        "Verdicts are about the models and rows of this run; the same rule may decide differently for others."
        f" {UNDECIDED!r} is not evidence for or against a claim.",
        f"Rules: {'; '.join(f'{name}: {RULES[name].tests}' for name in used)}.",
        f"Intervals: {run.spec['statistics']['level']:.0%}. Each claim is judged on its own; for rule better, p is"
        " corrected over all comparisons of the suite.",
    )
    return Table("Claims and verdicts", frame, columns, notes=notes)


@table("confusable", "ablations")
def confusable(run: RunData) -> Table:
    """Accuracy between labels that are similar for the untrained encoder: one-factor contrasts."""
    frame = run.frame("confusable")
    frame = frame[frame["dataset"] == AVERAGE]
    frame = frame.assign(of_sets=frame.groupby("suite")["n_sets"].transform("max"))
    columns = (
        *([Column("Suite", "suite")] if frame["suite"].nunique() > 1 else []),
        SYSTEM,
        Column("Against", "baseline"),
        Column("Factor", "factor"),
        Column("Levels", "levels"),
        Column("Accuracy", "value", "number"),
        Column("Baseline accuracy", "baseline_value", "number"),
        *delta_columns("Δ"),
        *verdict_columns(run),
    )
    notes = (
        *_pairs_note(run),
        "Accuracy between confusable labels: for each row whose label has confusable labels, the share of those that"
        " score below the true label; ties count half. Averaged over rows, then over sets.",
        verdict_note(run),
    )
    title = "Confusable labels: accuracy between labels that are similar for the untrained encoder"
    return Table(title, frame, columns, notes=notes)


def _pairs_note(run: RunData) -> list[str]:
    """Which pairs of labels are confusable."""
    path = run.layout.label_pairs
    if not path.is_file():
        return []
    record, shown = read_json(path), []
    for suite in run.suites(SINGLE):
        for name, entry in run.datasets(suite).items():
            pairs = [f"{entry['labels'][a]} / {entry['labels'][b]}" for a, b in record["pairs"].get(name, [])]
            more = f" and {len(pairs) - 3} more" if len(pairs) > 3 else ""
            shown.append(f"{entry['title']}: {', '.join(pairs[:3]) or 'none'}{more}")
    return [
        f"Pairs of labels with a cosine similarity above {record['cosine']:g} in {record['encoder']}: "
        f"{'; '.join(shown)}."
    ]


@table("risk_coverage", "sensitivity")
def risk_coverage(run: RunData) -> Table:
    """Accuracy of the most confident answers, and the area under the risk-coverage curve."""
    frame = over_seeds(run, "coverage", ["suite", "system", "dataset"], rows=("rows", "first"))
    measures = [name for name in frame.columns if name.startswith(("accuracy", "aurc"))]
    shares = [(name, name.removeprefix("accuracy_")) for name in measures if name.startswith("accuracy_")]
    columns = (
        SYSTEM,
        DATASET,
        Column("n", "rows", "count"),
        *(Column(f"Accuracy at {share} %", name, "number") for name, share in shares),
        Column("Accuracy at 100 %", "accuracy", "number"),
        Column("AURC", "aurc", "number", interval=("aurc_low", "aurc_high")),
    )
    notes = (
        "Accuracy at 80 %: on the 80 % of rows with the highest confidence (as defined in the calibration table); a "
        "system that knows when it is wrong gains a lot by abstaining.",
        "AURC: area under the risk-coverage curve, i.e. the error rate among the k most confident rows, averaged over "
        "k; lower is better. 95 % bootstrap interval over rows; means over seeds.",
        *missing_notes(run, run.suites(SINGLE)),
    )
    names = ["system", "dataset", "title", "rows", *measures]
    return Table("Risk and coverage: accuracy of the most confident answers", frame[names], columns, notes=notes)


@table("label_counts", "cost")
def label_counts(run: RunData) -> Table:
    """Accuracy, tokens and time of all systems by number of labels."""
    frame = run.frame("label_counts")
    columns = (
        SYSTEM,
        Column("Kind", "kind"),
        Column("Labels", "labels", "count"),
        Column("Texts", "rows", "count"),
        Column("Accuracy", "accuracy", "number", interval=("low", "high")),
        Column("Macro-F1", "macro_f1", "number"),
        Column("Tokens/text", "tokens", "number", 1),
        Column("First text", "first_tokens", "count"),
        Column("Sequences", "sequences", "number", 1),
        Column("ms/text", "milliseconds", "number", 1, volatile=True),
        Column("Not measured", "skipped"),
    )
    notes = (
        "The labels of a set, padded with distractors from the labels of all sets and of the training texts that share "
        f"no word with them: {', '.join(dict.fromkeys(frame['datasets'].dropna()))}. A distractor may still be correct "
        "for a text; this affects all systems alike.",
        "Tokens and sequences: encoder input per additional text, without padding. First text: tokens if the labels"
        " are new as well. ms/text: all texts in one call, on the machine of this run.",
        f"Accuracy: {run.level} bootstrap interval over texts. Not measured: the encoder would read more tokens than"
        " the budget (scoring.label_counts.tokens), extrapolated from the previous count.",
    )
    return Table("Quality and cost by number of labels", frame, columns, notes=notes)


@table("label_slopes", "cost")
def label_slopes(run: RunData) -> Table:
    """How accuracy, tokens and time change with the number of labels: one row per system."""
    frame = run.frame("label_slopes")
    ends = {"kind": ("kind", "first"), "fewest": ("fewest", "min"), "most": ("most", "max")}
    wide = frame.groupby("system", sort=False).agg(**ends)
    for metric in ("accuracy", "tokens", "milliseconds"):
        slopes = frame[frame["metric"] == metric].set_index("system")[["slope", "low", "high"]]
        wide = wide.join(slopes.add_prefix(f"{metric}_"))
    wide = wide.reset_index()

    def column(title: str, metric: str, digits: int, volatile: bool = False) -> Column:
        ends = (f"{metric}_low", f"{metric}_high")
        return Column(title, f"{metric}_slope", "signed", digits, interval=ends, volatile=volatile)

    columns = (
        SYSTEM,
        Column("Kind", "kind"),
        Column("From", "fewest", "count"),
        Column("To", "most", "count"),
        column("Accuracy per tenfold labels", "accuracy", 3),
        column("Tokens per label", "tokens", 3),
        column("ms per label", "milliseconds", 3, volatile=True),
    )
    notes = (
        "Slopes of least-squares fits over the measured numbers of labels. Accuracy: per tenfold number of labels, "
        "with a bootstrap interval over texts. Tokens and time: per additional label and text, with a Student-t "
        "interval over the counts.",
        "If a cost does not depend on the number of labels, its slope is 0.",
    )
    return Table("Slopes over the number of labels", wide, columns, notes=notes)
