"""Checkpoints: the card's Quick Start verbatim, round trips, the published format, and damaged files."""

from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import BertForSequenceClassification, pipeline

import hybridnli.checkpoint as checkpoint
from hybridnli import CheckpointError, load_model_from_checkpoint, run_nli_inference, save_checkpoint
from hybridnli.data import TOPICS
from hybridnli.encoder import NLIEncoder, nli_scores
from hybridnli.training import HybridOptions, train_heads
from tests.factories import DESCRIPTIONS, NEWS, NEWS_WORDS, bert_config, label_maps, make_nli_model, wordpiece
from tests.published_layouts import hybrid_score, write_hybrid

THRESHOLDS = {"Tech": 0.37, "Health": 0.03, "Money": 0.3}
OPTIONS = HybridOptions(specialists=("Money", "Tech"), num_codes=4, proj_dim=16, learning_rate=3e-3, epochs=2)


@pytest.fixture(scope="module")
def trained(store, gold):
    return train_heads(store, gold, range(30), range(30, 40), options=OPTIONS, seed=0)


@pytest.fixture
def ckpt_path(trained, tmp_path):
    save_checkpoint(trained.model, THRESHOLDS, tmp_path / "out" / "multihead_v2.pt")
    return tmp_path / "out" / "multihead_v2.pt"


def rewrite(path, **changes):
    """Replace keys of a checkpoint; None removes a key."""
    content = torch.load(path, weights_only=True) | changes
    torch.save({name: value for name, value in content.items() if value is not None}, path)


def test_quick_start_of_the_card(trained, store, ckpt_path, bert, tokenizer, tmp_path):
    bert.save_pretrained(tmp_path / "nli")
    tokenizer.save_pretrained(tmp_path / "nli")
    texts = NEWS[:6]
    # The card's lines, with a local model and a CPU.
    nli_pipe = pipeline("zero-shot-classification", model=str(tmp_path / "nli"), device=-1)
    model, thresholds = load_model_from_checkpoint(ckpt_path, nli_pipe)
    model = model.to("cpu")
    for l, emb in model._label_embs.items():  # noqa: E741
        model._label_embs[l] = emb.to(model.device)
    nli_s = run_nli_inference([{"text": t} for t in texts])
    preds = model.predict(texts, nli_s, thresholds=thresholds)
    # Heads give the same scores from the store as here.
    expected = trained.scores(store, range(6))
    assert thresholds == THRESHOLDS
    for text, row, scores in zip(texts, preds, expected, strict=True):
        assert row["text"] == text
        np.testing.assert_allclose([row["scores"][name] for name in DESCRIPTIONS], scores, atol=1e-5)
        assert row["predicted_labels"] == [n for n in DESCRIPTIONS if row["scores"][n] >= thresholds[n]]


def test_file_is_the_published_format(ckpt_path, trained):
    content = torch.load(ckpt_path, weights_only=True)
    assert set(content) == set(checkpoint.KEYS)
    assert content["specialist_labels"] == ["Money", "Tech"] and content["label_names"] == list(DESCRIPTIONS)
    assert content["label_descriptions"] == DESCRIPTIONS and content["val_thresholds"] == THRESHOLDS
    assert (content["hidden_dim"], content["num_codes"], content["proj_dim"]) == (32, 4, 16)
    assert all(isinstance(value, float) for value in content["alpha_raws"].values())
    assert content["label_embs"]["Tech"].shape == (32,)
    assert set(content["poly_heads_state"]["Tech"]) == set(trained.model.poly_heads[0].state_dict())


def test_round_trip_is_exact(ckpt_path, trained, encoder, tmp_path):
    model, thresholds = load_model_from_checkpoint(ckpt_path, encoder)
    assert torch.equal(model.alpha_raw, trained.model.alpha_raw) and not model.training
    for name, value in trained.model.state_dict().items():
        assert torch.equal(model.state_dict()[name], value)
    save_checkpoint(model, thresholds, tmp_path / "again.pt", extra={"note": "x", "hypothesis_template": "{}"})
    again = torch.load(tmp_path / "again.pt", weights_only=True)
    assert again["note"] == "x" and again["backbone_name"] == trained.model.backbone_name


