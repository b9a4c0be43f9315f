"""The k best labels without an array of texts x labels, and the second pass over them, against brute force."""

import re
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from gliznet import predictor
from gliznet.options import GliZNetOptions
from gliznet.predictor import ScoringReport, ZeroShotClassificationPipeline, score_texts
from gliznet.top_labels import TopScores
from tests.factories import WORDS, make_gliznet

PAGE = Path(__file__).parents[2] / "docs" / "speed.md"
APART = {"order_invariant": True, "label_context": "none"}
MODES = {
    "one vector per text": APART | {"text_repr": "mean", "label_repr": "mean", "head_init": "identity"},
    "cosine": APART | {"text_repr": "cls", "head": "cosine"},
    "attention": APART | {"head_init": "scaled"},
    "normalised attention": APART | {"text_repr": "attention-normalized", "label_frame": True, "head_init": "scaled"},
    "labels beside the text": {"order_invariant": True, "head_init": "scaled"},
    "joint": {"head_init": "scaled"},
}
TEXTS = [" ".join(WORDS[i : i + 1 + i]) for i in range(6)]
LABELS = [f"{a} {b}" for a, b in product(WORDS[:4], WORDS[6:12])]  # 24
DOUBLED = [*LABELS[:9], *LABELS[3:12], LABELS[4]]


def make(mode: str, **settings) -> ZeroShotClassificationPipeline:
    pair = make_gliznet("bert", GliZNetOptions(max_length=64, **MODES[mode]))
    return ZeroShotClassificationPipeline(*pair, **settings)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_any_blocks_give_the_best_of_the_whole_row(data: st.DataObject) -> None:
    """Few distinct scores, so that most are tied; equal scores are in the order of their columns."""
    n, labels, k = (data.draw(st.integers(1, most)) for most in (3, 12, 15))
    values = st.sampled_from([-np.inf, -1e30, -2.5, -1e-40, -0.0, 0.0, 1e-40, 2.5, 3.0, 1e30])
    drawn = data.draw(st.lists(values, min_size=n * labels, max_size=n * labels))
    rows = np.array(drawn, np.float32).reshape(n, labels)
    columns = data.draw(st.permutations(range(labels)))
    cuts = sorted(data.draw(st.sets(st.integers(1, labels), max_size=5)) | {labels})
    found = TopScores(n, k, normalise=True)
    for start, end in zip([0, *cuts], cuts, strict=False):
        block = columns[start:end]
        texts = data.draw(st.permutations(range(n)))
        some = torch.tensor(block)
        found.add(texts, some, found.reduce(some, torch.tensor(rows[texts][:, block])))
    for row, scores in enumerate(rows):
        best = sorted(range(labels), key=lambda column: (-scores[column], column))[:k]
        chosen, logits, total = found.of(row)
        assert chosen == best and np.array_equal(logits, scores[best])
        assert total == pytest.approx(np.logaddexp.reduce(scores.astype(float)))


@pytest.mark.parametrize("mode", MODES)
def test_the_best_are_those_of_the_full_pass(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "LARGEST_TENSOR", 1000)
    pipeline = make(mode)
    for kind, labels in (
        ("multi-label", LABELS),
        ("multi-class", DOUBLED),
        ("multi-class", [LABELS[i : i + 1 + 2 * i] for i in range(6)]),
    ):
        full = pipeline(TEXTS, labels, classification_type=kind)
        for k in (5, 100):
            for every, best in zip(full, pipeline(TEXTS, labels, classification_type=kind, top_k=k), strict=True):
                wanted = sorted(every.labels, key=lambda one: -one.score)[:k]
                assert [one.label for one in best.labels] == [one.label for one in wanted]
                assert [one.score for one in best.labels] == pytest.approx([one.score for one in wanted])
    best = pipeline(TEXTS[5], LABELS, top_k=3).labels
    assert pipeline(TEXTS[5], LABELS, best[1].score, top_k=3).labels == best[:2]


