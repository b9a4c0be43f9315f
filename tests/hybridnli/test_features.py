"""The feature store: what it holds, that it never encodes twice, and what it says about damage."""

import json
import multiprocessing
import os
import signal

import numpy as np
import pytest
import torch
from conftest import DESCRIPTIONS, TEXTS, make_bert

import hybridnli.features as features
from hybridnli.encoder import NLIEncoder, nli_scores
from hybridnli.features import DamagedStoreError, build_store, open_store
from hybridnli.shards import read_shards


def files(folder, pattern="*"):
    return sorted(path for path in folder.rglob(pattern) if path.is_file())


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(features, "SHARD_ROWS", 7)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_store_holds_what_the_encoder_says(encoder, tmp_path, dtype, small_shards):
    store = build_store(encoder, TEXTS, DESCRIPTIONS, tmp_path, max_length=12, dtype=dtype)
    H, mask = store.token_embeddings(range(len(TEXTS)))
    expected, expected_mask = encoder.embed_ids(encoder.tokenize(TEXTS), 12)
    assert H.dtype == torch.float32 and torch.equal(mask, expected_mask)
    tolerance = 1e-5 if dtype == "float32" else 5e-3
    torch.testing.assert_close(H[mask], expected[mask], atol=tolerance, rtol=tolerance)
    assert (H[~mask] == 0).all() and store.lengths.tolist() == mask.sum(1).tolist()
    hypotheses = encoder.hypotheses(list(DESCRIPTIONS.values()))
    np.testing.assert_allclose(store.nli, nli_scores(encoder, TEXTS, hypotheses), atol=1e-5)
    np.testing.assert_allclose(store.label_embs, encoder.describe(list(DESCRIPTIONS.values())).numpy(), atol=1e-6)
    assert store.labels == tuple(DESCRIPTIONS) and store.hidden_dim == 32 and len(store) == len(TEXTS)


def test_embeddings_are_memory_mapped_and_gathered_in_any_order(store):
    assert all(isinstance(array, np.memmap) for array in store._arrays)
    H, mask = store.token_embeddings([30, 2, 30])
    alone, _ = store.token_embeddings([2])
    assert torch.equal(H[0], H[2]) and torch.equal(H[1][mask[1]], alone[0])
    assert H.shape[1] == store.lengths[[30, 2]].max()


def test_one_pass_sorted_by_length(encoder, tmp_path, small_shards):
    store = build_store(encoder, TEXTS, DESCRIPTIONS, tmp_path)
    lengths = [shard.lengths for shard in read_shards(store.folder, "tokens")]
    lengths.sort(key=lambda values: -values[0])
    assert len(lengths) == 6
    np.testing.assert_array_equal(np.concatenate(lengths), np.sort(store.lengths)[::-1])


def test_second_build_reads_and_never_encodes(encoder, tmp_path, count_calls):
    first = build_store(encoder, TEXTS, DESCRIPTIONS, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in files(tmp_path)}
    counter = count_calls(encoder)
    again = build_store(encoder, TEXTS[::-1], DESCRIPTIONS, tmp_path)
    opened = open_store(tmp_path, TEXTS[5:9], DESCRIPTIONS, encoder.template)
    assert counter.calls == 0 and before == {path: path.stat().st_mtime_ns for path in files(tmp_path)}
    np.testing.assert_array_equal(again.nli[::-1], first.nli)
    np.testing.assert_array_equal(opened.nli, first.nli[5:9])
    assert torch.equal(opened.token_embeddings([0])[0], first.token_embeddings([5])[0])


def test_added_texts_labels_and_templates_encode_only_what_is_new(encoder, bert, tokenizer, tmp_path, count_calls):
    build_store(encoder, TEXTS[:30], DESCRIPTIONS, tmp_path)
    counter = count_calls(encoder)
    build_store(encoder, TEXTS[:31], DESCRIPTIONS, tmp_path)
    assert counter.calls == 2  # the one text: once alone, once as three pairs
    build_store(encoder, TEXTS[:31], {**DESCRIPTIONS, "New": "This text is about rivers"}, tmp_path, token_budget=10**6)
    assert counter.calls == 4  # its description, and 31 pairs in one batch
    plain = NLIEncoder(bert, tokenizer, "{}")
    store = build_store(plain, TEXTS[:31], DESCRIPTIONS, tmp_path, token_budget=10**6)
    assert counter.calls == 5  # 93 pairs of another template, no text, no description
    np.testing.assert_allclose(store.nli, nli_scores(plain, TEXTS[:31], list(DESCRIPTIONS.values())), atol=1e-5)


