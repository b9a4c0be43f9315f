"""NLI scores, features and heads on a simulated GPU: the host does not wait in every batch."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gliznet.fast.encoders import use_fast_encoders
from hybridnli.encoder import NLIEncoder, nli_scores
from hybridnli.features import build_store
from hybridnli.training import HybridOptions, train_heads
from tests.factories import DESCRIPTIONS, NEWS, make_nli_model, news_gold, nli_tokenizer
from tests.simulated_gpu import simulated_gpu

torch.set_num_threads(1)
TEXTS = NEWS[:8]


def test_the_number_of_waits_does_not_depend_on_that_of_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = NLIEncoder(make_nli_model(), nli_tokenizer())
    hypotheses = plain.hypotheses(list(DESCRIPTIONS.values()))
    expected = nli_scores(plain, TEXTS, hypotheses)
    stored = build_store(plain, TEXTS, DESCRIPTIONS, tmp_path / "cpu")
    with simulated_gpu(monkeypatch) as waits:
        model = make_nli_model().to("cuda")
        use_fast_encoders(model)  # transformers' own encoder waits in every batch
        encoder = NLIEncoder(model, plain.tokenizer)

        def counts(call: Callable[[int], object]) -> list[dict[str, int]]:
            found = []
            for size in (64, 64, 4096):  # the first one fills caches
                waits.clear()
                call(size)
                found.append(dict(waits))
            return found[1:]

        few, many = counts(lambda budget: nli_scores(encoder, TEXTS, hypotheses, token_budget=budget))
        assert few == many == {"blocking copy": 1}
        few, many = counts(
            lambda budget: build_store(
                encoder, TEXTS, DESCRIPTIONS, tmp_path / f"{len(list(tmp_path.iterdir()))}", token_budget=budget
            )
        )
        assert few == many
        np.testing.assert_allclose(nli_scores(encoder, TEXTS, hypotheses), expected, atol=1e-5)
        on_gpu = build_store(encoder, TEXTS, DESCRIPTIONS, tmp_path / "gpu")

        def train(batch: int) -> object:
            options = HybridOptions(epochs=1, proj_dim=16, num_codes=2, batch_size=batch, selection="macro_f1_at_0.5")
            return train_heads(stored, news_gold()[:8], range(6), range(6, 8), options=options, seed=1, device="cuda")

        few, many = counts(lambda size: train(2 if size == 64 else 6))
        assert few == many
    both = [store.token_embeddings(range(len(TEXTS)))[0].numpy() for store in (stored, on_gpu)]
    np.testing.assert_allclose(*both, atol=2e-2)
