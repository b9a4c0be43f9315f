"""Tables of the made-up run: the numbers of their frames, flags, reproducible bytes."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from zsbench.config.published import PUBLISHED, load_published
from zsbench.plan.contents import ReportItem, tables
from zsbench.reporting.figures import draw_figure
from zsbench.reporting.frames import AVERAGE, RunData
from zsbench.reporting.page import linker
from zsbench.reporting.render import Column, Table, read_table
from zsbench.reporting.summary import sentences
from zsbench.reporting.tables import write_tables
from zsbench.reporting.tables.base import BUILDERS, available_items, build_table, table
from zsbench.reporting.tables.multi import _reported, attribution
from zsbench.store.provenance import canonical_json, read_json, write_json

ENDINGS = ("csv", "json", "md", "tex")


@pytest.fixture(scope="module")
def run(made: SimpleNamespace) -> RunData:
    return RunData(made.root, made.spec)


@pytest.fixture(scope="module")
def copied(made: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> RunData:
    """A copy of the run for a test to change."""
    return RunData(shutil.copytree(made.root, tmp_path_factory.mktemp("copy") / "run"), made.spec)


def built(run: RunData, name: str) -> Table:
    return build_table(RunData(run.root, run.spec), name, available_items(run.spec)[name])


def suite(run: RunData) -> pd.DataFrame:
    return built(run, "gliclass_suite").frame.set_index(["system", "dataset"])


def test_every_table_of_the_plan_is_written_in_every_form(made: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "stale.json").write_text("of an earlier config")
    write_tables(made.root, made.spec, tmp_path)
    expected = {f"{name}.{ending}" for name in tables(made.spec) for ending in ENDINGS}
    assert {path.name for path in tmp_path.iterdir()} == expected


def test_two_renderings_are_byte_identical_whatever_the_hash_seed(
    made: SimpleNamespace, report: Path, tmp_path: Path
) -> None:
    code = (
        "import json, sys; from zsbench.reporting.tables import write_tables; "
        "write_tables(sys.argv[1], json.load(sys.stdin), sys.argv[2])"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(made.root), str(tmp_path)],
        input=canonical_json(made.spec),
        text=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "7"},
    )
    for path in (report / "tables").iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


@pytest.fixture
def registered() -> Iterator[None]:
    @table("counts", "cost", always=True)
    def counts(run: RunData) -> Table:
        return Table("Counts", pd.DataFrame({"cells": [len(run.cells())]}), (Column("Cells", "cells", "count"),))

    yield
    from zsbench.reporting.tables import base

    del BUILDERS["counts"]
    base.ALWAYS.remove("counts")


def test_a_new_table_is_one_registered_function(made: SimpleNamespace, tmp_path: Path, registered: None) -> None:
    write_tables(made.root, made.spec, tmp_path)
    assert read_table(tmp_path, "counts").frame["cells"].tolist() == [len(RunData(made.root, made.spec).cells())]


def test_the_suite_table_holds_the_means_and_the_deltas(run: RunData) -> None:
    frame, means = suite(run), run.suite_means("gliclass")
    deltas = run.deltas[run.deltas["table"] == "gliclass_suite"].set_index(["system", "dataset"])
    assert frame["value"].to_dict() == pytest.approx(means.stack().to_dict())
    for key, row in frame.iterrows():
        if key not in deltas.index:
            assert row["reference"] or key[0].endswith("-random")
            assert pd.isna(row["delta"])
        else:
            stored, names = deltas.loc[key], ["delta", "low", "high", "equivalence_low", "equivalence_high", "p"]
            assert row[names].tolist() == pytest.approx(stored[names].tolist(), nan_ok=True)
            assert not row["equivalence_high"] < row["delta"] and not row["delta"] < row["equivalence_low"]
            assert row["delta"] == pytest.approx(row["value"] - frame.loc[("gliznet-full", key[1]), "value"])
    averages = frame.xs(AVERAGE, level="dataset")
    assert (averages["n_sets"] == 4).all() and averages.loc["gliznet-full", "n_seeds"] == 3


def test_flags_follow_their_definitions(run: RunData) -> None:
    frame, means = suite(run), run.suite_means("gliclass")
    trivial = [name for name in run.systems("gliclass") if name.endswith("-random") or name == "majority"]
    rivals = means.loc[run.systems("gliclass", controls=False)]
    for (system, dataset), row in frame.iterrows():
        below = means.at[system, dataset] < means.loc[trivial, dataset].max()
        assert row["below"] == (system in rivals.index and below)
        assert row["best"] == (system in rivals.index and means.at[system, dataset] == rivals[dataset].max())
        sure = row["p_adjusted"] < 0.05
        assert row["differs"] == (sure and row["unit"] == "trainings")
        assert row["checkpoint_differs"] == (sure and row["unit"] == "checkpoints")


def test_marks_verdicts_and_notes_share_the_level_of_the_run(made: SimpleNamespace) -> None:
    spec = made.spec | {"statistics": made.spec["statistics"] | {"level": 0.8}}
    run = RunData(made.root, spec)
    vars(run)["deltas"] = run.deltas.assign(p_adjusted=0.1)  # an effect at this level
    table = build_table(run, "ablations", available_items(spec)["ablations"])
    whole = table.frame[table.frame["dataset"] == AVERAGE]
    assert (whole["differs"] | whole["checkpoint_differs"]).all()
    assert "below 0.2" in " ".join(table.notes) and "0.05" not in " ".join(table.notes)


def test_a_system_that_saw_the_dataset_is_flagged(copied: RunData) -> None:
    cell = next(cell for cell in copied.cells() if cell[0] == "gliclass")
    path = copied.layout.card(*cell)
    before = path.read_bytes()
    write_json(path, read_json(path) | {"seen": "yes"})
    try:
        flagged = suite(copied).query("seen").index.tolist()
        integrity = built(copied, "integrity").frame.set_index("dataset")["seen_by"]
    finally:
        path.write_bytes(before)
    assert flagged == [(cell[2], cell[1])]
    assert integrity[cell[1]] == cell[2] and set(integrity.drop(cell[1])) == {"none"}


def test_contrasts_hold_the_deltas_of_every_dataset_and_their_average(run: RunData) -> None:
    keys = ["system", "baseline", "dataset"]
    for name in ("ablations", "peers"):
        frame = built(run, name).frame.set_index(keys)
        stored = run.deltas[run.deltas["table"] == name].set_index(keys)
        assert len(stored) and frame["delta"].to_dict() == stored["delta"].to_dict()
        assert {"mde", "verdict", "needs_rows", "equivalence_low"} <= set(frame)


def test_multi_label_rows_are_every_decision_and_reported_ones_stand_apart(run: RunData) -> None:
    frame = built(run, "topics").frame
    measured = frame[frame["source"] == "measured"]
    assert len(measured) == len(frame), "a publication's rows of another dataset do not belong here"
    keys = ["system", "protocol", "split"]
    stored = run.metrics[(run.metrics["suite"] == "topics") & (run.metrics["metric"] == "macro_f1")]
    expected = stored.groupby(keys)["value"].mean().to_dict()
    assert measured.set_index(keys)["macro_f1"].to_dict() == pytest.approx(expected)
    assert (frame["tuned"] == (frame["protocol"] == "val-tuned")).all()


def test_reported_rows_hold_what_the_publication_printed() -> None:
    rows = {row["system"]: row for row in _reported(load_published(PUBLISHED), "topics", ["macro_f1", "f1:Economy"])}
    tuned = rows["HybridNLI v2 (val-tuned)"]
    assert len(rows) == 5 and (tuned["macro_f1"], tuned["f1:Economy"]) == (0.9054, 0.8584)
    assert tuned["tuned"] and tuned["chosen"] and tuned["dataset"] == "topics-published"


def test_weights_chosen_on_the_reported_rows_are_flagged_under_every_protocol_but_held_out(run: RunData) -> None:
    frame = built(run, "topics").frame
    chosen = frame[frame["chosen"]]
    own = chosen[chosen["source"] == "measured"]
    expected = {
        (system, protocol) for system in ("hybrid", "hybrid-heads") for protocol in ("fixed-0.5", "cv", "val-tuned")
    }
    assert set(zip(own["system"], own["protocol"], strict=True)) == expected and set(own["split"]) == {"validation"}


def test_a_publisher_who_saw_the_set_is_flagged_on_all_its_splits(run: RunData) -> None:
    entry = next(entry for entry in run.spec["systems"] if entry["id"] == "biencoder")
    seen = RunData(run.root, run.spec | {"systems": [entry | {"settings": {"seen": ["topics-mini"]}}]})
    assert seen.chosen_on("biencoder", "topics-mini", "test") and not seen.chosen_on("biencoder", "other", "test")


def test_a_system_whose_selection_never_moved_is_marked_in_every_table_it_enters(run: RunData, copied: RunData) -> None:
    for model in ("gliznet-no-bce", "nli-mini", "hybrid"):
        path = copied.root / "models" / model / "seed2" / "training.json"
        write_json(path, read_json(path) | {"selection_never_moved": True})
    names = {"gliznet-no-bce", "nli-mini", "hybrid", "hybrid-heads"}
    marked = set()
    for name in available_items(run.spec):
        frame, plain = built(copied, name).frame, built(run, name).frame
        for side in ("system", "baseline"):
            if side in frame:
                flags = frame.get(f"{side}.unmoved", pd.Series(False, frame.index))
                assert (flags == frame[side].isin(names)).all(), name
                assert f"{side}.unmoved" not in plain
                marked |= {name} if flags.any() else set()
    assert marked >= {"gliclass_suite", "ablations", "peers", "topics", "topics_deltas", "cost"}
    said = [text for text in sentences(RunData(copied.root, copied.spec)) if "§" in text]
    assert len(said) == 1 and "gliznet-no-bce, nli-mini, hybrid and hybrid-heads" in said[0]


def test_numbers_link_to_their_cells(run: RunData) -> None:
    shown = built(run, "topics")
    row = {"system": "hybrid", "dataset": "topics-mini"}
    assert linker(run, shown)(row, shown.columns[0]) == "#cell/topics/topics-mini/hybrid"
    assert linker(run, shown)(row | {"baseline": "x"}, shown.columns[0]) == ""
    assert linker(run, shown)(row | {"dataset": AVERAGE}, shown.columns[0]) == ""


def test_multi_label_differences_are_ablations_thresholds_and_systems_against_nli(run: RunData) -> None:
    frame = built(run, "topics_deltas").frame
    assert not run.controls & set(frame["system"])
    heads = frame[(frame["system"] == "hybrid-heads") & (frame["baseline"] == "hybrid")]
    assert set(zip(heads["factor"], heads["levels"], strict=True)) == {("blend of NLI and heads", "heads vs learned")}
    assert (heads["chosen"] == (heads["split"] == "validation")).all()
    alone = frame[frame["factor"] == "thresholds"]
    assert set(alone["system"]) == {"nli-mini"} and {"cv vs fixed-0.5"} <= set(alone["protocols"])


def test_every_tested_difference_has_its_mde_and_verdict(run: RunData) -> None:
    for name in ("ablations", "peers", "topics_deltas"):
        titles = [column.title for column in built(run, name).columns]
        assert {"MDE", "Verdict", "Needs rows"} <= set(titles), name


def test_the_sentence_on_thresholds_adds_up(made: SimpleNamespace) -> None:
    settings = {"blend": "learned", "nli": "the-checkpoint"}
    systems = [
        entry | ({"model": "the-checkpoint"} if entry["id"] == "nli-mini" else {"settings": settings})
        for entry in made.spec["systems"]
        if entry["id"] in ("nli-mini", "hybrid")
    ]
    said = attribution(RunData(made.root, made.spec | {"systems": systems}), "topics")
    places = ("val-tuned on validation", "cv on validation", "held-out on test")
    assert [sentence.split(":")[0] for sentence in said] == [f"hybrid, {place}" for place in places]
    for sentence in said:
        gain = re.search(r"(gains|loses) (\d\.\d{3})", sentence)
        pattern = r"contribute (\S+).* first .*?, (\S+).* last .*\), (\S+).*? \[.*Shapley.* adds (\S+) \["
        shares = re.search(pattern, sentence)
        assert gain and shares
        first, last, shapley, rest = map(float, shares.groups())
        assert float(gain[2]) * (1 if gain[1] == "gains" else -1) == pytest.approx(first + rest, abs=2e-3)
        assert shapley == pytest.approx((first + last) / 2, abs=2e-3)


def test_the_signature_says_what_was_measured(run: RunData) -> None:
    facts = dict(part.split(":", 1) for part in built(run, "gliclass_suite").signature.split("|"))
    assert facts["metric"] == "macro_f1" and facts["suite"] == "gliclass" and facts["seeds"] == "1,2,3"
    assert facts["ci"] == "bootstrap-1000@0.95" and facts["sets"] == "4"


def test_calibration_and_cost_have_a_row_per_system(run: RunData) -> None:
    assert len(built(run, "calibration").frame) == len(run.frame("calibration").groupby(["system", "dataset"]))
    cost = built(run, "cost").frame
    assert len(cost) == len(run.cost.groupby(["system", "suite"]))
    assert cost["texts_per_second"].tolist() == pytest.approx((cost["texts"] / cost["seconds"]).tolist())


def test_sensitivity_takes_means_of_seeds_and_their_extremes(copied: RunData) -> None:
    where = {"kind": "order", "dataset": "r8", "system": copied.reference, "k": 4, "mean": 0.5, "flip_rate": 0.25}
    where |= {"flip_low": 0.1, "flip_high": 0.4, "floor": 0.0, "median_shift": 0.0, "rows": 200}
    records = [where | {"seed": 1, "low": 0.4, "high": 0.6}, where | {"seed": 2, "low": 0.3, "high": 0.6}]
    pd.DataFrame(records).to_parquet(copied.root / "analysis" / "sensitivity.parquet", index=False)
    (row,) = built(copied, "sensitivity").frame.to_dict("records")
    keys = ("k", "mean", "lowest", "highest", "spread", "flip_rate")
    assert [row[key] for key in keys] == pytest.approx([4, 0.5, 0.3, 0.6, 0.25, 0.25])


def test_only_rows_that_were_scored_count_as_scored(run: RunData) -> None:
    frame = built(run, "integrity").frame.set_index("dataset")
    assert [name for name in frame if name.startswith("scored:")] == ["scored:test", "scored:validation"]
    assert frame.loc["topics-mini", ["scored:test", "scored:validation"]].tolist() == [60, 60]


def test_intervals_are_named_with_the_level_of_the_run(made: SimpleNamespace) -> None:
    run = RunData(made.root, made.spec | {"statistics": made.spec["statistics"] | {"level": 0.8}})
    drawing = draw_figure(run, ReportItem("label_counts"))
    assert drawing is not None
    for text in (" ".join(built(run, "label_counts").notes), drawing.caption):
        assert "80 % bootstrap" in text and "95 %" not in text


def test_a_run_that_trains_only_a_hybrid_has_trained_something(made: SimpleNamespace) -> None:
    systems = [entry | {"trained": entry["family"] == "hybridnli"} for entry in made.spec["systems"]]
    notes = built(RunData(made.root, made.spec | {"systems": systems}), "gliclass_suite").notes
    assert any(note.startswith("Trained systems: mean over 3 seeds") for note in notes)


def test_overlap_with_training_texts_is_counted_by_training_set(copied: RunData) -> None:
    counts = {"made-overlap": {"exact": 2, "near": 1}, "r8": {"exact": 0, "near": 3}}
    write_json(copied.root / "analysis" / "overlap.json", {"r8": counts})
    row = built(copied, "integrity").frame.set_index("dataset").loc["r8"]
    keys = ["exact:made-overlap", "near:made-overlap", "exact:own", "near:own"]
    assert row[keys].tolist() == [2, 1, 0, 3]


def test_the_summary_ranks_systems_that_were_trained_on_the_data_apart(copied: RunData) -> None:
    """Otherwise a supervised system could lead the zero-shot ones without a notice."""
    leader = str(copied.suite_means("topics")[AVERAGE].drop(list(copied.controls)).idxmax())
    assert any(said.startswith(f"{leader} leads Topics") for said in sentences(copied))
    for path in copied.root.glob(f"cells/topics/*/{leader}/seed*/card.json"):
        write_json(path, read_json(path) | {"seen": "yes"})
    said = sentences(RunData(copied.root, copied.spec))
    assert not any(text.startswith(f"{leader} leads Topics") for text in said)
    assert any("systems that were not trained on its data" in text for text in said)


def test_an_ablation_of_a_term_that_was_never_used_is_said_to_say_nothing(copied: RunData) -> None:
    note = "The loss term poly of hybrid was 0 throughout training: its ablation says nothing."
    item = available_items(copied.spec)["topics_deltas"]
    assert note not in build_table(copied, "topics_deltas", item).notes
    paths = sorted(copied.root.glob("models/hybrid/seed*/training.json"))
    for number, path in enumerate(paths, start=1):
        record = read_json(path)
        for entry in record["history"]:
            entry["losses"]["poly"] = 0.0
        write_json(path, record)
        notes = build_table(RunData(copied.root, copied.spec), "topics_deltas", item).notes
        assert (note in notes) == (number == len(paths))  # only if no seed used it


def test_every_kind_of_the_plan_has_a_builder(made: SimpleNamespace) -> None:
    assert {item.kind for item in tables(made.spec).values()} == set(BUILDERS)
    assert ReportItem("suite", "gliclass") in tables(made.spec).values()
