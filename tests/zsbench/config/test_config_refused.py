"""Configs that once passed, or crashed: each is refused before any work, with key, reason and what is allowed."""

import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.zsbench.config.test_config import SMALL_SET, drop, put
from tests.zsbench.conftest import REPOSITORY, checked
from zsbench.config.load import ConfigError, load_yaml

CONTROL = {"family": "control", "control": "oracle", "suites": ["gliclass"]}
MINE = SMALL_SET | {"verbalisations": {"plain": ["bad", "good"]}}
LLM = {"family": "llm", "suites": ["gliclass"], "url": "https://example.org/v1", "name": "m"}
TRAINING = {"title": "t", "format": {"type": "jsonl"}, "licence": "l", "citation": "c"}
HUB = {"kind": "hub", "repo_type": "dataset", "repo": "a/b", "revision": "lock", "files": ["c"]}


def mine(**changes: Any) -> Callable[[dict], None]:
    """A config with a test set of its own, changed."""
    return put("datasets", {"mine": MINE | changes})


def source(**entry: Any) -> Callable[[dict], None]:
    return put("sources", {"mine": entry})


def both(*changes: Callable[[dict], None]) -> Callable[[dict], None]:
    return lambda config: [change(config) for change in changes] and None


def system(**entry: Any) -> Callable[[dict], None]:
    return put("systems/mine", {"suites": ["gliclass"]} | entry)


def variant(**options: Any) -> Callable[[dict], None]:
    return put("gliznet/variants/mine", options)


def two_titles(config: dict) -> None:
    """Two sets of one suite with one title, but for case and spaces."""
    config["datasets"] = {"one": MINE | {"title": "My set"}, "two": MINE | {"title": "my  Set"}}
    config["suites"]["gliclass"]["datasets"] += ["one", "two"]


def named(name: str, title: str) -> Callable[[dict], None]:
    def change(config: dict) -> None:
        config["datasets"] = {name: MINE | {"title": title}}
        config["suites"]["gliclass"]["datasets"].append(name)

    return change


