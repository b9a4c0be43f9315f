"""The feature store: contents, no repeated encoding, memory, interruption and damaged files."""

import multiprocessing
import os
import signal
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import hybridnli.features as features
from gliznet.batching import token_budget_batches
from hybridnli.encoder import NLIEncoder, nli_scores
from hybridnli.features import build_store
from tests.factories import DESCRIPTIONS, NEWS, make_nli_model

HIDDEN, TOKENS = 32, 200
WORD = "markets rallied as banks reported rising profits "


def files(folder, pattern="*"):
    return sorted(path for path in folder.rglob(pattern) if path.is_file())


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(features, "SHARD_ROWS", 7)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_store_holds_what_the_encoder_says(encoder, tmp_path, dtype, small_shards):
    store = build_store(encoder, NEWS, DESCRIPTIONS, tmp_path, max_length=12, dtype=dtype)
    H, mask = store.token_embeddings(range(len(NEWS)))
    expected, expected_mask = encoder.embed_ids(encoder.tokenize(NEWS), 12)
    assert H.dtype == torch.float32 and torch.equal(mask, expected_mask)
    tolerance = 1e-5 if dtype == "float32" else 5e-3
    torch.testing.assert_close(H[mask], expected[mask], atol=tolerance, rtol=tolerance)
    assert (H[~mask] == 0).all() and store.lengths.tolist() == mask.sum(1).tolist()
    hypotheses = encoder.hypotheses(list(DESCRIPTIONS.values()))
    np.testing.assert_allclose(store.nli, nli_scores(encoder, NEWS, hypotheses), atol=1e-5)
    np.testing.assert_allclose(store.label_embs, encoder.describe(list(DESCRIPTIONS.values())).numpy(), atol=1e-6)
    assert store.labels == tuple(DESCRIPTIONS) and store.hidden_dim == 32 and len(store) == len(NEWS)


def test_texts_may_be_an_array(encoder, tmp_path):
    """Regression: arrays have no truth value."""
    found = build_store(encoder, np.array(NEWS[:3]), DESCRIPTIONS, tmp_path / "array")
    expected = build_store(encoder, NEWS[:3], DESCRIPTIONS, tmp_path / "list")
    np.testing.assert_array_equal(found.nli, expected.nli)


def test_embeddings_are_gathered_in_any_order(store):
    H, mask = store.token_embeddings([30, 2, 30])
    alone, _ = store.token_embeddings([2])
    assert torch.equal(H[0], H[2]) and torch.equal(H[1][mask[1]], alone[0])
    assert H.shape[1] == store.lengths[[30, 2]].max()


def test_second_build_reads_and_never_encodes(encoder, tmp_path, count_passes):
    first = build_store(encoder, NEWS, DESCRIPTIONS, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in files(tmp_path, "*.safetensors")}
    passes = count_passes(encoder)
    again = build_store(encoder, NEWS[5:9][::-1], DESCRIPTIONS, tmp_path)
    assert not passes and before == {path: path.stat().st_mtime_ns for path in files(tmp_path, "*.safetensors")}
    np.testing.assert_array_equal(again.nli[::-1], first.nli[5:9])
    assert torch.equal(again.token_embeddings([3])[0], first.token_embeddings([5])[0])


def test_added_texts_labels_and_templates_encode_only_what_is_new(encoder, bert, tokenizer, tmp_path, count_passes):
    build_store(encoder, NEWS[:30], DESCRIPTIONS, tmp_path)
    passes = count_passes(encoder)
    build_store(encoder, NEWS[:31], DESCRIPTIONS, tmp_path)
    assert len(passes) == 2  # the new text: once alone, once as three pairs
    build_store(encoder, NEWS[:31], {**DESCRIPTIONS, "New": "This text is about rivers"}, tmp_path, token_budget=10**6)
    assert len(passes) == 4  # its description, and 31 pairs in one batch
    plain = NLIEncoder(bert, tokenizer, "{}")
    store = build_store(plain, NEWS[:31], DESCRIPTIONS, tmp_path, token_budget=10**6)
    assert len(passes) == 5  # 93 pairs of another template, no text, no description
    np.testing.assert_allclose(store.nli, nli_scores(plain, NEWS[:31], list(DESCRIPTIONS.values())), atol=1e-5)


