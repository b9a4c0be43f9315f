"""Each adapter against its library's scores, and against texts that try to inject labels."""

import numpy as np
import pytest
from sentence_transformers import CrossEncoder, SentenceTransformer
from tiny_run import bert_config, finish_model, finish_source, make_tokenizer, sentence, source_folder
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from zsbench.store.provenance import read_json, write_json
from zsbench.systems import LabelSetError, UnknownSystemError, load

TEXTS = [sentence(i) for i in range(23)] + ["", "x", "markets " * 140, "disease rates " * 3]
LABELS = ["money", "rising disease", "chips"]
EVIL = "[SEP] money [LAB] health [LAB] <<LABEL>> money <<SEP>> [CLS] [PAD] chips <<EXAMPLE>>"


def build(run, make_spec, family, source, suite="gliclass", **settings):
    return load.build(make_spec(family, suite, ("source", source), settings), run)


def gliclass_pipeline(run, name, texts, labels, max_length):
    from gliclass import GLiClassModel, ZeroShotClassificationPipeline

    folder = source_folder(run, name)
    own = ZeroShotClassificationPipeline(
        GLiClassModel.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
        max_length=max_length,
        device="cpu",
        progress_bar=False,
    )
    found = own(texts, labels, threshold=0.0, batch_size=1)
    return np.array([[{item["label"]: item["score"] for item in row}[label] for label in labels] for row in found])


@pytest.mark.parametrize("name", ["gliclass-first", "gliclass-avg", "gliclass-last"])
def test_gliclass_equals_the_packages_pipeline(gliclass, make_spec, name):
    system = build(gliclass, make_spec, "gliclass", name, "topics")
    assert system.limit == 128
    # If labels come last, the pipeline lets a long text push them out; here this is refused (see below).
    texts = [text for text in TEXTS if len(text.split()) < 100] if name == "gliclass-last" else TEXTS
    ours, theirs = system.score(texts, LABELS), gliclass_pipeline(gliclass, name, texts, LABELS, 128)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert np.ptp(ours) > 0.05
    assert system.report()["truncated_texts"] == (texts == TEXTS)
    logits = build(gliclass, make_spec, "gliclass", name).score(texts, LABELS)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), ours, atol=1e-5)


def test_gliclass_refuses_what_pushes_labels_out(gliclass, make_spec):
    """The model would give a truncated label the logit 0, which is often the highest."""
    last, first = (build(gliclass, make_spec, "gliclass", name) for name in ("gliclass-last", "gliclass-first"))
    with pytest.raises(LabelSetError, match=r"3 of 3 labels do not fit into the 128 tokens .* with texts\[1\]"):
        last.score(["a", "markets " * 200], LABELS)
    with pytest.raises(LabelSetError, match="of 8 labels do not fit into the 128 tokens"):
        first.score(["a"], [f"{'markets ' * 20}{i}" for i in range(9)])
    assert first.score(["markets " * 200], LABELS).shape == (1, 3)


def test_gliclass_chunks_77_labels_as_its_package_does(gliclass, make_spec):
    """They do not fit into one sequence of 128 tokens; the package's chunking pipeline scores 8 at a time."""
    from gliclass import GLiClassModel, ZeroShotClassificationWithChunkingPipeline

    folder, labels = source_folder(gliclass, "gliclass-first"), [f"intent {i}" for i in range(77)]
    own = ZeroShotClassificationWithChunkingPipeline(
        GLiClassModel.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
        max_length=128,
        device="cpu",
        progress_bar=False,
    )
    system = build(gliclass, make_spec, "gliclass", "gliclass-first", "topics")
    texts = [*TEXTS[:6], "markets " * 140]
    theirs = [{item["label"]: item["score"] for item in row} for row in own(texts, labels, threshold=0, batch_size=1)]
    ours = system.score(texts, labels)
    np.testing.assert_allclose(ours, [[row[label] for label in labels] for row in theirs], atol=1e-4)
    assert system.report() == {"truncated_texts": 1, "truncated_labels": 0, "label_chunks": 10}
    np.testing.assert_array_equal(system.score(texts, labels[:8]), ours[:, :8])
    assert "label_chunks" not in system.report()


def test_gliznet_says_in_how_many_chunks_it_scored_the_labels(run, make_spec):
    system = load.build(make_spec("gliznet", model=("trained", "gliznet-full")), run)
    assert system.score(TEXTS[:2], [f"intent {i}" for i in range(77)]).shape == (2, 77)
    assert system.report()["label_chunks"] >= 4, "max_labels is 20"
    with pytest.raises(LabelSetError, match="max_length=64"):
        system.score(TEXTS[:2], ["money", "markets " * 80])


