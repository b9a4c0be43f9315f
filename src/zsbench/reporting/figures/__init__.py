"""Every figure of a report, by name. A figure whose data a run does not have is not written."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsbench.plan import contents
from zsbench.reporting.figures import checks, suite, topics, training
from zsbench.reporting.figures.style import Drawing, empty_drawing, house_style, save
from zsbench.reporting.frames import RunData
from zsbench.reporting.missing import missing_notes
from zsbench.store.provenance import write_json

INDEX = "figures.json"
SUITES: dict[str, list[str]] = {"topics": ["topics"], "training": []}  # whose cells a section's figures show, if others


@dataclass(frozen=True)
class FigureEntry:
    """A figure's place in the report."""

    name: str  # file name without ending; also the name of its caption in workflow/report/
    section: str  # section of the page that shows it
    title: str
    draw: Callable[[RunData], Drawing | None]  # None: the run has no data for it


FIGURES = (
    FigureEntry("gliclass_heatmap", "suite", "Macro-F1 by dataset and system", suite.suite_heatmap),
    FigureEntry("gliclass_forest", "suite", "The reference against each competitor", suite.delta_forest),
    FigureEntry("ablations", "ablations", "What each factor changes", suite.ablations),
    FigureEntry("topics_f1", "topics", "F1 by label", topics.topics_f1),
    FigureEntry("topics_pr_curves", "topics", "Precision against recall", topics.pr_curves),
    FigureEntry("topics_threshold_sensitivity", "topics", "F1 against the threshold", topics.threshold_sensitivity),
    FigureEntry("cost", "cost", "Accuracy against speed", suite.cost),
    FigureEntry("throughput", "cost", "Speed against the number of labels", suite.throughput),
    FigureEntry("sensitivity", "sensitivity", "Label order and wording", checks.sensitivity),
    FigureEntry("reliability", "sensitivity", "Reliability", checks.reliability),
    FigureEntry("training_curves", "training", "Training curves", training.training_curves),
    FigureEntry("alpha", "training", "Blend weights over the epochs", training.alpha),
)


def write_figures(root: Path, spec: dict[str, Any], out: Path) -> list[Path]:
    """Draw every figure that the run's config fills.

    Args:
        root: `results/<run>`.
        spec: the analysis spec.
        out: folder of the figures (`reports/<run>/figures`); files of an earlier drawing are replaced, and those of a
            figure that the run no longer has are removed.

    Returns:
        Written files: `<name>.svg`, `.png` and `.csv` (the drawn numbers) a figure, then `figures.json` (title, alt
        text and caption of each, in page order).
    """
    run, out = RunData(Path(root), spec), Path(out)
    written: list[Path] = []
    index = []
    names = contents.figures(spec)
    for entry in FIGURES:
        with house_style():
            drawing = entry.draw(run) if entry.name in names else None
            if drawing is None and entry.name in names and run.missing:
                drawing = empty_drawing()
        if drawing is None:
            for stale in out.glob(f"{entry.name}.*"):
                stale.unlink()
            continue
        written += save(drawing, out, entry.name)
        index.append(
            {
                "name": entry.name,
                "section": entry.section,
                "title": entry.title,
                "alt": drawing.alt,
                "caption": " ".join([drawing.caption, *missing_notes(run, SUITES.get(entry.section, ["gliclass"]))]),
            }
        )
    write_json(out / INDEX, index)
    return [*written, out / INDEX]
