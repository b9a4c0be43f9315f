"""Commands that look at finished runs."""

from pathlib import Path
from typing import Annotated

import typer

from zsbench.cli.paths import Report, ScoredRun, cell_folder, existing_file, existing_folder

app = typer.Typer()
results_or_reports = existing_folder("results/<run> or reports/<run>", "*/*")


@app.command(epilog="Example: zsbench show embedded")
def show(run: Report) -> None:
    """Print the main tables of a report."""
    from zsbench.reporting.readme import show as text_of

    print(text_of(run))
    print(f"The full report: {run / 'index.html'}")


@app.command(epilog="Example: zsbench compare embedded embedded --systems biencoder gliznet-full")
def compare(
    a: ScoredRun,
    b: ScoredRun,
    systems: Annotated[
        tuple[str, str] | None, typer.Option(metavar="A B", help="one system of each run (default: those of both)")
    ] = None,
) -> None:
    """Compare two runs, or two systems.

    Paired deltas with intervals, on the cells that both have.
    """
    from zsbench.reporting.diff import as_text, compare_runs

    print(as_text(compare_runs(a, b, systems), str(a), str(b)), end="")


@app.command(epilog="Example: zsbench same results/embedded /elsewhere/results/embedded")
def same(
    a: Annotated[Path, typer.Argument(parser=results_or_reports, metavar="A", help="results/RUN or reports/RUN")],
    b: Annotated[Path, typer.Argument(parser=results_or_reports, metavar="B", help="the same folder of another run")],
) -> None:
    """Check that two runs have equal content.

    The runs are of one config. Times and environments may differ. Exit code 1: the runs differ.
    """
    from zsbench.reporting.same import differences

    different = differences(a, b)
    print("\n".join(different) or "the same, apart from what is marked volatile")
    raise typer.Exit(1 if different else 0)


@app.command(epilog="Example: zsbench explain results/embedded/cells/gliclass/movie-snippets/gliznet-full/seed1")
def explain(
    cell: Annotated[
        Path, typer.Argument(parser=cell_folder, metavar="CELL", help="results/RUN/cells/SUITE/DATASET/SYSTEM/seedK")
    ],
) -> None:
    """Print how the numbers of one cell were made."""
    from zsbench.reporting.explain import explain as text_of

    print(text_of(cell), end="")


@app.command(epilog="Example: zsbench readme reports/sample README.md docs/results.md")
def readme(
    run: Report,
    files: Annotated[
        list[Path],
        typer.Argument(
            parser=existing_file("a Markdown file with marked tables"), metavar="FILE...", help="what to fill"
        ),
    ],
) -> None:
    """Fill the marked tables of Markdown files."""
    from zsbench.data.errors import DataError
    from zsbench.reporting.readme import render
    from zsbench.store.provenance import write_text

    texts = {}
    for file in files:
        try:
            texts[file] = render(file.read_text(encoding="utf-8"), run)
        except ValueError as error:
            raise DataError(f"{file}: {error}") from error
    for file, text in texts.items():
        write_text(file, text)
