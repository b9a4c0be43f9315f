"""Scoring on a simulated GPU: the host waits for nothing between batches, and scores are those of the CPU."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from gliznet import predictor
from gliznet.device import LAG, ahead, to_device, to_host
from gliznet.options import GliZNetOptions
from gliznet.predictor import ZeroShotClassificationPipeline, score_texts
from tests.factories import WORDS, make_gliznet
from tests.simulated_gpu import GPU, simulated_gpu

TEXTS = [" ".join(WORDS[i : i + 1 + i]) for i in range(6)]
LABELS = [f"{a} {b}" for a in WORDS[:2] for b in WORDS[3:7]]
SETS = [LABELS[i % 5 : i % 5 + 1 + i % 3] for i in range(len(TEXTS))]
ORDER_INVARIANT = {"order_invariant": True}
MODES = {
    "joint": {},
    "beside the text": ORDER_INVARIANT,
    "matrix": ORDER_INVARIANT | {"label_context": "none", "text_repr": "mean", "label_repr": "mean"},
    "attention": ORDER_INVARIANT | {"label_context": "none", "label_frame": True},
    "enriched": {"enrichment": True},
}


@pytest.mark.parametrize(
    "act",
    [
        lambda x: x.sum().item(),
        lambda x: bool((x > 0).all()),
        lambda x: int(x.max()),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x.to("cpu"),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x.masked_select(x > 0),
        lambda x: torch.equal(x, x),
        lambda x: x[torch.tensor([0, 1])],
        lambda x: torch.arange(3.0).to(x.device),
    ],
)
def test_the_simulation_counts(act, monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_gpu(monkeypatch) as waits:
        x = to_device(torch.arange(6.0), GPU)
        y = (x * 2 + torch.ones(6, device=x.device)).masked_fill(x > 3, 0.0)[:, None].softmax(0)
        assert y.device == GPU and not waits
        act(x)
        assert waits


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("bert", mode) for mode in MODES]
    + [("deberta", mode) for mode in ("joint", "beside the text", "attention")]
    + [("modernbert", mode) for mode in ("joint", "beside the text")],
)
def test_scoring_waits_for_no_batch(kind: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "WINDOW", 4)
    options = GliZNetOptions(max_length=64, head_init="scaled", **MODES[mode])
    pipeline = ZeroShotClassificationPipeline(*make_gliznet(kind, options), token_budget=100)
    pair = pipeline.model, pipeline.tokenizer

    def scores() -> list[np.ndarray]:
        shared = score_texts(*pair, TEXTS, LABELS, token_budget=100)
        return [np.asarray(shared), *score_texts(*pair, TEXTS, SETS, token_budget=100)]

    def best() -> list[list[str]]:
        found = pipeline(TEXTS, LABELS, top_k=3, classification_type="multi-class")
        return [[label.label for label in one.labels] for one in found]

    expected, expected_best = scores(), best()
    with simulated_gpu(monkeypatch) as waits:
        pipeline.model.to("cuda")
        waits.clear()
        on_gpu, best_on_gpu = scores(), best()
        assert waits.total() <= (3 if kind == "deberta" else 0)  # its position tables are copied to the GPU once
    for one, other in zip(expected, on_gpu, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5, rtol=1e-5)
    assert best_on_gpu == expected_best


def test_results_of_a_gpu_follow_later_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_gpu(monkeypatch):
        launched: list[int] = []

        def batches() -> Iterator[tuple[int, torch.Tensor]]:
            for i in range(7):
                launched.append(i)
                yield i, torch.full((2,), float(i), device=GPU)

        seen = [(key, values.tolist(), len(launched)) for key, values in to_host(batches())]
    assert seen == [(i, [i, i], min(i + LAG + 1, 7)) for i in range(7)]


def test_results_of_a_cpu_follow_at_once() -> None:
    launched: list[int] = []
    batches = ((launched.append(i) or i, torch.tensor([i])) for i in range(4))
    assert [(key, len(launched)) for key, _ in to_host(batches)] == [(i, i + 1) for i in range(4)]


def test_one_item_is_prepared_ahead_in_a_thread() -> None:
    prepared, started = threading.Semaphore(0), []

    def items() -> Iterator[int]:
        for i in range(5):
            started.append((i, threading.current_thread() is threading.main_thread()))
            prepared.release()
            yield i

    source = ahead(items(), GPU)
    for i in range(4):
        assert next(source) == i
        for _ in range(2 if i == 0 else 1):
            assert prepared.acquire(timeout=60)
        assert len(started) == i + 2  # the following one, and no more
    assert not any(main for _, main in started)
    source.close()  # ends the thread


def test_an_error_comes_at_its_item() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("of the second item")

    for device in (GPU, torch.device("cpu")):
        source = ahead(items(), device)
        assert next(source) == 1
        with pytest.raises(ValueError, match="of the second item"):
            next(source)