def test_a_file_as_the_published_script_writes_it(ckpt_path, encoder):
    """Ordered state dicts, and metrics as numpy numbers, which plain weights_only refuses."""
    content = torch.load(ckpt_path, weights_only=True)
    heads = {name: OrderedDict(state) for name, state in content["poly_heads_state"].items()}
    extra = {"best_macro_f1": np.float64(0.7027), "val_tuned_macro_f1": np.float64(0.9054)}
    torch.save(content | extra | {"poly_heads_state": heads}, ckpt_path)
    with pytest.raises(Exception, match="weights_only|Weights only"):
        torch.load(ckpt_path, weights_only=True)
    assert load_model_from_checkpoint(ckpt_path, encoder)[1] == THRESHOLDS


@pytest.fixture(scope="module")
def nli_pipe():
    """An NLI pipeline with room for the card's descriptions."""
    tokenizer = wordpiece({*NEWS_WORDS, *" ".join(TOPICS.descriptions.values()).lower().split()}, model_max_length=128)
    torch.manual_seed(1)
    maps = label_maps(("entailment", "not_entailment"))
    model = BertForSequenceClassification(bert_config(vocab_size=400, initializer_range=0.3, **maps)).eval()
    return pipeline("zero-shot-classification", model=model, tokenizer=tokenizer, device="cpu")


@pytest.fixture
def notebook(nli_pipe, tmp_path):
    """A file in the format of the notebook behind the card's table: it names neither labels nor the NLI model."""

    def write(thresholds=None):
        torch.manual_seed(0)
        path, descriptions = tmp_path / "multihead_v2.pt", dict(TOPICS.descriptions)
        base, tokenizer = nli_pipe.model.base_model, nli_pipe.tokenizer
        content = write_hybrid(path, base, tokenizer, descriptions, TOPICS.specialists, thresholds)
        return path, content

    return write


def test_a_file_of_the_notebook_has_the_cards_labels_and_gives_the_scores_of_its_equations(notebook, nli_pipe):
    thresholds = {"Technology": 0.38, "Health": 0.03, "Finance": 0.26, "Economy": 0.33, "Environment": 0.35}
    path, content = notebook(thresholds)
    assert not {"backbone_name", "label_names", "label_descriptions"} & set(content)
    model, loaded = load_model_from_checkpoint(path, nli_pipe)
    assert loaded == thresholds and model.labels == TOPICS
    assert model.backbone_name == "MoritzLaurer/deberta-v3-large-zeroshot-v2.0"
    texts = NEWS[:4]
    nli = run_nli_inference([{"text": text} for text in texts], nli_pipe)
    for row, given in zip(model.predict(texts, nli, thresholds=loaded), nli, strict=True):
        for label in TOPICS.names:
            expected = given[label]
            if label in TOPICS.specialists:
                base, tokenizer = nli_pipe.model.base_model, nli_pipe.tokenizer
                expected = hybrid_score(base, tokenizer, content, label, row["text"], given[label])
            assert row["scores"][label] == pytest.approx(expected, abs=1e-5)


def test_a_file_without_thresholds_decides_at_one_half(notebook, nli_pipe):
    assert load_model_from_checkpoint(notebook()[0], nli_pipe)[1] == dict.fromkeys(TOPICS.names, 0.5)


def test_a_file_without_labels_is_refused_where_the_cards_do_not_fit(ckpt_path, encoder):
    rewrite(ckpt_path, label_names=None, label_descriptions=None, val_thresholds=None)
    with pytest.raises(CheckpointError, match=r"\['Money', 'Tech'\] are not labels"):
        load_model_from_checkpoint(ckpt_path, encoder)


def test_template_of_the_checkpoint_reaches_the_pipeline(trained, bert, tokenizer, tmp_path):
    save_checkpoint(trained.model, THRESHOLDS, tmp_path / "c.pt", extra={"hypothesis_template": "{}"})
    pipe = pipeline("zero-shot-classification", model=bert, tokenizer=tokenizer, device="cpu")
    model, _ = load_model_from_checkpoint(tmp_path / "c.pt", pipe)
    assert model.encoder.template == "{}"


