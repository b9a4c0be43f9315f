"""Two runs are the same if only volatile values differ, and not if anything else does."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from zsbench.cli.main import main
from zsbench.evaluation.label_slopes import gather_label_counts
from zsbench.reporting.figures import write_figures
from zsbench.reporting.page import write_report
from zsbench.reporting.same import differences
from zsbench.reporting.tables import write_tables
from zsbench.store.provenance import read_json, write_json

TIMED = ["seconds", "texts_per_second", "peak_memory_mb"]
Pair = tuple[Path, Path, Path, Path]


def rendered(made: SimpleNamespace, root: Path, out: Path) -> Path:
    write_tables(root, made.spec, out / "tables")
    write_figures(root, made.spec, out / "figures")
    write_report(root, made.spec, out)
    return out


@pytest.fixture(scope="module")
def pair(made: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Results and reports of a run, and of one that took twice as long."""
    folder = tmp_path_factory.mktemp("pair")
    first, slow = folder / "first", folder / "slow"
    for root, factor in ((first, 1), (slow, 2)):
        shutil.copytree(made.root, root)
        for path in root.rglob("card.json"):
            card = read_json(path)
            timed = {name: factor * card[name] for name in TIMED if name in card}
            write_json(path, card | timed | {"volatile": TIMED})
    path = slow / "analysis" / "cost.parquet"
    cost = pd.read_parquet(path)
    cost[["seconds", "peak_memory_mb"]] *= 2
    cost["texts_per_second"] /= 2
    cost.to_parquet(path, index=False)
    for path in slow.glob("label_counts/*.json"):
        record = read_json(path)
        for entry in record["sets"]["movies"]["counts"]:
            entry |= {"seconds": entry["labels"] * entry["seconds"]} if "seconds" in entry else {}
        write_json(path, record)
    gather_label_counts(slow, made.spec)
    return first, slow, rendered(made, first, folder / "a"), rendered(made, slow, folder / "b")


def test_times_do_not_count(pair: Pair) -> None:
    first, slow, page, other = pair
    assert (page / "index.html").read_text() != (other / "index.html").read_text()
    assert (first / "analysis" / "cost.parquet").read_bytes() != (slow / "analysis" / "cost.parquet").read_bytes()
    slopes = [pd.read_parquet(root / "analysis" / "label_slopes.parquet") for root in (first, slow)]
    assert not slopes[0].equals(slopes[1])
    assert differences(first, slow) == []
    assert differences(page, other) == []


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("tables/label_slopes.csv", "gliznet-full", "another"),
        ("tables/gliclass_suite.csv", "0.", "1."),
        ("figures/gliclass_forest.svg", "<path", "<PATH"),
    ],
)
def test_anything_else_counts(pair: Pair, tmp_path: Path, name: str, old: str, new: str) -> None:
    copy = tmp_path / "report"
    shutil.copytree(pair[2], copy)
    text = (copy / name).read_text()
    assert old in text
    (copy / name).write_text(text.replace(old, new, 1))
    assert differences(pair[2], copy) == [f"{name}: differs"]


def test_a_card_and_a_missing_file_count(pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "run"
    shutil.copytree(pair[0], copy)
    card = next(copy.glob("cells/*/*/*/*/card.json"))
    write_json(card, read_json(card) | {"key": "another"})
    gone = next(copy.glob("analysis/deltas.parquet"))
    gone.unlink()
    found = differences(pair[0], copy)
    assert found == [f"analysis/deltas.parquet: only in {pair[0]}", f"{card.relative_to(copy)}: differs"]
    assert main(["same", str(pair[0]), str(copy)]) == 1
    assert main(["same", str(pair[0]), str(pair[0])]) == 0
    assert "deltas.parquet: only in" in capsys.readouterr().out
