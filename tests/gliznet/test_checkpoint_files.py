"""Pickles next to safetensors: known leftovers pass, others are refused."""

from pathlib import Path

import pytest

from gliznet.checkpoint_files import check_files
from tests.factories import make_encoder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_encoder("bert").save_pretrained(tmp_path)
    return tmp_path


UNREAD = (
    "pytorch_model.bin",
    "pytorch_model-00001-of-00002.bin",
    "training_args.bin",
    "optimizer.pt",
    "rng_state_0.pth",
)


@pytest.mark.parametrize("name", UNREAD)
def test_what_nothing_reads_passes(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"x")
    check_files(folder)


@pytest.mark.parametrize("name", ["model_head.pkl", "head.joblib", "scaler.pickle", "adapter.bin", "heads.pt"])
@pytest.mark.parametrize("where", [".", "2_Module"])
def test_any_other_pickle_is_refused_by_its_name(folder: Path, name: str, where: str) -> None:
    (folder / where).mkdir(exist_ok=True)
    if where != ".":
        (folder / where / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    (folder / where / name).write_bytes(b"x")
    with pytest.raises(ValueError, match=name):
        check_files(folder)
