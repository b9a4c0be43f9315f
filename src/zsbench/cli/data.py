"""Commands for the inputs of a run: families, presets, pinned sources, config keys, imported scores."""

from pathlib import Path
from typing import Annotated

import typer

from zsbench.cli.paths import PRESET_FOLDER, PreparedRun, Presets

app = typer.Typer()


@app.command()
def systems() -> None:
    """List the system families."""
    from zsbench.families import FAMILIES

    for name, family in FAMILIES.items():
        print(f"{name:12} {family.summary}")


@app.command()
def datasets(resources: Presets = PRESET_FOLDER) -> None:
    """List the test sets that come with the project."""
    from zsbench.config.load import load_resources

    for name, preset in load_resources(resources)["datasets"].items():
        labels = len(next(iter(preset["verbalisations"].values())))
        rows = sum(preset.get("expected_rows", {}).values())
        print(f"{name:24} {preset['task']:6} {labels:3} labels  {rows:6} rows  {preset['title']}")


@app.command()
def config_keys(
    schema: Annotated[bool, typer.Option("--schema", help="print a JSON schema for editors instead")] = False,
) -> None:
    """Print a reference of all config keys in Markdown."""
    from zsbench.config.keys import editor_schema, markdown

    print(editor_schema() if schema else markdown(), end="")


@app.command(epilog="Example: zsbench fetch --lock --config mine.yaml")
def fetch(
    lock: Annotated[bool, typer.Option("--lock", help="pin the sources (required)")] = False,
    config: Annotated[
        list[Path],
        typer.Option(exists=True, dir_okay=False, metavar="FILE", help="config whose own sources are pinned as well"),
    ] = [],  # noqa: B006
    resources: Presets = PRESET_FOLDER,
) -> None:
    """Pin hub repositories to commits (--lock).

    Asks the hub which commits `revision: lock` stands for and writes them to workflow/resources/lock.yaml. The sources
    themselves are fetched by `zsbench run --target data`.
    """
    from zsbench.config import model
    from zsbench.config.load import load_resources, load_yaml, merge, name_models
    from zsbench.data.sources.lock import lock_file, write_lock
    from zsbench.store.errors import ConfigError
    from zsbench.store.fields import validate

    if not lock:
        raise typer.BadParameter("fetch needs --lock; `zsbench run --target data` fetches the sources of a run")
    sources = load_resources(resources)["sources"]
    own = merge(*map(load_yaml, config))
    name_models(own)
    # Only the sources, because the files may be overlays.
    presets, problems = validate(model.Presets, {"sources": own.get("sources") or {}})
    if problems:
        raise ConfigError("; ".join(problems))
    sources |= presets.model_dump(by_alias=True)["sources"]
    path = lock_file(resources.parent)
    print(f"{path}: {len(write_lock(sources, path))} sources pinned")


@app.command(epilog="Example: zsbench import-scores --run embedded --system mine --dataset movie-snippets scores.csv")
def import_scores(
    csv: Annotated[
        Path,
        typer.Argument(
            exists=True,
            dir_okay=False,
            metavar="CSV",
            help="columns: sample_id, then one column per label",
        ),
    ],
    run: PreparedRun,
    system: Annotated[str, typer.Option(help="id of the system in the config")],
    dataset: Annotated[str, typer.Option(help="id of the test set")],
) -> None:
    """Import scores from a csv file as a system.

    The config must list the system with `family: imported`. The sample ids are in
    results/RUN/datasets/DATASET/rows.parquet. Exit code 1: scores are missing for some evaluated rows.
    """
    from zsbench.evaluation.scoring import SPLITS
    from zsbench.store.layout import Layout
    from zsbench.store.provenance import read_json
    from zsbench.systems.imported import import_scores as read
    from zsbench.systems.imported import rows_without_scores

    rows, layout = read(run, system, dataset, csv), Layout(run)
    lacking = rows_without_scores(layout, system, dataset, SPLITS[read_json(layout.dataset_card(dataset))["task"]])
    print(f"{rows} rows of {dataset} imported as {system}")
    if lacking:
        print(f"scores are missing for {len(lacking)} evaluated rows, first {lacking[0]!r}; import a complete csv")
        raise typer.Exit(1)
