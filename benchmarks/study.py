"""The page of the study, from the reports of its runs: `python -m benchmarks.study NAME=RUN...`."""

import hashlib
import re
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from zsbench.cli.main import run
from zsbench.evaluation import verdicts
from zsbench.reporting.diff import compare_runs
from zsbench.reporting.readme import render
from zsbench.reporting.render import interval_text, number, p_text
from zsbench.store.layout import Layout
from zsbench.store.provenance import read_json, write_text

app = typer.Typer(rich_markup_mode=None)
CONTROLS = ("majority", "prior-random", "uniform-random")
_MARKER = re.compile(r"<!-- (begin|end):[\w-]+ -->\n")
_IN_README = re.compile("<!-- study -->.*?<!-- end of study -->", re.DOTALL)
REPORT = Path("reports/study")
PAGE_LINK = "Figures, cells with their texts, and all notes: [index.html](index.html). "
TERMS = {"margin": "the margin", "VICReg": "VICReg", "BCE weight": "BCE"}
BASES = {"joint": "the joint base", "era-d": "era D with the identity head"}  # runs that leave each term out
VALUES, TEXTS = "values", "texts"  # other settings of the terms, and more training texts, both on the joint base
AGAINST = "against.csv"  # in the folder of `TEXTS`: its scores against those of the joint base
TITLES = {
    "joint": "Joint base",
    VALUES: "Other settings on the joint base",
    TEXTS: "More training texts on the joint base",
    "era-d": "Era D with the identity head",
}


def copy_report(name: str, reports: Path, results: Path, out: Path) -> None:
    """Copy the parts of a run to commit: report, tables, figures, config; no texts of test sets, no checkpoints."""
    shutil.rmtree(out / name, ignore_errors=True)
    (out / name).mkdir(parents=True)
    shutil.copy(reports / "summary.json", out / name)
    text = (reports / "REPORT.md").read_text(encoding="utf-8")
    write_text(out / name / "REPORT.md", text.replace(PAGE_LINK, ""))  # the page shows texts of the test sets
    for item in ("tables", "figures"):
        shutil.copytree(reports / item, out / name / item)
    shutil.copy(results / "config.json", out / name / "config.json")
    cells = sorted(results.glob("cells/*/*/*/*/scores.parquet"))
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(results)}\n" for path in cells]
    write_text(out / name / "cells.sha256", "".join(sums))


def compare_texts(few: Path, many: Path, out: Path) -> None:
    """Write what more training texts change: the full loss of two runs, and the cards of their training sets.

    Args:
        few, many: `results/<run>`.
        out: folder for `AGAINST` (see `zsbench compare`), `before.json` and `after.json`.
    """
    deltas = compare_runs(few, many, suite="gliclass").deltas
    deltas[deltas.system == "gliznet-full"].drop(columns="system").to_csv(out / AGAINST, index=False)
    for name, root in (("before", few), ("after", many)):
        training_set = read_json(root / "config.json")["config"]["recipe"]["training_set"]
        shutil.copy(Layout(root).training_set_card(training_set), out / f"{name}.json")


def averages(folder: Path) -> pd.DataFrame:
    """The differences to the full loss on the single-label suite's average, one row per variant, by factor."""
    table = pd.read_csv(folder / "tables" / "ablations.csv")
    chosen = (table.suite == "gliclass") & (table.dataset == "average") & table.factor.isin(TERMS)
    return table[chosen & (table.baseline == "gliznet-full")].set_index("factor")


def left_out(folder: Path) -> pd.DataFrame:
    """The rows of `averages` whose variant leaves one term out."""
    table = averages(folder)
    return table[table.levels.str.startswith(("0 vs", "off vs"))]


def outcome(row: pd.Series) -> str:
    """The effect of leaving a term out on one base, in words, with its interval and the detectable change."""
    delta = f"{number(row.delta, 3, signed=True)} {interval_text(row.low, row.high)}"
    word = {
        verdicts.EFFECT: f"{'lowers' if row.delta < 0 else 'raises'} the average macro-F1",
        verdicts.NO_EFFECT: "changes the average macro-F1 by less than 0.01",
        verdicts.UNDECIDED: "has an undecided effect on the average macro-F1",
    }[row.verdict]
    return f"{word} ({delta}, p {p_text(row.p_adjusted)}; a change of {row.mde:.3f} would probably have been detected)"


