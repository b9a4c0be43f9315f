"""`python -m tests.rehearsal mirror`: a mirror with miniature replicas of all repositories of a config."""

import shutil
from pathlib import Path
from typing import Any

from zsbench.config.load import ConfigError, load_resources, load_yaml
from zsbench.data.sources.mirror import REPLICA
from zsbench.plan.plan import Plan
from zsbench.store.progress import progress_logger
from zsbench.store.provenance import file_sha256, write_text

HYBRID = "tdnathmlenthusiast/hybrid-nli-polyencoder"
HYBRID_NLI = "MoritzLaurer/deberta-v3-large-zeroshot-v2.0"  # the model that its heads correct
NOTE = "Miniature replicas for a rehearsal: made-up rows and random weights. No number from them means anything.\n"


def named_sources(config: dict[str, Any], resources: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Repository sources that the run of a config fetches, by id."""
    defaults: dict[str, Any] = {"trained": {}, "hybrid": {}, "systems": {}}
    merged = {key: entries | config.get(key, {}) for key, entries in resources.items()}
    plan = Plan(defaults | config, merged)
    sources = {name: merged["sources"][name] for name in plan.sources}
    return {name: source for name, source in sources.items() if "repo" in source}


def preset_sources(resources: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Repository sources of all preset test sets, so that each can be prepared without a hub."""
    sources = {preset["source"]: resources["sources"][preset["source"]] for preset in resources["datasets"].values()}
    return {name: source for name, source in sources.items() if "repo" in source}


def build_mirror(folder: Path, config_path: Path, resources_folder: Path) -> list[str]:
    """Write `<folder>/{datasets,models}/<owner>/<name>/<file>`, `SHA256SUMS` and the file that marks a replica.

    The same config gives the same files. A folder from an earlier call is rewritten.

    Args:
        folder: the mirror; new, empty, or made by this function.
        config_path: the config whose repositories are replicated, in addition to those of all presets.
        resources_folder: folder of the presets.

    Returns:
        Paths of the repositories below `folder`.

    Raises:
        ConfigError: the folder contains something else, or the config names a repository without a replica.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / REPLICA).is_file():
        raise ConfigError(f"{folder} is not empty and no mirror of replicas; choose a new folder")
    shutil.rmtree(folder, ignore_errors=True)
    config, resources = load_yaml(config_path), load_resources(resources_folder)
    write_text(folder / REPLICA, NOTE)  # first, so that an interrupted mirror is recognised as ours and rewritten
    _quiet()
    say = progress_logger("rehearsal mirror")
    labels, places = _labels(config, resources), []
    sources = preset_sources(resources) | named_sources(config, resources)
    for name, source in _in_order(sources).items():
        place = f"{source.get('repo_type', 'dataset')}s/{source['repo']}"
        say(place)
        (folder / place).mkdir(parents=True, exist_ok=True)
        try:
            _write(name, source, resources, labels, folder, place)
        except KeyError as error:
            raise ConfigError(f"no replica of {source['repo']!r} is known; add a writer to tests.rehearsal") from error
        places.append(place)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != REPLICA)
    write_text(folder / "SHA256SUMS", "".join(f"{file_sha256(path)}  {path.relative_to(folder)}\n" for path in files))
    return places


def _labels(config: dict[str, Any], resources: dict[str, Any]) -> list[str]:
    """All label wordings of the config's test sets, which the models' tokenizers must know."""
    presets = resources["datasets"] | config.get("datasets", {})
    named = [presets[dataset] for suite in config["suites"].values() for dataset in suite["datasets"]]
    wordings = [wording for preset in named for wording in preset["verbalisations"].values()]
    return list(dict.fromkeys(label for wording in wordings for label in wording))


def _quiet() -> None:
    """Disable progress bars of the libraries that write the files."""
    from datasets import disable_progress_bars
    from transformers.utils import logging

    disable_progress_bars()
    logging.disable_progress_bar()


def _in_order(sources: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """HybridNLI last, because its heads need another replica."""
    return dict(sorted(sources.items(), key=lambda item: item[1]["repo"] == HYBRID))


def _write(
    name: str, source: dict[str, Any], resources: dict[str, Any], labels: list[str], mirror: Path, place: str
) -> None:
    """Write one repository.

    Raises:
        KeyError: no writer is known for it.
    """
    if source.get("repo_type") != "model":
        from tests.rehearsal.datasets import write_dataset

        presets = [*resources["datasets"].values(), *resources["training_sets"].values()]
        write_dataset(source, next(preset for preset in presets if preset["source"] == name), mirror / place)
        return
    from tests.rehearsal.models import write_hybrid, write_model
    from tests.rehearsal.words import corpus

    if source["repo"] != HYBRID:
        write_model(source["repo"], mirror / place, corpus(labels))
        return
    preset = resources["datasets"]["topics-published"]
    descriptions = dict(zip(preset["gold"]["values"], preset["verbalisations"]["described"], strict=True))
    write_hybrid(mirror / place, mirror / "models" / HYBRID_NLI, descriptions)
