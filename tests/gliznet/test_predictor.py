"""Scoring in input order, duplicates, chunks, ragged label sets; the pipeline; the card and its snippets."""

import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from gliznet.card import MARK
from gliznet.options import GliZNetOptions
from gliznet.predictor import ScoringReport, ZeroShotClassificationPipeline, score_texts
from gliznet.truncation import LabelBudgetError
from tests.factories import make_gliznet

README = Path(__file__).parents[2] / "README.md"

MANY = [
    f"{a} {b}" for a in ("sports", "science", "oil", "misc", "very") for b in ("cup", "bank", "team", "fair", "east")
]


@pytest.fixture(scope="module")
def pair():
    return make_gliznet("bert", GliZNetOptions(max_length=128, head_init="scaled"))


def test_scores_are_the_models(pair, texts: list[str], labels: list[str]) -> None:
    model, tokenizer = pair
    with torch.inference_mode():
        direct = [model(**tokenizer([text], [labels])).logits[0].numpy() for text in texts]
    for budget in (1, 64, 4096):
        scores = score_texts(model, tokenizer, texts, labels, token_budget=budget)
        assert scores.dtype == np.float32 and np.abs(scores - np.stack(direct)).max() < 1e-5


def test_sets_of_their_own(pair, texts: list[str]) -> None:
    model, tokenizer = pair
    sets = [["sports"], ["oil", "misc", "science"], ["cup", "oil"], ["sports"]]
    scores = score_texts(model, tokenizer, texts, sets)
    assert [row.shape for row in scores] == [(1,), (3,), (2,), (1,)]
    for text, one, row in zip(texts, sets, scores, strict=True):
        assert np.abs(row - score_texts(model, tokenizer, [text], one)[0]).max() < 1e-5


def test_labels_may_be_a_generator_or_an_array(pair, texts: list[str]) -> None:
    """Regression: a generator that was read twice gave an empty answer; arrays have no truth value."""
    pipeline, labels = ZeroShotClassificationPipeline(*pair), ["sports", "oil"]
    expected = pipeline(texts, labels)
    assert pipeline(texts, (label for label in labels)) == expected
    assert pipeline(texts, np.array(labels)) == expected
    assert pipeline(texts, (iter(labels) for _ in texts)) == expected
    assert pipeline(texts, np.array([labels] * len(texts))) == expected


def test_texts_may_be_an_array(pair, texts: list[str], labels: list[str]) -> None:
    """Regression: arrays have no truth value."""
    expected = score_texts(*pair, texts, labels)
    assert np.array_equal(score_texts(*pair, np.array(texts), labels), expected)


def test_duplicates_share_a_score_and_change_nothing(pair, texts: list[str]) -> None:
    model, tokenizer = pair
    plain = score_texts(model, tokenizer, texts, ["sports", "oil"])
    doubled = score_texts(model, tokenizer, texts, ["sports", "oil", "sports"])
    assert np.array_equal(doubled, plain[:, [0, 1, 0]])
    ragged = score_texts(model, tokenizer, texts[:1], [["sports", "sports", "oil"]])
    assert np.abs(ragged[0] - plain[0, [0, 0, 1]]).max() < 1e-5


def test_more_labels_than_a_sequence_holds(pair, texts: list[str]) -> None:
    model, tokenizer = pair
    report = ScoringReport()
    scores = score_texts(model, tokenizer, [*texts, "cup " * 400], MANY, report=report)
    assert scores.shape == (5, 25) and np.isfinite(scores).all()
    assert (report.truncated_texts, report.truncated_labels, report.lost_labels) == (1, 0, 0)
    assert 0 < report.real_tokens <= report.padded_tokens
    chunk = tokenizer.plan_chunks(MANY)[1]
    alone = score_texts(model, tokenizer, texts, [MANY[i] for i in chunk])
    assert len(chunk) < 25 and np.abs(scores[:4, chunk] - alone).max() < 1e-5


def test_reference_truncation_reports_lost_labels_as_minus_infinity() -> None:
    model, tokenizer = make_gliznet("bert", GliZNetOptions(max_length=32, truncation="reference"))
    report = ScoringReport()
    scores = score_texts(model, tokenizer, ["cup " * 60], MANY[:20], report=report)
    assert report.lost_labels == np.isinf(scores).sum() > 0


