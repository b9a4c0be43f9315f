"""The code digest: what an edit of a module invalidates, and what it does not."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from zsbench.families import FAMILIES, TRAINABLE
from zsbench.plan import code_identity
from zsbench.plan.code_identity import PLUMBING, code_digest, direct_imports, sources, system_code, training_code

SRC = code_identity.SRC
SETTINGS = {"custom": {"class": "json:JSONDecoder"}}  # from the standard library, in place of a user's code
SENSITIVITY = "zsbench.evaluation.sensitivity"  # used by the scoring job, with a separate key
# Code that names, starts, masks, prints, checks and shows things.
INDIFFERENT = [*PLUMBING, "zsbench.cli.main", "zsbench.jobs.launch", "zsbench.plan.plan", "zsbench.cli.report"]
INDIFFERENT += [
    "zsbench.cli.run_state",
    "zsbench.reporting.tables",
    "zsbench.reporting.page",
    "zsbench.data.sources.hub",
]


def names(*modules: str) -> set[str]:
    return {str(path.relative_to(code_identity.SRC)) for path in sources(*modules)}


def score_code(family: str) -> str:
    """The modules in the key of a cell."""
    return system_code(family, SETTINGS.get(family, {}), (SENSITIVITY,))


def score_files(family: str) -> list[Path]:
    return sources("zsbench.evaluation.scoring", FAMILIES[family].module, without=[SENSITIVITY])


def every_code() -> dict[str, str]:
    """All modules that trainings and scores of any family depend on."""
    trained = {f"train {family}": training_code(family) for family in TRAINABLE}
    scored = {f"score {family}": score_code(family) for family in FAMILIES}
    features = {"features": code_digest("hybridnli.features"), "train hybrid": code_digest("zsbench.training.hybrid")}
    return trained | scored | features


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages for a test to edit."""
    folder = tmp_path_factory.mktemp("checkout") / "src"
    for package in ("gliznet", "hybridnli", "zsbench"):
        shutil.copytree(SRC / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "authored"))
    return folder