class Largest(TorchDispatchMode):
    """Elements of the largest tensor made."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, torch.Tensor):
                self.size = max(self.size, tensor.numel())
        return out


@pytest.mark.parametrize("mode", ["one vector per text", "attention"])
def test_no_tensor_grows_with_texts_times_labels(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "LARGEST_TENSOR", 2**11)
    pipeline, labels = make(mode, token_budget=128), [f"{a} {b}" for a, b in product(WORDS[:15], WORDS[:20])]
    pipeline("cup", labels, top_k=3)  # what is kept from pass to pass is made now
    sizes = []
    for texts in (40, 120):
        with Largest() as seen:
            pipeline(["oil and cup"] * texts, labels, top_k=3)
        sizes.append(seen.size)
    assert sizes[1] == sizes[0] < 120 * len(labels)


def test_windows_change_neither_scores_nor_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [*TEXTS[:2], "cup " * 90, *TEXTS[2:], "oil " * 70]
    for mode in ("one vector per text", "labels beside the text", "joint"):
        pipeline, found = make(mode), []
        for labels in (LABELS, [LABELS[i : i + 1 + 3 * i] for i in range(8)]):
            for window in (8192, 3):
                monkeypatch.setattr(predictor, "WINDOW", window)
                report, steps = ScoringReport(), []
                progress = partial(lambda steps, *step: steps.append(step), steps)
                pair = pipeline.model, pipeline.tokenizer
                scores = score_texts(*pair, texts, labels, report=report, progress=progress)
                found.append((np.concatenate(scores), report.truncated_texts, report.real_tokens))
                done, totals = zip(*steps, strict=True)
                assert {done[-1]} == set(totals) and list(done) == sorted(set(done))
            (whole, *counts), (parts, *same) = found[-2:]
            assert np.abs(whole - parts).max() < 1e-5 and counts == same and counts[0] == 2


def test_rerank_is_the_joint_pass_over_the_best() -> None:
    joint = make("joint", classification_type="multi-class")
    pipeline = make("one vector per text", classification_type="multi-class", reranker=joint)
    best = pipeline(TEXTS, LABELS, top_k=6)
    for text, first, second in zip(TEXTS, best, pipeline(TEXTS, LABELS, rerank=6), strict=True):
        kept = sorted((one.label for one in first.labels), key=LABELS.index)  # the order is that of the list
        assert [one.label for one in second.labels] == kept
        alone = [one.score for one in joint(text, kept).labels]
        assert [one.score for one in second.labels] == pytest.approx(alone, rel=1e-4) and sum(alone) == pytest.approx(1)
    for k in (24, 1000):
        assert pipeline(TEXTS, LABELS, rerank=k, top_k=3) == joint(TEXTS, LABELS, top_k=3)
    own = pipeline(TEXTS[:2], [LABELS[:3], LABELS], rerank=6, top_k=2, threshold=0.0)
    assert [one.label for one in own[0].labels] == [one.label for one in joint(TEXTS[0], LABELS[:3], top_k=2).labels]
    assert len(own[1].labels) == 2 and pipeline([], LABELS, rerank=2) == []


def test_the_snippet_of_the_docs_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    section = PAGE.read_text(encoding="utf-8").partition("## Many labels")[2]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
    for system, mode in (("full", "joint"), ("warm", "one vector per text")):
        folder, pipeline = tmp_path / system, make(mode)
        pipeline.model.save_pretrained(folder)
        pipeline.tokenizer.save_pretrained(folder)
        code, replaced = re.subn(rf'"results/\S*gliznet-{system}/\S*"', repr(str(folder)), code)
        assert replaced == 1
    exec(compile(code, PAGE.name, "exec"), {})
    assert capsys.readouterr().out.strip() in ("sports", "business", "weather", "science")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"top_k": 0}, "top_k: 0 is not allowed; allowed: an integer >= 1"),
        ({"top_k": 2.5}, "top_k: 2.5 is not allowed; allowed: an integer >= 1"),
        ({"top_k": True}, "top_k: True is not allowed"),
        ({"rerank": -1}, "rerank: -1 is not allowed; allowed: an integer >= 1"),
        ({"rerank": 2}, "rerank: 2 needs a pipeline with `reranker`; allowed: None"),
        ({"rerank": 2, "top_k": 3, "reranker": True}, "top_k: 3 is more than rerank=2; allowed: 1 to 2"),
    ],
)
def test_bad_numbers_are_named(arguments: dict, message: str) -> None:
    pipeline = make("joint")
    pipeline.reranker = pipeline if arguments.pop("reranker", False) else None
    with pytest.raises(ValueError, match=message):
        pipeline("cup", ["oil", "team"], **arguments)