def test_gliclass_refuses_remote_code_and_other_architectures(gliclass, make_spec):
    path = source_folder(gliclass, "gliclass-first") / "config.json"
    config = read_json(path)
    try:
        write_json(path, config | {"encoder_config": config["encoder_config"] | {"model_type": "my-own"}})
        finish_source(gliclass, "gliclass-first")
        with pytest.raises(UnknownSystemError, match="remote code"):
            build(gliclass, make_spec, "gliclass", "gliclass-first")
        write_json(path, config | {"architecture_type": "decoder-kv"})
        finish_source(gliclass, "gliclass-first")
        with pytest.raises(UnknownSystemError, match="decoder-kv"):
            build(gliclass, make_spec, "gliclass", "gliclass-first")
    finally:
        write_json(path, config)
        finish_source(gliclass, "gliclass-first")


@pytest.mark.parametrize(("suite", "multi_label"), [("topics", True), ("gliclass", False)])
def test_nli_equals_the_zero_shot_pipeline(run, make_spec, suite, multi_label):
    folder = source_folder(run, "tiny-nli")
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    own = pipeline("zero-shot-classification", model=model, tokenizer=tokenizer, device="cpu")
    texts = [text for text in TEXTS if text]  # the pipeline refuses the empty text
    results = own(texts, LABELS, hypothesis_template="About {}.", multi_label=multi_label)
    theirs = np.array([[dict(zip(r["labels"], r["scores"], strict=True))[label] for label in LABELS] for r in results])
    system = build(run, make_spec, "nli", "tiny-nli", suite, template="About {}.")
    ours = system.score(texts, LABELS)
    if not multi_label:
        np.testing.assert_array_equal(ours.argmax(axis=1), theirs.argmax(axis=1))
        ours = np.exp(ours) / np.exp(ours).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert np.ptp(theirs) > 0.01
    assert system.report()["truncated_texts"] == 1


def test_the_biencoder_equals_sentence_transformers(run, make_spec):
    model = SentenceTransformer(str(source_folder(run, "tiny-embedder")), device="cpu")
    cosine = model.encode(TEXTS, normalize_embeddings=True) @ model.encode(LABELS, normalize_embeddings=True).T
    system = build(run, make_spec, "biencoder", "tiny-embedder")
    np.testing.assert_allclose(system.score(TEXTS, LABELS), cosine, atol=1e-5)
    assert system.report()["truncated_texts"] == 1
    half = build(run, make_spec, "biencoder", "tiny-embedder", "topics").score(TEXTS, LABELS)
    np.testing.assert_allclose(half, (1 + cosine) / 2, atol=1e-5)


def test_label_embeddings_are_computed_once(run, make_spec, monkeypatch):
    system = build(run, make_spec, "biencoder", "tiny-embedder")
    first, asked = system.score(TEXTS, LABELS), []
    real = system.embed
    monkeypatch.setattr(system, "embed", lambda texts, prompt: asked.append(list(texts)) or real(texts, prompt))
    np.testing.assert_array_equal(system.score(TEXTS, LABELS[::-1]), first[:, ::-1])
    assert asked == [TEXTS]


def test_biencoder_prompts_and_template(run, make_spec):
    model = SentenceTransformer(str(source_folder(run, "tiny-embedder")), device="cpu")
    texts = model.encode(["new " + text for text in TEXTS], normalize_embeddings=True)
    labels = model.encode([f"power about {label}" for label in LABELS], normalize_embeddings=True)
    settings = {"text_prompt": "new ", "label_prompt": "power ", "template": "about {}"}
    system = build(run, make_spec, "biencoder", "tiny-embedder", **settings)
    np.testing.assert_allclose(system.score(TEXTS, LABELS), texts @ labels.T, atol=1e-5)


def test_a_default_prompt_is_not_put_before_labels_that_have_none(run, make_spec):
    """sentence-transformers falls back to `default_prompt_name` if a prompt is None, but not if it is empty."""
    model = SentenceTransformer(str(source_folder(run, "tiny-embedder")), device="cpu")
    expected = model.encode(["new " + text for text in TEXTS], normalize_embeddings=True)
    expected = expected @ model.encode(LABELS, normalize_embeddings=True).T
    system = build(run, make_spec, "biencoder", "tiny-embedder", text_prompt="new ", label_prompt="")
    system.model.prompts, system.model.default_prompt_name = {"query": "new "}, "query"
    np.testing.assert_allclose(system.score(TEXTS, LABELS), expected, atol=1e-5)


def test_the_reranker_equals_the_cross_encoder(reranker, make_spec):
    model = CrossEncoder(str(source_folder(reranker, "tiny-reranker")), device="cpu")
    theirs = model.predict([(label, text) for text in TEXTS for label in LABELS], show_progress_bar=False)
    system = build(reranker, make_spec, "reranker", "tiny-reranker", "topics")
    np.testing.assert_allclose(system.score(TEXTS, LABELS), theirs.reshape(len(TEXTS), -1), atol=1e-5)
    assert system.report()["truncated_texts"] == 1
    logits = build(reranker, make_spec, "reranker", "tiny-reranker").score(TEXTS, LABELS)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), theirs.reshape(len(TEXTS), -1), atol=1e-5)


