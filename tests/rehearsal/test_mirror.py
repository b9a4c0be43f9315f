"""The mirror has a replica of every repository, in the publisher's layout, readable like the original."""

import json
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoConfig, AutoTokenizer

from tests.rehearsal.datasets import WRITERS as DATA_WRITERS
from tests.rehearsal.mirror import build_mirror, named_sources
from tests.rehearsal.words import themed_texts
from zsbench.config.load import ConfigError
from zsbench.data.errors import FetchError
from zsbench.data.prepare import prepare_dataset
from zsbench.data.sources.fetch import fetch
from zsbench.data.training_sets import prepare_training_set
from zsbench.plan.plan import Plan

from .conftest import REPOSITORY


def test_every_repository_of_the_paper_run_is_there(mirror, sources):
    places = {f"{source.get('repo_type', 'dataset')}s/{source['repo']}" for source in sources.values()}
    assert len(places) == len(sources) > 20
    assert {str(path.parent.relative_to(mirror)) for path in mirror.glob("*/*/*/*")} >= {
        place for place in places if not place.endswith(("imdb", "ag_news", "emotion", "phrasebank", "V2", "nli"))
    }
    assert all((mirror / place).is_dir() for place in places)


def test_every_source_fetches_and_says_that_it_is_a_replica(mirror, sources, tmp_path):
    for name, source in sources.items():
        manifest = fetch(source | {"mirror": str(mirror)}, tmp_path / name / "manifest.json")
        assert manifest["replica"] is True and manifest["files"], name
        assert manifest["verified"] == "SHA256SUMS", name


OTHERS = {
    *("topics-published", "topics-held-out", "banking77", "massive"),
    *("sst5-alphabetical", "20-newsgroups-dotted"),
}


def test_data_replicas_prepare_into_every_label(mirror, paper, presets, tmp_path):
    """All presets with a repository, whether or not the paper run uses them."""
    names = [name for name, preset in presets["datasets"].items() if "repo" in presets["sources"][preset["source"]]]
    assert set(paper["suites"]["gliclass"]["datasets"]) | OTHERS == set(names)
    suites = {"all": {"datasets": names, "rows": None, "sample_seed": 0}}
    plan, cards = Plan(paper | {"data": {"mirror": None}, "suites": suites}, presets), {}
    for dataset in names:
        spec = plan.dataset_spec(dataset)
        manifest = tmp_path / dataset / "manifest.json"
        fetch(presets["sources"][spec["source"]] | {"mirror": str(mirror)}, manifest)
        card_path = tmp_path / dataset / "card.json"
        prepare_dataset(spec, manifest, tmp_path / dataset / "rows.parquet", card_path)
        cards[dataset] = card = json.loads(card_path.read_text())
        assert card["replica"] is True and min(card["quality"]["rows_per_label"].values()) > 0, dataset
        assert sum(card["rows"].values()) < 200
    assert cards["topics-published"]["rows"] == {"train": 64, "validation": 16}
    assert cards["topics-held-out"]["rows"] == {"train": 48, "validation": 16, "test": 16}
    assert {name: len(cards[name]["labels"]) for name in ("banking77", "massive")} == {"banking77": 77, "massive": 60}


def test_training_replica_prepares(mirror, presets, tmp_path):
    spec = presets["training_sets"]["zshot-hardset-v2"] | {"id": "zshot-hardset-v2"}
    manifest = tmp_path / "set" / "manifest.json"
    fetch(presets["sources"][spec["source"]] | {"mirror": str(mirror)}, manifest)
    prepare_training_set(spec, manifest, tmp_path / "rows.parquet", tmp_path / "card.json")
    rows = pd.read_parquet(tmp_path / "rows.parquet")
    assert set(rows["split"]) == {"train", "validation", "test"}


TEXT_LABEL = {"label": "int64", "text": "string"}
LISTS = dict.fromkeys(("labels", "not_labels"), "list<element: string>")


