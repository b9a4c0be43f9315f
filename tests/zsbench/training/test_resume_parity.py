"""A training killed after its first validation ends with the weights of an uninterrupted one, in all families."""

from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from transformers import BertConfig, BertModel, DebertaV2Config, DebertaV2Model, ModernBertConfig, ModernBertModel

from zsbench.families import FAMILIES, TRAINABLE, import_class
from zsbench.recipe import Recipe
from zsbench.store.layout import Layout
from zsbench.training.loop import Trainer
from zsbench.training.rows import read_evaluation_rows, read_training_rows
from zsbench.training.task import Task

torch.set_num_threads(1)
OPTIONS = {"nli": {"template": "this is {}"}}
SHAPE = {"vocab_size": 256, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 48}
DEBERTA = {
    "relative_attention": True,
    "position_buckets": 8,
    "max_position_embeddings": 64,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
    "type_vocab_size": 0,
}
IDS = {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
DROPPED = {"attention_dropout": 0.1, "embedding_dropout": 0.1, "mlp_dropout": 0.1}
ENCODERS = {
    "bert": lambda: BertModel(BertConfig(**SHAPE, num_hidden_layers=2)),
    "deberta": lambda: DebertaV2Model(DebertaV2Config(**SHAPE, **DEBERTA, num_hidden_layers=2)),
    "modernbert": lambda: ModernBertModel(
        ModernBertConfig(**SHAPE, **IDS, **DROPPED, num_hidden_layers=3, local_attention=8)
    ),
}


class KilledError(Exception):
    """Ends a training in the middle."""


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("family", TRAINABLE)
def test_a_resumed_training_is_the_undisturbed_one(
    family: str, kind: str, precision: str, layout: Layout, recipe: dict, tmp_path: Path
) -> None:
    backbone = layout.fetched("tiny").parent / "files"
    torch.manual_seed(0)
    ENCODERS[kind]().save_pretrained(backbone)
    settings = Recipe(**recipe | {"steps": 6, "precision": precision})
    task_class = import_class(str(FAMILIES[family].task_class))
    path = layout.training_set("colours")
    rows = read_training_rows(path, settings.label_draw), read_evaluation_rows(path)

    def trainer(work: Path) -> Trainer:
        AcceleratorState._reset_state(reset_partial_state=True)  # a new process would start with a new state
        task: Task = task_class(backbone, OPTIONS.get(family, {}), *rows, 3, settings)
        return Trainer(task, settings, 3, work, 8, lambda _: None)

    whole = trainer(tmp_path / "whole")
    whole.run()
    killed = trainer(tmp_path / "killed")
    inner = killed._step

    def step(number: int) -> None:
        if number == 3:  # the state of step 2 is saved, and the weights have changed since
            raise KilledError
        inner(number)

    killed._step = step  # type: ignore[method-assign]
    with pytest.raises(KilledError):
        killed.run()
    resumed = trainer(tmp_path / "killed")
    assert len(resumed.run()["history"]) == 3
    found, expected = resumed.task.model.state_dict(), whole.task.model.state_dict()
    assert found.keys() == expected.keys()
    different = {
        one: (found[one] - expected[one]).abs().max().item() for one in found if not found[one].equal(expected[one])
    }
    assert not different
    assert [entry["validation"] for entry in resumed.progress["history"]] == [
        entry["validation"] for entry in whole.progress["history"]
    ]