REFUSED = {
    # Names
    "id of the average row": (named("average", "Mine"), "datasets.average: 'average' names a column"),
    "title of the average row": (named("mine", "AVERAGE"), "datasets.mine.title: 'AVERAGE' names a column"),
    "two sets with one title": (two_titles, "datasets.two.title: 'my  Set' already names dataset 'one'"),
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
    "switches exclude each other": (variant(enrichment=True), "variants.mine: enrichment"),
    "no loss is left": (variant(softmax_weight=0, bce_weight=0, vicreg_weight=0), "mine: softmax_weight"),
    "no room for text": (variant(max_length=32, min_text_tokens=31), "variants.mine: max_length"),
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
        "systems.mine.suites: .* allowed: topics",
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
    "a metric of the other task": (put("suites/gliclass/metric", "mean_ap"), "suites.gliclass.metric: 'mean_ap'"),
    "protocols of a single suite": (put("suites/gliclass/protocols", ["cv"]), "suites.gliclass.protocols"),
    "a file outside": (mine(files={"test": "../../secret.csv"}), "files.test: .* not absolute, no .. in it"),
    "an absolute file": (mine(files={"test": "/etc/passwd"}), "files.test: '/etc/passwd' is not a valid path"),
    "overlapping ratings": (mine(gold={"column": "g", "bins": [[0, 2], [2, 4]]}), "overlaps the one before it"),
    "an empty interval": (mine(gold={"column": "g", "bins": [[2, 0], [3, 4]]}), r"\[2, 0\] is empty"),
    "ratings and values": (mine(gold={"column": "g", "bins": [[0, 1]], "values": ["0", "1"]}), "mine.gold"),
    "gold without a meaning": (mine(gold={"column": "g"}), "mine.gold"),
    "multi-hot and values": (mine(gold={"column": "g", "values": [0, 1], "encoding": "multi-hot"}), "mine.gold"),
    "an unknown encoding": (mine(gold={"column": "g", "encoding": "one-hot"}), "gold.encoding: 'one-hot' .* multi-hot"),
    "gold values that a file holds alike": (
        mine(gold={"column": "g", "values": [1, "1"]}),
        'datasets.mine.gold.values: 1, "1" cannot be told apart',
    ),
    "an empty gold value": (mine(gold={"column": "g", "values": ["", "1"]}), "gold.values.0: ''"),
    "multi-hot wordings of two lengths": (
        mine(
            gold={"column": "g", "encoding": "multi-hot"},
            verbalisations={"plain": ["a", "b"], "other": ["a", "b", "c"]},
        ),
        "verbalisations.other: 3 labels",
    ),
    "a separator of two letters": (mine(format={"type": "table", "separator": "||"}), "separator: .* one character"),
    "a separator beyond ASCII": (mine(format={"type": "table", "separator": "¦"}), "separator: .* one character"),
    "a pattern as separator": (mine(format={"type": "table", "separator": r"\s"}), "separator: .* one character"),
    "a file of another name": (
        both(source(kind="local", path="data/rows.csv"), mine(source="mine", files={"test": "row.csv"})),
        "datasets.mine.files.test: .* 'row.csv'; did you mean 'rows.csv'",
    ),
    "a file the package does not give": (
        mine(source="vader-sentiment", files={"test": "movieReviewSnippets.txt"}),
        "datasets.mine.files.test: .* did you mean 'movieReviewSnippets_GroundTruth.txt'",
    ),
    "a file the repository does not give": (
        both(source(**HUB | {"files": ["data/*.csv"]}), mine(source="mine", files={"test": "a.csv"})),
        r"datasets.mine.files.test: .* 'a.csv'; .* allowed: data/\*.csv",
    ),
    "training rows of another name": (
        put("training_sets", {"mine": TRAINING | {"source": "hardset-mini", "files": {"train": "hardset.jsonl"}}}),
        "training_sets.mine.files.train: .* did you mean 'hardset-mini.jsonl'",
    ),
    "an authored set that is none": (
        source(kind="authored", file="topic-mini.jsonl"),
        "sources.mine.file: 'topic-mini.jsonl' is not known; did you mean 'topics-mini.jsonl'",
    ),
    "an address without a file": (
        source(kind="https", url="https://example.org/data/", sha256="0" * 64),
        "sources.mine.url: .*names no file",
    ),
    "an address with a word for a port": (
        source(kind="https", url="https://example.org:x/a.csv", sha256="0" * 64),
        "sources.mine.url: .*not a valid address",
    ),
    "unknown kind of source": (source(kind="git"), "sources.mine.kind: 'git' is not allowed; allowed: authored"),
    "an authored file outside": (source(kind="authored", file="../../../x"), "file: .* no .. in it"),
    "a key of another kind": (source(kind="local", path="a.csv", url="https://a"), "sources.mine.url: kind 'local'"),
    "a repository path upwards": (source(**HUB | {"repo": "../../etc"}), "repo: .* allowed: owner/name"),
    "an option in a version": (
        source(kind="package", name="--index-url=x", version="1", distribution="wheel", sha256="0" * 64, files=["a"]),
        "sources.mine.name: '--index-url=x' is not a valid",
    ),
    # Secrets
    "password in an address": (system(**LLM | {"url": "https://me:word@example.org/v1"}), "url: looks like a secret"),
    "token in an address": (source(kind="https", url="https://a.org/x?token=abc", sha256="0" * 64), "looks like a sec"),
    "key in a config": (
        system(family="custom", **{"class": "a:B", "arguments": {"api_key": "x"}}),
        "arguments.api_key: looks like a secret",
    ),
    "hub token in a prompt": (
        put("systems/biencoder/text_prompt", "hf_AbCdEfGhIjKlMnOpQrStUvWxYzAbCdEfGh"),
        "text_prompt: looks like a secret",
    ),
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


UNSEEN = {
    "nothing but a zero-width space": (["\u200b", "bad"], r"plain.0: '\\u200b' holds U\+200B ZERO WIDTH SPACE"),
    "a soft hyphen": (["so\u00adcial", "bad"], r"plain.0: .* holds U\+00AD SOFT HYPHEN"),
    "a mark of direction": (["good\u200e", "bad"], r"plain.0: .* U\+200E LEFT-TO-RIGHT MARK"),
    "a line break": (["good\nnews", "bad"], r"plain.0: .* U\+000A"),
    "a Hangul filler": (["\u3164", "bad"], r"plain.0: .* U\+3164 HANGUL FILLER"),
    "a blank of Braille": (["\u2800", "bad"], r"plain.0: .* U\+2800 BRAILLE PATTERN BLANK"),
    "a selector that follows nothing": (["\ufe0f", "bad"], r"plain.0: .* U\+FE0F VARIATION SELECTOR-16"),
    "a selector after a letter": (["good\ufe0f", "bad"], r"plain.0: .* U\+FE0F"),
    "a joiner between letters": (["go\u200dod", "bad"], r"plain.0: .* U\+200D ZERO WIDTH JOINER"),
    "a byte order mark": (["\ufeffgood", "bad"], r"plain.0: .* U\+FEFF"),
    "one letter, two spellings": (["caf\u00e9", "cafe\u0301"], r"alike: .* \(U\+00E9\) and .* \(U\+0301\)"),
    "another space": (["price rise", "price\u00a0rise"], r"read alike: 'price rise' and .* \(U\+00A0\)"),
    "two spaces": (["price rise", "price  rise"], "read alike"),
    "another width": (["ABC", "\uff41\uff42\uff43"], r"read alike: 'ABC' and .* \(U\+FF41 .*"),
    "a ligature": (["office", "o\ufb03ce"], r"read alike: 'office' and .* \(U\+FB03\)"),
    "sharp s": (["Straße", "STRASSE"], "read alike"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSEEN)
def test_labels_that_look_like_nothing_or_like_each_other_are_refused(embedded: dict, name: str) -> None:
    labels, message = UNSEEN[name]
    mine(verbalisations={"plain": labels})(embedded)
    with pytest.raises(ConfigError, match=f"datasets.mine.verbalisations.plain.*{message.removeprefix('plain')}"):
        checked(embedded)


@pytest.mark.parametrize(
    "labels",
    [
        ["economía", "café", "naïve", "Ångström"],
        ["経済", "政治\u3000政策", "스포츠", "体育"],
        [
            "\u2764\ufe0f love",
            "\U0001f469\u200d\U0001f469\u200d\U0001f467 family",
            "1\ufe0f\u20e3",
            "\u2139\ufe0f help",
        ],
        ["\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "\U0001f44d\U0001f3fd"],
        ["\U0001f3f3\ufe0f\u200d\U0001f308", "\U0001f469\u200d\u2764\ufe0f\u200d\U0001f468", "\u2639"],
        ["می\u200cخواهم", "اقتصاد", "क\u094d\u200dष", "ശ്രീ"],
        ["prix\u00a0: hausse", "à bas prix"],
        ["c", "C++", "C#", "100%"],
    ],
)
def test_labels_of_any_script_pass(embedded: dict, labels: list[str]) -> None:
    mine(verbalisations={"plain": labels}, gold={"column": "g", "values": [f"v{i}" for i in range(len(labels))]})(
        embedded
    )
    checked(embedded)


NESTED = "run: " + "[" * 100_000 + "]" * 100_000  # the C parser's composer overflows the stack on it
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "\n".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
FILES = {
    "billion laughs": (LAUGHS, "more than 200000 values once its anchors are filled in"),
    "deep nesting": (NESTED, "nested more than 40 levels"),
    "a list that holds itself": ("run: &a [*a]", "more than 200000 values"),
    "the same key twice": ("run: a\nsystems:\n  x: {family: nli}\n  x: {family: llm}\n", "line 4: duplicate key 'x'"),
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
        (lambda text: text + "\nstatistics: {draws: 200}\n", "duplicate key 'statistics'"),
        (lambda text: text + "\nsources:\n" + LAUGHS.replace("\n", "\n  ").replace("a:", "  a:", 1), "200000 values"),
        (
            lambda text: text.replace(
                "model: minilm,", "model: minilm, text_prompt: hf_AbCdEfGhIjKlMnOpQrStUvWxYzAbCdEfGh,"
            ),
            "like a secret",
        ),
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
    hot = {"title": "u", "gold": {"column": "g", "encoding": "multi-hot"}}
    put("datasets", {"mine": MINE, "mine-hot": MINE | hot})(embedded)
    checked(embedded)
