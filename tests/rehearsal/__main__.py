"""`python -m tests.rehearsal mirror|scores|endpoint`: what `make rehearsal` needs besides the workflow."""

import argparse
import sys
from pathlib import Path

from zsbench.cli.arguments import CONFIG, PREPARED_RUN, add_resources


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.rehearsal", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    mirror = commands.add_parser("mirror", help="build a mirror of miniature replicas of every repository of a config")
    mirror.add_argument("folder", type=Path, help="the mirror; new, or made by this command")
    mirror.add_argument("--config", type=CONFIG, default="config.yaml", help="whose repositories (default config.yaml)")
    add_resources(mirror)
    scores = commands.add_parser("scores", help="import made-up scores for the systems of family `imported`")
    scores.add_argument("--root", type=PREPARED_RUN, required=True, help="results/<run>")
    scores.add_argument("--config", type=CONFIG, required=True, help="names the systems of family `imported`")
    endpoint = commands.add_parser("endpoint", help="run a command beside a made-up generative model on loopback")
    endpoint.add_argument("--port", type=int, required=True, help="of 127.0.0.1, as in the config's url")
    endpoint.add_argument("shell", nargs="+", metavar="-- command ...", help="what to run")
    arguments = parser.parse_args(argv)
    if arguments.command == "mirror":
        from tests.rehearsal.mirror import build_mirror

        replicas = build_mirror(arguments.folder, arguments.config, arguments.resources)
        print(f"{arguments.folder}: {len(replicas)} replicas")
    elif arguments.command == "scores":
        from tests.rehearsal.own import bring_scores

        print(f"{bring_scores(arguments.root, arguments.config)} csv files imported")
    else:
        from tests.rehearsal.own import with_endpoint

        return with_endpoint(arguments.port, arguments.shell)
    return 0


if __name__ == "__main__":
    sys.exit(main())