def test_progress_mode_and_empty_input(pair, texts: list[str], labels: list[str]) -> None:
    model, tokenizer = pair
    steps: list[tuple[int, int]] = []
    model.train()
    score_texts(model, tokenizer, texts, labels, token_budget=1, progress=lambda *step: steps.append(step))
    assert model.training and steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    model.eval()
    assert score_texts(model, tokenizer, [], labels).shape == (0, 5)
    assert score_texts(model, tokenizer, [], []).shape == (0, 0)


def test_mode_is_restored_after_an_error(pair, labels: list[str]) -> None:
    model, tokenizer = pair
    model.train()

    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_texts(model, tokenizer, ["cup"], labels, progress=stop)
    assert model.training
    model.eval()


def test_a_frozen_encoder_stays_in_eval_mode(pair, labels: list[str]) -> None:
    """Regression: the whole model went back to training mode, and with it an encoder that was not."""
    model, tokenizer = pair
    model.train()
    model.backbone.eval()
    score_texts(model, tokenizer, ["cup"], labels)
    assert model.training and not any(module.training for module in model.backbone.modules())
    model.eval()


@pytest.mark.parametrize(
    ("texts", "labels", "kind", "named"),
    [
        (["a"], [], ValueError, "labels: is empty"),
        (["a", "b"], [["c"]], ValueError, "labels: 1 lists for 2 texts"),
        (["a"], [[]], ValueError, r"labels\[0\]: is empty"),
        (["a"], ["ok", " "], ValueError, r"labels\[1\]: ' '"),
        (["a"], ["ok", ["mixed"]], ValueError, "mixes"),
        (["a"], "sports", TypeError, "labels: 'sports'"),
        (["a", None], ["x"], TypeError, r"texts\[1\]: is NoneType"),
        (["\ud800"], ["x"], ValueError, r"texts\[0\]: .*surrogate"),
        (["a"], ["x", "\ud800"], ValueError, r"labels\[1\]: .*surrogate"),
        (["a"], ["sports " * 200], LabelBudgetError, "1 labels need"),
    ],
)
def test_bad_input_is_named(pair, texts: list, labels: list, kind: type[Exception], named: str) -> None:
    for call in (ZeroShotClassificationPipeline(*pair), partial(score_texts, *pair)):
        with pytest.raises(kind, match=named):
            call(texts, labels)


