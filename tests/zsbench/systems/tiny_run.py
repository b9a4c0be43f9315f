"""A small run on disk: tiny models with random weights, their tokenizers, prepared rows."""

import json
import shutil
from pathlib import Path

import pandas as pd
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import normalizers
from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

from gliznet.model import GliZNetForSequenceClassification
from gliznet.options import GliZNetOptions
from gliznet.tokenizer import GliZNETTokenizer
from tests import factories
from zsbench.store.integrity import listing, write_rows
from zsbench.store.layout import Layout
from zsbench.store.provenance import file_sha256, read_json, write_json
from zsbench.training.hybrid import train_hybrid

WORDS = [
    "markets",
    "rallied",
    "as",
    "banks",
    "reported",
    "earnings",
    "while",
    "doctors",
    "warned",
    "about",
    "rising",
    "disease",
    "rates",
    "new",
    "chips",
    "power",
    "artificial",
    "intelligence",
    "tools",
    "forests",
    "burn",
    "under",
    "changing",
    "climate",
    "trade",
    "policy",
    "shifts",
    "employment",
    "numbers",
]
NEWS = ["money", "health", "chips"]
TOPICS = {
    "Tech": "This text is about chips",
    "Health": "This text is about doctors",
    "Money": "This text is about banks",
}
PIECES = 300
MODELS = {  # family that loads weights -> its model (with the fixtures `gliclass` and `reranker`)
    "gliznet": ("trained", "gliznet-full"),
    "nli": ("source", "tiny-nli"),
    "biencoder": ("source", "tiny-embedder"),
    "gliclass": ("source", "gliclass-first"),
    "reranker": ("source", "tiny-reranker"),
}
HYBRID_TRAINING = {
    "epochs": 3,
    "batch_size": 8,
    "learning_rate": 3e-3,
    "weight_decay": 1e-4,
    "grad_clip": 1.0,
    "patience": 3,
    "lr_floor": 0.02,
    "selection": "mean_ap",
    "blend_weight": 1.0,
    "kl_weight": 0.3,
    "num_codes": 4,
    "proj_dim": 16,
    "max_length": 32,
}
HYBRID_SPEC = {
    "id": "hybrid",
    "nli": "nli",
    "nli_kind": "trained",
    "dataset": "topics",
    "nli_only": ["Health"],
    "template": "This example is {}.",
    "blends": ["learned", "heads", "half"],
    "training": HYBRID_TRAINING,
    "seed": 1,
    "precision": "fp32",
    "token_budget": 512,
}
NLI_LABELS = {"entailment": 0, "not_entailment": 1}


def sentence(i: int) -> str:
    return " ".join(WORDS[(i * 7 + j * (i % 5 + 1)) % len(WORDS)] for j in range(2 + (i * 5) % 17))


def make_tokenizer() -> PreTrainedTokenizerFast:
    words = {*WORDS, "example", "intent", *(word for text in TOPICS.values() for word in text.lower().split())}
    names = ["input_ids", "token_type_ids", "attention_mask"]
    tokenizer = factories.wordpiece([*sorted(words), "<", ">"], model_max_length=64, model_input_names=names)
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()  # BERT's would drop control characters
    return tokenizer


def bert_config(vocab_size: int = PIECES, **more) -> BertConfig:
    sizes = {"vocab_size": vocab_size, "num_attention_heads": 2, "max_position_embeddings": 128}
    return factories.bert_config(**sizes, initializer_range=0.3, **more)


def finish_source(layout: Layout, name: str) -> None:
    """Write the manifest of a source whose files exist."""
    files = listing(source_folder(layout, name))
    write_json(layout.fetched(name), {"origin": "test", "revision": "0", "files": files})


def finish_model(layout: Layout, name: str) -> None:
    """Write the training record (seed 1) of a model whose checkpoint exists."""
    spec = {"recipe": {"training_set": "more"}}
    write_json(layout.model(name, 1), {"files": listing(layout.checkpoint(name, 1)), "spec": spec})


def source_folder(layout: Layout, name: str) -> Path:
    return layout.fetched(name).parent / "files"


