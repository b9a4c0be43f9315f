"""A store larger than memory is written and read in pieces; damaged parts of a store are made again, alone."""

import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import DESCRIPTIONS, TEXTS

import hybridnli.features as features
from gliznet.batching import token_budget_batches
from hybridnli.features import build_store, open_store
from hybridnli.shards import DamagedStoreError
from hybridnli.store import FeatureStore

HIDDEN, TOKENS = 32, 200
WORD = "markets rallied as banks reported rising profits "


class Stub:
    """An encoder without a model: what the store asks of one, from the length and the first token of a text."""

    identity, name, dtype, template = "stub", "stub", "float32", "{}"
    hidden_dim, max_length, token_budget = HIDDEN, TOKENS, 4096
    pair = SimpleNamespace(count=3)

    def hypotheses(self, descriptions: Sequence[str]) -> list[str]:
        return list(descriptions)

    def tokenize(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [np.full(min(len(text) // 4, TOKENS), len(text), dtype=np.int64) for text in texts]

    def text_lengths(self, ids: Sequence[np.ndarray], max_length: int) -> list[int]:
        return [min(len(row), max_length) for row in ids]

    def embed_ids(self, ids: Sequence[np.ndarray], max_length: int) -> tuple[torch.Tensor, torch.Tensor]:
        lengths = torch.tensor(self.text_lengths(ids, max_length))
        mask = torch.arange(int(lengths.max())) < lengths[:, None]
        first = torch.tensor([float(row[0] % 100) for row in ids])
        return first[:, None, None].expand(*mask.shape, HIDDEN).contiguous(), mask

    def describe(self, descriptions: Sequence[str], max_length: int) -> torch.Tensor:
        return torch.ones(len(descriptions), HIDDEN)

    def entailment(self, pairs: Sequence[Sequence[np.ndarray]]) -> torch.Tensor:
        return torch.tensor([len(text) / TOKENS for text, _ in pairs])


def written_and_read(rows: int, folder: Path) -> tuple[int, int, int]:
    """Peaks of writing and of reading, and what is on disk, in bytes."""
    texts = [f"{i} " + WORD * (8 + i % 9) for i in range(rows)]
    tracemalloc.start()
    try:
        store: FeatureStore = build_store(Stub(), texts, {"a": "x"}, folder, max_length=TOKENS)  # type: ignore[arg-type]
        writing = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        for batch in token_budget_batches(store.lengths.tolist(), 4096):
            H, mask = store.token_embeddings(batch)
            assert H.shape[:2] == mask.shape
        reading = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return writing, reading, sum(path.stat().st_size for path in folder.rglob("*.npy"))


def test_memory_does_not_grow_with_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names, lengths and places of rows grow, under a kilobyte a row; embeddings and token ids do not."""
    monkeypatch.setattr(features, "SHARD_ROWS", 128)
    small, large = (written_and_read(rows, tmp_path / str(rows)) for rows in (500, 4000))
    assert large[2] - small[2] > 20e6
    for before, after in zip(small[:2], large[:2], strict=True):
        assert after - before < 3500 * 1000, f"{after - before} bytes more for 3,500 rows more"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("name", ["tokens-*.npy", "tokens-*.json", "nli-*.npy", "nli-*.json", "descriptions-*.npy"])
@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
def test_a_damaged_part_is_made_again_alone(
    encoder, tmp_path: Path, count_calls, monkeypatch: pytest.MonkeyPatch, name: str, damage
) -> None:
    if damage is Path.unlink and name.endswith(".json"):
        pytest.skip("an array without its description is what a killed run leaves: never read")
    monkeypatch.setattr(features, "SHARD_ROWS", 10)
    whole = build_store(encoder, TEXTS, DESCRIPTIONS, tmp_path, token_budget=10**6)
    before = {path.name: path.read_bytes() for path in whole.folder.iterdir()}
    victim = sorted(whole.folder.glob(name))[0]
    damage(victim)
    with pytest.raises(DamagedStoreError, match=victim.stem):  # without the encoder it cannot be mended
        open_store(tmp_path, TEXTS, DESCRIPTIONS, encoder.template)
    counter = count_calls(encoder)
    with pytest.warns(UserWarning, match=f"{victim.stem}.*made again"):
        again = build_store(encoder, TEXTS, DESCRIPTIONS, tmp_path, token_budget=10**6)
    assert counter.calls == 1, "one part in one batch"
    assert {path.name: path.read_bytes() for path in again.folder.iterdir()} == before


@pytest.mark.parametrize("damage", [cut, flip])
def test_a_damaged_key_is_written_again(encoder, tmp_path: Path, count_calls, damage) -> None:
    store = build_store(encoder, TEXTS[:4], DESCRIPTIONS, tmp_path)
    key = store.folder / "key.json"
    before = key.read_bytes()
    damage(key)
    counter = count_calls(encoder)
    with pytest.warns(UserWarning, match=r"key\.json.*made again"):
        build_store(encoder, TEXTS[:4], DESCRIPTIONS, tmp_path)
    assert counter.calls == 0 and key.read_bytes() == before
