"""`zsbench <verb>`: what the workflow's rules call, and what a user can call by hand.

Every verb parses its arguments and calls one function of a package. Imports are inside the verbs, so that a verb
without a model starts in a fraction of a second.
"""

import argparse
import io
import os
import sys
import traceback
from pathlib import Path

from zsbench.cli.arguments import CONFIG, Parser, add_resources, read_spec, run_layout
from zsbench.cli.verbs import add_verbs, check, manifest
from zsbench.config.load import ConfigError
from zsbench.data.errors import DataError, FetchError
from zsbench.jobs.launch import CONFIGS, LaunchError
from zsbench.jobs.workplace import cannot_write, end_with
from zsbench.store.provenance import IntegrityError
from zsbench.store.secrets import masked_output

# Errors whose message is for the user: printed in one line, without a traceback. Model errors are RuntimeErrors of
# the project's own, known by name, since importing their classes here would import torch.
USER_ERRORS = (ConfigError, FetchError, DataError, IntegrityError, LaunchError)
OWN_ERRORS = ("NonFiniteScoreError", "EndpointError", "ScoresFileError", "GateError")


def fetch(arguments: argparse.Namespace) -> None:
    """fetch one source (the only verb that touches the network); --lock pins what `revision: lock` means"""
    from zsbench.data.sources.fetch import fetch as fetch_source

    if arguments.lock:
        return lock(arguments)
    if arguments.root is None or arguments.spec is None:
        raise ConfigError("fetch needs --root and --spec, or --lock")
    spec = arguments.spec
    mirror = os.environ.get("ZSBENCH_MIRROR") or spec.get("mirror")
    source = {key: value for key, value in spec.items() if key not in ("id", "mirror", "lock")}
    fetch_source(source, arguments.root.fetched(spec["id"]), mirror=mirror, lock=spec.get("lock"))
    return None


def lock(arguments: argparse.Namespace) -> None:
    """ask the hub which commits `revision: lock` means, and write workflow/resources/lock.yaml"""
    from zsbench.config.load import load_resources, load_yaml
    from zsbench.data.sources.lock import write_lock

    path, sources = arguments.resources / "lock.yaml", load_resources(arguments.resources)["sources"]
    for config in arguments.config:
        sources |= load_yaml(config).get("sources", {})
    entries = write_lock(sources, path)
    print(f"{path}: {len(entries)} sources pinned")


def prepare(arguments: argparse.Namespace) -> None:
    """turn a fetched test set into the rows every system is scored on"""
    from zsbench.data.prepare import prepare_dataset

    layout, spec = arguments.root, arguments.spec
    prepare_dataset(spec, layout.fetched(spec["source"]), layout.dataset(spec["id"]), layout.dataset_card(spec["id"]))


def prepare_training(arguments: argparse.Namespace) -> None:
    """turn a fetched training set into rows of text, labels and not_labels"""
    from zsbench.data.training_sets import prepare_training_set

    layout, spec = arguments.root, arguments.spec
    rows, card = layout.training_set(spec["id"]), layout.training_set_card(spec["id"])
    prepare_training_set(spec, layout.fetched(spec["source"]), rows, card)


def launch(arguments: argparse.Namespace) -> int:
    """run a module on leased GPUs through accelerate, or on the CPU of a machine without"""
    from zsbench.jobs.launch import launch as run
    from zsbench.jobs.leases import lease_folder

    return run(arguments.gpus, arguments.strategy, arguments.command, lease_folder(), arguments.configs, arguments.cpu)


def overlap(arguments: argparse.Namespace) -> None:
    """count test texts that stand, word for word or nearly, in a training set"""
    from zsbench.data.contamination import write_overlap

    write_overlap(arguments.root.root, arguments.spec["training_sets"], arguments.spec["datasets"])


def train_hybrid(arguments: argparse.Namespace) -> None:
    """encode the topic texts once and train the PolyEncoder heads on them"""
    from zsbench.training.hybrid import train_hybrid as run

    run(arguments.root.root, arguments.spec)


def score(arguments: argparse.Namespace) -> None:
    """score every dataset of one system's suites with one seed"""
    from zsbench.evaluation.scoring import score_job

    score_job(arguments.root.root, *arguments.spec)


def hardset(arguments: argparse.Namespace) -> None:
    """mean average precision on hardset-mini's test split, trained against untrained"""
    from zsbench.evaluation.hardset import measure_hardset

    measure_hardset(arguments.root.root, arguments.spec)


