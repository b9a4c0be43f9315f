"""The figures of a report by name. Figures without data are not written."""

from pathlib import Path
from typing import Any

from zsbench.plan.contents import ReportItem, figures
from zsbench.reporting.figures import checks, multi, suite, training  # noqa: F401  they register their figures
from zsbench.reporting.figures.style import FIGURES, Drawing, empty_drawing, house_style, save
from zsbench.reporting.frames import SINGLE, RunData
from zsbench.reporting.tables.base import missing_notes
from zsbench.store.provenance import write_json

INDEX = "figures.json"
ENDINGS = ("svg", "png", "csv")


def write_figures(root: Path, spec: dict[str, Any], out: Path) -> None:
    """Draw all figures of a run: `<name>.svg`, `.png` and `.csv` (the drawn numbers) of each, and `figures.json` with
    the title, alt text and caption of all, in page order.

    Args:
        out: folder of the figures (`reports/<run>/figures`); files of an earlier drawing are replaced, and those of a
            figure that the run no longer has are removed.
    """
    run, out = RunData(Path(root), spec), Path(out)
    index = []
    for name, item in figures(spec).items():
        kind = FIGURES[item.kind]
        drawing = draw_figure(run, item)
        save(drawing or empty_drawing(), out, name)  # the plan expects the files
        if drawing is None:
            continue
        suites = [item.suite] if item.suite else [] if kind.section == "training" else run.suites(SINGLE)
        title = kind.title.format(metric=run.metric_title(item.suite) if item.suite else "")
        index.append(
            {
                "name": name,
                "section": kind.section.format(suite=item.suite),
                "title": run.titled(title, item.suite),
                "alt": drawing.alt,
                "caption": " ".join([drawing.caption, *missing_notes(run, suites)]),
            }
        )
    for stale in [path for ending in ENDINGS for path in out.glob(f"*.{ending}") if path.stem not in figures(spec)]:
        stale.unlink()
    write_json(out / INDEX, index)


def draw_figure(run: RunData, item: ReportItem) -> Drawing | None:
    """Draw one figure; None if the run has no data for it."""
    with house_style():
        return FIGURES[item.kind].draw(run, *filter(None, [item.suite]))
