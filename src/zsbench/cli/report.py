"""Commands to inspect finished runs."""

from pathlib import Path
from typing import Annotated

import typer

from zsbench.cli.paths import Report, ScoredRun, cell_folder, existing_folder

app = typer.Typer()
KINDS = {"results/<run>": ("cells", "datasets", "manifest.json"), "reports/<run>": ("tables", "index.html")}
is_folder = existing_folder("results/<run> or reports/<run>", "*/*")


def kind_of(folder: Path) -> str:
    """The key of `KINDS` that a folder matches; "" if none."""
    return next((kind for kind, names in KINDS.items() if any((folder / name).exists() for name in names)), "")


def results_or_reports(text: str) -> Path:
    """Parse the folder with the results or the report of a run."""
    folder = is_folder(text)
    if not kind_of(folder):
        raise typer.BadParameter(f"{folder} is neither {' nor '.join(KINDS)}")
    return folder


@app.command(epilog="Example: zsbench show embedded --table ablations")
def show(
    run: Report,
    table: Annotated[str, typer.Option(help="print one table in full", metavar="NAME")] = "",
    everything: Annotated[bool, typer.Option("--all", help="print all tables in full")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="print the data of all tables (or of --table) as tidy JSON")
    ] = False,
) -> None:
    """Print the main results of a run, or its tables."""
    import shutil

    from zsbench.reporting import terminal
    from zsbench.reporting.readme import written_tables
    from zsbench.store.errors import suggest

    tables = written_tables(run)
    if table and table not in tables:
        raise typer.BadParameter(f"--table: no table {table!r} in {run}{suggest(table, tables)}")
    chosen = {table: tables[table]} if table else tables
    width = shutil.get_terminal_size((terminal.WIDTH, 0)).columns
    if as_json:
        print(terminal.as_json(chosen))
    elif table or everything:
        print("\n\n".join(terminal.table_text(one, width) for one in chosen.values()))
    else:
        print(terminal.summary_screen(run))


@app.command(epilog="Example: zsbench compare embedded embedded --systems biencoder gliznet-full")
def compare(
    a: ScoredRun,
    b: ScoredRun,
    systems: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="A B", help="one system of each run (default: all systems that both runs have)"),
    ] = None,
) -> None:
    """Compare two runs, or two systems.

    Prints paired deltas with confidence intervals for the results that both have.
    """
    from zsbench.reporting.diff import as_text, compare_runs

    print(as_text(compare_runs(a, b, systems), str(a), str(b)), end="")


@app.command(epilog="Example: zsbench same results/embedded /elsewhere/results/embedded")
def same(
    a: Annotated[Path, typer.Argument(parser=results_or_reports, metavar="A", help="results/RUN or reports/RUN")],
    b: Annotated[Path, typer.Argument(parser=results_or_reports, metavar="B", help="the same folder of another run")],
) -> None:
    """Check that two runs of the same config produced the same results.

    Timings and environment details are ignored. Exit code 1: the runs differ.
    """
    from zsbench.reporting.same import differences

    if kind_of(a) != kind_of(b):
        raise typer.BadParameter(
            f"cannot compare {a} ({kind_of(a)}) with {b} ({kind_of(b)}); both must be of the same kind"
        )
    different = differences(a, b)
    print("\n".join(different) or "identical, apart from timings and environment details")
    raise typer.Exit(1 if different else 0)


@app.command(epilog="Example: zsbench explain results/embedded/cells/gliclass/movie-snippets/gliznet-full/seed1")
def explain(
    cell: Annotated[
        Path, typer.Argument(parser=cell_folder, metavar="CELL", help="results/RUN/cells/SUITE/DATASET/SYSTEM/seedK")
    ],
) -> None:
    """Explain how the numbers of one cell were computed."""
    from zsbench.reporting.explain import explain as text_of

    print(text_of(cell), end="")


@app.command(epilog="Example: zsbench readme reports/sample README.md docs/results.md")
def readme(
    run: Report,
    files: Annotated[
        list[Path],
        typer.Argument(exists=True, dir_okay=False, metavar="FILE...", help="Markdown files whose tables to update"),
    ],
) -> None:
    """Update the marked tables in Markdown files."""
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
