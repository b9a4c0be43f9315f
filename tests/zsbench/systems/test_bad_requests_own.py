"""Invalid and unusual texts and labels for trained heads, a user's class, and a csv."""

import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from odd_requests import LABELS, REFUSED, SCORED, many_labels
from tiny_run import TOPICS, make_hybrid, without_scores, write_dataset

from zsbench.evaluation.scoring import score_job
from zsbench.store.layout import Layout
from zsbench.store.provenance import read_json
from zsbench.systems import DatasetRows, RowSystem, UnknownSystemError, load
from zsbench.systems.imported import ScoresFileError, import_scores

TRAINED = list(TOPICS.values())
BLENDS = ("learned", "heads", "half", "nli")
LENGTHS = "own_lengths"  # the module of a user's class


@pytest.fixture(scope="module")
def hybrids(run, make_spec, tmp_path_factory):
    layout = make_hybrid(run, tmp_path_factory.mktemp("hybrid") / "run")
    return {
        blend: load.build(make_spec("hybridnli", "topics", ("hybrid", "hybrid"), {"blend": blend}), layout)
        for blend in BLENDS
    }


@pytest.mark.parametrize("case", REFUSED)
def test_heads_refuse_what_every_adapter_refuses(hybrids, case: str) -> None:
    texts, labels, kind, message = REFUSED[case]
    with pytest.raises(kind, match=message):
        hybrids["learned"].score(texts, TRAINED if labels is LABELS else labels)


@pytest.mark.parametrize(
    "labels",
    [
        *(labels for _, labels in SCORED.values()),
        many_labels(500),
        TRAINED[:1],
        TRAINED[::-1],
        [*TRAINED, "x"],
        [*TRAINED[:2], TRAINED[1]],
    ],
)
def test_heads_refuse_labels_of_others(hybrids, labels: list[str]) -> None:
    """A different number, order or duplicates: scores would be assigned to the wrong labels."""
    with pytest.raises(ValueError, match="not those of the trained heads"):
        hybrids["learned"].score(["markets"], labels)


@pytest.mark.parametrize("blend", BLENDS)
def test_heads_score_odd_texts(hybrids, blend: str) -> None:
    texts = [text for case, _ in SCORED.values() for text in case]
    scores = hybrids[blend].score(texts, TRAINED)
    assert scores.shape == (len(texts), 3) and ((scores >= 0) & (scores <= 1)).all()
    assert hybrids[blend].score([], TRAINED).shape == (0, 3)
    np.testing.assert_array_equal(hybrids[blend].score(texts[::-1], TRAINED)[::-1], scores)


def test_a_text_cannot_end_its_place_in_a_pair(hybrids) -> None:
    """Special tokens of the heads' tokenizer that are spelt out in a text are read as words."""
    encoder = hybrids["nli"].encoder
    ids = encoder.tokenize(["markets [SEP] This example is money. [PAD] [CLS]"])[0]
    assert encoder.tokenizer.sep_token_id in ids  # so the tokenizer alone would treat it as the end
    plain, spelt = (
        hybrids["nli"].score([text], TRAINED)
        for text in ("markets [ SEP] This example is money.", "markets [SEP] This example is money.")
    )
    np.testing.assert_array_equal(plain, spelt)


def own(make_spec: Callable, monkeypatch: pytest.MonkeyPatch, score: Callable, **more: Any) -> Any:
    """A user's class with this `score`, behind the adapter."""
    module = types.ModuleType(LENGTHS)
    module.Own = type("Own", (), {"score": lambda self, texts, labels: score(texts, labels), **more})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, LENGTHS, module)
    return load.build(make_spec("custom", settings={"class": f"{LENGTHS}:Own"}), Layout("."))  # type: ignore[arg-type]


def lengths(texts: list[str], labels: list[str]) -> list[list[int]]:
    return [[len(text) + len(label) for label in labels] for text in texts]


@pytest.mark.parametrize("case", REFUSED)
def test_a_users_class_is_not_asked_what_others_refuse(make_spec, monkeypatch, case: str) -> None:
    texts, labels, kind, message = REFUSED[case]
    made = own(make_spec, monkeypatch, lambda *_: pytest.fail("it was asked"))
    with pytest.raises(kind, match=message):
        made.score(texts, labels)


@pytest.mark.parametrize("case", [case for case in SCORED if case != "no texts"])
def test_a_users_class_is_shown_odd_requests_as_they_are(make_spec, monkeypatch, case: str) -> None:
    texts, labels = SCORED[case]
    scores = own(make_spec, monkeypatch, lengths).score(tuple(texts), labels)
    np.testing.assert_array_equal(scores, lengths(texts, labels))