def test_code_in_a_file_is_not_run(tmp_path, encoder):
    class Payload:
        def __reduce__(self):
            return (print, ("executed",))

    torch.save({"poly_heads_state": Payload()}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError, match="print"):
        load_model_from_checkpoint(tmp_path / "evil.pt", encoder)


@pytest.mark.parametrize("key", sorted(set(checkpoint.KEYS) - set(checkpoint.DEFAULTS) - {"val_thresholds"}))
def test_a_missing_key_is_named(ckpt_path, encoder, key):
    rewrite(ckpt_path, **{key: None})
    with pytest.raises(CheckpointError, match=rf"missing keys \['{key}'\]"):
        load_model_from_checkpoint(ckpt_path, encoder)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_named(ckpt_path, encoder, share):
    content = ckpt_path.read_bytes()
    ckpt_path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match=r"multihead_v2\.pt is damaged"):
        load_model_from_checkpoint(ckpt_path, encoder)


def test_a_flipped_byte_in_the_weights_is_found(ckpt_path, encoder, trained):
    content = bytearray(ckpt_path.read_bytes())
    content[content.index(trained.model.poly_heads[1].codes.weight.detach().numpy().tobytes()) + 7] ^= 0x10
    ckpt_path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="damaged: the sum of its record .*data/"):
        load_model_from_checkpoint(ckpt_path, encoder)


def _without(mapping, name):
    return {key: value for key, value in mapping.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: {"poly_heads_state": _without(c["poly_heads_state"], "Tech")},
            r"poly_heads_state.*\['Tech'\]",
        ),
        (lambda c: {"alpha_raws": {}}, r"alpha_raws.*\['Money', 'Tech'\]"),
        (lambda c: {"label_embs": _without(c["label_embs"], "Money")}, r"label_embs.*\['Money'\]"),
        (lambda c: {"val_thresholds": _without(c["val_thresholds"], "Health")}, "lacks the label 'Health'"),
        (lambda c: {"label_descriptions": _without(c["label_descriptions"], "Tech")}, "lacks the label 'Tech'"),
        (lambda c: {"specialist_labels": ["Sports"]}, r"\['Sports'\]"),
        (lambda c: {"num_codes": "four"}, "wrong type.*num_codes.*str"),
        (lambda c: {"num_codes": 16}, r"head 'Money'.*codes\.weight"),
        (lambda c: {"hidden_dim": 64}, "hidden_dim is 64.*32"),
        (lambda c: {"label_embs": dict.fromkeys(("Money", "Tech"), torch.zeros(3))}, r"label_embs\['Money'\]: \(3,\)"),
        (lambda c: {"alpha_raws": {"Money": float("nan"), "Tech": 0.0}}, "non-finite"),
        (
            lambda c: {"poly_heads_state": {n: _without(s, "log_temp") for n, s in c["poly_heads_state"].items()}},
            "head 'Money'.*log_temp",
        ),
    ],
)
def test_wrong_content_is_named(ckpt_path, encoder, change, message):
    rewrite(ckpt_path, **change(torch.load(ckpt_path, weights_only=True)))
    with pytest.raises(CheckpointError, match=f"(?s){message}"):
        load_model_from_checkpoint(ckpt_path, encoder)


@pytest.mark.parametrize("key", ["hidden_dim", "num_codes", "proj_dim"])
def test_an_absurd_size_is_refused_before_it_is_allocated(ckpt_path, encoder, key):
    rewrite(ckpt_path, **{key: 10**12})
    with pytest.raises(CheckpointError, match=f"{key} is 1000000000000"):
        load_model_from_checkpoint(ckpt_path, encoder)


def test_not_a_checkpoint_at_all(tmp_path, encoder):
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(CheckpointError, match="not a torch file"):
        load_model_from_checkpoint(tmp_path / "text.pt", encoder)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="contains a list"):
        load_model_from_checkpoint(tmp_path / "list.pt", encoder)
    with pytest.raises(FileNotFoundError, match="absent"):
        load_model_from_checkpoint(tmp_path / "absent.pt", encoder)


