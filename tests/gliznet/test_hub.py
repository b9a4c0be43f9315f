"""Upload a checkpoint and load it again, with the real client, against a hub on the loopback interface."""

import sys
from pathlib import Path

import huggingface_hub
import pytest
import torch

from gliznet.model import GliZNetForSequenceClassification
from gliznet.options import GliZNetOptions
from gliznet.tokenizer import GliZNETTokenizer
from tests.factories import make_gliznet

sys.path.append(str(Path(__file__).parents[1] / "zsbench" / "data"))
from hub_upload import serve_uploads

TOKEN = "hf_abcdefghijklmnopqrstuvwxyz"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A hub for this process's client, and an empty download cache."""
    hub, stop = serve_uploads()
    constants = {
        "ENDPOINT": hub.address,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.address + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(tmp_path / "cache"),
    }
    for name, value in constants.items():
        monkeypatch.setattr(huggingface_hub.constants, name, value)
    yield hub
    stop()


def test_a_pushed_checkpoint_loads_by_its_id_with_the_same_logits(hub, texts: list[str]) -> None:
    model, tokenizer = make_gliznet("deberta", GliZNetOptions(max_length=128, margin=0.25))
    model.card_facts = {"training data": "made up"}
    address = model.push_to_hub("me/mine", tokenizer, token=TOKEN, commit_message="First")
    assert address.startswith(f"{hub.address}/me/mine/commit/")
    files = hub.repos["models/me/mine"].files
    needed = {"README.md", "config.json", "model.safetensors", "tokenizer.json", "gliznet_tokenizer.json"}
    assert needed <= set(files) and not [name for name in files if name.endswith((".bin", ".pt", ".py"))]
    card = files["README.md"].decode()
    assert card.startswith("---\nlibrary_name: gliznet\n") and "| training data | made up |" in card
    assert "| `margin` | **0.25** (0.5) |" in card
    assert all(TOKEN in headers["authorization"] for headers in hub.asked("POST", "/api/"))

    again = GliZNetForSequenceClassification.from_pretrained("me/mine")
    loaded = GliZNETTokenizer.from_pretrained("me/mine")
    assert again.options == model.options == loaded.options
    batch, sets = tokenizer(texts, [["sports", "oil"]] * 4), [["sports", "oil"]] * 4
    assert torch.equal(loaded(texts, sets).input_ids, batch.input_ids)
    assert torch.equal(again(**batch).logits, model(**batch).logits)


def test_pushing_again_replaces_and_a_refusal_is_the_hubs(hub) -> None:
    model, tokenizer = make_gliznet("bert", GliZNetOptions(max_length=128))
    model.push_to_hub("me/mine", tokenizer, token=TOKEN)
    first = hub.repos["models/me/mine"].files["model.safetensors"]
    other, _ = make_gliznet("bert", GliZNetOptions(max_length=128), seed=1)
    other.push_to_hub("me/mine", token=TOKEN)
    files = hub.repos["models/me/mine"].files
    assert files["model.safetensors"] != first and "tokenizer.json" in files
    hub.repos.clear()
    with pytest.raises(huggingface_hub.errors.HfHubHTTPError, match="401"):
        model.push_to_hub("me/mine", tokenizer, token=False)
    assert not hub.repos