def test_a_users_class_gets_500_labels_and_labels_given_twice(make_spec, monkeypatch) -> None:
    made = own(make_spec, monkeypatch, lengths)
    assert made.score(["a"], many_labels(500)).shape == (1, 500)
    assert made.score(["a"], ["x", "yy", "x"]).tolist() == [[2, 3, 2]]


def test_a_users_class_cannot_change_the_request_nor_see_gold(make_spec, monkeypatch) -> None:
    def greedy(texts: list[str], labels: list[str]) -> list[list[int]]:
        answer = lengths(texts, labels)
        texts.clear()
        labels.clear()
        return answer

    texts, labels = ["a", "b"], ["x", "y"]
    made = own(make_spec, monkeypatch, greedy, score_rows=lambda self, rows: rows.matrix)
    made.score(texts, labels)
    assert (texts, labels) == (["a", "b"], ["x", "y"]) and not isinstance(made, RowSystem)


ANSWERS = {
    "nothing": (None, "object values"),
    "words": ([["a", "b"]], "values; allowed: real numbers"),
    "None for a score": ([[1.0, None]], "object values"),
    "complex numbers": ([[1j, 2j]], "complex128 values"),
    "rows of two lengths": ([[1.0, 2.0], [1.0]], "array of numbers"),
    "one row too many": ([[1.0, 2.0]] * 2, r"\(2, 2\); expected \(1, 2\)"),
    "one label short": ([[1.0]], r"\(1, 1\); expected \(1, 2\)"),
    "labels by texts": (np.zeros((2, 1)), r"\(2, 1\)"),
    "a number": (0.5, r"shape \(\)"),
    "a mapping": ({"money": 1.0}, "object values"),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_an_answer_that_is_no_score_a_pair_is_named(make_spec, monkeypatch, case: str) -> None:
    answer, message = ANSWERS[case]
    made = own(make_spec, monkeypatch, lambda *_: answer)
    with pytest.raises(UnknownSystemError, match=rf"systems\.custom-system\.class: score\(\).*{message}"):
        made.score(["a"], LABELS)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_answer_that_is_not_finite_stops_the_cell(run, make_spec, monkeypatch, tmp_path, value: float) -> None:
    own(make_spec, monkeypatch, lambda texts, labels: np.full((len(texts), len(labels)), value))
    monkeypatch.setattr(load, "_weights", lambda *_: None)
    monkeypatch.setattr(load, "system_code", lambda *_, **__: "of a class that has no file")
    spec = make_spec("custom", settings={"class": f"{LENGTHS}:Own"})
    score_job(run.root, spec)
    assert "'custom-system' (seed 1) on dataset 'news'" in without_scores(run, spec)["reason"]


ODD_NAMES = [
    "[SEP]",
    "x [LAB] y", "mo\nney", "مرحبا \u202e", "👩\u200d👧", "\x01", "a,b", 'say "no"', "NaN", "", "1.0", " blank ",
    "sample_id", "money", "score:money", "split", "index",
]  # fmt: skip


def prepared(folder, names: list[str], rows: int = 3) -> Layout:
    layout = Layout(folder / "run")
    frame = pd.DataFrame({"split": "test", "text": "a", "gold": [[i % len(names)] for i in range(rows)]})
    write_dataset(layout, "odd", frame, "single", [f"label {i}" for i in range(len(names))], names)
    return layout


def csv_of(layout: Layout, names: list[str], path, prefix: str = "score:", rows: int = 3) -> np.ndarray:
    values = np.arange(rows * len(names), dtype=np.float32).reshape(rows, -1)
    frame = pd.DataFrame(values, columns=[f"{prefix}{name}" for name in names])
    frame.insert(0, "sample_id", [f"odd-{i}" for i in range(rows)])
    frame.to_csv(path, index=False)
    return values


@pytest.mark.parametrize("names", [ODD_NAMES, many_labels(500), ["one"]])
def test_imported_scores_stand_under_odd_labels(make_spec, tmp_path, names: list[str]) -> None:
    layout = prepared(tmp_path, names)
    values = csv_of(layout, names, tmp_path / "a.csv")
    assert import_scores(layout.root, "mine", "odd", tmp_path / "a.csv") == 3
    score_job(layout.root, make_spec("imported", system="mine", datasets=["odd"]))
    frame = pd.read_parquet(layout.scores("gliclass", "odd", "mine", 1))
    for i, name in enumerate(names):
        assert frame[f"score:{name}"].tolist() == values[:, i].tolist()


def test_labels_may_stand_without_their_prefix_and_not_twice(tmp_path) -> None:
    layout = prepared(tmp_path, ["money", "chips"])
    csv_of(layout, ["money", "chips"], tmp_path / "a.csv", prefix="")
    assert import_scores(layout.root, "mine", "odd", tmp_path / "a.csv") == 3
    csv_of(layout, ["money", "chips", "score:money"], tmp_path / "a.csv", prefix="")
    with pytest.raises(ScoresFileError, match="column 'score:money' is not a label of 'odd'"):
        import_scores(layout.root, "mine", "odd", tmp_path / "a.csv")


IDS = "sample_id,money,chips\n"
FILES = {
    "nothing in it": (b"", "not a readable table"),
    "UTF-16": (IDS.encode("utf-16"), "not a readable table"),
    "a column twice": (b"sample_id,money,money,chips\nodd-0,1,2,3\n", "'money' is there twice"),
    "rows too long": (f"{IDS}odd-0,1,2,3\nodd-1,1,2,3\n".encode(), "not a readable table"),
    "a row too short": (f"{IDS}odd-0,1\n".encode(), "'odd-0' are not all finite"),
    "a truth value": (f"{IDS}odd-0,True,2\n".encode(), "'odd-0' are not all finite"),
    "beyond 64 bits": (f"{IDS}odd-0,1e399,2\n".encode(), "'odd-0' are not all finite"),
    "an empty score": (f"{IDS}odd-0,,2\n".encode(), "'odd-0' are not all finite"),
    "an empty id": (f"{IDS},1,2\n".encode(), "sample_id '' is not in 'odd'"),
    "NUL in an id": (f"{IDS}odd-0\0,1,2\n".encode(), "sample_id 'odd-0.*' is not in 'odd'"),
    "no ids": (b"money,chips\n1,2\n", "no column 'sample_id'"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_csv_that_is_damaged_is_named_and_nothing_kept(tmp_path, case: str) -> None:
    content, message = FILES[case]
    layout = prepared(tmp_path, ["money", "chips"])
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(ScoresFileError, match=f"a.csv: .*{message}"):
        import_scores(layout.root, "mine", "odd", tmp_path / "a.csv")
    assert not (layout.root / "imported").exists()


@pytest.mark.parametrize(
    ("system", "dataset", "name", "message"),
    [
        ("../../out", "odd", "a.csv", "^--system"),
        ("mine", "../odd", "a.csv", "^--dataset"),
        ("mine\n", "odd", "a.csv", "^--system"),
        ("mine", "even", "a.csv", "^--dataset"),
        ("mine", "odd", "gone.csv", "gone.csv"),
        ("mine", "odd", ".", ": no such file"),
    ],
)
def test_an_import_cannot_leave_the_run(tmp_path, system: str, dataset: str, name: str, message: str) -> None:
    layout = prepared(tmp_path, ["money", "chips"])
    csv_of(layout, ["money", "chips"], tmp_path / "a.csv")
    with pytest.raises(ScoresFileError, match=message):
        import_scores(layout.root, system, dataset, tmp_path / name)
    assert not list(tmp_path.rglob("*out*")) and not (layout.root / "imported").exists()


def test_imported_rows_missing_changed_or_of_other_labels_are_named(make_spec, tmp_path) -> None:
    layout = prepared(tmp_path, ["money", "chips"])
    csv_of(layout, ["money", "chips"], tmp_path / "a.csv", rows=2)
    import_scores(layout.root, "mine", "odd", tmp_path / "a.csv")
    made = load.build(make_spec("imported", system="mine"), layout)
    request = {"task": "single", "splits": ["test"], "gold": [[0]]}
    assert (
        made.score_rows(DatasetRows("odd", labels=["chips"], sample_ids=["odd-1"] * 2, **request)).tolist()
        == [[3.0]] * 2
    )
    assert made.score_rows(DatasetRows("odd", labels=["chips"], sample_ids=[], **request)).shape == (0, 1)
    with pytest.raises(ScoresFileError, match="1 of 2 rows of 'odd' have no scores, first 'odd-2'"):
        made.score_rows(DatasetRows("odd", labels=["chips"], sample_ids=["odd-1", "odd-2"], **request))
    with pytest.raises(ScoresFileError, match=r"lacks the columns \['score:sport'\].*import-scores"):
        made.score_rows(DatasetRows("odd", labels=["chips", "sport"], sample_ids=["odd-1"], **request))
    path = layout.imported("mine", "odd")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ScoresFileError, match=r"odd\.parquet is damaged.*import-scores"):
        made.score_rows(DatasetRows("odd", labels=["chips"], sample_ids=["odd-1"], **request))
    assert read_json(layout.dataset_card("odd"))["label_names"] == ["money", "chips"]
