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
from zsbench.reporting.readme import render
from zsbench.reporting.render import interval_text, number, p_text
from zsbench.store.provenance import read_json, write_text

app = typer.Typer(rich_markup_mode=None)
CONTROLS = ("majority", "prior-random", "uniform-random")
_MARKER = re.compile(r"<!-- (begin|end):[\w-]+ -->\n")
REPORT = Path("reports/study")
TERMS = {"margin": "the margin", "VICReg": "VICReg", "BCE weight": "BCE"}
BASES = {"joint": "the joint base", "era-d": "era D with the identity head"}


def copy_report(name: str, reports: Path, results: Path, out: Path) -> None:
    """Copy the parts of a run to commit: report, tables, figures and resolved config, but no rows or checkpoints."""
    shutil.rmtree(out / name, ignore_errors=True)
    (out / name).mkdir(parents=True)
    for item in ("index.html", "REPORT.md", "summary.json"):
        shutil.copy(reports / item, out / name / item)
    for item in ("tables", "figures"):
        shutil.copytree(reports / item, out / name / item)
    shutil.copy(results / "config.json", out / name / "config.json")
    cells = sorted(results.glob("cells/*/*/*/*/scores.parquet"))
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(results)}\n" for path in cells]
    write_text(out / name / "cells.sha256", "".join(sums))


def averages(folder: Path) -> pd.DataFrame:
    """The differences of the single-label suite's average, one row per variant that leaves one term out."""
    table = pd.read_csv(folder / "tables" / "ablations.csv")
    chosen = (table.suite == "gliclass") & (table.dataset == "average") & table.factor.isin(TERMS)
    left_out = table.levels.str.startswith(("0 vs", "off vs"))
    return table[chosen & left_out].set_index("factor")


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
    """One paragraph per term: the effect of leaving it out on each base, and what remains open."""
    tables = {name: averages(out / name) for name in names}
    lines = []
    for factor, term in TERMS.items():
        rows = {name: table.loc[factor] for name, table in tables.items() if factor in table.index}
        told = "; ".join(f"on {BASES[name]} it {outcome(row)}" for name, row in rows.items())
        undecided = any(row.verdict == verdicts.UNDECIDED for row in rows.values())
        question = "the sign where it is undecided" if undecided else "other values of the setting"
        line = f"- **Leaving out {term}**: {told}. Open: {question}, larger encoders, more training texts."
        lines.append(textwrap.fill(line, 118, subsequent_indent="  ", break_on_hyphens=False))
    return "\n".join(lines)


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


def page(out: Path, names: list[str]) -> str:
    """The page in Markdown."""
    sections = ""
    for name in names:
        title = BASES[name].removeprefix("the ")
        headings = {"scale": f"## {title[0].upper()}{title[1:]}", "verdicts": "### Verdicts", "scores": "### Scores"}
        blocks = "".join(
            f"{heading}\n\n<!-- begin:{block} -->\n<!-- end:{block} -->\n\n" for block, heading in headings.items()
        )
        blocks += f"{levels(out / name)}\n\n"
        learned = f"### Validation while training, mean over seeds\n\n{curves(out / name)}\n"
        sections += f"{_MARKER.sub('', render(blocks, out / name))}{learned}\n"
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
set before the runs. "Detectable" is the smallest true difference that 80 % of such studies would find.

`make study STUDY=study-terms` and `make study STUDY=study-era-d` repeat the two runs; `make study` is the full study of
nine variants on the joint base. `make study-report` writes this page. The whole report of each run, with every figure,
the learning curves and the resolved config, is in `reports/study`.

{sections.strip()}
"""


@app.command()
def main(
    runs: Annotated[list[str] | None, typer.Argument(metavar="NAME=RUN...", help="finished runs to copy first")] = None,
) -> None:
    """Copy the reports of the study's runs to `reports/study` and write its page."""
    for value in runs or ():
        name, _, run_id = value.partition("=")
        if name not in BASES or not Path("reports", run_id, "summary.json").is_file():
            raise typer.BadParameter(f"{value}: not NAME=RUN with a finished run; allowed names: {', '.join(BASES)}")
        copy_report(name, Path("reports", run_id), Path("results", run_id), REPORT)
    text = page(REPORT, [name for name in BASES if (REPORT / name / "summary.json").is_file()])
    write_text(REPORT / "REPORT.md", text)
    write_text(Path("docs/study.md"), text)
    print("The study: docs/study.md")


if __name__ == "__main__":
    sys.exit(run(app, "python -m benchmarks.study"))
