"""Trained peers: GLiClass and a bi-encoder with GliZNet's backbone, rows and recipe; adapters load their folders."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import BertModel

from zsbench.config.load import ConfigError
from zsbench.recipe import Recipe
from zsbench.store.layout import Layout
from zsbench.store.provenance import read_json
from zsbench.systems import load
from zsbench.training.biencoder import SCALE, multiple_negatives_loss
from zsbench.training.loop import parameter_groups
from zsbench.training.run import build_task, train_job
from zsbench.training.task import IGNORED

from .conftest import finish_backbone

torch.set_num_threads(1)
PEERS = ["gliclass", "biencoder"]
TEXTS = ["red cat sun", "blue dog", "train ship bread soup song book " * 20, "[CLS] red <<LABEL>> cat <<SEP>> sun"]
NAMES = ["cat", "sun", "soup song", "book"]


def spec_of(family: str, recipe: dict, **changes) -> dict:
    return {"id": f"{family}-peer", "family": family, "seed": 3, "recipe": recipe, "options": {}} | changes


def score_spec(family: str, task: str = "single") -> dict:
    """A score spec, as in the plan, for a model of the run."""
    facts = {"settings": {}, "model": ["trained", f"{family}-peer"], "seed": 3, "precision": "fp32"}
    return {"suite": "any", "task": task, "system": f"{family}-peer", "family": family, "token_budget": 256} | facts


def own_scores(task, texts: list[str], names: list[str]) -> np.ndarray:
    """Scores from the task's model, one text at a time."""
    rows = []
    with torch.inference_mode():
        for text in texts:
            if hasattr(task, "encode"):
                inputs = task.pad(task.encode([text], [names]))
                rows.append(task.model(**inputs, max_num_classes=len(names)).logits[0])
            else:
                columns = torch.arange(len(names))[None]
                inputs = (tensor for one in ([text], names) for tensor in task.pad(task.tokens(one)).values())
                rows.append(task.model(*inputs, columns)[0])
    return torch.stack(rows).numpy()


@pytest.fixture
def backbone(layout: Layout) -> dict[str, torch.Tensor]:
    return load_file(layout.fetched("tiny").parent / "files" / "model.safetensors")


@pytest.mark.parametrize("family", PEERS)
def test_losses_are_finite_and_logged(layout: Layout, recipe: dict, family: str) -> None:
    train_job(spec_of(family, recipe), layout)
    record = read_json(layout.model(f"{family}-peer", 3))
    assert [entry["step"] for entry in record["history"]] == [2, 4, 6, 8]
    for entry in record["history"]:
        assert np.isfinite(entry["losses"]["total"])
    assert [entry["gradient_norms"].get("total", 0) > 0 for entry in record["history"]] == [False, True] * 2
    assert 0 < record["best"]["validation"] <= 1


@pytest.mark.parametrize("family", PEERS)
def test_losses_fall(layout: Layout, recipe: dict, family: str) -> None:
    """A few rows are memorised, with the parameter groups of the loop."""
    task = build_task(spec_of(family, recipe), layout)
    task.model.eval()  # without dropout
    optimizer = torch.optim.AdamW(parameter_groups(task, Recipe(**recipe)))
    batch, totals = task.batch(range(6), (3, 0)), []
    for _ in range(60):
        total = task.losses(task.model, batch)["total"]
        totals.append(total.item())
        total.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert np.isfinite(totals).all() and totals[-1] < 0.3 * totals[0]


@pytest.mark.parametrize("family", PEERS)
def test_training_starts_from_the_backbone(layout: Layout, recipe: dict, backbone: dict, family: str) -> None:
    """All pretrained weights are loaded in float32 and trained at the encoder's rate; only the head is new."""
    task = build_task(spec_of(family, recipe), layout)
    prefix = {"gliclass": "model.encoder_model.", "biencoder": "sentences.0.model."}[family]
    state = task.model.state_dict()
    assert all(tensor.dtype == torch.float32 for tensor in state.values() if tensor.is_floating_point())
    for name, tensor in backbone.items():
        mine = state[prefix + name]
        assert torch.equal(mine[: len(tensor)], tensor), name
        assert task.is_encoder(prefix + name)
    fresh = [name for name in state if not task.is_encoder(name)]
    heads = {name.split(".")[1] for name in fresh}
    assert heads == ({"text_projector", "classes_projector", "logit_scale"} if family == "gliclass" else set())