def test_another_backbone_of_the_same_size_is_refused(ckpt_path, tokenizer):
    with pytest.raises(CheckpointError, match="trained on .* label embeddings"):
        load_model_from_checkpoint(ckpt_path, NLIEncoder(make_nli_model(seed=5), tokenizer))


def test_save_refuses_what_could_not_be_loaded(trained, store, gold, tmp_path):
    with pytest.raises(ValueError, match=r"thresholds lacks \['Money'\]"):
        save_checkpoint(trained.model, {"Tech": 0.5, "Health": 0.5}, tmp_path / "c.pt")
    with pytest.raises(ValueError, match=r"extra repeats \['alpha_raws'\]"):
        save_checkpoint(trained.model, THRESHOLDS, tmp_path / "c.pt", extra={"alpha_raws": {}})
    assert not list(tmp_path.iterdir())


def test_run_nli_inference(ckpt_path, encoder, monkeypatch):
    monkeypatch.setattr(checkpoint, "_last_loaded", None)
    with pytest.raises(RuntimeError, match="load_model_from_checkpoint first"):
        run_nli_inference([{"text": "a"}])
    model, _ = load_model_from_checkpoint(ckpt_path, encoder)
    rows = run_nli_inference([{"text": t, "labels": []} for t in NEWS[:3]])
    expected = nli_scores(encoder, NEWS[:3], encoder.hypotheses(list(DESCRIPTIONS.values())))
    assert rows == [dict(zip(DESCRIPTIONS, row, strict=True)) for row in expected.tolist()]
    assert run_nli_inference([{"text": NEWS[0]}], model)[0] == pytest.approx(rows[0])
    with pytest.raises(ValueError, match=r"items \[1\] have no 'text'"):
        run_nli_inference([{"text": "a"}, {"txt": "b"}])
    assert run_nli_inference([{"text": NEWS[0]}], encoder)[0] == pytest.approx(rows[0])
    del model
    with pytest.raises(RuntimeError, match="no model"):
        run_nli_inference([{"text": "a"}])


def test_run_nli_inference_with_a_pipeline(trained, nli_pipe, bert, tokenizer, tmp_path, monkeypatch):
    """As in the published code, before any checkpoint is loaded: the card's labels with the pipeline's template."""
    monkeypatch.setattr(checkpoint, "_last_loaded", None)
    names = {description: name for name, description in TOPICS.descriptions.items()}
    (row,) = run_nli_inference([{"text": NEWS[0]}], nli_pipe)
    theirs = nli_pipe(NEWS[0], candidate_labels=list(names), multi_label=True)
    expected = {names[label]: score for label, score in zip(theirs["labels"], theirs["scores"], strict=True)}
    assert row == pytest.approx(expected, abs=1e-5) and list(row) == list(TOPICS.names)
    # After loading a model: its labels, and its own template if the pipeline is its own.
    own = pipeline("zero-shot-classification", model=bert, tokenizer=tokenizer, device="cpu")
    save_checkpoint(trained.model, THRESHOLDS, tmp_path / "c.pt", extra={"hypothesis_template": "{}"})
    model, _ = load_model_from_checkpoint(tmp_path / "c.pt", own)
    items = [{"text": NEWS[0]}]
    assert run_nli_inference(items, own) == run_nli_inference(items, model)
    assert run_nli_inference(items, nli_pipe)[0].keys() == DESCRIPTIONS.keys()


def test_any_label_set(store, gold, tmp_path, encoder):
    """Label names with dots and slashes, every label a specialist."""
    names = ("comp.sys", "Sci/Tech", "a b")
    renamed = replace(store, descriptions=dict(zip(names, DESCRIPTIONS.values(), strict=True)))
    options = replace(OPTIONS, specialists=None, epochs=1)
    trained = train_heads(renamed, gold, range(30), range(30, 40), options=options, seed=0)
    save_checkpoint(trained.model, dict.fromkeys(names, 0.5), tmp_path / "c.pt")
    model, thresholds = load_model_from_checkpoint(tmp_path / "c.pt", encoder)
    assert tuple(thresholds) == model.labels.specialists == names