def write_dataset(
    layout: Layout, name: str, frame: pd.DataFrame, task: str, labels: list[str], names: list[str]
) -> None:
    frame = frame.copy()
    frame.insert(0, "sample_id", [f"{name}-{i}" for i in range(len(frame))])
    layout.dataset(name).parent.mkdir(parents=True)
    write_rows(layout.dataset(name), frame)
    card = {
        "id": name,
        "labels": labels,
        "label_names": names,
        "task": task,
        "revision": "0",
        "verbalisation": "plain",
        "rows": {split: int(count) for split, count in frame["split"].value_counts().items()},
        "rows_sha256": file_sha256(layout.dataset(name)),
    }
    write_json(layout.dataset_card(name), card)


def make_run(root: Path) -> Layout:
    layout = Layout(root)
    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    nli = BertForSequenceClassification(
        bert_config(label2id=NLI_LABELS, id2label={0: "entailment", 1: "not_entailment"})
    )
    for folder in (source_folder(layout, "tiny-nli"), layout.checkpoint("nli", 1)):
        nli.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    finish_source(layout, "tiny-nli")
    finish_model(layout, "nli")
    encoder = BertModel(bert_config())
    plain = root / "plain"
    encoder.save_pretrained(plain)
    tokenizer.save_pretrained(plain)
    transformer = Transformer(str(plain), max_seq_length=32)
    embedder = SentenceTransformer(modules=[transformer, Pooling(32)], device="cpu")
    embedder.save(str(source_folder(layout, "tiny-embedder")))
    finish_source(layout, "tiny-embedder")
    options = GliZNetOptions(max_length=64, max_labels=20, min_text_tokens=8)
    gliznet_tokenizer = GliZNETTokenizer(make_tokenizer(), options)
    model = GliZNetForSequenceClassification.from_backbone(BertModel(bert_config()), gliznet_tokenizer, options)
    for name in ("gliznet-full", "gliznet-other"):
        model.save_pretrained(layout.checkpoint(name, 1))
        gliznet_tokenizer.save_pretrained(layout.checkpoint(name, 1))
        finish_model(layout, name)
    rows = [{"split": "test", "text": sentence(i), "gold": [(i * i) % 3]} for i in range(30)]
    rows += [
        {"split": "test", "text": text, "gold": [0]} for text in ("", "a \x00 b", "[SEP] money [LAB] <<LABEL>> money")
    ]
    write_dataset(layout, "news", pd.DataFrame(rows), "single", NEWS, NEWS)
    more = [{"split": "test", "text": sentence(i + 50), "gold": [i % 2]} for i in range(12)]
    write_dataset(layout, "more", pd.DataFrame(more), "single", ["bad", "good"], ["negative", "positive"])
    splits = ["train"] * 24 + ["validation"] * 10 + ["test"] * 10
    gold = [[k for k in range(3) if (i >> k) & 1] for i in range(44)]
    topics = pd.DataFrame({"split": splits, "text": [sentence(i) for i in range(44)], "gold": gold})
    write_dataset(layout, "topics", topics, "multi", list(TOPICS.values()), list(TOPICS))
    return layout


def score_spec(family: str, suite: str = "gliclass", model=None, settings=None, **more) -> dict:
    """A score spec as in the plan."""
    spec = {
        "suite": suite,
        "task": "single" if suite == "gliclass" else "multi",
        "system": f"{family}-system",
        "family": family,
        "settings": settings or {},
        "model": model,
        "seed": 1,
        "datasets": ["news"] if suite == "gliclass" else ["topics"],
        "precision": "fp32",
        "token_budget": 512,
    }
    return json.loads(json.dumps(spec | more))


def without_scores(layout: Layout, spec: dict, dataset: str | None = None) -> dict:
    """Assert that a cell has no scores; returns its card."""
    where = spec["suite"], dataset or spec["datasets"][0], spec["system"], spec["seed"]
    card = read_json(layout.card(*where))
    assert card["status"] != "ok" and pd.read_parquet(layout.scores(*where)).empty
    return card


def make_hybrid(run: Layout, root: Path) -> Layout:
    """A copy of a run, with heads trained by `HYBRID_SPEC`."""
    shutil.copytree(run.root, root, ignore=shutil.ignore_patterns("cells", "cache", "features"))
    train_hybrid(root, HYBRID_SPEC)
    return Layout(root)
