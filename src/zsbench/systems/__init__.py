"""Everything that scores (text, label), one adapter a file, built from a score spec (`Plan.score_spec`).

Importing this package imports no model library.
"""

import importlib
from pathlib import Path
from typing import Any

from zsbench.config.load import ConfigError, suggest
from zsbench.data.fetched import open_fetched
from zsbench.families import FAMILIES, Family, versions
from zsbench.plan.code_identity import code_digest
from zsbench.store.integrity import open_model
from zsbench.store.layout import Layout
from zsbench.store.provenance import digest, file_sha256, read_json


class UnknownSystemError(ConfigError):
    """A system that cannot be built; the message names it, what is wrong and what is allowed."""


class LabelSetError(ValueError):
    """A system that cannot take a dataset's label set; the message says why.

    Its cell is "not applicable", and is not tried again. A user's own class may raise it too.
    """


def family_of(spec: dict[str, Any]) -> Family:
    """The family a score spec names.

    Raises:
        UnknownSystemError: no such family (with a suggestion).
    """
    if spec["family"] not in FAMILIES:
        hint = suggest(spec["family"], FAMILIES)
        raise UnknownSystemError(f"systems.{spec['system']}.family: {spec['family']!r} is not known{hint}")
    return FAMILIES[spec["family"]]


def build(spec: dict[str, Any], layout: Layout) -> Any:
    """Load a system, ready to score.

    Args:
        spec: family, settings, model, seed, precision, token_budget, suite, system (`Plan.score_spec`).
        layout: of the run whose models it may need.

    Returns:
        A `base.System` (`score(texts, labels)`) or a `base.RowSystem` (`score_rows(rows)`).

    Raises:
        UnknownSystemError: the spec, or the files it names, make no such system.
    """
    made = importlib.import_module(family_of(spec).module).build
    try:
        return made(spec, layout)
    except UnknownSystemError:
        raise
    except (ValueError, OSError) as error:  # of the files: sizes, tensors, pickles, remote code, damage
        raise UnknownSystemError(f"systems.{spec['system']}: cannot be loaded: {error}") from error


def model_folder(spec: dict[str, Any], layout: Layout) -> Path:
    """Folder of the system's checkpoint: of this run's training, or fetched.

    Raises:
        UnknownSystemError: the system needs a model and the spec names none.
    """
    kind, model = spec["model"] or ("none", "")
    if kind in ("trained", "hybrid"):
        return layout.checkpoint(model, spec["seed"])
    if kind == "source":
        return layout.fetched(model).parent / "files"
    raise UnknownSystemError(f"systems.{spec['system']}: family {spec['family']!r} needs a `model`; name a source id")


def weights_sha256(folder: Path) -> str:
    """Identity of a checkpoint folder: names and contents of all its files (of documentation, none).

    Raises:
        FileNotFoundError: the folder holds no files.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix.lower() != ".md")
    if not files:
        raise FileNotFoundError(f"{folder} holds no model files; train or fetch the model first")
    return digest([(str(path.relative_to(folder)), file_sha256(path)) for path in files])


def system_code(system: str, family: str, settings: dict[str, Any], without: tuple[str, ...] = ()) -> str:
    """Digest of the code that a system's scores depend on: scoring, its adapter, of a user's own system its package.

    Args:
        without: modules that do not count (`plan.code_identity.sources`).
    """
    own: list[Path] = []
    if family == "custom":
        from zsbench.systems.own_code import package_files

        own = package_files(f"systems.{system}.class", settings.get("class"))
    return code_digest("zsbench.evaluation.scoring", FAMILIES[family].module, own=own, without=without)


def identity(spec: dict[str, Any], layout: Layout) -> dict[str, Any]:
    """All that a system's scores depend on besides texts and labels, without loading it: part of a cell's key."""
    return {
        "family": spec["family"],
        "settings": {name: value for name, value in spec["settings"].items() if name != "seen"},
        "seed": spec["seed"] if spec["family"] == "control" else None,  # a model's seed is in its weights
        "weights_sha256": _weights(spec, layout),
        # Sensitivity is measured by the same job, and has a key of its own.
        "source": system_code(spec["system"], spec["family"], spec["settings"], ("zsbench.evaluation.sensitivity",)),
        "packages": versions(spec["family"]),
    }


def _weights(spec: dict[str, Any], layout: Layout) -> str | None:
    """Identity of the files that the system computes with: checkpoints, imported scores.

    Raises:
        IntegrityError: a file of a checkpoint is missing or changed since it was made.
    """
    if spec["family"] == "imported":
        from zsbench.systems.imported import source_of

        return source_of(spec, layout)
    if not spec["model"]:
        return None
    kind, model = spec["model"]
    if kind == "source":
        open_fetched(layout.fetched(model))
    else:
        open_model(layout, model, spec["seed"])
    weights = weights_sha256(model_folder(spec, layout))  # of the folder that the adapter loads, whichever it is
    if spec["family"] != "hybridnli":
        return weights
    # The heads correct one NLI model's features.
    if kind == "source":
        return digest([weights, weights_sha256(open_fetched(layout.fetched(spec["settings"]["nli"]))[0])])
    return digest([weights, read_json(layout.model(model, spec["seed"]))["nli_identity"]])