def test_lengths_stop_at_the_model_s_limit(encoder, tmp_path):
    """128 tokens are asked for, the model takes 64."""
    long = " ".join(TEXTS)
    store = build_store(encoder, [long], DESCRIPTIONS, tmp_path, nli_max_length=500)
    assert store.lengths.tolist() == [64]
    expected = nli_scores(encoder, [long], encoder.hypotheses(list(DESCRIPTIONS.values())))
    np.testing.assert_allclose(store.nli, expected, atol=1e-6)


def test_equal_texts_share_their_rows(encoder, tmp_path):
    store = build_store(encoder, [TEXTS[0], TEXTS[1], TEXTS[0]], DESCRIPTIONS, tmp_path)
    assert sum(len(array) for array in store._arrays) == store.lengths[:2].sum()
    np.testing.assert_array_equal(store.nli[0], store.nli[2])


def test_another_model_length_or_dtype_has_its_own_features(encoder, tokenizer, tmp_path, count_calls):
    build_store(encoder, TEXTS[:3], DESCRIPTIONS, tmp_path)
    other = NLIEncoder(make_bert(seed=4), tokenizer)
    theirs = build_store(other, TEXTS[:3], DESCRIPTIONS, tmp_path)
    build_store(encoder, TEXTS[:3], DESCRIPTIONS, tmp_path, max_length=10)
    build_store(encoder, TEXTS[:3], DESCRIPTIONS, tmp_path, dtype="float32")
    assert len(files(tmp_path, "key.json")) == 4
    with pytest.raises(FileNotFoundError, match="holds 4 stores of model_identity=None"):
        open_store(tmp_path, TEXTS[:3], DESCRIPTIONS, encoder.template)
    found = open_store(tmp_path, TEXTS[:3], DESCRIPTIONS, other.template, other.identity)
    np.testing.assert_array_equal(found.nli, theirs.nli)


@pytest.mark.parametrize("fail_at", [1, 4, 7, 10])
def test_interrupted_build_continues(encoder, tmp_path, small_shards, count_calls, fail_at, monkeypatch):
    whole = build_store(encoder, TEXTS, DESCRIPTIONS, tmp_path / "whole")
    counter = count_calls(encoder, fail_at)
    with pytest.raises(KeyboardInterrupt):
        build_store(encoder, TEXTS, DESCRIPTIONS, tmp_path / "killed")
    store = build_store(encoder, TEXTS, DESCRIPTIONS, tmp_path / "killed")
    straight = count_calls(encoder)
    build_store(encoder, TEXTS, DESCRIPTIONS, tmp_path / "straight")
    assert counter.calls == straight.calls + 1  # nothing but the failed batch ran twice
    np.testing.assert_array_equal(store.nli, whole.nli)
    assert torch.equal(store.token_embeddings(range(40))[0], whole.token_embeddings(range(40))[0])


def _build_and_die(folder, tokenizer):
    """Child process: kills itself with SIGKILL while the third shard is being written."""
    import hybridnli.shards as shards

    features.SHARD_ROWS = 7
    inner, written = shards._write_atomic, []

    def write_then_die(path, write):
        def half(file):
            write(file)
            written.append(path)
            if len(written) == 6:
                os.kill(os.getpid(), signal.SIGKILL)

        inner(path, half)

    shards._write_atomic = write_then_die
    build_store(NLIEncoder(make_bert(), tokenizer), TEXTS, DESCRIPTIONS, folder)


