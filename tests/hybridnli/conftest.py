"""Shared fixtures of the HybridNLI tests; models come from `tests.factories`."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from hybridnli.encoder import NLIEncoder
from hybridnli.features import FeatureStore, build_store
from tests.factories import DESCRIPTIONS, NEWS, make_nli_model, news_gold, nli_tokenizer

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return nli_tokenizer()


@pytest.fixture(scope="session")
def bert() -> torch.nn.Module:
    return make_nli_model()


@pytest.fixture
def encoder(bert, tokenizer) -> NLIEncoder:
    return NLIEncoder(bert, tokenizer)


@pytest.fixture(scope="session")
def store(bert, tokenizer, tmp_path_factory) -> FeatureStore:
    """A store of 40 texts and 3 labels; read only."""
    encoder = NLIEncoder(bert, tokenizer)
    return build_store(encoder, NEWS, DESCRIPTIONS, tmp_path_factory.mktemp("store"), dtype="float32")


@pytest.fixture(scope="session")
def gold() -> np.ndarray:
    return news_gold()


@pytest.fixture
def count_passes(monkeypatch) -> Callable[..., list[int]]:
    """`count_passes(encoder, fail_at=None)`: a list that grows with each forward pass; pass `fail_at` raises."""

    def install(encoder: NLIEncoder, fail_at: int | None = None) -> list[int]:
        passes: list[int] = []
        base = encoder.model.base_model
        inner = type(base).forward

        def forward(*args, **kwargs):
            passes.append(1)
            if len(passes) == fail_at:
                raise KeyboardInterrupt("killed here")
            return inner(base, *args, **kwargs)

        monkeypatch.setattr(base, "forward", forward)
        return passes

    return install
