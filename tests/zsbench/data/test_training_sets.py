"""Validation rows drawn from a training set never include a sibling of a training row."""

import json
import random

import numpy as np
import pandas as pd
import pytest

from zsbench.data.authored_sets import HARDSET, read_authored
from zsbench.data.errors import DataError
from zsbench.data.training_sets import VALIDATION_ONE_IN, draw_groups, prepare_training_set, sibling_groups
from zsbench.store.integrity import listing
from zsbench.store.provenance import file_sha256, write_json

WORDS = [f"word{i}" for i in range(3000)]


def prepare(tmp_path, records, **preset):
    """Rows and card of a made-up training set with one file."""
    file = tmp_path / "files" / "a.jsonl"
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    entry = {"name": file.name, "bytes": file.stat().st_size, "sha256": file_sha256(file)}
    source = {"files": [entry], "origin": "made up", "revision": "1"}
    write_json(tmp_path / "manifest.json", source)
    spec = {"id": "t", "title": "t", "files": {"train": ["a.jsonl"]}, "format": {"type": "jsonl"}} | preset
    out = tmp_path / "rows.parquet", tmp_path / "card.json"
    prepare_training_set(spec | {"licence": "", "citation": ""}, tmp_path / "manifest.json", *out)
    return pd.read_parquet(out[0]), json.loads(out[1].read_text())


def bundles(count, siblings=5):
    """Shuffled records, each with the number of its bundle; siblings share labels but no text."""
    generator = random.Random(1)
    records = []
    for bundle in range(count):
        labels = [f"label {bundle} {k}" for k in range(6)]
        for _ in range(siblings):
            generator.shuffle(labels)
            text = " ".join(generator.choices(WORDS, k=25))
            records.append({"text": text, "labels": labels[:2], "not_labels": labels[2:], "bundle": bundle})
    generator.shuffle(records)
    return records


def straddling(rows, key):
    """Values of a key with rows in more than one split."""
    return [value for value, part in rows.groupby(key)["split"] if part.nunique() > 1]


@pytest.mark.parametrize("siblings", [1, 5, 7])
def test_siblings_of_a_bundle_stay_together(tmp_path, siblings):
    records = bundles(200, siblings)
    rows, card = prepare(tmp_path, records)
    assert list(rows["text"]) == [record["text"] for record in records]
    assert not straddling(rows.assign(bundle=[record["bundle"] for record in records]), "bundle")
    share = (rows["split"] == "validation").mean()
    assert 0.5 / VALIDATION_ONE_IN <= share <= 1.5 / VALIDATION_ONE_IN
    assert "near-duplicate text or shared labels (200 groups)" in card["validation"]


def test_near_duplicates_stay_together(tmp_path):
    generator = random.Random(2)
    records = bundles(150, 1)
    for record in list(records):
        copy = record["text"].split()
        copy[generator.randrange(25)] = "other"
        labels = {"labels": [f"new {len(records)}"], "not_labels": ["x"]}
        records.append({"text": " ".join(copy), "bundle": record["bundle"]} | labels)
    generator.shuffle(records)
    rows, _ = prepare(tmp_path, records)
    assert not straddling(rows.assign(bundle=[record["bundle"] for record in records]), "bundle")
    assert (rows["split"] == "validation").sum() == 6


def test_the_group_column_of_the_preset_decides(tmp_path):
    generator = random.Random(3)
    records = [record | {"source": generator.randrange(100)} for record in bundles(200)]
    rows, card = prepare(tmp_path, records, group="source")
    assert list(rows.columns) == ["text", "labels", "not_labels", "split", "shown", "targets"]
    assert not straddling(rows.assign(source=[record["source"] for record in records]), "source")
    assert 0 < (rows["split"] == "validation").mean() < 0.04
    assert "column 'source' (100 groups)" in card["validation"]
    with pytest.raises(DataError, match="a.jsonl has no column 'origin'; it has: text, labels"):
        prepare(tmp_path, records, group="origin")


def test_a_row_without_a_group_is_named(tmp_path):
    records = [record | {"source": None if i == 6 else i} for i, record in enumerate(bundles(20))]
    with pytest.raises(DataError, match=r"a.jsonl: column 'source', row 7: no value; allowed: the group of each row"):
        prepare(tmp_path, records, group="source")


def test_faults_are_counted_in_their_file_not_in_their_split(tmp_path):
    records = [record | {"part": "validation" if i < 9 else "train"} for i, record in enumerate(bundles(20))]
    records[11]["not_labels"] = records[11]["labels"]
    files = {"validation": ["a.jsonl"], "train": ["a.jsonl"]}
    with pytest.raises(DataError, match=r"a.jsonl, row 12: '.*' is both true and false"):
        prepare(tmp_path, records, files=files, split_column="part")


def test_a_split_that_no_row_has_is_refused(tmp_path):
    files = {"train": ["a.jsonl"], "validation": ["a.jsonl"]}
    records = [record | {"part": "dev" if i < 9 else "train"} for i, record in enumerate(bundles(20))]
    with pytest.raises(DataError, match="a.jsonl: no row has 'validation' in column 'part'; it has: dev, train"):
        prepare(tmp_path, records, files=files, split_column="part")


def test_a_file_without_rows_may_be_one_of_several(tmp_path):
    spec = repository(tmp_path, ["one.parquet", "two.parquet", "three.parquet"])
    pd.read_parquet(tmp_path / "files" / "two.parquet").iloc[:0].to_parquet(tmp_path / "files" / "two.parquet")
    facts = {"origin": "made up", "revision": "c0ffee"}
    write_json(tmp_path / "manifest.json", facts | {"files": listing(tmp_path / "files")})
    files = {"train": ["one.parquet", "two.parquet"], "validation": ["three.parquet"]}
    assert prepared(tmp_path, spec | {"files": files})[1]["rows"] == {"train": 2, "validation": 2}
    with pytest.raises(DataError, match="two.parquet has no rows"):
        prepared(tmp_path, spec | {"files": files | {"validation": ["two.parquet"]}})


