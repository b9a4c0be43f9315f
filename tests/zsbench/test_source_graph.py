"""Which files a rule declares as its code."""

import pytest

from zsbench.source_graph import SRC, direct_imports, sources


def names(*modules: str) -> set[str]:
    return {str(path.relative_to(SRC)) for path in sources(*modules)}


def test_measuring_depends_on_thresholds_but_on_no_model_code() -> None:
    found = names("zsbench.evaluation.measure")
    assert {"zsbench/evaluation/measure.py", "zsbench/evaluation/metrics.py", "hybridnli/thresholds.py"} <= found
    assert not any(name.startswith(("gliznet/", "zsbench/training/", "zsbench/systems/")) for name in found)


def test_training_depends_on_the_model_and_not_on_reporting_or_another_family() -> None:
    found = names("zsbench.training.run", "zsbench.training.gliznet_task")
    assert {"gliznet/losses.py", "gliznet/model.py", "zsbench/training/loop.py"} <= found
    assert "zsbench/training/nli_task.py" not in found
    assert not any("reporting" in name or "evaluation" in name for name in found)


@pytest.mark.parametrize("module", ["data.prepare", "data.training_sets", "data.contamination", "evaluation.hardset"])
def test_downloading_is_no_part_of_what_reads_downloads(module: str) -> None:
    found = names(f"zsbench.{module}")
    assert not any(name.endswith("_source.py") or name == "zsbench/data/sources.py" for name in found)


def test_imports_inside_functions_count() -> None:
    assert "zsbench.reporting.explain" in direct_imports("zsbench.verbs")


def test_plumbing_is_left_out() -> None:
    assert "zsbench/cli.py" not in names("zsbench.training.run")
    assert "zsbench/provenance.py" not in names("zsbench.evaluation.compare")


def test_unknown_module_is_named() -> None:
    with pytest.raises(ValueError, match="no module 'zsbench.nothing'"):
        sources("zsbench.nothing")


@pytest.mark.parametrize("package", ["gliznet", "hybridnli"])
def test_the_two_models_import_nothing_of_the_bench(package: str) -> None:
    for path in (SRC / package).rglob("*.py"):
        module = ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__")
        assert not [name for name in direct_imports(module) if name.startswith("zsbench")], module