def test_lengths_stop_at_the_model_s_limit(encoder, tmp_path):
    """128 tokens are asked for, the model takes 64."""
    long = " ".join(NEWS)
    store = build_store(encoder, [long], DESCRIPTIONS, tmp_path, nli_max_length=500)
    assert store.lengths.tolist() == [64]
    expected = nli_scores(encoder, [long], encoder.hypotheses(list(DESCRIPTIONS.values())))
    np.testing.assert_allclose(store.nli, expected, atol=1e-6)


def test_equal_texts_share_their_rows(encoder, tmp_path):
    store = build_store(encoder, [NEWS[0], NEWS[1], NEWS[0]], DESCRIPTIONS, tmp_path)
    assert torch.equal(store.token_embeddings([0])[0], store.token_embeddings([2])[0])
    np.testing.assert_array_equal(store.nli[0], store.nli[2])


def test_another_model_length_or_dtype_has_its_own_features(encoder, tokenizer, tmp_path):
    ours = build_store(encoder, NEWS[:3], DESCRIPTIONS, tmp_path)
    theirs = build_store(NLIEncoder(make_nli_model(seed=4), tokenizer), NEWS[:3], DESCRIPTIONS, tmp_path)
    shorter = build_store(encoder, NEWS[:3], DESCRIPTIONS, tmp_path, max_length=10)
    exact = build_store(encoder, NEWS[:3], DESCRIPTIONS, tmp_path, dtype="float32")
    assert len({store.folder for store in (ours, theirs, shorter, exact)}) == 4
    assert not np.array_equal(ours.nli, theirs.nli)


@pytest.mark.parametrize("fail_at", [1, 4, 7, 10])
def test_interrupted_build_continues(encoder, tmp_path, small_shards, count_passes, fail_at):
    passes = count_passes(encoder)
    whole = build_store(encoder, NEWS, DESCRIPTIONS, tmp_path / "whole")
    straight = len(passes)
    passes = count_passes(encoder, fail_at)
    with pytest.raises(KeyboardInterrupt):
        build_store(encoder, NEWS, DESCRIPTIONS, tmp_path / "killed")
    store = build_store(encoder, NEWS, DESCRIPTIONS, tmp_path / "killed")
    assert len(passes) == straight + 1  # only the failed batch ran twice
    np.testing.assert_array_equal(store.nli, whole.nli)
    assert torch.equal(store.token_embeddings(range(40))[0], whole.token_embeddings(range(40))[0])


def _build_and_die(folder, tokenizer):
    """Child process: kills itself with SIGKILL when the third shard is written but not yet renamed."""
    import hybridnli.shards as shards

    features.SHARD_ROWS = 7
    save, saved = shards.save_file, []

    def save_and_die(arrays, path, metadata):
        save(arrays, path, metadata)
        saved.append(path)
        if len(saved) == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    shards.save_file = save_and_die
    build_store(NLIEncoder(make_nli_model(), tokenizer), NEWS, DESCRIPTIONS, folder)


def test_sigkill_while_writing_leaves_a_store_that_continues(encoder, tokenizer, tmp_path, small_shards, count_passes):
    child = multiprocessing.get_context("fork").Process(target=_build_and_die, args=(tmp_path, tokenizer))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert len(files(tmp_path, "tokens-*")) == 2 and len(files(tmp_path, ".writing-*")) == 1
    passes = count_passes(encoder)
    store = build_store(encoder, NEWS, DESCRIPTIONS, tmp_path)
    assert len(passes) == 4 + 1 + 6  # four of six shards of texts, the descriptions, six shards of pairs
    assert not files(tmp_path, ".writing-*")
    hypotheses = encoder.hypotheses(list(DESCRIPTIONS.values()))
    np.testing.assert_allclose(store.nli, nli_scores(encoder, NEWS, hypotheses), atol=1e-5)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def flip(path: Path) -> None:
    """Flip one bit of the last array."""
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))


def rename_row(path: Path) -> None:
    """Change one letter of the first row's name in the header."""
    content = path.read_bytes()
    first = content.index(b'rows\\": [\\"') + 11
    path.write_bytes(content[:first] + (b"0" if content[first : first + 1] != b"0" else b"1") + content[first + 1 :])


