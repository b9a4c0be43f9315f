"""`python -m benchmarks run|page`: what `snakemake speed` calls."""

import argparse
import sys
from pathlib import Path

from zsbench.cli.arguments import existing_file, read_spec
from zsbench.store.secrets import masked_output


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure speed; stopped at any point, the same command continues")
    run.add_argument("--root", type=Path, required=True, help="results/<run>")
    run.add_argument("--spec", type=read_spec, required=True, help="@results/RUN/config.json:speed")
    page = commands.add_parser("page", help="write the speed page, its tables and its figure from a record")
    page.add_argument("record", type=existing_file("results/<run>/speed/speed.json, which `snakemake speed` measures"))
    page.add_argument("--out", type=Path, required=True, help="folder to write to (reports/<run>/speed)")
    arguments = parser.parse_args(argv)
    if arguments.command == "page":
        from benchmarks.page import write_speed_page

        print(f"The speed page: {write_speed_page(arguments.record, arguments.out)[-1]}")
        return 0
    from benchmarks.run import GateError, run_speed

    with masked_output():
        try:
            run_speed(arguments.root, arguments.spec)
        except GateError as error:
            print(f"speed: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
