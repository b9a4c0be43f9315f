"""`zsbench init`: what it finds in a file, and that it writes a valid config."""

from pathlib import Path

import pytest

from tests.zsbench.conftest import REPOSITORY
from zsbench.cli.main import main
from zsbench.config.load import ConfigError, load_yaml, resolve
from zsbench.config.starter import describe, slug
from zsbench.plan.plan import Plan


@pytest.fixture
def csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [f"{i},a longer text of number {i},{i % 3}" for i in range(12)] + ["12,,0", "13,twice over and over,1"] * 2
    Path("My Reviews.csv").write_text("id,body,stars\n" + "\n".join([*rows, "14,without a label,"]) + "\n")
    return Path("My Reviews.csv")


def planned(config: str) -> Plan:
    read = load_yaml(Path(config))
    return Plan(read, resolve(read, REPOSITORY / "workflow"))


def test_the_columns_are_found_and_odd_rows_counted(csv: Path) -> None:
    found = describe(csv)
    assert (found.text, found.gold, found.values) == ("body", "stars", ["0", "1", "2"])
    assert found.rows == {"0": 6, "1": 6, "2": 4}
    assert [note.split(" with")[0] for note in found.notes] == ["2 rows", "2 rows", "1 row"]


def test_labels_in_words_stand_for_the_sorted_values(csv: Path) -> None:
    assert main(["init", str(csv), "--labels", "bad, middling,good", "--text", "body"]) == 0
    config = Path("my-reviews.yaml")
    assert len([line for line in config.read_text().splitlines() if line.strip()]) <= 14
    plan = planned("my-reviews.yaml")
    spec = plan.dataset_spec("my-reviews")
    assert spec["labels"] == ["bad", "middling", "good"] and spec["gold"]["values"] == ["0", "1", "2"]
    assert plan.trained == {} and "biencoder" in plan.systems
    assert main(["init", str(csv)]) == 1, "a config that is there stays"
    assert main(["init", str(csv), "--force"]) == 0 and planned("my-reviews.yaml")


def test_gold_that_holds_the_labels_needs_no_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("text,what\n" + "one text,yes\nanother text,no\n" * 4)
    assert main(["init", "a.csv", "--labels", "no,yes,maybe"]) == 0
    assert "labels without a row: maybe;" in capsys.readouterr().out
    spec = planned("a.yaml").dataset_spec("a")
    assert spec["labels"] == spec["gold"]["values"] == ["no", "yes", "maybe"]


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"text": "nosuch"}, "--text"),
        ({"gold": "nosuch"}, "--gold"),
        ({"labels": ["0", "1"]}, "--labels"),
        ({"gold": "stars", "labels": ["a", "b"]}, "--labels"),
    ],
)
def test_what_does_not_fit_is_named(csv: Path, options: dict, key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        describe(csv, **options)
    assert str(refused.value).startswith(f"{key}: ")


@pytest.mark.parametrize("labels", [None, ["bad", "good"]])
def test_classes_that_read_alike_are_refused_before_a_config_is_written(tmp_path: Path, labels: list | None) -> None:
    (tmp_path / "a.csv").write_text("text,what\n" + "one text,good\nanother text,bad\n" * 4 + "a third,good \n")
    with pytest.raises(ConfigError) as refused:
        describe(tmp_path / "a.csv", labels=labels)
    told = "--gold: column 'what' has values that read alike: 'good' (4 rows) and 'good ' (1 row); "
    assert str(refused.value) == told + "allowed: one spelling of each class in the file"


@pytest.mark.parametrize(("separator", "written"), [(";", '";"'), ("\t", '"\\t"')])
def test_a_csv_without_commas_is_read_by_its_own_separator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, separator: str, written: str
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [["body", "what"], *[[f"well, text {i}", "yes" if i % 2 else "no"] for i in range(8)]]
    Path("a.csv").write_text("".join(separator.join(row) + "\n" for row in rows))
    assert main(["init", "a.csv"]) == 0
    assert written in Path("a.yaml").read_text()
    assert planned("a.yaml").dataset_spec("a")["format"]["separator"] == separator


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("text,what\n", "a.csv: it has no rows"),
        ("text\na\nb\n", "a.csv: its only column is 'text'; allowed: columns of texts and labels"),
        (
            "text,what\na b,x\nb c,x\n",
            "--gold: no column of a.csv has 2 to 50 different values; allowed: what (1 ",
        ),
        ("text,what,who\n" + "a long text,x,b\nanother text,y,a\n" * 2, "--gold: several columns of a.csv could be"),
    ],
)
def test_a_file_without_what_is_needed_is_told_what_lacks(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(ConfigError) as refused:
        describe(tmp_path / "a.csv")
    assert str(refused.value).startswith(told)


def test_an_id_is_made_of_the_letters_of_a_name() -> None:
    assert slug("Über Größe (2).csv.gz") == "uber-grosse-2" and slug("評論.csv") == "mine"


def test_a_new_folder_gets_a_config_that_plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "work"]) == 0
    plan = planned("work/config.yaml")
    assert plan.trained == {} and len(plan.cells) == 3
    assert main(["init", "nosuch.csv"]) == 2
