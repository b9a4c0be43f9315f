"""Style and saving of figures: one palette, one font size, reproducible files."""

import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from zsbench.store.provenance import write_atomic, write_text

WIDTH = 6.4  # inches; the page shows two figures side by side
INK, MUTED, RULE = "#1b1b1b", "#5f5f5f", "#c9c9c9"
# M. Okabe and K. Ito, Color Universal Design, 2008; yellow is left out (too pale on white). Markers and dashes differ
# too, so that no figure needs its colours.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7f7f7f")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", "d", ">", "p")
DASHES: tuple[Any, ...] = (
    "-",
    (0, (6, 2)),
    (0, (2, 1.5)),
    (0, (6, 2, 1.5, 2)),
    (0, (9, 3)),
    (0, (1, 1)),
    (0, (4, 1)),
    (0, (3, 3)),
)
STYLE = Path(__file__).with_name("house.mplstyle")
TIP = "tip:"  # prefix of an artist's id; the rest is its tooltip


@dataclass(frozen=True)
class Drawing:
    """A drawn figure with its data, alternative text and caption.

    Attributes:
        figure: the drawing.
        data: the numbers that were drawn, one row per mark; saved beside the figure.
        alt: what a reader who cannot see it should know.
        caption: what is shown, n, seeds and interval method.
    """

    figure: Figure
    data: pd.DataFrame
    alt: str
    caption: str


@dataclass(frozen=True)
class FigureKind:
    """A kind of figure and its section on the page."""

    section: str  # of the page; `{suite}` is replaced by the suite id
    title: str  # `{metric}` is replaced by the name of the headline metric
    draw: Callable[..., Drawing | None]


FIGURES: dict[str, FigureKind] = {}  # by kind, see `plan.contents.ReportItem`


def figure(kind: str, section: str, title: str) -> Callable[[Any], Any]:
    """Register a function `(run)`, or `(run, suite)` of a kind that is drawn per suite, that returns a `Drawing`."""

    def register(draw: Callable[..., Drawing | None]) -> Callable[..., Drawing | None]:
        FIGURES[kind] = FigureKind(section, title, draw)
        return draw

    return register