def findings(out: Path, names: list[str]) -> str:
    """One paragraph per term: the effect of leaving it out on each base, of its other settings, and what remains open.

    A last one on more training texts, if that run is there.
    """
    tables = {name: left_out(out / name) for name in names if name in BASES}
    others = averages(out / VALUES) if VALUES in names else pd.DataFrame(index=[])
    lines = []
    for factor, term in TERMS.items():
        rows = {name: table.loc[factor] for name, table in tables.items() if factor in table.index}
        told = "; ".join(f"on {BASES[name]} it {outcome(row)}" for name, row in rows.items())
        settings = [row for _, row in others.iterrows() if row.name == factor]
        told += "".join(f". {setting(row)} {outcome(row)}" for row in settings)
        undecided = any(row.verdict == verdicts.UNDECIDED for row in (*rows.values(), *settings))
        question = "the sign where it is undecided" if undecided else "further values of the setting"
        lines.append(f"- **Leaving out {term}**: {told}. Open: {question}, larger encoders, more training texts.")
    if TEXTS in names:
        lines.append(f"- **More training texts**: {more_texts(out / TEXTS)}")
    return "\n".join(textwrap.fill(line, 118, subsequent_indent="  ", break_on_hyphens=False) for line in lines)


def in_short(out: Path, names: list[str]) -> str:
    """A table of the effects of leaving each term out, one column per base."""
    tables = {name: left_out(out / name) for name in names if name in BASES}
    rows = []
    for factor, term in TERMS.items():
        row = {"Left out": term.removeprefix("the ")}
        for name, table in tables.items():
            effect = table.loc[factor]
            delta = f"{number(effect.delta, 3, signed=True)} {interval_text(effect.low, effect.high)}"
            row[TITLES[name]] = f"{delta}, {effect.verdict}"
        rows.append(row)
    return pd.DataFrame(rows).to_markdown(index=False)


def setting(row: pd.Series) -> str:
    """A setting of a term as the subject of a sentence; the row's name is the factor."""
    value, default = row.levels.split(" vs ")
    if row.name == "VICReg":
        return f"Its {value} term alone"
    return f"A {row.name} of {value} instead of {default}"


def more_texts(folder: Path) -> str:
    """The effect of more training texts on the average, in words."""
    row = pd.read_csv(folder / AGAINST).set_index("dataset").loc["average"]
    before, after = (read_json(folder / f"{name}.json")["rows"]["train"] for name in ("before", "after"))
    told = "change" if row.low > 0 or row.high < 0 else "do not measurably change"
    few, many = row.seeds.split(", ")
    return (
        f"{after:,} instead of {before:,} texts, at the same number of steps, {told} the average macro-F1: {row.a:.3f}"
        f" ({few} seeds) to {row.b:.3f} ({many} seeds), {number(row.delta, 3, signed=True)}"
        f" {interval_text(row.low, row.high)}, p {p_text(row.p)}. Open: more steps, texts by other authors."
    )


def curves(folder: Path) -> str:
    """Validation mean AP by step and variant, mean over seeds."""
    points = pd.read_csv(folder / "figures" / "training_curves.csv")
    points = points[points.quantity == "validation"]
    table = points.pivot_table(index="model", columns="step", values="value", aggfunc="mean")
    return table.rename_axis("Mean AP at step").to_markdown(floatfmt=".3f")


def levels(folder: Path) -> str:
    """Where the base itself scores, so that a difference between two poor models is not mistaken for more."""
    values = read_json(folder / "summary.json")["suites"]["gliclass"]["values"]
    mean = {system: by_set["average"] for system, by_set in values.items()}
    control = max((system for system in mean if system in CONTROLS), key=mean.__getitem__)
    return textwrap.fill(
        f"Average macro-F1 with the full loss: {mean['gliznet-full']:.3f}. The encoder before any training scores"
        f" {mean['biencoder']:.3f}, the best control that reads no text ({control}) {mean[control]:.3f}.",
        118,
    )