def label_sets(arguments: argparse.Namespace) -> None:
    """say which label sets the systems to be trained cannot take, before they are trained"""
    from zsbench.evaluation.label_sets import check_label_sets

    check_label_sets(arguments.root.root, arguments.spec)


def measure(arguments: argparse.Namespace) -> None:
    """metrics of every cell of one system and seed, from stored scores alone"""
    from zsbench.evaluation.measure import measure_job

    measure_job(arguments.root.root, arguments.spec)


def compare_cells(arguments: argparse.Namespace) -> None:
    """frames of all metrics, and paired deltas with intervals"""
    from zsbench.evaluation.compare import compare
    from zsbench.evaluation.measure import gather

    gather(arguments.root.root, arguments.spec)
    compare(arguments.root.root, arguments.spec)


def tables(arguments: argparse.Namespace) -> None:
    """write the tables as csv, md and tex"""
    from zsbench.reporting.tables import write_tables

    write_tables(arguments.root.root, arguments.spec, arguments.out)


def figures(arguments: argparse.Namespace) -> None:
    """draw the figures as svg and png"""
    from zsbench.reporting.figures import write_figures

    write_figures(arguments.root.root, arguments.spec, arguments.out)


def report(arguments: argparse.Namespace) -> None:
    """write the self-contained page and REPORT.md"""
    from zsbench.reporting.page import write_report

    write_report(arguments.root.root, arguments.spec, arguments.out)


JOB_VERBS = {
    "fetch": fetch,
    "manifest": manifest,
    "prepare": prepare,
    "prepare-training": prepare_training,
    "overlap": overlap,
    "train-hybrid": train_hybrid,
    "label-sets": label_sets,
    "score": score,
    "hardset": hardset,
    "measure": measure,
    "compare-cells": compare_cells,
    "check": check,
}
ONLINE = ("fetch", "launch")  # fetch opens connections; what launch starts comes by here itself
RENDER_VERBS = {"tables": tables, "figures": figures, "report": report}


def build_parser() -> argparse.ArgumentParser:
    """All verbs with their arguments."""
    parser = Parser(prog="zsbench", description="Benchmark and ablations of zero-shot text classification.")
    parser.add_argument("--end-with", type=int, default=0, metavar="PID", help="end when this process ends")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="verb")
    for name, function in {**JOB_VERBS, **RENDER_VERBS}.items():
        verb = verbs.add_parser(name, help=function.__doc__)
        needed = name != "fetch"
        verb.add_argument("--root", type=run_layout, required=needed, help="results/<run>")
        spec_help = "what the job depends on: @results/RUN/config.json:KIND:NAME, @FILE or JSON"
        verb.add_argument("--spec", type=read_spec, required=needed, help=spec_help)
        if name == "fetch":
            verb.add_argument("--lock", action="store_true", help="ask the hub for commits and write lock.yaml")
            verb.add_argument(
                "--config", type=CONFIG, nargs="+", default=[], help="with --lock: pin these configs' own sources too"
            )
            add_resources(verb)
        if name in RENDER_VERBS:
            verb.add_argument("--out", type=Path, required=True, help="folder to write to")
        verb.set_defaults(function=function)
    verb = verbs.add_parser("launch", help=launch.__doc__)
    verb.add_argument("--gpus", type=int, default=1, help="processes, one a GPU (default 1)")
    verb.add_argument("--strategy", default="single", help="single, ddp, zero2 or fsdp (default single)")
    verb.add_argument(
        "--configs", type=Path, default=CONFIGS, help="folder of accelerate's launch configs (default: the project's)"
    )
    verb.add_argument("--cpu", action="store_true", help="stay on the CPU, with --gpus processes")
    verb.add_argument("command", nargs="+", metavar="-- -m package.module ...", help="what to run")
    verb.set_defaults(function=launch)
    add_verbs(verbs)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal in ASCII shows "?" for a sign that it has not
    arguments = build_parser().parse_args(argv)
    end_with(arguments.end_with)
    if arguments.verb not in ONLINE:
        os.environ["HF_HUB_OFFLINE"] = "1"  # for the model libraries, which are imported later
    folder = arguments.root.root if getattr(arguments, "root", None) else Path()
    with masked_output():
        try:
            return arguments.function(arguments) or 0
        except Exception as error:
            message: object = error
            lost = isinstance(error, FileNotFoundError) and arguments.verb not in JOB_VERBS | RENDER_VERBS
            if not lost and not isinstance(error, USER_ERRORS) and type(error).__name__ not in OWN_ERRORS:
                message = cannot_write(error, folder)
                if message is None:
                    traceback.print_exc()
            print(f"zsbench {arguments.verb}: {message or error}", file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main())
