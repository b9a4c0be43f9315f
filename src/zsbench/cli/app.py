"""The command line: user commands, one file per group, and the hidden job commands used by the workflow.

Commands import their implementation when they run, so that help and listings start in a fraction of a second.
"""

from typing import Annotated

import typer

from zsbench.cli import data, export, jobs, report, run

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)
app.add_typer(run.app)
app.add_typer(report.app)
app.add_typer(data.app)
app.add_typer(export.app, name="export", help="Export results for other projects.")
app.add_typer(jobs.launcher)
app.add_typer(jobs.app, name="job", hidden=True)


def print_version(wanted: bool) -> None:
    if wanted:
        import zsbench

        print(f"zsbench {zsbench.__version__}")
        raise typer.Exit()


@app.callback()
def zsbench(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    end_with: Annotated[int, typer.Option(hidden=True, metavar="PID", help="exit when this process exits")] = 0,
) -> None:
    """Benchmarks and ablations for zero-shot text classification.

    `init` writes a config for your file and `run` runs it. The other commands inspect runs and list what a config can
    use.
    """
    if end_with:
        from zsbench.jobs.worker import end_with as watch

        watch(end_with)
