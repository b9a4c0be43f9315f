"""Entry point of the command line: sets exit codes and prints errors as one sentence on the last line.

Exit codes: 0 success; 1 failure; 2 invalid command line; 130 interrupted by Ctrl-C.
"""

import io
import os
import sys
import traceback

import typer

from zsbench.store.secrets import masked_output

PACKAGES = (
    "zsbench",
    "gliznet",
    "hybridnli",
    "benchmarks",
    "authored",
)  # their own exceptions have messages written for users


def run(app: typer.Typer, program: str, arguments: list[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # an ASCII terminal shows "?" for other characters
    with masked_output():
        code = _run(app, program, arguments)
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # the reader closed the pipe, like `head`; discard buffered output
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _run(app: typer.Typer, program: str, arguments: list[str] | None) -> int:
    try:
        app(arguments, prog_name=program)
    except SystemExit as end:  # typer always exits this way
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        if end.code == 130:
            print("stopped; repeat the command to continue", file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception as error:
        from zsbench.jobs.workplace import cannot_write

        sentence = cannot_write(error)
        known = isinstance(error, FileNotFoundError) or type(error).__module__.partition(".")[0] in PACKAGES
        if sentence is None and not known:
            traceback.print_exc()
        print(f"Error: {sentence or error}", file=sys.stderr)
    return 1


def main(arguments: list[str] | None = None) -> int:
    """`zsbench`."""
    from zsbench.cli.app import app

    return run(app, "zsbench", arguments)