def test_sigkill_while_writing_leaves_a_store_that_continues(encoder, tokenizer, tmp_path, small_shards, count_calls):
    child = multiprocessing.get_context("fork").Process(target=_build_and_die, args=(tmp_path, tokenizer))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert len(files(tmp_path, "tokens-*.json")) == 2 and len(files(tmp_path, ".writing-*")) == 1
    counter = count_calls(encoder)
    store = build_store(encoder, TEXTS, DESCRIPTIONS, tmp_path)
    assert counter.calls == 4 + 1 + 6  # four of six shards of texts, the descriptions, six shards of pairs
    assert not files(tmp_path, ".writing-*")
    hypotheses = encoder.hypotheses(list(DESCRIPTIONS.values()))
    np.testing.assert_allclose(store.nli, nli_scores(encoder, TEXTS, hypotheses), atol=1e-5)


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-3])


def _flip(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))


def _rename_row(path):
    content = json.loads(path.read_text())
    content["header"]["rows"][0] = "0" * 64
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("kind", ["tokens", "nli", "descriptions"])
@pytest.mark.parametrize(
    ("suffix", "damage", "message"),
    [
        (".npy", _truncate, "cut short"),
        (".npy", _flip, "changed"),
        (".npy", lambda path: path.unlink(), "missing"),
        (".json", _truncate, "not a shard description"),
        (".json", _rename_row, "changed"),
        (".json", lambda path: path.write_text("{}"), "not a shard description"),
    ],
)
def test_damage_is_named_to_a_reader_and_mended_by_a_writer(encoder, tmp_path, kind, suffix, damage, message):
    whole = build_store(encoder, TEXTS[:4], DESCRIPTIONS, tmp_path)
    victim = files(tmp_path, f"{kind}-*{suffix}")[0]
    damage(victim)
    with pytest.raises(DamagedStoreError, match=message) as error:
        open_store(tmp_path, TEXTS[:4], DESCRIPTIONS, encoder.template)
    assert victim.name in str(error.value) and "delete" in str(error.value)
    with pytest.warns(UserWarning, match=message):
        again = build_store(encoder, TEXTS[:4], DESCRIPTIONS, tmp_path)
    np.testing.assert_allclose(again.nli, whole.nli, atol=1e-6)


def test_open_says_what_is_not_there(encoder, tmp_path):
    with pytest.raises(FileNotFoundError, match="holds 0 stores"):
        open_store(tmp_path, TEXTS[:1], DESCRIPTIONS, encoder.template)
    build_store(encoder, TEXTS[:4], DESCRIPTIONS, tmp_path)
    with pytest.raises(FileNotFoundError, match="1 of 5 texts are not in the store, first row 4"):
        open_store(tmp_path, TEXTS[:5], DESCRIPTIONS, encoder.template)
    with pytest.raises(FileNotFoundError, match="descriptions"):
        open_store(tmp_path, TEXTS[:4], {"Other": "another"}, encoder.template)
    with pytest.raises(FileNotFoundError, match=r"template '\{\}'.*\['Tech', 'Health', 'Money'\]"):
        open_store(tmp_path, TEXTS[:4], DESCRIPTIONS, "{}")


def test_bad_arguments_and_values(encoder, tokenizer, tmp_path):
    with pytest.raises(ValueError, match="dtype='bfloat16'"):
        build_store(encoder, TEXTS, DESCRIPTIONS, tmp_path, dtype="bfloat16")
    with pytest.raises(ValueError, match="0 texts and 3 labels"):
        build_store(encoder, [], DESCRIPTIONS, tmp_path)
    broken = NLIEncoder(make_bert(), tokenizer)
    with torch.no_grad():
        broken.model.bert.encoder.layer[1].output.LayerNorm.bias.fill_(1e6)  # beyond float16
    with pytest.raises(ValueError, match="tokens.*non-finite.*float16"):
        build_store(broken, TEXTS[:2], DESCRIPTIONS, tmp_path)


def test_progress_reports_stages(encoder, tmp_path, small_shards):
    seen = []
    build_store(encoder, TEXTS, DESCRIPTIONS, tmp_path, progress=lambda *record: seen.append(record))
    assert seen[0] == ("tokens", 7, 40) and ("tokens", 40, 40) in seen and seen[-1] == ("nli", 120, 120)
