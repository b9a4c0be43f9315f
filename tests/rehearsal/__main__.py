"""`python -m tests.rehearsal mirror|scores|endpoint`: what `make rehearsal` needs besides the workflow."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from zsbench.cli.main import run
from zsbench.cli.paths import PRESET_FOLDER, PreparedRun, Presets

app = typer.Typer(rich_markup_mode=None, help=__doc__)
ConfigOption = Annotated[
    Path, typer.Option(exists=True, dir_okay=False, metavar="FILE", help="whose repositories and systems")
]


@app.command()
def mirror(
    folder: Annotated[Path, typer.Argument(help="the mirror; new, or made by this command")],
    config: ConfigOption = Path("config.yaml"),
    resources: Presets = PRESET_FOLDER,
) -> None:
    """Build a mirror of miniature replicas of every repository of a config."""
    from tests.rehearsal.mirror import build_mirror

    print(f"{folder}: {len(build_mirror(folder, config, resources))} replicas")


@app.command()
def scores(run: PreparedRun, config: ConfigOption) -> None:
    """Import made-up scores for the systems of family `imported`."""
    from tests.rehearsal.own import bring_scores

    print(f"{bring_scores(run, config)} csv files imported")


@app.command()
def endpoint(
    port: Annotated[int, typer.Option(help="of 127.0.0.1, as in the config's url")],
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND ...", help="what to run")],
) -> None:
    """Run a command while a made-up generative model answers on loopback."""
    from tests.rehearsal.own import with_endpoint

    raise typer.Exit(with_endpoint(port, command))


def main(arguments: list[str] | None = None) -> int:
    return run(app, "python -m tests.rehearsal", arguments)


if __name__ == "__main__":
    sys.exit(main())
