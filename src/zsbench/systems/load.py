"""Build a system from a score spec (`Plan.score_spec`), and compute the identity of its scores.

Importing this module does not import any model library.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from zsbench.data.fetched import open_fetched
from zsbench.families import FAMILIES, import_class, versions
from zsbench.plan.code_identity import system_code
from zsbench.store.integrity import is_about, open_model
from zsbench.store.layout import Layout
from zsbench.store.provenance import digest, file_sha256, read_json
from zsbench.systems import UnknownSystemError


def build(spec: dict[str, Any], layout: Layout) -> Any:
    """Load a system.

    Args:
        spec: family, settings, model, seed, precision, token_budget, suite, system.
        layout: layout of the run, which may hold the system's model.

    Returns:
        A `System` (`score(texts, labels)`) or a `RowSystem` (`score_rows(rows)`).

    Raises:
        UnknownSystemError: the system cannot be built from the spec and its files.
    """
    adapter = import_class(FAMILIES[spec["family"]].adapter)
    try:
        return adapter(spec, layout)
    except UnknownSystemError:
        raise
    except (ValueError, OSError) as error:  # bad files: sizes, tensors, pickles, remote code, damage
        raise UnknownSystemError(f"systems.{spec['system']}: cannot be loaded: {error}") from error


def model_folder(spec: dict[str, Any], layout: Layout) -> Path:
    """Folder of the system's checkpoint: trained in this run, or fetched."""
    kind, model = spec["model"]
    return layout.fetched(model).parent / "files" if kind == "source" else layout.checkpoint(model, spec["seed"])


def weights_sha256(folder: Path, verified: Iterable[dict[str, Any]] = ()) -> str:
    """Identity of a checkpoint folder: SHA-256 of the names and contents of its files, except documentation.

    Args:
        verified: entries of a `listing` that was just verified; these files are not read again.

    Raises:
        FileNotFoundError: the folder contains no files.
    """
    files = sorted(
        path for path in folder.rglob("*") if path.is_file() and not is_about(path.relative_to(folder).as_posix())
    )
    if not files:
        raise FileNotFoundError(f"{folder}: no model files; train or fetch the model first")
    sums = {folder / entry["name"]: entry["sha256"] for entry in verified}
    return digest([(str(path.relative_to(folder)), sums.get(path) or file_sha256(path)) for path in files])


def identity(spec: dict[str, Any], layout: Layout) -> dict[str, Any]:
    """Everything that a system's scores depend on besides texts and labels, as part of a cell's key.

    The system is not loaded.
    """
    family, settings = spec["family"], {name: value for name, value in spec["settings"].items() if name != "seen"}
    defaults = FAMILIES[family].options.model_construct(**settings).model_dump(by_alias=True)
    return {
        "family": family,
        "settings": defaults | settings,
        "seed": spec["seed"] if family == "control" else None,  # for models, the weights reflect the seed
        "weights_sha256": _weights(spec, layout),
        # Sensitivity is measured by the same job, but has its own key.
        "source": system_code(family, settings, without=("zsbench.evaluation.sensitivity",)),
        "packages": versions(family),
    }


def _weights(spec: dict[str, Any], layout: Layout) -> str | None:
    """Identity of the files that the system uses: checkpoints, imported scores.

    Raises:
        IntegrityError: a file of a checkpoint is missing or has changed since it was written.
    """
    if spec["family"] == "imported":
        files = [layout.imported(spec["system"], dataset) for dataset in spec["datasets"]]
        return digest([(file.name, file_sha256(file)) for file in files if file.is_file()])
    if not spec["model"]:
        return None
    kind, model = spec["model"]
    if kind == "source":
        folder, record = open_fetched(layout.fetched(model))
    else:
        folder, record = open_model(layout, model, spec["seed"]), read_json(layout.model(model, spec["seed"]))
    weights = weights_sha256(folder, record["files"])
    if spec["family"] != "hybridnli":
        return weights
    # Heads work on the features of a specific NLI model.
    if kind == "source":
        nli, manifest = open_fetched(layout.fetched(spec["settings"]["nli"]))
        return digest([weights, weights_sha256(nli, manifest["files"])])
    return digest([weights, record["nli_identity"]])
