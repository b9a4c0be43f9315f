"""Parameter counts of every family that loads weights: those in its files; for a hybrid, those of its heads."""

import pytest
from safetensors import safe_open
from tiny_run import MODELS

from zsbench.evaluation.scoring import score_job
from zsbench.store.provenance import read_json
from zsbench.systems import load


def stored(folder) -> int:
    """Number of parameters in the safetensors files of a folder."""
    total = 0
    for path in folder.rglob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                total += file.get_tensor(name).numel()
    return total


@pytest.mark.parametrize("family", MODELS)
def test_all_parameters_of_the_files_are_counted_once(family, run, gliclass, reranker, make_spec):
    system = load.build(make_spec(family, "gliclass", MODELS[family]), run)
    numbers = stored(system.folder)
    assert numbers > 1000
    assert system.size() == {"parameters": numbers, "trained_parameters": numbers}


def test_of_a_hybrid_the_heads_are_trained_and_its_card_tells(run, make_spec, tmp_path_factory):
    from tiny_run import make_hybrid

    layout = make_hybrid(run, tmp_path_factory.mktemp("sizes") / "run")
    spec = make_spec("hybridnli", "topics", ("hybrid", "hybrid"), {"blend": "learned"})
    D, codes, P = 32, 4, 16
    projection = D * P + P + 2 * P
    heads = 2 * (codes * D + 2 * projection + 1) + 2  # of Tech and Money, with a blend weight each
    nli = load.build(make_spec("nli", "topics", ("trained", "nli")), layout).size()["parameters"]
    system = load.build(spec, layout)
    assert system.size() == {"parameters": nli + heads, "trained_parameters": heads}
    score_job(layout.root, spec)
    card = read_json(layout.card("topics", "topics", spec["system"], spec["seed"]))
    assert {name: card[name] for name in system.size()} == system.size()