@pytest.mark.parametrize(
    ("file", "columns", "feature"),
    [
        ("stanfordnlp/imdb/plain_text/test-00000-of-00001.parquet", TEXT_LABEL, "ClassLabel"),
        (
            "takala/financial_phrasebank/sentences_allagree/train/0000.parquet",
            {"sentence": "string", "label": "int64"},
            "ClassLabel",
        ),
        (
            "alexneakameni/ZSHOT-HARDSET-v2/data/train-00001-of-00002.parquet",
            {"text": "string", "model": "string"} | LISTS,
            "List",
        ),
    ],
)
def test_column_types_are_the_publishers(mirror, file, columns, feature):
    schema = pq.read_schema(mirror / "datasets" / file)
    assert {field.name: str(field.type) for field in schema} == columns
    assert feature in schema.metadata[b"huggingface"].decode()


def test_json_columns_are_the_publishers(mirror):
    first = json.loads((mirror / "datasets/SetFit/20_newsgroups/test.jsonl").read_text().splitlines()[0])
    assert first.keys() == {"text", "label", "label_text"} and first["label_text"] == "alt.atheism"
    mail = json.loads((mirror / "datasets/SetFit/enron_spam/test.jsonl").read_text().splitlines()[0])
    assert mail["text"] == f"{mail['subject']} {mail['message']}"


def test_oddities_of_published_sets_are_kept():
    texts = themed_texts("any", [0, 1, 2, 0], long=True)
    assert len(texts[1].split()) > 400 and texts[-1] == texts[0]
    assert texts == themed_texts("any", [0, 1, 2, 0], long=True)
    assert max(len(text.split()) for text in themed_texts("any", [0, 1])) < 30


def test_the_backbone_arrives_as_a_pickle_and_is_kept_as_safetensors(mirror, sources, tmp_path):
    published = mirror / "models/microsoft/deberta-v3-base"
    assert {path.name for path in published.iterdir()} == {
        "config.json",
        "pytorch_model.bin",
        "spm.model",
        "tokenizer_config.json",
    }
    manifest = fetch(sources["deberta-v3-base"] | {"mirror": str(mirror)}, tmp_path / "b" / "manifest.json")
    files = tmp_path / "b" / "files"
    assert "model.safetensors" in {entry["name"] for entry in manifest["files"]}
    assert manifest["converted"]["name"] == "pytorch_model.bin" and not (files / "pytorch_model.bin").exists()
    from gliznet.model import GliZNetForSequenceClassification
    from gliznet.options import GliZNetOptions
    from gliznet.tokenizer import GliZNETTokenizer

    tokenizer = GliZNETTokenizer.from_pretrained(files, GliZNetOptions())
    model = GliZNetForSequenceClassification.from_backbone(files, tokenizer)
    stored = torch.load(published / "pytorch_model.bin", weights_only=True)["deberta.embeddings.word_embeddings.weight"]
    torch.testing.assert_close(model.backbone.get_input_embeddings().weight[: len(stored)], stored.float())


@pytest.mark.parametrize("content", [b"no pickle", None])
def test_a_pickle_that_is_no_state_dict_is_refused(tmp_path, content):
    origin = tmp_path / "mirror" / "models" / "a" / "b"
    origin.mkdir(parents=True)
    torch.save([1, 2], origin / "w.bin") if content is None else (origin / "w.bin").write_bytes(content)
    source = {
        "kind": "hub",
        "repo_type": "model",
        "repo": "a/b",
        "revision": "lock",
        "files": ["w.bin"],
        "pickled": "w.bin",
    }
    with pytest.raises(FetchError, match="w.bin"):
        fetch(source | {"mirror": str(tmp_path / "mirror")}, tmp_path / "out" / "manifest.json")
    assert not (tmp_path / "out" / "files").exists()