def against(folder: Path) -> str:
    """The comparison with fewer training texts, one row per data set."""
    table = pd.read_csv(folder / AGAINST)
    titles = read_json(folder / "summary.json")["suites"]["gliclass"]["titles"]
    shown = {
        "Data set": table.dataset.map(lambda name: titles.get(name, name.capitalize())),
        "fewer texts": table.a.map("{:.3f}".format),
        "more texts": table.b.map("{:.3f}".format),
        "Δ": [f"{number(row.delta, 3, signed=True)} {interval_text(row.low, row.high)}" for row in table.itertuples()],
        "p (adjusted)": table.p_adjusted.map(p_text),
    }
    return pd.DataFrame(shown).to_markdown(index=False, disable_numparse=True)


def section(name: str, out: Path) -> str:
    """One run: its size, what differs from the full loss, scores and learning curves."""
    headings = {"scale": f"## {TITLES[name]}", "verdicts": "### Verdicts", "scores": "### Scores"}
    if name == TEXTS:
        headings = {"scale": headings["scale"]}
    text = "".join(
        f"{heading}\n\n<!-- begin:{block} -->\n<!-- end:{block} -->\n\n" for block, heading in headings.items()
    )
    text = _MARKER.sub("", render(text, out / name))
    text += f"{against(out / name) if name == TEXTS else levels(out / name)}\n\n"
    return f"{text}### Validation while training, mean over seeds\n\n{curves(out / name)}\n\n"


def page(out: Path, names: list[str]) -> str:
    """The page in Markdown."""
    sections = "".join(section(name, out) for name in names)
    return f"""# Study: which terms of the loss matter

{findings(out, names)}

GliZNet is trained with three terms: a one-vs-negatives softmax with a margin, a binary cross-entropy beside it, and the
variance and covariance terms of VICReg. The study leaves out one at a time and changes nothing else: seed k of every
variant sees the same texts and labels in the same order. Average: the mean over the four single-label sets. Validation
rows resemble those of training; no test set was used to choose anything.

On the joint base, that of the sample run, labels see the text and not each other. Era D is the published model: labels
see each other. Only its head differs here, the identity instead of the default; this study says nothing about the
default head, which the sample run trains for 80 steps alone, too few for either. All trainings of a base have the same
length. The validation tables show whether they had finished learning;
`docs/search.md` has what a random order scores on these rows.

Limits: one small encoder (MiniLM, 22.7 M parameters) and 1,120 training texts. The margin of equivalence, ±0.01, was
set before the runs. "Detectable" is the smallest true difference that 80 % of such studies would find. Each section is
a run of its own, and p values are adjusted within it.

`make study STUDY=study-terms` (or `study-values`, `study-texts`, `study-era-d`) repeats a run; `make study` has all
nine variants of the joint base in one. `make study-report` writes this page. The whole report of each run, with every
figure, the learning curves and the resolved config, is in `reports/study`.

{sections.strip()}
"""


@app.command()
def main(
    runs: Annotated[list[str] | None, typer.Argument(metavar="NAME=RUN...", help="finished runs to copy first")] = None,
    fewer: Annotated[str, typer.Option(metavar="RUN", help="run that `texts` is compared with")] = "study-values",
) -> None:
    """Copy the reports of the study's runs to `reports/study`, and write its page and its table in the README."""
    for value in runs or ():
        name, _, run_id = value.partition("=")
        if name not in TITLES or not Path("reports", run_id, "summary.json").is_file():
            raise typer.BadParameter(f"{value}: not NAME=RUN with a finished run; allowed names: {', '.join(TITLES)}")
        copy_report(name, Path("reports", run_id), Path("results", run_id), REPORT)
        if name == TEXTS:
            compare_texts(Path("results", fewer), Path("results", run_id), REPORT / TEXTS)
    names = [name for name in TITLES if (REPORT / name / "summary.json").is_file()]
    text = page(REPORT, names)
    write_text(REPORT / "REPORT.md", text)
    write_text(Path("docs/study.md"), text)
    readme = Path("README.md")
    block = f"<!-- study -->\n{in_short(REPORT, names)}\n<!-- end of study -->"
    write_text(readme, _IN_README.sub(lambda _: block, readme.read_text(encoding="utf-8")))
    print("The study: docs/study.md, and its table in README.md")


if __name__ == "__main__":
    sys.exit(run(app, "python -m benchmarks.study"))
