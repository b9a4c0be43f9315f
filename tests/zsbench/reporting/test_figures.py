"""Figures are legible, figures without data are not written, and the same data give the same bytes."""

import copy
import json
import xml.etree.ElementTree as ET
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import made_up_run
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from PIL import Image

from zsbench.plan.contents import figures
from zsbench.reporting.figures import draw_figure, write_figures
from zsbench.reporting.figures.style import COLORS, FIGURES, house_style, save, series_style
from zsbench.reporting.frames import SERIES_COLORS, RunData
from zsbench.store.provenance import IntegrityError

NAMES = list(figures(made_up_run.spec_of()))


def undrawn_ticks(figure: Figure) -> set[int]:
    """Ids of tick labels that are not drawn, because they are outside their axis' view."""
    hidden = set()
    for axes in figure.findobj(lambda artist: hasattr(artist, "get_xticklabels")):
        for axis, (low, high) in ((axes.xaxis, sorted(axes.get_xlim())), (axes.yaxis, sorted(axes.get_ylim()))):
            hidden |= {id(tick.label1) for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high}
    return hidden


def check_texts(figure: Figure) -> None:
    """Assert that all drawn texts are inside the canvas, and that no horizontal ones overlap."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    hidden, renderer, (width, height) = undrawn_ticks(figure), canvas.get_renderer(), canvas.get_width_height()
    boxes = []
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip() and id(text) not in hidden:
            box = text.get_window_extent(renderer)
            assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, text.get_text()
            if text.get_rotation() == 0:
                boxes.append((text.get_text(), box))
    assert boxes
    for (first, box), (second, other) in combinations(boxes, 2):
        over = (min(box.x1, other.x1) - max(box.x0, other.x0), min(box.y1, other.y1) - max(box.y0, other.y0))
        assert min(over) <= 1, f"{first!r} lies over {second!r}"


@pytest.mark.parametrize("name", NAMES)
def test_texts_are_not_clipped_and_a_second_drawing_has_the_same_bytes(
    name: str, made: SimpleNamespace, report: Path, tmp_path: Path
) -> None:
    drawing = draw_figure(RunData(made.root, made.spec), figures(made.spec)[name])
    assert drawing is not None
    with house_style():
        for path in save(drawing, tmp_path, name):
            assert path.read_bytes() == (report / "figures" / path.name).read_bytes(), path.name
        check_texts(drawing.figure)
    assert drawing.alt and "\n" not in drawing.alt and drawing.caption and len(drawing.data)


def test_files_parse_and_are_listed(report: Path) -> None:
    index = json.loads((report / "figures" / "figures.json").read_text())
    assert [entry["name"] for entry in index] == NAMES
    assert {item.kind for item in figures(made_up_run.spec_of()).values()} == set(FIGURES)
    for name in NAMES:
        text = (report / "figures" / f"{name}.svg").read_text()
        assert ET.fromstring(text).tag.endswith("svg")
        assert "<dc:date>" not in text
        with Image.open(report / "figures" / f"{name}.png") as image:
            assert image.width > 1000
        assert len(pd.read_csv(report / "figures" / f"{name}.csv"))


def test_stale_files_go(made: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "suite_heatmap.svg").write_text("of an earlier config")
    spec = copy.deepcopy(made.spec)
    spec["systems"] = [entry for entry in spec["systems"] if entry["control"]]
    write_figures(made.root, spec, tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} <= {"figures", *figures(spec)}
    assert not (tmp_path / "suite_heatmap.svg").exists()


def test_an_empty_run_draws_nothing(tmp_path: Path, made: SimpleNamespace) -> None:
    write_figures(tmp_path / "results", made.spec, tmp_path)
    assert json.loads((tmp_path / "figures.json").read_text()) == []  # the planned files exist
    assert {path.stem for path in tmp_path.glob("*.svg")} == set(NAMES)


def test_the_caption_of_training_curves_names_gradient_norms_only_if_drawn(made: SimpleNamespace) -> None:
    run = RunData(made.root, made.spec)
    records = copy.deepcopy(run.trainings)
    for record in records.values():
        for entry in record["history"]:
            entry["gradient_norms"] = {}
    for trainings, named in ((run.trainings, True), (records, False)):
        vars(run)["trainings"] = trainings
        drawing = draw_figure(run, figures(made.spec)["training_curves"])
        assert drawing is not None and ("gradient norms" in drawing.caption) == named


def test_short_curves_and_flat_blend_weights_are_left_out(made: SimpleNamespace) -> None:
    run = RunData(made.root, made.spec)
    records = copy.deepcopy(run.trainings)
    for record in records.values():
        record["history"] = record["history"][:2]
        for entry in record["history"]:
            entry |= {"alpha": dict.fromkeys(entry["alpha"], 0.5)} if "alpha" in entry else {}
    vars(run)["trainings"] = records
    assert draw_figure(run, figures(made.spec)["training_curves"]) is None
    assert draw_figure(run, figures(made.spec)["alpha"]) is None


def test_who_points_at_a_mark_sees_its_numbers(made: SimpleNamespace, report: Path) -> None:
    text = (report / "figures" / "gliclass_heatmap.svg").read_text()
    means = RunData(made.root, made.spec).suite_means("gliclass")
    titles = RunData(made.root, made.spec).titles
    for name, value in means.loc["biencoder"].drop("average").items():
        assert f"<title>biencoder, {titles[name]}: {value:.3f}" in text


def test_heatmap_marks_what_the_deltas_call_significant(made: SimpleNamespace, report: Path) -> None:
    deltas = pd.read_parquet(made.root / "analysis" / "deltas.parquet")
    sure = deltas[(deltas["table"] == "gliclass_suite") & (deltas["p_adjusted"] < 0.05)]
    expected = {(row.system, row.dataset): "above" if row.delta > 0 else "below" for row in sure.itertuples()}
    drawn = pd.read_csv(report / "figures" / "gliclass_heatmap.csv").dropna(subset=["mark"])
    assert {(row.system, row.dataset): row.mark for row in drawn.itertuples()} == expected
    assert expected


def test_seeds_in_the_data_of_a_forest_are_those_of_the_system(report: Path) -> None:
    seeds = pd.read_csv(report / "figures" / "gliclass_forest.csv").groupby("system")["n_seeds"].unique().str[0]
    assert seeds["biencoder"] == 1 and seeds["nli-mini"] == 3


def test_a_forest_without_tests_prints_no_nan(made: SimpleNamespace) -> None:
    run = RunData(made.root, made.spec)
    vars(run)["deltas"] = run.deltas.assign(p=float("nan"), p_adjusted=float("nan"))  # two seeds
    drawing = draw_figure(run, figures(made.spec)["gliclass_forest"])
    assert drawing is not None
    tips = " ".join(str(artist.get_gid()) for artist in drawing.figure.findobj(Line2D))
    assert "nan" not in tips and "no test" in tips


def test_precision_of_a_random_guess_is_that_of_predicting_every_row(report: Path) -> None:
    data = pd.read_csv(report / "figures" / "topics_pr_curves.csv")
    for _, one in data.groupby("label"):
        baseline = one[one["kind"] == "baseline"]
        assert baseline["recall"].tolist() == [0, 1] and baseline["precision"].nunique() == 1
        for _, curve in one[one["kind"] == "curve"].groupby("system"):
            assert curve["precision"].iloc[0] == pytest.approx(baseline["precision"].iloc[0], abs=1e-6)
            assert curve["recall"].iloc[0] == 1 and curve["recall"].iloc[-1] == 0 and curve["precision"].iloc[-1] == 1
        chosen = one[one["kind"] == "chosen"]
        assert len(chosen) and ((chosen[["recall", "precision"]] >= 0) & (chosen[["recall", "precision"]] <= 1)).all(
            None
        )


def test_no_two_systems_look_the_same_and_colours_differ_in_grey() -> None:
    assert len({str(series_style(number)) for number in range(64)}) == 64
    assert len({series_style(number)["marker"] for number in range(12)}) == 12
    grey = sorted(0.299 * int(c[1:3], 16) + 0.587 * int(c[3:5], 16) + 0.114 * int(c[5:], 16) for c in COLORS)
    assert grey[-1] < 190  # none too light on white
    assert len(COLORS) == SERIES_COLORS


def test_no_two_headline_systems_of_a_suite_share_a_colour(made: SimpleNamespace) -> None:
    run = RunData(made.root, made.spec)
    for suite in made.spec["suites"]:
        colors = [series_style(run.series[name])["color"] for name in run.headline(suite)]
        assert len(set(colors)) == len(colors)
    assert len(set(run.series.values())) == len(run.spec["systems"])


def test_a_frame_without_a_promised_column_is_refused(tmp_path: Path, made: SimpleNamespace) -> None:
    (tmp_path / "analysis").mkdir()
    pd.DataFrame({"suite": ["gliclass"]}).to_parquet(tmp_path / "analysis" / "cost.parquet")
    with pytest.raises(IntegrityError, match=r"cost.parquet lacks the columns .*'dataset'"):
        RunData(tmp_path, made.spec).frame("cost")
