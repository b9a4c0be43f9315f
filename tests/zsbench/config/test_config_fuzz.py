"""Random configs and files load or are refused with a message; no other error, and no hang."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.zsbench.conftest import REPOSITORY, checked
from zsbench.config.load import ConfigError, load_yaml, resolve, walk
from zsbench.plan.plan import Plan
from zsbench.store.provenance import IntegrityError, canonical_json, read_json

EMBEDDED = load_yaml(REPOSITORY / "workflow" / "configs" / "embedded.yaml")
PLACES = [key for key, _ in walk(EMBEDDED) if key]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(
        ["", "{}", "../x", "a\n", "minilm", "cr", "topics-mini", "gliznet-full", "nli", 10**400, -1, 0, 1.0]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


def put(config: Any, key: str, value: Any) -> None:
    """Set the entry at a dotted key; an index selects a list element."""
    *parents, last = key.split(".")
    for name in parents:
        config = config[int(name)] if isinstance(config, list) else config[name]
    config[int(last) if isinstance(config, list) else last] = value


# Regressions: each of these used to crash or was accepted.
@example([("gliznet", [1])])
@example([("suites", [1])])
@example([("recipe.steps", 4.0)])
@example([("recipe.max_grad_norm", float("inf"))])
@example([("suites.gliclass.sample_seed", 10**400)])
@example([("run", "embedded\n")])
@example([("systems", None)])
@example([("suites", {"topics": None})])
@example([("trained.nli-mini.template", "{} {0.__class__}")])
@given(st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=2))
@settings(max_examples=30)
def test_a_changed_config_plans_or_is_refused(changes: list[tuple[str, Any]]) -> None:
    config = copy.deepcopy(EMBEDDED)
    for key, value in changes:
        try:
            put(config, key, copy.deepcopy(value))
        except (KeyError, IndexError, TypeError, ValueError):
            continue  # the first change removed the parent of the second
    try:
        resources = resolve(config, REPOSITORY / "workflow")
    except ConfigError as error:
        assert str(error)
        return
    plan = Plan(config, resources)
    specs = [plan.score_spec(*job) for job in plan.jobs]
    assert canonical_json([plan.analysis_spec, specs, plan.sources, plan.cells])


LEAVES = [key for key, value in walk(EMBEDDED) if not isinstance(value, dict | list)]


@pytest.mark.parametrize("key", LEAVES)
def test_a_single_wrong_value_is_named_by_its_key_alone(key: str) -> None:
    config = copy.deepcopy(EMBEDDED)
    put(config, key, {"no such": "thing"})
    with pytest.raises(ConfigError) as caught:
        resolve(config, REPOSITORY / "workflow")
    _, *lines = str(caught.value).splitlines()
    assert lines and all(line.startswith(f"  - `{key}") for line in lines), lines
    assert len(lines) == 1 or key.endswith("rows"), lines  # a number or a mapping, so the message has a line for each


@example("a: &a [*a]")
@example("? [a]\n: b")
@example("a: 2020-13-45")
@example("a: 0x" + "f" * 5000)
@example("a: " + "9" * 5000)
@example("\x85")
@given(st.text(alphabet=st.sampled_from("ab:{}[]&*!?-|>\"'#%@,\n \t01.x\x85\x00é"), max_size=40))
@settings(max_examples=150)
def test_any_text_is_a_mapping_or_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        assert isinstance(load_yaml(path), dict)
    except ConfigError as error:
        assert str(path) in str(error)


@example(b"")
@example(b"\xff\xfe")
@example(b"[" * 3000)
@example(b"9" * 5000)
@given(st.binary(max_size=30) | st.text(max_size=30).map(str.encode))
@settings(max_examples=60)
def test_any_json_file_is_read_or_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "card.json"
    path.write_bytes(content)
    try:
        assert read_json(path) == read_json(path) or b"NaN" in content
    except IntegrityError as error:
        assert str(path) in str(error)


def test_a_config_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(ConfigError):
        checked(json.loads("{}"))