@contextmanager
def house_style() -> Iterator[None]:
    """Context in which figures are drawn, so that a user's matplotlibrc has no effect."""
    with mpl.rc_context(), warnings.catch_warnings():
        # Scripts that the font lacks are drawn as boxes; tables and the page show such names.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        mpl.style.use(["default", STYLE])
        yield


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure (inches) that keeps all its labels inside the canvas."""
    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08))


def empty_drawing() -> Drawing:
    """A placeholder for a figure whose cells are all missing."""
    figure, words = new_figure(1.5), "Nothing to draw: there are no scores for this figure."
    figure.text(0.5, 0.5, words, ha="center", va="center")
    return Drawing(figure, pd.DataFrame(columns=["system"]), words, words)


def series_style(number: int) -> dict[str, Any]:
    """Colour, marker and dash of a figure's series; the first 12 differ by marker alone."""
    shifted = number + number // (2 * len(MARKERS))
    return {
        "color": COLORS[number % len(COLORS)],
        "marker": MARKERS[shifted % len(MARKERS)],
        "linestyle": DASHES[(number + number // len(COLORS)) % len(DASHES)],  # a repeated colour gets another dash
    }


def log_ticks(axis: Axis, low: float, high: float) -> None:
    """Plain numbers on a logarithmic axis: 1, 2, 5 per decade, or only decades if the axis would be crowded."""
    subs = (1.0,) if high / low > 300 else (1.0, 2.0, 5.0)
    axis.set_major_locator(LogLocator(subs=subs, numticks=20))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def tip(artist: Artist, words: str) -> None:
    """Set the tooltip of a mark in the saved SVG."""
    artist.set_gid(f"{TIP}{words}")


def legend_below(figure: Figure | SubFigure, series: Mapping[str, int], columns: int = 3, lines: bool = True) -> None:
    """A legend below the axes with the named series in the given order, in as many columns as fit."""
    handles = []
    for name, number in series.items():
        style = series_style(number)
        if not lines:
            style["linestyle"] = "none"
        handles.append(Line2D([], [], label=name, markersize=6, linewidth=1.8, **style))
    entry = 0.85 + 0.09 * max(map(len, series))  # inches of the longest entry, handle and gap included
    fitting = max(1, int(figure.bbox.width / figure.dpi / entry))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(columns, fitting, len(handles)),
        handlelength=3.2 if lines else 1.5,
    )


def panels(figure: Figure, count: int, columns: int, **shared: Any) -> list[Any]:
    """`count` axes on a grid, row by row; the rest of the last row stays empty."""
    rows = -(-count // columns)
    grid = figure.subplots(rows, columns, squeeze=False, **shared)
    axes = list(grid.flat)
    for axis in axes[count:]:
        axis.remove()
    return axes[:count]


def range_rows(axis: Axes, table: pd.DataFrame, rows: Sequence[str], series: Mapping[str, int]) -> None:
    """One band per row, one mark per system in it: its mean, and a line from its lowest to its highest value.

    Args:
        table: `row`, `system`, `mean`, `low`, `high`.
        rows: values of `row`, from top to bottom.
        series: numbers of the systems' styles.
    """
    step = 0.76 / len(series)
    for line, (name, number) in enumerate(series.items()):
        ranges = table[table["system"] == name].set_index("row").reindex(rows)
        y = np.arange(len(rows)) + (line - (len(series) - 1) / 2) * step
        style = series_style(number) | {"linestyle": "none"}
        axis.hlines(y, ranges["low"], ranges["high"], color=style["color"], linewidth=1.8)
        for height, row in zip(y, ranges.itertuples(), strict=True):
            (mark,) = axis.plot(row.mean, height, markersize=6.5, **style)
            tip(mark, f"{name}, {row.Index}: {row.mean:.3f} ({row.low:.3f} to {row.high:.3f})")
    for edge in range(1, len(rows)):
        axis.axhline(edge - 0.5, color=RULE, linewidth=0.8)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x")


def unit_axes(axes: Sequence[Axes], titles: Sequence[str], x: str, y: str, columns: int) -> None:
    """Small multiples over [0, 1] x [0, 1], with a title each; axis labels only at the grid's lower and left edge."""
    for number, (axis, title) in enumerate(zip(axes, titles, strict=True)):
        axis.set_title(title)
        axis.set_xlim(-0.02, 1.02)
        axis.set_ylim(-0.02, 1.05)
        axis.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axis.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
        lowest = number + columns >= len(axes)
        axis.tick_params(labelbottom=lowest)
        axis.set_xlabel(x if lowest else "")
        axis.set_ylabel(y if number % columns == 0 else "")


def save(drawing: Drawing, folder: Path, name: str) -> list[Path]:
    """Write `<name>.svg`, `.png` and `.csv`; the same drawing gives the same bytes."""
    paths = [folder / f"{name}.{kind}" for kind in ("svg", "png", "csv")]
    with house_style(), mpl.rc_context({"svg.hashsalt": name}):
        drawing.figure.draw_without_rendering()  # arranges the figure, once for both formats
        drawing.figure.set_layout_engine("none")
        svg = {"Date": None, "Creator": None}
        held = io.StringIO()
        drawing.figure.savefig(held, format="svg", metadata=svg)
        write_text(paths[0], re.sub(rf'<g id="{TIP}([^"]*)">', r'<g class="tip"><title>\1</title>', held.getvalue()))
        write_atomic(
            paths[1], lambda path: drawing.figure.savefig(path, format="png", dpi=160, metadata={"Software": None})
        )
    table = drawing.data.to_csv(index=False, float_format="%.6f", lineterminator="\n")
    write_text(paths[2], table)
    return paths
