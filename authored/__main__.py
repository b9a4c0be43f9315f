"""`python -m authored check|results`: the sets that this project wrote, and the measurements on their cards."""

import argparse
import sys

from zsbench.cli.arguments import PREPARED_RUN, existing_folder


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m authored", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="check the sets against every rule they promise to keep")
    check.add_argument("--against", type=PREPARED_RUN, help="results/<run>: also check overlap with its test sets")
    results = commands.add_parser("results", help="put a finished run's measurements on hardset-mini's card")
    measured = existing_folder("results/<run>, after a run that trains on hardset-mini", "analysis/hardset.json")
    results.add_argument("--root", type=measured, required=True, help="results/<run>")
    results.add_argument("--trained", default="gliznet-full", help="system trained on hardset-mini")
    results.add_argument("--untrained", default="biencoder", help="the same backbone, untrained")
    arguments = parser.parse_args(argv)
    if arguments.command == "results":
        from authored.card_results import write_card_results

        write_card_results(arguments.root, arguments.trained, arguments.untrained)
        return 0
    import pandas as pd

    from authored.check_topics import run_checks

    texts = {}
    for path in sorted(arguments.against.glob("datasets/*/rows.parquet")) if arguments.against else ():
        if path.parent.name != "topics-mini":
            texts[path.parent.name] = pd.read_parquet(path, columns=["text"])["text"].tolist()
    return run_checks(texts)


if __name__ == "__main__":
    sys.exit(main())