def test_label_maps_and_architectures(mirror):
    def config(repo: str) -> dict:
        return AutoConfig.from_pretrained(mirror / "models" / repo).to_dict()

    two = config("MoritzLaurer/roberta-large-zeroshot-v2.0-c")
    assert two["model_type"] == "roberta" and two["label2id"] == {"entailment": 0, "not_entailment": 1}
    three = config("facebook/bart-large-mnli")
    assert three["model_type"] == "bart" and three["label2id"] == {"contradiction": 0, "neutral": 1, "entailment": 2}
    for name, encoder in (("base", "deberta-v2"), ("edge", "modernbert")):
        stored = json.loads((mirror / f"models/knowledgator/gliclass-{name}-v3.0/config.json").read_text())
        assert stored["encoder_config"]["model_type"] == encoder


@pytest.mark.parametrize(
    "repo",
    [
        "microsoft/deberta-v3-base",
        "MoritzLaurer/roberta-large-zeroshot-v2.0-c",
        "facebook/bart-large-mnli",
        "intfloat/e5-large-v2",
        "knowledgator/gliclass-edge-v3.0",
        "mixedbread-ai/mxbai-rerank-base-v1",
    ],
)
def test_tokenizers_load_and_know_their_words(mirror, repo):
    tokenizer = AutoTokenizer.from_pretrained(mirror / "models" / repo, local_files_only=True)
    ids = tokenizer("The harbor was quiet; a violin (42%) played.")["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert "harbor" in tokenizer.decode(ids).lower()


def test_labels_are_as_short_as_under_real_tokenizers(mirror, presets):
    """An order-invariant variant gives each label 32 tokens."""
    tokenizer = AutoTokenizer.from_pretrained(mirror / "models/microsoft/deberta-v3-base", local_files_only=True)
    for label in presets["datasets"]["topics-published"]["verbalisations"]["described"]:
        assert len(tokenizer(label, add_special_tokens=False)["input_ids"]) < 31, label


def test_the_same_config_gives_the_same_files(mirror, tmp_path):
    build_mirror(tmp_path / "again", REPOSITORY / "config.yaml", REPOSITORY / "workflow" / "resources")
    first, again = (folder.joinpath("SHA256SUMS").read_text().splitlines() for folder in (mirror, tmp_path / "again"))
    assert first == again


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "datasets").mkdir()
    with pytest.raises(ConfigError, match="not empty"):
        build_mirror(tmp_path, REPOSITORY / "config.yaml", REPOSITORY / "workflow" / "resources")
    assert (tmp_path / "datasets").is_dir()


def test_a_repository_without_a_replica_is_named(tmp_path, monkeypatch):
    monkeypatch.delitem(DATA_WRITERS, "SetFit/CR")
    with pytest.raises(ConfigError, match="SetFit/CR"):
        build_mirror(tmp_path / "m", REPOSITORY / "config.yaml", REPOSITORY / "workflow" / "resources")


def test_sources_of_the_users_own_count(paper, presets):
    own = {"mine": {"kind": "hub", "repo_type": "model", "repo": "me/mine", "revision": "lock", "files": ["*.json"]}}
    config = paper | {"sources": own, "systems": {"mine": {"family": "nli", "model": "mine", "suites": ["topics"]}}}
    assert named_sources(config, presets)["mine"]["repo"] == "me/mine"


def test_the_overlay_changes_sizes_and_adds_systems_only(paper):
    from zsbench.config.load import load_yaml

    overlay = load_yaml(Path(REPOSITORY / "workflow/configs/rehearsal.yaml"))
    sizes = {
        "seeds",
        "effective_batch",
        "per_device_batch",
        "epochs",
        "token_budget",
        "orders",
        "rows",
        "draws",
    }

    def leaves(value: dict) -> set[str]:
        return {leaf for key, entry in value.items() for leaf in (leaves(entry) if isinstance(entry, dict) else {key})}

    assert not set(overlay.pop("systems")) & set(paper["systems"])
    speed = overlay.pop("speed")  # `speed` is not part of the run; the rest is compared
    assert leaves(overlay) == sizes | {"run"}
    assert set(speed) <= set(paper["speed"]) - {"backbone", "precisions", "shapes", "seed"}
    assert len(overlay["recipe"]["seeds"]) >= 2
