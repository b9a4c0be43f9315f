"""`python -m benchmarks run|page`: what `snakemake speed` calls."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from zsbench.cli.jobs import RunOption, spec_of
from zsbench.cli.main import run as run_app

app = typer.Typer(rich_markup_mode=None, help=__doc__)


@app.command()
def run(run: RunOption) -> None:
    """Measure speed. Repeat the command to resume an interrupted run."""
    from benchmarks.run import run_speed

    run_speed(run.layout.root, spec_of(run, "speed"))


@app.command()
def page(
    record: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="results/<run>/speed/speed.json")],
    out: Annotated[Path, typer.Option(help="folder to write to (reports/<run>/speed)")],
) -> None:
    """Write the speed page, its tables and its figure from a record."""
    from benchmarks.page import write_speed_page

    print(f"The speed page: {write_speed_page(record, out)[-1]}")


def main(arguments: list[str] | None = None) -> int:
    return run_app(app, "python -m benchmarks", arguments)


if __name__ == "__main__":
    sys.exit(main())
