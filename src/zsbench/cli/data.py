"""Commands about what goes into a run: families, presets, pins, config keys, imported scores."""

from pathlib import Path
from typing import Annotated

import typer

from zsbench.cli.paths import PRESETS, Config, PreparedRun, Presets, existing_file

app = typer.Typer()


@app.command()
def systems() -> None:
    """List the families of systems."""
    from zsbench.families import FAMILIES

    for name, family in FAMILIES.items():
        print(f"{name:12} {family.summary}")


@app.command()
def datasets(resources: Presets = PRESETS) -> None:
    """List the test sets of the project."""
    from zsbench.config.load import load_resources

    for name, preset in load_resources(resources)["datasets"].items():
        labels = len(next(iter(preset["verbalisations"].values())))
        rows = sum(preset.get("expected_rows", {}).values())
        print(f"{name:24} {preset['task']:6} {labels:3} labels  {rows:6} rows  {preset['title']}")


@app.command()
def config_keys(
    schema: Annotated[bool, typer.Option("--schema", help="as a JSON schema, for editors")] = False,
) -> None:
    """Print every config key, as Markdown."""
    from zsbench.config.keys import editor_schema, markdown

    print(editor_schema() if schema else markdown(), end="")


@app.command(epilog="Example: zsbench fetch --lock --config mine.yaml")
def fetch(
    lock: Annotated[bool, typer.Option("--lock", help="pin the sources (required)")] = False,
    config: Annotated[
        list[Path], typer.Option(parser=Config, metavar="FILE", help="a config whose own sources are pinned too")
    ] = [],  # noqa: B006
    resources: Presets = PRESETS,
) -> None:
    """Pin hub repositories (--lock).

    Asks the hub which commits `revision: lock` stands for and writes them to workflow/resources/lock.yaml. The sources
    themselves are fetched by `snakemake data`.
    """
    from zsbench.config.load import load_resources, load_yaml
    from zsbench.data.sources.lock import write_lock

    if not lock:
        raise typer.BadParameter("fetch needs --lock; `snakemake data` fetches the sources of a run")
    sources = load_resources(resources)["sources"]
    for path in config:
        sources |= load_yaml(path).get("sources", {})
    path = resources / "lock.yaml"
    print(f"{path}: {len(write_lock(sources, path))} sources pinned")


@app.command(epilog="Example: zsbench import-scores --run embedded --system mine --dataset movie-snippets scores.csv")
def import_scores(
    csv: Annotated[
        Path,
        typer.Argument(
            parser=existing_file("a csv of scores"), metavar="CSV", help="columns: sample_id, then one per label"
        ),
    ],
    run: PreparedRun,
    system: Annotated[str, typer.Option(help="id of the system in the config")],
    dataset: Annotated[str, typer.Option(help="id of the test set")],
) -> None:
    """Import a csv of scores as a system.

    The system's family in the config is `imported`.
    """
    from zsbench.systems.imported import import_scores as read

    rows = read(run, system, dataset, csv)
    print(f"{rows} rows of {dataset} imported as {system}")
