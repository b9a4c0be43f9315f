"""The figures of a report by name. Figures without data are not written."""

from pathlib import Path
from typing import Any

from zsbench.plan.contents import ReportItem, figures
from zsbench.reporting.figures import checks, labels, multi, suite, training  # noqa: F401  they register their figures
from zsbench.reporting.figures.style import FIGURES, Drawing, empty_drawing, house_style, save
from zsbench.reporting.frames import MULTI, SINGLE, RunData
from zsbench.reporting.tables.base import missing_notes
from zsbench.store.provenance import write_json

INDEX = "figures.json"
ENDINGS = ("svg", "png", "csv")


def write_figures(root: Path, spec: dict[str, Any], out: Path) -> list[Path]:
    """Draw all figures of a run.

    Args:
        out: folder of the figures (`reports/<run>/figures`); files of an earlier drawing are replaced, and those of a
            figure that the run no longer has are removed.

    Returns:
        Written files: `<name>.svg`, `.png` and `.csv` (the drawn numbers) per figure, then `figures.json` (title, alt
        text and caption of each, in page order).
    """
    run, out = RunData(Path(root), spec), Path(out)
    written: list[Path] = []
    index = []
    for name, item in figures(spec).items():
        kind = FIGURES[item.kind]
        drawing = draw_figure(run, item)
        written += save(drawing or empty_drawing(), out, name)  # the plan expects the files
        if drawing is None:
            continue
        suites = [item.suite] if item.suite else [] if kind.section == "training" else run.suites(SINGLE)
        title = kind.title.format(metric=run.metric_title(item.suite) if item.suite else "")
        if item.suite and len(run.suites(SINGLE)) + len(run.suites(MULTI)) > 2:
            title = f"{run.suite_title(item.suite)}: {title}"
        index.append(
            {
                "name": name,
                "section": kind.section.format(suite=item.suite),
                "title": title,
                "alt": drawing.alt,
                "caption": " ".join([drawing.caption, *missing_notes(run, suites)]),
            }
        )
    for stale in [path for ending in ENDINGS for path in out.glob(f"*.{ending}") if path.stem not in figures(spec)]:
        stale.unlink()
    write_json(out / INDEX, index)
    return [*written, out / INDEX]


def draw_figure(run: RunData, item: ReportItem) -> Drawing | None:
    """Draw one figure; None if the run has no data for it."""
    with house_style():
        return FIGURES[item.kind].draw(run, *filter(None, [item.suite]))