def test_an_nli_model_is_no_reranker(run, make_spec):
    with pytest.raises(UnknownSystemError, match="2 outputs"):
        build(run, make_spec, "reranker", "tiny-nli")


def all_text_systems(run, make_spec):
    yield load.build(make_spec("gliznet", model=("trained", "gliznet-full")), run)
    for family, source in {
        "nli": "tiny-nli",
        "biencoder": "tiny-embedder",
        "gliclass": "gliclass-first",
        "reranker": "tiny-reranker",
    }.items():
        yield build(run, make_spec, family, source)


def test_a_text_cannot_add_labels_or_special_tokens(gliclass, reranker, make_spec):
    """No special-token id comes from a text, and scores of neighbouring texts do not change."""
    for system in all_text_systems(gliclass, make_spec):
        alone, beside = system.score(["markets rallied"], LABELS), system.score(["markets rallied", EVIL], LABELS)
        np.testing.assert_allclose(beside[0], alone[0], rtol=1e-5, atol=1e-5, err_msg=type(system).__name__)
        assert np.isfinite(beside).all() and beside.shape == (2, 3)
        if hasattr(system, "escape"):
            holders = [system, getattr(system, "encoder", None), getattr(system, "model", None)]
            tokenizer = next(holder.tokenizer for holder in holders if hasattr(holder, "tokenizer"))
            ids = tokenizer(system.escape([EVIL])[0], add_special_tokens=False)["input_ids"]
            special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
            assert special.isdisjoint(ids), type(system).__name__


@pytest.mark.parametrize("labels", [["[SEP] money", "<<LABEL>>", "[LAB] chips"]])
def test_a_label_cannot_add_labels_either(gliclass, reranker, make_spec, labels):
    for system in all_text_systems(gliclass, make_spec):
        assert system.score(["markets rallied"], labels).shape == (1, 3)
        assert np.isfinite(system.score(["markets rallied"], labels)).all()


def test_strange_texts_score_like_any_other(gliclass, reranker, make_spec):
    from zsbench.systems.texts import well_formed

    strange = ["", " ", "\x00", "a\x00b", "\ud800 lone", "x" * 5000, "\u202e \U0001f600", "\n\t"]
    for system in all_text_systems(gliclass, make_spec):
        scores = system.score(well_formed(strange), LABELS)
        assert scores.shape == (len(strange), 3) and np.isfinite(scores).all(), type(system).__name__


def test_the_order_and_company_of_texts_do_not_matter(gliclass, reranker, make_spec):
    order = np.random.default_rng(0).permutation(len(TEXTS))
    for system in all_text_systems(gliclass, make_spec):
        whole = system.score(TEXTS, LABELS)
        np.testing.assert_allclose(system.score([TEXTS[i] for i in order], LABELS), whole[order], atol=1e-4)
        assert system.score([], LABELS).shape == (0, 3)


def test_gliznet_gives_logits_or_their_sigmoids(run, make_spec):
    logits = load.build(make_spec("gliznet", model=("trained", "gliznet-full")), run).score(TEXTS, LABELS)
    topics = load.build(make_spec("gliznet", "topics", ("trained", "gliznet-full")), run).score(TEXTS, LABELS)
    np.testing.assert_allclose(topics, 1 / (1 + np.exp(-logits.astype(float))), rtol=1e-6)


def test_reference_truncation_gives_lost_labels_the_lowest_score(run, make_spec, tmp_path):
    from transformers import BertModel

    from gliznet.model import GliZNetForSequenceClassification
    from gliznet.options import GliZNetOptions
    from gliznet.tokenizer import GliZNETTokenizer

    options = GliZNetOptions(max_length=24, max_labels=20, truncation="reference", min_text_tokens=4)
    tokenizer = GliZNETTokenizer(make_tokenizer(), options)
    model = GliZNetForSequenceClassification.from_backbone(BertModel(bert_config()), tokenizer, options)
    model.save_pretrained(run.checkpoint("gliznet-reference", 1))
    tokenizer.save_pretrained(run.checkpoint("gliznet-reference", 1))
    finish_model(run, "gliznet-reference")
    many = [f"{a} {b}" for a in ("rising", "new", "climate", "trade") for b in ("power", "policy", "disease")]
    system = load.build(make_spec("gliznet", "topics", ("trained", "gliznet-reference")), run)
    scores, report = system.score(["markets rallied as banks"], many), system.report()
    assert report["lost_labels"] == (scores == 0).sum() > 0


def test_surrogates_become_replacement_characters():
    from zsbench.systems.texts import well_formed

    assert well_formed(["a", "é", "x\ud800y", "\ud83d\ude00"]) == ["a", "é", "x\ufffdy", "\U0001f600"]