def test_an_untrained_bi_encoder_is_the_backbone_with_mean_pooling(layout: Layout, recipe: dict) -> None:
    task = build_task(spec_of("biencoder", recipe), layout)
    encoder = BertModel.from_pretrained(layout.fetched("tiny").parent / "files").eval()
    task.model.eval()

    def embed(text: str) -> np.ndarray:
        with torch.inference_mode():
            hidden = encoder(**task.tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(dim=0).numpy()
        return hidden / np.linalg.norm(hidden)

    texts = ["red cat sun", "blue dog"]
    theirs = np.stack([embed(text) for text in texts]) @ np.stack([embed(name) for name in NAMES]).T
    np.testing.assert_allclose(own_scores(task, texts, NAMES), theirs, atol=1e-5)


@pytest.mark.parametrize("family", PEERS)
def test_a_backbone_in_half_precision_is_trained_and_stored_in_float32(layout, recipe: dict, family: str) -> None:
    BertModel.from_pretrained(layout.fetched("tiny").parent / "files", dtype=torch.bfloat16).save_pretrained(
        layout.fetched("tiny").parent / "files"
    )
    finish_backbone(layout)
    train_job(spec_of(family, recipe | {"steps": 2}), layout)
    folder = layout.checkpoint(f"{family}-peer", 3)
    assert {weight.dtype for weight in load_file(folder / "model.safetensors").values()} == {torch.float32}
    assert "float16" not in (folder / "config.json").read_text()


@pytest.mark.parametrize("family", PEERS)
def test_the_adapter_gives_the_trained_models_scores(layout: Layout, recipe: dict, family: str) -> None:
    """Including truncated texts and spelt-out markers, batched or one by one."""
    train_job(spec_of(family, recipe), layout)
    folder = layout.checkpoint(f"{family}-peer", 3)
    task = build_task(
        spec_of(family, recipe, seed=4), layout
    )  # another seed, so the whole head must come from the file
    weights = load_file(folder / "model.safetensors")
    prefix = "" if family == "gliclass" else "sentences.0.model."
    task.model.load_state_dict({prefix + name: tensor for name, tensor in weights.items()})
    theirs = own_scores(task, TEXTS, NAMES) if task.model.eval() else None
    system = load.build(score_spec(family), layout)
    np.testing.assert_allclose(system.score(TEXTS, NAMES), theirs, atol=1e-5)
    assert system.report()["truncated_texts"] == 1, "cut at the recipe's max_length"
    judged = load.build(score_spec(family, "multi"), layout).score(TEXTS, NAMES)
    expected = 1 / (1 + np.exp(-theirs)) if family == "gliclass" else (1 + theirs) / 2
    np.testing.assert_allclose(judged, expected, atol=1e-5)
    assert np.ptp(theirs) > 1e-3


@pytest.mark.parametrize("family", PEERS)
def test_a_seed_decides_everything(layout: Layout, recipe: dict, family: str) -> None:
    """The same seed gives the same bytes, another one other weights. The folder contains no local path."""
    digests = []
    for model, seed in (("first", 3), ("second", 3), ("third", 4)):
        train_job(spec_of(family, recipe | {"steps": 4}, id=model, seed=seed), layout)
        digests.append(load.weights_sha256(layout.checkpoint(model, seed)))
    assert digests[0] == digests[1] != digests[2]
    for path in layout.checkpoint("first", 3).rglob("*.json"):
        assert str(layout.root) not in path.read_text(encoding="utf-8"), path


@pytest.mark.parametrize("family", PEERS)
def test_collated_targets_are_the_drawn_labels(layout: Layout, recipe: dict, family: str) -> None:
    task = build_task(spec_of(family, recipe), layout)
    first, again = (task.batch([0, 5, 7], (3, 2)) for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    other = task.batch([0, 5, 7], (3, 3))
    assert any(first[name].shape != other[name].shape or not torch.equal(first[name], other[name]) for name in first)
    targets = first["labels" if family == "gliclass" else "targets"]
    assert set(targets.unique().tolist()) <= {0.0, 1.0, IGNORED} and (targets == 1).any(dim=1).all()
    if family == "gliclass":
        markers = (first["input_ids"] == task.model.config.class_token_index).sum(dim=1)
        assert torch.equal(markers, (targets != IGNORED).sum(dim=1))


def test_gliclass_loss_is_the_packages_focal_loss(layout: Layout, recipe: dict) -> None:
    """-alpha (1 - p)^gamma log p of the correct answer, alpha 0.5 and gamma 2, averaged over non-padding labels."""
    task = build_task(spec_of("gliclass", recipe), layout)
    task.model.eval()
    batch = task.batch([0, 1, 2, 3], (3, 0))
    total = task.losses(task.model, batch)["total"].item()
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    logits = task.model(**inputs, max_num_classes=batch["labels"].shape[1]).logits.detach().numpy().astype(float)
    targets = batch["labels"].numpy()
    right = 1 / (1 + np.exp(-np.where(targets == 1, logits, -logits)))
    focal = -0.5 * (1 - right) ** 2 * np.log(right)
    assert total == pytest.approx(focal[targets != IGNORED].mean(), rel=1e-5)


def test_multiple_negatives_loss_against_numpy() -> None:
    generator = np.random.default_rng(0)
    cosine, targets = generator.uniform(-1, 1, (6, 5)), generator.choice([0.0, 1.0, IGNORED], (6, 5))
    targets[0], targets[1], targets[2] = 1.0, 0.0, IGNORED  # no false label, no true label, no label
    terms = []
    for c, t in zip(cosine, targets, strict=True):
        false = np.exp(SCALE * c[t == 0]).sum()
        terms += [-np.log(np.exp(SCALE * x) / (np.exp(SCALE * x) + false)) for x in c[t == 1]]
    leaf = torch.tensor(cosine, requires_grad=True)
    loss = multiple_negatives_loss(leaf, torch.tensor(targets))
    assert loss.item() == pytest.approx(np.mean(terms), rel=1e-9)
    loss.backward()
    assert torch.isfinite(leaf.grad).all()
    assert (leaf.grad[torch.tensor(targets) == IGNORED] == 0).all() and (leaf.grad[0] == 0).all()


@pytest.mark.parametrize("family", PEERS)
def test_too_long_sequences_are_refused(layout: Layout, recipe: dict, family: str) -> None:
    with pytest.raises(ConfigError, match="recipe.max_length: 512 .* at most 96"):
        build_task(spec_of(family, recipe | {"max_length": 512}), layout)


def test_a_missing_package_names_the_extra_before_any_work(tmp_path, recipe: dict, monkeypatch) -> None:
    """Nothing is fetched or prepared here, and the missing package is reported first."""
    import importlib.metadata

    real = importlib.metadata.version

    def version(package: str) -> str:
        if package == "gliclass":
            raise importlib.metadata.PackageNotFoundError(package)
        return real(package)

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(
        ConfigError, match=r"`trained.gliclass-peer`: .* needs 'gliclass'; run `pip install zsbench\[gli"
    ):
        build_task(spec_of("gliclass", json.loads(json.dumps(recipe))), Layout(tmp_path))