@pytest.mark.parametrize("kind", ["tokens", "nli", "descriptions"])
@pytest.mark.parametrize("damage", [cut, flip, rename_row])
def test_a_damaged_shard_is_made_again_alone(encoder, tmp_path, count_passes, monkeypatch, kind, damage):
    monkeypatch.setattr(features, "SHARD_ROWS", 10)
    whole = build_store(encoder, NEWS, DESCRIPTIONS, tmp_path, token_budget=10**6)
    before = {path.name: path.read_bytes() for path in whole.folder.iterdir()}
    victim = sorted(whole.folder.glob(f"{kind}-*"))[0]
    damage(victim)
    passes = count_passes(encoder)
    with pytest.warns(UserWarning, match=f"{victim.stem}.*made again"):
        again = build_store(encoder, NEWS, DESCRIPTIONS, tmp_path, token_budget=10**6)
    assert len(passes) == 1, "one shard in one batch"
    assert {path.name: path.read_bytes() for path in again.folder.iterdir()} == before


def test_shards_that_a_caller_has_checked_are_not_checked_again(encoder, tmp_path, count_passes):
    checked: features.CheckedShards = {}
    store = build_store(encoder, NEWS[:4], DESCRIPTIONS, tmp_path, checked=checked)
    flip(next(store.folder.glob("nli-*")))
    passes = count_passes(encoder)
    build_store(encoder, NEWS[2:4], DESCRIPTIONS, tmp_path, checked=checked)
    assert not passes
    with pytest.warns(UserWarning, match="made again"):
        build_store(encoder, NEWS[2:4], DESCRIPTIONS, tmp_path)


class Stub:
    """An encoder without a model; its outputs depend on the length and the first token of a text."""

    identity, name, dtype, template = "stub", "stub", "float32", "{}"
    hidden_dim, max_length, token_budget = HIDDEN, TOKENS, 4096
    pair = SimpleNamespace(count=3)
    model = torch.nn.Identity()

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
    """Peak memory of writing and of reading, and size on disk, in bytes."""
    texts = [f"{i} " + WORD * (8 + i % 9) for i in range(rows)]
    tracemalloc.start()
    try:
        store = build_store(Stub(), texts, {"a": "x"}, folder, max_length=TOKENS)  # type: ignore[arg-type]
        writing = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        for batch in token_budget_batches(store.lengths.tolist(), 4096):
            H, mask = store.token_embeddings(batch)
            assert H.shape[:2] == mask.shape
        reading = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return writing, reading, sum(path.stat().st_size for path in folder.rglob("*.safetensors"))


def test_memory_does_not_grow_with_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names, lengths and offsets take up to a kilobyte per row in memory; embeddings and token ids stay on disk."""
    monkeypatch.setattr(features, "SHARD_ROWS", 128)
    small, large = (written_and_read(rows, tmp_path / str(rows)) for rows in (500, 4000))
    assert large[2] - small[2] > 20e6
    for before, after in zip(small[:2], large[:2], strict=True):
        assert after - before < 3500 * 1000, f"{after - before} bytes more for 3,500 rows more"


def test_bad_arguments_and_values(encoder, tokenizer, tmp_path):
    with pytest.raises(ValueError, match="dtype: 'bfloat16'"):
        build_store(encoder, NEWS, DESCRIPTIONS, tmp_path, dtype="bfloat16")
    with pytest.raises(ValueError, match="0 texts and 3 labels"):
        build_store(encoder, [], DESCRIPTIONS, tmp_path)
    broken = NLIEncoder(make_nli_model(), tokenizer)
    with torch.no_grad():
        broken.model.bert.encoder.layer[1].output.LayerNorm.bias.fill_(1e6)  # beyond float16
    with pytest.raises(ValueError, match="tokens.*non-finite.*float16"):
        build_store(broken, NEWS[:2], DESCRIPTIONS, tmp_path)


def test_progress_reports_stages(encoder, tmp_path, small_shards):
    seen = []
    build_store(encoder, NEWS, DESCRIPTIONS, tmp_path, progress=lambda *record: seen.append(record))
    assert seen[0] == ("tokens", 7, 40) and ("tokens", 40, 40) in seen and seen[-1] == ("nli", 120, 120)
