"""Hashes and atomic writes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsbench.store.provenance import (
    IntegrityError,
    canonical_json,
    digest,
    environment,
    read_json,
    write_atomic,
    write_json,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50)
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


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom zsbench.store.provenance import write_atomic\n"
        "write_atomic(Path(sys.argv[1]), lambda path: (path.write_text('ha'), os.kill(os.getpid(), signal.SIGKILL)))"
    )
    path = tmp_path / "a[1].json"
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == -9
    (left,) = tmp_path.iterdir()
    assert left.name.endswith(".tmp")
    write_json(path, {"whole": 1})
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_path_do_not_share_a_temporary_file(tmp_path: Path) -> None:
    """The second starts and finishes while the first is in progress."""
    path = tmp_path / "a.json"

    def slow(temporary: Path) -> None:
        with temporary.open("w") as handle:
            handle.write('{"slow"')
            handle.flush()
            write_json(path, {"quick": 1})
            assert read_json(path) == {"quick": 1}
            handle.write(": 1}")

    write_atomic(path, slow)
    assert read_json(path) == {"slow": 1}
    assert list(tmp_path.iterdir()) == [path]


@settings(max_examples=50)
@given(
    content=st.dictionaries(st.text(max_size=4), VALUES, max_size=3), place=st.integers(0, 10**6), bit=st.integers(0, 7)
)
def test_no_flipped_bit_changes_what_is_read(tmp_path: Path, content: dict, place: int, bit: int) -> None:
    path = tmp_path / "a.json"
    write_json(path, content)
    raw = bytearray(path.read_bytes())
    raw[place % len(raw)] ^= 1 << bit
    path.write_bytes(raw)
    try:
        found = read_json(path)
    except IntegrityError as error:
        assert "a.json" in str(error)
    else:
        assert {key: found[key] for key in content} == content  # the flip hit the key of the checksum, or white space


def test_damaged_json_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text('{"half": ')
    with pytest.raises(IntegrityError, match=r"card\.json is damaged"):
        read_json(tmp_path / "card.json")


def test_environment_holds_versions_and_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecret")
    text = json.dumps(environment())
    assert "torch" in text and "secret" not in text
