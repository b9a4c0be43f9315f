"""One whole speed run on a tiny backbone: every contender, the gate, the sweep, training, memory, the page."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import BertConfig, BertModel

from benchmarks.contenders import build_contenders
from benchmarks.measures import GateError, gate
from benchmarks.memory import measure_memory_alone
from benchmarks.page import write_speed_page
from benchmarks.run import run_speed
from benchmarks.setting import Setting, counting
from tests.factories import SPECIALS, fast_tokenizer
from zsbench.store.provenance import read_json

pytestmark = pytest.mark.runs


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with a fetched tiny BERT whose tokens are runs of letters."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("run")
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,'-_"
    pairs = [a + b for a in letters[:26] for b in letters[:26]]
    pieces = [*SPECIALS, *letters, *pairs, *(f"##{piece}" for piece in (*letters, *pairs))]
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    files = folder / "fetch" / "tiny" / "files"
    fast_tokenizer(tokenizer).save_pretrained(files)
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16, "num_hidden_layers": 1}
    BertModel(BertConfig(vocab_size=len(pieces) + 8, pad_token_id=0, **shape)).save_pretrained(files)
    return folder


SPEC: dict[str, Any] = {
    "run": "test",
    "backbone": "tiny",
    "precisions": ["fp32", "bf16"],
    "threads": 1,
    "repeats": 2,
    "shapes": ["own", "deberta"],
    "token_budget": 2048,
    "seed": 3,
    "gate_texts": 5,
    "gliclass_batches": [2, 8],
    "pipeline_batches": [1, 4],
    "mixed": {
        "texts": 8,
        "mean_tokens": 40,
        "max_tokens": 256,
        "labels": 3,
        "many_labels": 5,
        "slow_texts": 4,
        "many_texts": 2,
    },
    "sweep": {"labels": [2, 4], "tokens": [16], "texts": 3, "operations": 1e9},
    "training": {"steps": 1, "batch": 4, "norms_every": 80},
    "hybrid": {"nli_rows": 3},
    "memory": {"texts": 120, "labels": 3, "block": 20},
}


def setting(root: Path) -> Setting:
    files = root / "fetch" / "tiny" / "files"
    return Setting(files, "cpu", "fp32", 256, 2048, (2,), (1,), most_labels=5, seed=1)


def test_a_whole_run(root: Path, tmp_path: Path) -> None:
    path = run_speed(root, SPEC)
    record = read_json(path)
    assert path == root / "speed" / "speed.json"
    packaged = importlib.util.find_spec("gliclass") is not None
    for shape, kind in (("own", "bert"), ("deberta", "deberta-v2")):
        found = record["shapes"][shape]
        assert found["model"] == kind
        both = {f"{name}/{one}" for name in ("gliznet", "invariant", "apart") for one in ("fp32", "bf16")}
        best = found["best"]
        peers = {*best["gliclass"], "gliclass-8/fp32"} if packaged else set()
        assert set(found["mixed"]) == both | peers | {"products/fp32", "products/bf16"}
        assert len(best["pipeline"]) == 2 and best["pipeline"][1].endswith("/bf16")
        assert set(found["pairs"]) == {one for one in both if one[0] in "ga"} | {*best["pipeline"]}
        assert set(found["many"]) == {"apart/fp32", "apart/bf16", *best["pipeline"]}
        assert len(found["nli-5"]) == len(found["nli-10"]) == 2 + 4
        assert found["nli-10"]["nli-sorted/fp32"]["labels"] == 10
        ours = found["mixed"]["gliznet/bf16"]
        assert ours["real_pairs"] > ours["real_tokens"] > 0 and ours["operations"] > 0
        assert all(one["argmax_equal"] == 1 for one in found["gate"]["fp32"].values())
        assert ("attention" in found) == (shape == "deberta")
        assert all(len(rounds) == 2 for one in found["training"].values() for rounds in one["rounds"].values())
        assert ("norms" in found["training"]["bf16"]["rounds"]) == (shape == "own")
        assert len(found["sweep"]) == 2 * (6 if packaged else 5)
        shares = [row for row in found["ratios"] if "share" in row["comparison"]]
        assert len(shares) == 4 and all(0 < row["times"]["cpu"]["mean"] < 1 for row in shares)
        asked = {row["comparison"] for row in found["ratios"]}
        assert ("GliZNet vs gliclass, default call" in asked) == packaged
        assert ("DeBERTa fast path vs transformers, 1 x 32 tokens" in asked) == (shape == "deberta")
    assert record["memory"]["growth_mb"] < 50
    assert {"own-gate", "deberta-attention", "own-nli-10", "memory"} <= set(record["parts"])
    assert not (path.parent / "parts").exists()
    assert (tmp_path / "page" / "speed.md") in write_speed_page(path, tmp_path / "page")


def test_a_stopped_run_continues(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in the memory part: the record then has the measurements made before."""
    spec = SPEC | {"shapes": ["own"], "precisions": ["fp32"], "run": "stopped"}

    def stop(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr("benchmarks.run.measure_memory_alone", stop)
        run_speed(root, spec)
    kept = read_json(root / "speed" / "parts" / "own-mixed.json")["result"]
    record = read_json(run_speed(root, spec))
    assert record["shapes"]["own"]["mixed"] == kept


def test_memory_is_measured_where_nothing_was_freed_before(root: Path) -> None:
    """Regression: after three gigabytes of other measurements, the reported growth was exactly 0."""
    ballast = np.ones(200_000_000)
    held = measure_memory_alone(setting(root).backbone, texts=40, labels=3, block=10, seed=1, threads=1)["held_mb"]
    assert 50 < held < 1200 < ballast.nbytes / 2**20


def test_contenders_score_every_pair_and_their_tokens_are_counted(root: Path) -> None:
    texts, labels = ["a text about sport", "b", "a longer text about the price of oil and gas"], ["sport", "oil", "war"]
    for one in build_contenders(setting(root)):
        with counting(one.encoder) as tokens:
            scores = one.prepare(texts, labels)()
        assert one.name == "bare" or scores.shape == (3, 3), one.name
        assert np.isfinite(scores).all(), one.name
        assert 0 < tokens["real"] <= tokens["padded"], one.name


def test_the_gate_refuses_unequal_numbers(root: Path) -> None:
    contenders = {one.name: one for one in build_contenders(setting(root))}
    with torch.no_grad():
        contenders["reference"].encoder.get_input_embeddings().weight.add_(0.1)  # type: ignore[operator]
        next(contenders["reference"].encoder.parameters()).mul_(1.5)
    with pytest.raises(GateError, match="gliznet and reference differ"):
        gate(contenders, ["a text", "another one"], ["x", "y"], "fp32")
