"""Configs that once passed, or crashed: each is refused before any work, with key, reason and what is allowed."""

import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from zsbench.config import ConfigError, load_yaml

from .conftest import REPOSITORY, checked
from .test_config import SMALL_SET, drop, put

CONTROL = {"family": "control", "control": "oracle", "suites": ["gliclass"]}
MINE = SMALL_SET | {"verbalisations": {"plain": ["bad", "good"]}}
LLM = {"family": "llm", "suites": ["gliclass"], "url": "https://example.org/v1", "name": "m"}
HUB = {"kind": "hub", "repo_type": "dataset", "repo": "a/b", "revision": "lock", "files": ["c"]}


def mine(**changes: Any) -> Callable[[dict], None]:
    """A config with a test set of its own, changed."""
    return put("datasets", {"mine": MINE | changes})


def source(**entry: Any) -> Callable[[dict], None]:
    return put("sources", {"mine": entry})


def system(**entry: Any) -> Callable[[dict], None]:
    return put("systems/mine", {"suites": ["gliclass"]} | entry)


def variant(**options: Any) -> Callable[[dict], None]:
    return put("gliznet/variants/mine", options)


REFUSED = {
    # Values
    "line break after an id": (put("run", "embedded\n"), r"run: 'embedded\\n' is not a valid id"),
    "weight is not a number": (variant(margin=float("nan")), "variants.mine.margin: nan .* finite"),
    "clip is infinite": (put("recipe/max_grad_norm", float("inf")), "max_grad_norm: inf .* finite"),
    "steps with a decimal point": (put("recipe/steps", 4.0), "recipe.steps: 4.0: is not of type 'integer'"),
    "seed with a decimal point": (put("recipe/seeds", [1.0]), "recipe.seeds.0: 1.0"),
    "seed is true": (put("recipe/seeds", [True]), "recipe.seeds.0: True"),
    "number of a thousand digits": (put("suites/gliclass/sample_seed", 10**1000), "sample_seed: the number has 3322"),
    "sample seed above 32 bits": (put("suites/gliclass/sample_seed", 2**32), "sample_seed: 4294967296"),
    "a date": (put("run", date(2020, 1, 1)), "run: '2020-01-01' is read as date; allowed: text"),
    "bytes": (system(family="custom", **{"class": "a:B", "arguments": {"x": b"1"}}), "arguments.x: .* bytes; allowed"),
    "a key that is a number": (put("gliznet/variants", {1: {}}), "gliznet.variants: the key '1' is no text; quote it"),
    "a control character": (put("trained/nli-mini/template", "x\x00 {}"), "template: .* control characters"),
    # Templates reach str.format
    "two places in a template": (put("trained/nli-mini/template", "{} {}"), "a text with one {} for the label"),
    "a named place": (put("hybrid/hybrid/template", "{} {x}"), "hybrid.hybrid.template: .* one {}"),
    "an attribute in a template": (put("trained/nli-mini/template", "{} {0.__class__}"), "template: .* one {}"),
    "a lone brace": (put("trained/nli-mini/template", "{} {"), "template: .* one {}"),
    # Variants
    "variant says the default": (variant(margin=0.5), "variants.mine.margin: 0.5 is already the base's value"),
    "variant is equal but for the type": (variant(margin=0), "has the same settings as 'no-margin'"),
    "switches exclude each other": (variant(order_invariant=True, enrichment=True), "variants.mine: enrichment=True"),
    "no loss is left": (variant(softmax_weight=0, bce_weight=0, vicreg_weight=0), "mine: loss weights=.*at least one"),
    "no room for text": (variant(max_length=32, min_text_tokens=31), "variants.mine: max_length=32 .* at least 35"),
    "compound of an unknown variant": (put("gliznet/compounds/x", ["warn", "full"]), "'warn' .* did you mean 'warm'"),
    "compound with itself": (put("gliznet/compounds/x", ["warm", "warm"]), "'warm' against itself"),
    # Recipes
    "several GPUs, single strategy": (put("recipe/gpus", 4), "recipe.gpus: 4 with strategy 'single'; allowed: 1"),
    "batch in broken parts": (put("recipe/per_device_batch", 7), "effective_batch: 16 is not a multiple of .* 7"),
    "own seeds of one model": (put("trained/nli-mini/recipe", {"seeds": [3]}), "recipe.seeds: is the same for a whole"),
    "own batch in broken parts": (
        put("trained/nli-mini/recipe", {"effective_batch": 5}),
        "trained.nli-mini.recipe.effective_batch: 5 is not a multiple",
    ),
    "data as backbone": (put("recipe/backbone", "cr"), "recipe.backbone: 'cr' is a source of data"),
    # Systems
    "no model": (system(family="biencoder"), "systems.mine: family 'biencoder' needs `model`"),
    "sensitivity of nobody": (
        put("scoring/sensitivity/systems", ["gliznet-ful"]),
        "scoring.sensitivity.systems: 'gliznet-ful' .* did you mean 'gliznet-full'",
    ),
    "a supervised system without training rows": (
        system(family="supervised", features="words"),
        "systems.mine.suites: 'gliclass' holds .* no rows for train",
    ),
    "no control": (system(family="control"), "systems.mine: family 'control' needs `control`"),
    "no url": (system(family="llm", name="m"), "systems.mine: family 'llm' needs `url`"),
    "no class": (system(family="custom"), "systems.mine: family 'custom' needs `class`"),
    "a setting the family ignores": (
        put("systems/majority/template", "{}"),
        "systems.majority.template: family 'control' has none; allowed: control, family, seen, suites",
    ),
    "a class path with a line break": (system(family="custom", **{"class": "a:B\n"}), "class: .* is not a valid class"),
    "data as model": (system(family="nli", model="cr"), "systems.mine.model: 'cr' is a source of data"),
    "seen a set nobody knows": (put("systems/biencoder/seen", ["agnews"]), "seen: 'agnews' .* did you mean 'ag-news'"),
    "published hybrid on another suite": (
        system(family="hybridnli", model="hybrid-nli-polyencoder", nli="minilm"),
        r"systems.mine.suites: .* allowed: \[topics\]",
    ),
    "deltas of an unknown system": (put("statistics/system", "gliznet-ful"), "did you mean 'gliznet-full'"),
    "deltas of a system of the other suite": (put("statistics/system", "always-positive"), "statistics.system"),
    # Ids
    "system named as a variant": (put("systems/gliznet-full", CONTROL), "taken by gliznet.variants.full"),
    "trained named as a variant": (put("trained/gliznet-full", {"family": "biencoder"}), "taken by gliznet.variants"),
    "system named as a blend": (put("systems/hybrid-heads", CONTROL), "taken by hybrid.hybrid"),
    "hybrid named as a trained one": (put("trained/hybrid", {"family": "biencoder"}), "taken by trained.hybrid"),
    # Hybrids
    "hybrid over a bi-encoder": (put("hybrid/hybrid/nli", "biencoder-mini"), "of family 'biencoder', not 'nli'"),
    "hybrid over data": (put("hybrid/hybrid/nli", "cr"), "hybrid.hybrid.nli: 'cr' is a source of data"),
    "no label with a head": (
        put("hybrid/hybrid/nli_only", ["Technology", "Health", "Finance", "Economy", "Environment"]),
        "nli_only: holds every label",
    ),
    "nli-only labels repeat": (put("hybrid/hybrid/nli_only", ["Health", "Health"]), "nli_only: .* non-unique"),
    "more folds than rows": (
        lambda config: config["suites"]["topics"].update(folds=50, rows=30),
        "suites.topics.folds: 50; 'topics-mini' has 30 validation rows",
    ),
    # Presets
    "the id of another preset": (put("datasets", {"cr": MINE}), "datasets.cr: the id is taken by a preset"),
    "label order changed": (
        mine(verbalisations={"plain": ["bad", "good"], "other": ["Good", "bad"]}),
        "verbalisations.other: the labels of 'plain' in another order",
    ),
    "a blank label": (mine(verbalisations={"plain": ["bad", " "]}), "plain.1: ' ' is not a valid text"),
    "one label": (mine(verbalisations={"plain": ["bad"]}), "verbalisations.plain"),
    "no test split": (mine(files={"train": "a.csv"}, expected_rows={"train": 1}), "files: has no `test`"),
    "many labels for a set of one": (mine(task="multi"), "mine.task: 'multi' in suite 'gliclass'; allowed: 'single'"),
    "a file outside": (mine(files={"test": "../../secret.csv"}), "files.test: .* not absolute, no .. in it"),
    "an absolute file": (mine(files={"test": "/etc/passwd"}), "files.test: '/etc/passwd' is not a valid path"),
    "overlapping ratings": (mine(gold={"column": "g", "bins": [[0, 2], [2, 4]]}), "overlaps the one before it"),
    "an empty interval": (mine(gold={"column": "g", "bins": [[2, 0], [3, 4]]}), r"\[2, 0\] is empty"),
    "ratings and values": (mine(gold={"column": "g", "bins": [[0, 1]], "values": ["0", "1"]}), "mine.gold"),
    "unknown kind of source": (source(kind="git"), "sources.mine.kind: 'git' is not allowed; allowed: authored"),
    "an authored file outside": (source(kind="authored", file="../../../x"), "file: .* no .. in it"),
    "a key of another kind": (source(kind="local", path="a.csv", url="https://a"), "sources.mine.url: kind 'local'"),
    "a repository path upwards": (source(**HUB | {"repo": "../../etc"}), "repo: .* allowed: owner/name"),
    "an option in a version": (
        source(kind="package", name="--index-url=x", version="1", distribution="wheel", sha256="0" * 64, files=["a"]),
        "sources.mine.name: '--index-url=x' is not a valid",
    ),
    "labels that fit no command line": (
        lambda config: (
            config.update(datasets={"mine": MINE | {"verbalisations": {"plain": [c * 1000 for c in "ab"]} | {
                f"w{i}": [f"{i}{c}" * 300 for c in "ab"] for i in range(99)}}}),
            put("suites/gliclass/datasets", ["mine"])(config),
        ),
        "suites.gliclass: its sets' labels take",
    ),
    # Secrets
    "password in an address": (system(**LLM | {"url": "https://me:word@example.org/v1"}), "url: looks like a secret"),
    "token in an address": (source(kind="https", url="https://a.org/x?token=abc", sha256="0" * 64), "looks like a sec"),
    "key in a config": (
        system(family="custom", **{"class": "a:B", "arguments": {"api_key": "x"}}),
        "arguments.api_key: looks like a secret",
    ),
    "hub token in a prompt": (put("systems/biencoder/text_prompt", "hf_AbCdEfGhIj"), "text_prompt: looks like a sec"),
    # Shapes that the first look must survive
    "gliznet is a list": (put("gliznet", [1]), r"gliznet: \[1\]: is not of type 'object'"),
    "suites are missing": (drop("suites"), "'suites' is a required property"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_with_key_and_reason(embedded: dict, name: str) -> None:
    change, message = REFUSED[name]
    change(embedded)
    with pytest.raises(ConfigError, match=message) as caught:
        checked(embedded)
    assert not any(secret in str(caught.value) for secret in ("word@", "token=abc", "AbCdEfGhIj"))


NESTED = "run: " + "[" * 100_000 + "]" * 100_000  # the C parser's composer overflows the stack on it
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "\n".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
FILES = {
    "billion laughs": (LAUGHS, "more than 200000 values once its anchors are filled in"),
    "deep nesting": (NESTED, "nested more than 40 levels"),
    "a list that holds itself": ("run: &a [*a]", "more than 200000 values"),
    "the same key twice": ("run: a\nsystems:\n  x: {family: nli}\n  x: {family: llm}\n", "line 3: the key 'x' stands"),
    "a program": ("__use_yte__: true\nrun: x", "`__use_yte__` makes a config a program"),
    "python objects": ("run: !!python/object/apply:os.system [touch never]", "not valid YAML"),
    "a python name": ("run: !!python/name:os.system", "not valid YAML"),
    "a day that is none": ("run: 2020-13-45", "not valid YAML"),
    "a key that is a list": ("? [a]\n: b", "not valid YAML"),
    "two documents": ("run: a\n---\nrun: b", "not valid YAML"),
    "nothing": ("", "must hold a mapping of keys, found NoneType"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_refused_before_it_can_do_harm(tmp_path: Path, name: str) -> None:
    text, message = FILES[name]
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_yaml(tmp_path / "config.yaml")


def test_a_file_of_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes("run: é".encode("utf-16"))
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_yaml(tmp_path / "config.yaml")


def test_anchors_that_repeat_a_little_are_fine(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: [*a, *a]\n")
    assert load_yaml(tmp_path / "config.yaml")["b"] == {"x": 1, "y": 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text + "\nstatistics: {draws: 200}\n", "the key 'statistics' stands there twice"),
        (lambda text: text + "\nsources:\n" + LAUGHS.replace("\n", "\n  ").replace("a:", "  a:", 1), "200000 values"),
        (lambda text: text.replace("model: minilm,", "model: minilm, text_prompt: hf_AbCdEfGhIj,"), "like a secret"),
        (lambda text: text.replace("full: {}", "full: {margin: .nan}"), "margin: nan is not allowed"),
    ],
    ids=["repeated key", "billion laughs", "secret", "not a number"],
)
def test_snakemake_prints_the_reason_alone(tmp_path: Path, change: Callable[[str], str], message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(change((REPOSITORY / "workflow" / "configs" / "embedded.yaml").read_text()))
    command = ["-n", "--cores", "1", "--directory", str(tmp_path), "--snakefile", str(REPOSITORY / "Snakefile")]
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *command, "--configfile", str(path)], capture_output=True, text=True
    )
    shown = done.stdout + done.stderr
    assert done.returncode != 0 and message in shown and "Traceback" not in shown and "AbCdEfGhIj" not in shown
    assert not (tmp_path / "results").exists()


def test_the_embedded_config_is_whole_without_its_anchors(embedded: dict) -> None:
    """Sanity of the table above: what it changes is a config that passes."""
    assert checked(yaml.safe_load(yaml.safe_dump(embedded)))["run"] == "embedded"
    put("datasets", {"mine": MINE})(embedded)
    checked(embedded)