def test_bad_settings_are_named(pair) -> None:
    with pytest.raises(ValueError, match="autocast_dtype: 'fp8'"):
        score_texts(*pair, ["a"], ["b"], autocast_dtype="fp8")
    for bad in ({"threshold": 1.5}, {"top_k": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            ZeroShotClassificationPipeline(*pair)("a", ["b"], **bad)
    with pytest.raises(ValueError, match="'multi-label', 'multi-class'"):
        ZeroShotClassificationPipeline(*pair, classification_type="single")  # type: ignore[arg-type]


def test_bf16_stays_close(pair, texts: list[str], labels: list[str]) -> None:
    exact = score_texts(*pair, texts, labels)
    assert np.abs(score_texts(*pair, texts, labels, autocast_dtype="bf16") - exact).max() < 0.2 * exact.std() + 0.1


def test_pipeline_probabilities(pair, texts: list[str], labels: list[str]) -> None:
    logits = score_texts(*pair, texts, labels).astype(np.float64)
    many = ZeroShotClassificationPipeline(*pair)(texts, labels)
    assert [r.text for r in many] == texts and [p.label for p in many[0].labels] == labels
    for row, result in zip(logits, many, strict=True):
        assert [p.score for p in result.labels] == pytest.approx(1 / (1 + np.exp(-row)))
    one = ZeroShotClassificationPipeline(*pair, classification_type="multi-class", device="cpu")(texts[0], labels)
    softmax = np.exp(logits[0]) / np.exp(logits[0]).sum()
    assert [p.score for p in one.labels] == pytest.approx(softmax, rel=1e-4)
    doubled = ZeroShotClassificationPipeline(*pair, classification_type="multi-class")(texts[0], [*labels, labels[0]])
    assert [p.score for p in doubled.labels[:5]] == pytest.approx(softmax, rel=1e-4)
    assert doubled.labels[5].score == doubled.labels[0].score


def test_pipeline_threshold_and_top_k(pair, texts: list[str], labels: list[str]) -> None:
    pipeline = ZeroShotClassificationPipeline(*pair)
    everything = pipeline(texts[0], labels).labels
    cut = sorted(p.score for p in everything)[2]
    assert pipeline(texts[0], labels, threshold=cut).labels == [p for p in everything if p.score >= cut]
    best = pipeline(texts[0], labels, top_k=2).labels
    assert best == sorted(everything, key=lambda p: -p.score)[:2]
    own = pipeline(texts[:2], [["oil"], ["cup", "sports"]], progress=True)
    assert [[p.label for p in r.labels] for r in own] == [["oil"], ["cup", "sports"]]
    assert pipeline.report.real_tokens > 0


def test_labels_come_in_the_given_order_and_best_is_the_most_probable(
    pair, texts: list[str], labels: list[str]
) -> None:
    pipeline = ZeroShotClassificationPipeline(*pair)
    for order in (labels, labels[::-1]):
        for result in pipeline(texts, order):
            assert [found.label for found in result.labels] == order
            assert result.best == max(result.labels, key=lambda found: found.score)
    assert pipeline(texts[0], labels, threshold=1.0).best is None
    assert pipeline(texts[0], ["oil"] * 2).best == pipeline(texts[0], ["oil"]).labels[0]


def test_names_of_the_published_package(pair, texts: list[str], labels: list[str], tmp_path: Path) -> None:
    import gliznet

    pair[0].save_pretrained(tmp_path)
    pair[1].save_pretrained(tmp_path)
    assert gliznet.ZeroShotClassificationPipeline is ZeroShotClassificationPipeline
    assert {"GliZNetForSequenceClassification", "GliZNetOutput", "GliZNETTokenizer"} <= set(gliznet.__all__)
    loaded = ZeroShotClassificationPipeline.from_pretrained(tmp_path, classification_type="multi-class", device="cpu")
    softmax, sigmoid = loaded(texts[0], labels), loaded(texts[0], labels, classification_type="multi-label")
    assert sum(found.score for found in softmax.labels) == pytest.approx(1)
    assert sigmoid == ZeroShotClassificationPipeline(*pair)(texts[0], labels)
    assert softmax == ZeroShotClassificationPipeline(*pair)(texts[0], labels, None, classification_type="multi-class")
    assert loaded(texts[0], labels) == softmax  # a call does not affect the next one
    with pytest.raises(ValueError, match="classification_type: 'both' is not allowed"):
        loaded(texts[0], labels, classification_type="both")
    with pytest.raises(ValueError, match="classification_type: 'both' is not allowed"):
        ZeroShotClassificationPipeline.from_pretrained(tmp_path, classification_type="both")


def test_snippets_of_the_card_run_verbatim(pair, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch) -> None:
    model, tokenizer = pair
    model.card_facts = {"training data": "made up"}
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert "| training data | made up |" in card and "| `head_init` | **scaled** (default) |" in card
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    snippets = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len(snippets) == 2
    for snippet in snippets:
        exec(snippet, names)
    assert "sports" in capsys.readouterr().out and type(names["model"]).__name__ == "GliZNetForSequenceClassification"


@pytest.mark.parametrize("changes", [{}, {"text_repr": "attention-normalized", "enrichment": True}])
@pytest.mark.parametrize("kind", ["bert", "deberta", "modernbert"])
def test_a_model_wholly_in_bfloat16_scores(kind: str, changes: dict, texts: list[str], labels: list[str]) -> None:
    """As the published card loads it."""
    model, tokenizer = make_gliznet(kind, GliZNetOptions(max_length=128, **changes))
    exact = ZeroShotClassificationPipeline(model, tokenizer)(texts[0], labels)
    low = ZeroShotClassificationPipeline(model.to(torch.bfloat16), tokenizer, device="cpu")(texts[0], labels)
    assert model.aggregator.scoring.bilinear.weight.dtype == torch.bfloat16
    assert [p.score for p in low.labels] == pytest.approx([p.score for p in exact.labels], abs=0.15)


def test_the_snippet_of_the_readme_prints_the_best_label(pair, tmp_path: Path, capsys) -> None:
    section = README.read_text(encoding="utf-8").partition("## Use a model alone")[2]
    snippet = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
    code, replaced = re.subn(r'checkpoint = ".*"', f"checkpoint = {str(tmp_path)!r}", snippet)
    model, tokenizer = pair
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    shown = re.fullmatch(r"LabelScore\(label='(\w+)', score=([\d.]+)\)\n", capsys.readouterr().out)
    assert replaced == 1 and shown[1] in {"sports", "business", "weather"} and 1 / 3 < float(shown[2]) < 1


def test_own_readme_stays(pair, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    pair[0].save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"
    (tmp_path / "README.md").write_text(MARK)
    pair[0].save_pretrained(tmp_path)
    assert "## Model" in (tmp_path / "README.md").read_text()