@pytest.mark.parametrize(("universe", "shown"), [(2, 2), (20, 9)])
def test_the_fixed_label_set_of_a_task_makes_no_group(universe, shown):
    generator = random.Random(4)
    labels = [generator.sample([f"label {k}" for k in range(universe)], shown) for _ in range(60)]
    texts = [record["text"] for record in bundles(60, 1)]
    rows = pd.DataFrame(
        {"text": texts, "labels": [row[:1] for row in labels], "not_labels": [row[1:] for row in labels]}
    )
    assert len(set(sibling_groups(rows))) == 60


def test_the_bundles_of_hardset_mini_are_found():
    """Despite labels in neither list (debatable) and everyday labels."""
    rows = pd.DataFrame(read_authored(HARDSET))
    found = pd.Series(sibling_groups(rows)).groupby(rows["bundle"]).nunique()
    assert (found == 1).mean() > 0.99 and len(set(sibling_groups(rows))) > 300


def test_the_draw_keeps_to_its_share():
    generator = np.random.default_rng(0)
    for _ in range(20):
        groups = np.repeat(np.arange(300), generator.integers(1, 9, 300))
        assert abs(draw_groups(groups).mean() - 1 / VALIDATION_ONE_IN) < 0.005
    assert draw_groups(np.repeat([0, 1, 2], [40, 20, 40])).sum() == 20


def test_groups_are_drawn_from_anywhere_in_the_file():
    """Files are often sorted by source or by class."""
    drawn = np.flatnonzero(draw_groups(np.arange(5000)))
    assert len(drawn) == 100 and drawn.mean() == pytest.approx(2500, abs=4 * 144)


def test_the_published_validation_split_is_kept(tmp_path):
    records = [record | {"part": "validation" if i < 9 else "train"} for i, record in enumerate(bundles(20))]
    files = {"train": ["a.jsonl"], "validation": ["a.jsonl"]}
    rows, card = prepare(tmp_path, records, files=files, split_column="part")
    assert card["rows"] == {"train": 91, "validation": 9} and card["validation"] == "as published"


def test_a_split_may_have_several_files(tmp_path):
    spec = repository(tmp_path, ["one.parquet", "two.parquet", "three.parquet"])
    spec["files"] = {"train": ["one.parquet", "two.parquet"], "validation": ["three.parquet"]}
    rows, card = prepared(tmp_path, spec)
    assert card["rows"] == {"train": 4, "validation": 2}
    assert list(rows["text"]) == [f"{name}.parquet {i}" for name in ("one", "two", "three") for i in range(2)]


def repository(tmp_path, names, readme=""):
    """Spec and manifest of a fetched repository; each file has two rows that contain its name."""
    folder = tmp_path / "files"
    for name in names:
        rows = [{"text": f"{name} {i}", "labels": [f"{name} yes"], "not_labels": [f"{name} no"]} for i in range(2)]
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows).to_parquet(folder / name)
    (folder / "README.md").write_text(readme)
    write_json(tmp_path / "manifest.json", {"files": listing(folder), "origin": "made up", "revision": "c0ffee"})
    return {"id": "t", "title": "t", "source": "s", "format": {"type": "parquet"}, "licence": "", "citation": ""}


def prepared(tmp_path, spec):
    out = tmp_path / "rows.parquet", tmp_path / "card.json"
    prepare_training_set(spec, tmp_path / "manifest.json", *out)
    return pd.read_parquet(out[0]), json.loads(out[1].read_text())


SHARDS = ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"]


def test_files_are_found_by_split_whatever_their_shards(tmp_path):
    """By name, like `datasets`; the publisher's validation rows are used, splits with other names are not."""
    others = ["data/validation-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"]
    rows, card = prepared(tmp_path, repository(tmp_path, [*SHARDS, *others]))
    assert card["rows"] == {"train": 4, "validation": 2, "test": 2} and card["validation"] == "as published"
    for split, part in rows.groupby("split"):
        assert all(f"/{split}-" in text for text in part["text"])


def test_the_repositorys_readme_says_which_files_a_split_has(tmp_path):
    readme = "---\nconfigs:\n- config_name: default\n  data_files:\n  - {split: train, path: a/*}\n"
    readme += "  - {split: test, path: b/x.parquet}\n  - {split: train_fixed, path: b/y.parquet}\n---\n"
    spec = repository(tmp_path, ["a/one.parquet", "a/two.parquet", "b/x.parquet", "b/y.parquet"], readme)
    rows, card = prepared(tmp_path, spec)
    assert card["rows"]["test"] == 2 and card["rows"]["train"] + card["rows"]["validation"] == 4
    assert not rows["text"].str.startswith("b/y").any()


def test_a_repository_without_a_train_split_is_refused(tmp_path):
    with pytest.raises(DataError, match="train"):
        prepared(tmp_path, repository(tmp_path, ["data/test-00000-of-00001.parquet"]))


def test_another_snapshot_is_refused_with_both_numbers(tmp_path):
    spec = repository(tmp_path, SHARDS) | {"expected_rows": {"train": 54289}}
    message = r"`training_sets.t.expected_rows`: {'train': 54289}, .* have {'train': 4} \(revision c0ffee\)"
    with pytest.raises(DataError, match=message):
        prepared(tmp_path, spec)
    assert prepared(tmp_path, spec | {"expected_rows": {"train": 4}})[1]["rows"]["train"] > 0
