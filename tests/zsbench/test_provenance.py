"""Hashes and atomic writes."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsbench.provenance import IntegrityError, canonical_json, digest, environment, read_json, write_atomic, write_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(VALUES)
def test_canonical_json_round_trips_and_ignores_key_order(value: object) -> None:
    text = canonical_json(value)
    assert json.loads(text) == value
    if isinstance(value, dict):
        assert canonical_json(dict(reversed(list(value.items())))) == text


def test_digest_tells_values_apart() -> None:
    assert len({digest(value) for value in (1, "1", [1], {"a": 1}, {"a": "1"}, None, True)}) == 7


def test_nan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"score": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_failing_write_leaves_the_old_file_and_no_part(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})

    def fail(temporary: Path) -> None:
        temporary.write_text('{"new"')
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, fail)
    assert read_json(path) == {"old": 1}
    assert [item.name for item in tmp_path.iterdir()] == ["a.json"]


def test_damaged_json_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text('{"half": ')
    with pytest.raises(IntegrityError, match=r"card\.json is damaged"):
        read_json(tmp_path / "card.json")


def test_environment_holds_versions_and_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecret")
    text = json.dumps(environment())
    assert "torch" in text and "secret" not in text