@pytest.fixture
def tree(copied: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The copy, read in place of the checkout and restored afterwards."""
    monkeypatch.setattr(code_identity, "SRC", copied)
    yield copied
    for path in copied.rglob("*.py"):
        if path.read_bytes() != (whole := SRC / path.relative_to(copied)).read_bytes():
            shutil.copyfile(whole, path)


def add(path: Path, text: str = "\nEDITED = 1\n") -> str:
    """Add code to a file; returns the original content."""
    before = path.read_text(encoding="utf-8")
    path.write_text(before + text, encoding="utf-8")
    return before


@pytest.mark.parametrize("family", FAMILIES)
def test_an_edit_of_any_module_of_a_family_scores_it_again(tree: Path, family: str) -> None:
    before, files = score_code(family), score_files(family)
    assert len(files) > 4
    for path in files:
        text = add(path)
        assert score_code(family) != before, path
        path.write_text(text, encoding="utf-8")
    assert score_code(family) == before


@pytest.mark.parametrize("family", TRAINABLE)
def test_an_edit_of_any_module_of_a_training_trains_it_again(tree: Path, family: str) -> None:
    before, files = (
        training_code(family),
        sources("zsbench.training.run", FAMILIES[family].task_module),
    )
    assert len(files) > 10
    for path in files:
        text = add(path)
        assert training_code(family) != before, path
        path.write_text(text, encoding="utf-8")
    assert training_code(family) == before


@pytest.mark.parametrize("module", INDIFFERENT)
def test_an_edit_of_plumbing_trains_and_scores_nothing(tree: Path, module: str) -> None:
    before = every_code()
    path = code_identity._file(module, tree)
    assert path is not None
    add(path)
    assert every_code() == before


def test_all_plumbing_is_imported_by_code_that_computes() -> None:
    """An entry that no computing code imports would be useless."""
    rules = "".join(path.read_text() for path in (SRC.parent / "workflow" / "rules").glob("*.smk"))
    roots = [*re.findall(r'code_digest\("([\w.]+)"', rules), "zsbench.training.run", "zsbench.evaluation.scoring"]
    roots += [family.module for family in FAMILIES.values()] + [FAMILIES[name].task_module for name in TRAINABLE]
    files = {path.relative_to(SRC if SRC in path.parents else SRC.parent).with_suffix("") for path in sources(*roots)}
    modules = {".".join(path.parts).removesuffix(".__init__") for path in files}
    imported = set().union(*(direct_imports(module) for module in {*modules, *PLUMBING}))
    assert set(PLUMBING) <= imported


def test_no_plumbing_computes() -> None:
    """A module that handles arrays, or orders or samples rows, affects numbers, so it must not be listed."""
    names = ("numpy", "scipy", "sklearn", "torch", "random")
    for module in PLUMBING:
        path = code_identity._file(module, SRC)
        assert path is not None
        imported = re.findall(r"^\s*(?:import|from) (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert not set(imported) & set(names), module
    # Of the model and data packages, only these.
    inner = {name for name in PLUMBING if name.startswith(("gliznet", "hybridnli", "zsbench.data", "zsbench.systems"))}
    models = {"gliznet", "gliznet.card", "hybridnli"}
    assert inner == models | {"zsbench.data.errors", "zsbench.data.fetched", "zsbench.systems.load"}


def test_an_edit_of_the_fast_attention_scores_every_encoder_that_uses_it_again(tree: Path) -> None:
    before = every_code()
    path = tree / "gliznet" / "fast" / "deberta.py"
    text = path.read_text(encoding="utf-8")
    assert "return 1 / math.sqrt(" in text
    path.write_text(text.replace("return 1 / math.sqrt(", "return 2 / math.sqrt("), encoding="utf-8")
    moved = {name for name, code in every_code().items() if code != before[name]}
    assert moved >= {"score nli", "score hybridnli", "score gliznet", "score biencoder", "features", "train hybrid"}
    assert not moved & {"score control", "score llm", "score imported", "score gliclass"}


def test_an_edit_of_one_family_leaves_the_others(tree: Path) -> None:
    before = every_code()
    add(tree / "gliznet" / "losses.py")
    add(tree / "zsbench" / "systems" / "gliznet.py")
    assert {name for name, code in every_code().items() if code != before[name]} == {"train gliznet", "score gliznet"}


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ('"""Shapes', '"""Other words', True),
        ("    # why", "", True),
        ("value = 1", "value  =  1", True),
        ("import zsbench.plan.plan", "import zsbench.cli.main", True),  # only for type checkers
        ("value = 1", "value = 2", False),
        ('"a text"', '"another text"', False),
        ("width: int", "width: float", False),
    ],
)
def test_comments_and_docstrings_are_no_code(tree: Path, old: str, new: str, same: bool) -> None:
    module = tree / "hybridnli" / "made_up.py"
    text = '''"""Shapes of things."""
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import zsbench.plan.plan


class Thing:
    """Shapes of a thing."""

    width: int

    def run(self) -> str:
        """Shapes again."""
        value = 1    # why
        return "a text" * value
'''
    digests = []
    for version in (text, text.replace(old, new)):
        module.write_text(version, encoding="utf-8")
        digests.append(code_digest("hybridnli.made_up"))
    assert old in text and (digests[0] == digests[1]) is same
    assert names("hybridnli.made_up") == {"hybridnli/made_up.py"}
    module.unlink()
    code_identity._file.cache_clear()


def test_a_users_own_files_count_whole(tmp_path: Path) -> None:
    """Their docstrings may be prompts."""
    own = tmp_path / "own.py"
    digests = set()
    for text in ('"""Sort the texts."""', '"""Sort the text."""', "not python"):
        own.write_text(text)
        digests.add(code_digest(user_files=[own]))
    assert len(digests) == 3


def test_modules_named_in_strings_are_followed() -> None:
    assert "zsbench.training.run" in direct_imports("zsbench.plan.code_identity")


def test_what_a_rule_names_counts_even_where_it_is_plumbing_to_others() -> None:
    assert "zsbench/data/fetched.py" in names("zsbench.data.fetched")


def test_the_lists_of_families_and_tasks_load_no_model_library() -> None:
    code = "import sys, zsbench.families, zsbench.systems.load; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_measuring_depends_on_thresholds_but_on_no_model_code() -> None:
    found = names("zsbench.evaluation.measure")
    assert {"zsbench/evaluation/measure.py", "zsbench/evaluation/metrics.py", "hybridnli/thresholds.py"} <= found
    models = {name for name in found if name.startswith(("gliznet/", "zsbench/training/", "zsbench/systems/"))}
    assert models == {"zsbench/systems/__init__.py", "zsbench/systems/controls.py"}, (
        "random controls are drawn again, many times"
    )


def test_training_depends_on_the_model_and_not_on_reporting_or_another_family() -> None:
    found = names("zsbench.training.run", "zsbench.training.gliznet")
    assert {"gliznet/losses.py", "gliznet/model.py", "zsbench/training/loop.py"} <= found
    assert "zsbench/training/nli_task.py" not in found
    assert not any("reporting" in name or "evaluation" in name for name in found)


@pytest.mark.parametrize("module", ["data.prepare", "data.training_sets", "data.contamination", "evaluation.hardset"])
def test_downloading_is_no_part_of_what_reads_downloads(module: str) -> None:
    found = names(f"zsbench.{module}")
    assert not any(name.endswith("_source.py") or name == "zsbench/data/sources.py" for name in found)


def test_imports_inside_functions_count() -> None:
    assert "zsbench.reporting.explain" in direct_imports("zsbench.cli.report")


def test_unknown_module_is_named() -> None:
    with pytest.raises(ValueError, match="no module 'zsbench.nothing'"):
        sources("zsbench.nothing")


@pytest.mark.parametrize("package", ["gliznet", "hybridnli"])
def test_the_two_models_import_nothing_of_the_bench(package: str) -> None:
    for path in (SRC / package).rglob("*.py"):
        module = ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__")
        assert not [name for name in direct_imports(module) if name.startswith("zsbench")], module
