"""Tables of the made-up run: what they hold, that formats agree, that bytes do not change."""

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from zsbench.reporting.frames import RunData
from zsbench.reporting.marks import chosen_on
from zsbench.reporting.sections import linker
from zsbench.reporting.summary import sentences
from zsbench.reporting.tables import write_tables
from zsbench.reporting.tables_topics import attribution
from zsbench.store.provenance import canonical_json, read_json, write_json

NAMES = {"gliclass_suite", "ablations", "peers", "topics", "published", "calibration", "cost", "integrity"}


@pytest.fixture(scope="module")
def tables(made, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    assert set(write_tables(made.root, made.spec, folder)) >= NAMES
    return folder


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def test_every_table_has_every_format(tables):
    for name in NAMES:
        for ending in ("csv", "md", "tex", "notes.txt"):
            assert (tables / f"{name}.{ending}").stat().st_size > 0


def test_two_renderings_are_byte_identical_whatever_the_hash_seed(made, tables, tmp_path):
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
    files = sorted(path.name for path in tables.iterdir())
    assert files == sorted(path.name for path in tmp_path.iterdir())
    for name in files:
        assert (tables / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_the_suite_table_prints_the_means_and_the_deltas(made, tables):
    run = RunData(made.root, made.spec)
    means = run.suite_means("gliclass")
    deltas = run.deltas[(run.deltas["table"] == "gliclass_suite") & (run.deltas["dataset"] == "average")]
    deltas = deltas.set_index("baseline")
    found = rows(tables, "gliclass_suite")
    assert [row["System"] for row in found] == run.systems("gliclass")
    for row in found:
        system = row["System"]
        assert row["Average"].split()[0] == f"{means.at[system, 'average']:.4f}"
        for name, entry in run.datasets("gliclass").items():
            assert row[entry["title"]].split()[0] == f"{means.at[system, name]:.4f}"
        if system not in deltas.index:
            assert system == run.reference or system.endswith("-random")
            assert row["Δ"] == row["interval"] == row["p"] == "–"
        else:
            assert float(row["Δ"]) == pytest.approx(deltas.at[system, "delta"], abs=5e-5)
            assert row["interval"] == f"[{deltas.at[system, 'low']:+.4f}, {deltas.at[system, 'high']:+.4f}]"
            assert row["p"] == f"{deltas.at[system, 'p']:.4f}"


def test_marks_follow_their_definitions(made, tables):
    run = RunData(made.root, made.spec)
    means = run.suite_means("gliclass")
    deltas = run.deltas[run.deltas["table"] == "gliclass_suite"].set_index(["baseline", "dataset"])
    trivial = [name for name in run.systems("gliclass") if name.endswith("-random") or name == "majority"]
    rivals = run.systems("gliclass", controls=False)
    for row in rows(tables, "gliclass_suite"):
        for name, entry in run.datasets("gliclass").items():
            marks = row[entry["title"]].partition(" ")[2]
            below = means.at[row["System"], name] < means.loc[trivial, name].max()
            assert ("†" in marks) == (row["System"] in rivals and bool(below))
            if (row["System"], name) in deltas.index:
                assert ("*" in marks) == bool(deltas.at[(row["System"], name), "p_holm"] < 0.05)


def test_a_system_that_saw_the_dataset_is_marked(made, tmp_path):
    run = RunData(made.root, made.spec)
    suite, dataset, system, seed = next(cell for cell in run.cells() if cell[0] == "gliclass")
    path = run.layout.card(suite, dataset, system, seed)
    before = path.read_bytes()
    try:
        write_json(path, read_json(path) | {"seen": "yes"})
        write_tables(made.root, made.spec, tmp_path)
    finally:
        path.write_bytes(before)
    title = run.datasets(suite)[dataset]["title"]
    marked = {row["System"]: row[title] for row in rows(tmp_path, "gliclass_suite")}
    assert "‡" in marked[system]
    assert sum("‡" in text for text in marked.values()) == 1
    assert system in next(row for row in rows(tmp_path, "integrity") if row["Dataset"] == title)["Seen by"]


def test_ablations_print_delta_interval_and_both_p(made, tables):
    frame = RunData(made.root, made.spec).deltas
    frame = frame[(frame["table"] == "ablations") & (frame["dataset"] == "average")]
    found = rows(tables, "ablations")
    assert [row["Factor"] for row in found] == frame["factor"].tolist()
    assert [row["p (Holm)"] for row in found] == [f"{p:.4f}" for p in frame["p_holm"]]


def test_topics_hold_protocols_side_by_side_and_reported_rows_apart(made, tables):
    found = rows(tables, "topics")
    measured = [row for row in found if row["Source"] == "measured"]
    reported = [row for row in found if row["Source"] == "reported (P4)"]
    assert len(measured) + len(reported) == len(found)
    assert len(reported) == 5
    places = {(row["Protocol"], row["Split"]) for row in measured}
    assert {("val-tuned ‡", "validation"), ("cv", "validation"), ("held-out", "test"), ("fixed-0.5", "test")} <= places
    tuned = next(row for row in reported if row["System"] == "HybridNLI v2 (val-tuned)")
    assert (tuned["Macro F1"], tuned["Economy"]) == ("0.9054", "0.8584")


def test_weights_chosen_on_the_reported_rows_are_marked_under_every_protocol_but_held_out(tables):
    found = rows(tables, "topics")
    marked = {(row["System"], row["Protocol"], row["Split"]) for row in found if "¶" in row["Protocol"]}
    own = [("fixed-0.5 ¶", "validation"), ("cv ¶", "validation"), ("val-tuned ‡¶", "validation")]
    here = {(system, *place) for system in ("hybrid", "hybrid-heads") for place in own}
    assert here == {place for place in marked if not place[0].startswith("HybridNLI")}
    there = {row["System"] for row in found if row["System"].startswith("HybridNLI")}
    assert there and there == {name for name, _, _ in marked - here}
    assert "¶ weights chosen on the very rows" in (tables / "topics.notes.txt").read_text(encoding="utf-8")


def test_a_publisher_who_saw_the_set_is_marked_on_all_its_splits(made):
    entry = next(entry for entry in made.spec["systems"] if entry["id"] == "biencoder")
    run = RunData(made.root, made.spec | {"systems": [entry | {"settings": {"seen": ["topics-mini"]}}]})
    assert chosen_on(run, "biencoder", "topics-mini", "test") and not chosen_on(run, "biencoder", "other", "test")


@pytest.fixture(scope="module")
def unmoved(made, tmp_path_factory) -> Path:
    """Tables of a run in which one seed of two systems says that its selection metric never moved."""
    root = tmp_path_factory.mktemp("unmoved") / "run"
    shutil.copytree(made.root, root)
    for model in ("gliznet-no-bce", "nli-mini", "hybrid"):
        path = root / "models" / model / "seed2" / "training.json"
        write_json(path, read_json(path) | {"selection_never_moved": True})
    write_tables(root, made.spec, root / "tables")
    return root / "tables"


def test_a_system_whose_selection_never_moved_is_marked_in_every_table_it_enters(tables, unmoved):
    names = {"gliznet-no-bce", "nli-mini", "hybrid", "hybrid-heads"}

    def sides(found: list[dict[str, str]]) -> set[str]:
        cells = [row.get(title, "") for row in found for title in ("System", "Against", "Contrast")]
        return {side for cell in cells for side in cell.split(" vs ")}

    for name in sorted(path.stem for path in tables.glob("*.csv")):
        marked = {side.removesuffix(" §") for side in sides(rows(unmoved, name)) if side.endswith("§")}
        assert marked == names & sides(rows(tables, name)), name
        note = "§ with at least one seed" in (unmoved / f"{name}.notes.txt").read_text(encoding="utf-8")
        assert note == bool(marked), name
    assert {"gliclass_suite", "ablations", "peers", "topics", "topic_deltas"} <= {
        path.stem.removesuffix(".notes") for path in unmoved.glob("*.txt") if "§" in path.read_text(encoding="utf-8")
    }
    assert r"\S{}" in (unmoved / "peers.tex").read_text(encoding="utf-8")


def test_the_report_links_and_lists_a_marked_system(made, unmoved):
    run = RunData(unmoved.parent, made.spec)
    row = {"System": "hybrid §", "Dataset": "Topics (authored)"}
    assert linker(run)(row, "System") == "#cell-topics-topics-mini-hybrid"
    said = "in the training of gliznet-no-bce, nli-mini, hybrid and hybrid-heads"
    assert any(said in text for text in sentences(run))
    assert not any("§" in text for text in sentences(RunData(made.root, made.spec)))


def test_topic_differences_print_the_deltas(made, tables):
    written = rows(tables, "topic_deltas")
    controls = {entry["id"] for entry in made.spec["systems"] if entry["control"]}
    assert written and not controls & {row["System"] for row in written}
    ablations = [row for row in written if row["System"] == "hybrid-heads" and row["Against"] == "hybrid"]
    assert {(row["Factor"], row["Levels"]) for row in ablations} == {("blend of NLI and heads", "heads vs learned")}
    deltas = pd.read_parquet(made.root / "analysis" / "deltas.parquet")
    stored = deltas[(deltas["dataset"] == "average") & (deltas["table"] == "topic_deltas")]
    stored = stored.set_index(["protocol", "split"])["delta"]
    for row in ablations:
        assert float(row["Δ"]) == pytest.approx(stored[row["Protocol"].removesuffix(" ¶"), row["Rows"]], abs=1e-4)
        assert row["Protocol"].endswith("¶") == (row["Rows"] == "validation")
    alone = [row for row in written if row["Factor"] == "thresholds"]
    assert {row["System"] for row in alone} == {"nli-mini"} and {"cv vs fixed-0.5"} <= {
        row["Protocol"] for row in alone
    }


def test_the_sentence_on_thresholds_adds_up(made):
    settings = {"blend": "learned", "nli": "the-checkpoint"}
    systems = [
        entry | {"model": "the-checkpoint"} if entry["id"] == "nli-mini" else entry | {"settings": settings}
        for entry in made.spec["systems"]
        if entry["id"] in ("nli-mini", "hybrid")
    ]
    said = attribution(RunData(made.root, made.spec | {"systems": systems}))
    assert [sentence.split(":")[0] for sentence in said] == [
        "hybrid, val-tuned on validation", "hybrid, cv on validation", "hybrid, held-out on test"
    ]  # fmt: skip
    for sentence in said:
        gain = re.search(r"(gains|loses) (\d\.\d{4}) macro F1 over nli-mini at 0\.5\.", sentence)
        parts = re.search(
            r"are (\S+).* come first .*?, (\S+).* if last .*\), (\S+).*? \[.*Shapley.* protocol is (\S+) \[", sentence
        )
        total = float(gain[2]) * (1 if gain[1] == "gains" else -1)
        assert total == pytest.approx(float(parts[1]) + float(parts[4]), abs=2e-4)
        assert float(parts[3]) == pytest.approx((float(parts[1]) + float(parts[2])) / 2, abs=2e-4)


def test_notes_say_rows_seeds_method_and_signature(made, tables):
    text = (tables / "gliclass_suite.md").read_text(encoding="utf-8")
    assert "10,000 draws" in text or f"{made.spec['statistics']['draws']:,} draws" in text
    assert "3 seeds" in text
    assert "Rows @ revision:" in text
    signature = text.rstrip().splitlines()[-1]
    assert signature.startswith("- `metric:macro-f1|run:")
    assert signature.strip("- `") == (tables / "gliclass_suite.tex").read_text(encoding="utf-8").splitlines()[0][2:]


def test_calibration_and_cost_have_a_row_a_system(made, tables):
    run = RunData(made.root, made.spec)
    calibration = {(row["System"], row["Dataset"]) for row in rows(tables, "calibration")}
    assert len(calibration) == len(run.frame("calibration").groupby(["system", "dataset"]))
    cost = {(row["System"], row["Suite"]) for row in rows(tables, "cost")}
    assert len(cost) == len(run.cost.groupby(["system", "suite"]))


def test_sensitivity_is_written_where_there_are_records(made, tmp_path):
    run = RunData(made.root, made.spec)
    path = made.root / "analysis" / "sensitivity.parquet"
    before = path.read_bytes() if path.is_file() else None
    dataset, system = next(iter(run.datasets("gliclass"))), run.reference
    where = {"kind": "order", "dataset": dataset, "system": system, "k": 4, "mean": 0.5, "flip_rate": 0.25}
    where |= {"flip_low": 0.1, "flip_high": 0.4, "floor": 0.0, "rows": 200}
    records = [where | {"seed": 1, "low": 0.4, "high": 0.6}, where | {"seed": 2, "low": 0.3, "high": 0.6}]
    try:
        pd.DataFrame(records).to_parquet(path, index=False)
        assert "sensitivity" in write_tables(made.root, made.spec, tmp_path)
    finally:
        path.unlink()
        if before is not None:
            path.write_bytes(before)
    (row,) = rows(tmp_path, "sensitivity")
    assert [row[key] for key in ("k", "Mean", "Lowest", "Highest", "Spread", "Flip rate")] == [
        "4", "0.5000", "0.3000", "0.6000", "0.2500", "0.2500"
    ]  # fmt: skip


def test_overlap_with_training_texts_is_shown(made, tmp_path):
    name, entry = next(iter(RunData(made.root, made.spec).datasets("gliclass").items()))
    report = made.root / "analysis" / "overlap.json"
    write_json(report, {name: {"made-overlap": {"exact": 2, "near": 1}, name: {"exact": 0, "near": 3}}})
    try:
        write_tables(made.root, made.spec, tmp_path)
    finally:
        report.unlink()
    shown = next(row for row in rows(tmp_path, "integrity") if row["Dataset"] == entry["title"])["Overlap"]
    assert shown == "made-overlap: 2 + 1; own: 0 + 3"


def test_the_summary_ranks_systems_that_were_trained_on_the_topic_set_apart(made, tmp_path):
    """Else a supervised row leads the zero-shot ones, and nothing says so."""
    root = tmp_path / "run"
    shutil.copytree(made.root, root)
    plain = next(one for one in sentences(RunData(root, made.spec)) if one.startswith("On the topics"))
    leader = plain.partition(") ")[2].split()[0]
    for path in root.glob(f"cells/topics/*/{leader}/seed*/card.json"):
        write_json(path, read_json(path) | {"seen": "yes"})
    apart = next(one for one in sentences(RunData(root, made.spec)) if one.startswith("On the topics"))
    assert f") {leader} has" not in apart and "of the systems that were not trained on the set" in apart
    assert f"Of those that were, {leader} has the highest" in apart
