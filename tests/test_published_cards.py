"""The usage snippets of both published cards run verbatim, with their hub ids, without a network."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoTokenizer, DebertaV2Model

from hybridnli.data import TOPICS
from tests.published_layouts import write_gliznet, write_hybrid
from tests.rehearsal.models import deberta_config, write_deberta_nli
from tests.rehearsal.tokenizers import write_deberta
from tests.rehearsal.words import corpus

ROOT = Path(__file__).parents[1]
GLIZNET, NLI = "alexneakameni/gliznet-deberta-v3-base", "MoritzLaurer/deberta-v3-large-zeroshot-v2.0"
HYBRID = "tdnathmlenthusiast/hybrid-nli-polyencoder"
DEVICES = {'"cuda"': '"cpu"', "'cuda'": "'cpu'", "device=0": "device=-1"}


def snapshot(cache: Path, repo: str) -> Path:
    """The folder of a repository's only commit in the hub client's cache."""
    home = cache / f"models--{repo.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("a" * 40)
    folder = home / "snapshots" / ("a" * 40)
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    cache, words = tmp_path_factory.mktemp("hub"), corpus(list(TOPICS.descriptions.values()))
    for repo, era in ((GLIZNET, "D"), (f"{GLIZNET}-later", "G")):
        folder = snapshot(cache, repo)
        tokenizer = write_deberta(folder, words)
        write_gliznet(folder, DebertaV2Model(deberta_config(len(tokenizer) + 100)), tokenizer, era)
    nli = snapshot(cache, NLI)
    write_deberta_nli(nli, words)
    base, tokenizer = AutoModel.from_pretrained(nli, dtype=torch.float32), AutoTokenizer.from_pretrained(nli)
    path = snapshot(cache, HYBRID) / "multihead_v2.pt"
    write_hybrid(path, base, tokenizer, dict(TOPICS.descriptions), TOPICS.specialists)
    return cache


def printed(code: str, cache: Path, folder: Path) -> str:
    """The output of a program in a separate process with the cache and without a network."""
    offline = {
        "HF_HUB_CACHE": str(cache),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(ROOT / "src"),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=os.environ | offline, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def snippets(card: str) -> list[str]:
    text = (ROOT / "tests" / "published_cards" / card).read_text(encoding="utf-8")
    for device, cpu in DEVICES.items():
        text = text.replace(device, cpu)
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("era", ["D", "G"])
def test_gliznet(era: str, cache: Path, tmp_path: Path) -> None:
    """Also with weights of a later era under the same name."""
    first, second = snippets("gliznet.md")
    check = "assert type(model).__name__ == 'GliZNetForSequenceClassification' and config.model_type == 'gliznet'"
    code = "\n".join([first, second, check]).replace(GLIZNET, GLIZNET if era == "D" else f"{GLIZNET}-later")
    rows = [line.rsplit(maxsplit=1) for line in printed(code, cache, tmp_path).splitlines()]
    labels, scores = [label.strip() for label, _ in rows], [float(score) for _, score in rows]
    assert sorted(labels) == sorted(["astronomy", "politics", "cooking", "space exploration", "finance"])
    assert scores == sorted(scores, reverse=True) and all(0 <= score <= 1 for score in scores)


def test_hybridnli(cache: Path, tmp_path: Path) -> None:
    target = tmp_path / "checkpoints" / "multihead_v2" / "multihead_v2.pt"
    target.parent.mkdir(parents=True)
    (source,) = cache.glob("models--tdnathmlenthusiast*/snapshots/*/multihead_v2.pt")
    target.write_bytes(source.read_bytes())
    names = "from hybridnli import load_model_from_checkpoint, run_nli_inference"
    code = "\n".join(
        [names, *snippets("hybridnli.md"), "print(sorted(preds[0]), sorted(preds[0]['scores']), thresholds)"]
    )
    first, last = printed(code, cache, tmp_path).strip().splitlines()
    assert set(eval(first)) <= set(TOPICS.names)
    assert last.startswith(f"['predicted_labels', 'scores', 'text'] {sorted(TOPICS.names)} {{'Technology': 0.5")
