"""The verbs that people call: they look at a finished run, list what there is, bring scores in, check the data.

Imports are inside the verbs, as in `zsbench.cli.main`.
"""

import argparse
from pathlib import Path

from zsbench.cli.arguments import (
    REPORT,
    RUN,
    Parser,
    add_resources,
    cell,
    existing_file,
    existing_folder,
    prepared_layout,
)


def show(arguments: argparse.Namespace) -> None:
    """print the suite table, the ablations and where the page is"""
    for name in ("gliclass_suite", "ablations", "topics"):
        path = arguments.reports / "tables" / f"{name}.md"
        if path.is_file():
            print(path.read_text(encoding="utf-8"))
    print(f"The full report: {arguments.reports / 'index.html'}")


def readme(arguments: argparse.Namespace) -> None:
    """fill the marked tables of README and docs from a written report"""
    from zsbench.data.errors import DataError
    from zsbench.reporting.readme import render
    from zsbench.store.provenance import write_text

    filled = {}
    for file in arguments.files:
        try:
            filled[file] = render(file.read_text(encoding="utf-8"), arguments.reports)
        except ValueError as error:
            raise DataError(f"{file}: {error}") from error
    for file, text in filled.items():
        write_text(file, text)


def config_keys(arguments: argparse.Namespace) -> None:
    """print every config key, what it may hold and its default, as Markdown; --schema: as a JSON schema for editors"""
    from zsbench.config.keys import editor_schema, markdown

    print(editor_schema() if arguments.schema else markdown(), end="")


def list_systems(arguments: argparse.Namespace) -> None:
    """list the families a config's `systems` may use"""
    from zsbench.families import FAMILIES

    for name, family in FAMILIES.items():
        print(f"{name:12} {family.summary}")


def list_datasets(arguments: argparse.Namespace) -> None:
    """list the test sets that come with the project"""
    from zsbench.config.load import load_resources

    for name, preset in load_resources(arguments.resources)["datasets"].items():
        labels = len(next(iter(preset["verbalisations"].values())))
        rows = sum(preset.get("expected_rows", {}).values())
        print(f"{name:24} {preset['task']:9} {labels:3} labels  {rows:6} rows  {preset['title']}")


def import_scores(arguments: argparse.Namespace) -> None:
    """take a csv of scores as a system of family `imported`"""
    from zsbench.systems.imported import import_scores as run

    rows = run(arguments.root.root, arguments.system, arguments.dataset, arguments.csv)
    print(f"{rows} rows of {arguments.dataset} imported as {arguments.system}")


def compare(arguments: argparse.Namespace) -> None:
    """compare two runs, or two systems, on the cells that both have"""
    from zsbench.reporting.diff import as_text, compare_runs

    systems = tuple(arguments.systems) if arguments.systems else None
    print(as_text(compare_runs(arguments.a, arguments.b, systems), str(arguments.a), str(arguments.b)), end="")


def same(arguments: argparse.Namespace) -> int:
    """check that two runs of one config hold the same content, times and environments aside"""
    from zsbench.reporting.same import differences

    found = differences(arguments.a, arguments.b)
    print("\n".join(found) or "the same, apart from what is marked volatile")
    return 1 if found else 0


def explain(arguments: argparse.Namespace) -> None:
    """print how a cell's numbers came to be"""
    from zsbench.reporting.explain import explain as run

    print(run(arguments.cell), end="")


def export_btzsc(arguments: argparse.Namespace) -> None:
    """a system's results as a BTZSC result file"""
    import json

    from zsbench.reporting.export import btzsc
    from zsbench.store.provenance import write_json

    payload = btzsc(arguments.run, arguments.system, arguments.model_type)
    if arguments.out is None:
        print(json.dumps(payload, indent=2, ensure_ascii=False))
    else:
        write_json(arguments.out, payload)
        print(arguments.out)


def export_model_index(arguments: argparse.Namespace) -> None:
    """a system's results as the model-index block of a hub model card"""
    from zsbench.reporting.export import model_index, write_model_index

    block = model_index(arguments.run, arguments.system, arguments.seed)
    if arguments.into is None:
        print(block, end="")
    else:
        print(write_model_index(arguments.into, block))


def check(arguments: argparse.Namespace) -> int:
    """say whether a run can start: sources, packages, data, devices (`snakemake check` calls it)"""
    from zsbench.cli.overview import check as run

    return run(arguments.root.root, arguments.spec)


def manifest(arguments: argparse.Namespace) -> None:
    """gather the manifests of all sources that a run fetched in one file"""
    from zsbench.data.fetched import write_run_manifest

    write_run_manifest(arguments.root, arguments.spec["sources"])


def add_verbs(verbs: "argparse._SubParsersAction[Parser]") -> None:
    """Add every verb of this module to the command line."""
    _add_report_verbs(verbs)
    _add_export_verbs(verbs)
    _add_listing_verbs(verbs)


def _add_report_verbs(verbs: "argparse._SubParsersAction[Parser]") -> None:
    verb = verbs.add_parser("show", help=show.__doc__)
    verb.add_argument("reports", type=REPORT, help="reports/<run>")
    verb.set_defaults(function=show)
    verb = verbs.add_parser("readme", help=readme.__doc__)
    verb.add_argument("reports", type=REPORT, help="reports/<run>")
    markdown = existing_file("a Markdown file with marked tables")
    verb.add_argument("files", type=markdown, nargs="+", metavar="FILE", help="README.md, docs/results.md, ...")
    verb.set_defaults(function=readme)
    verb = verbs.add_parser("compare", help=compare.__doc__)
    verb.add_argument("a", type=RUN, metavar="RUN_A", help="results/<run>")
    verb.add_argument("b", type=RUN, metavar="RUN_B", help="results/<run>; the same twice to compare two systems")
    verb.add_argument("--systems", nargs=2, metavar=("A", "B"), help="a system of each")
    verb.set_defaults(function=compare)
    verb = verbs.add_parser("same", help=same.__doc__)
    either = existing_folder("results/<run> or reports/<run>")
    verb.add_argument("a", type=either, help="results/<run> or reports/<run>")
    verb.add_argument("b", type=either, help="the same folder of another run of the same config")
    verb.set_defaults(function=same)
    verb = verbs.add_parser("explain", help=explain.__doc__)
    verb.add_argument("cell", type=cell, help="results/<run>/cells/<suite>/<dataset>/<system>/seed<k>")
    verb.set_defaults(function=explain)


def _add_export_verbs(verbs: "argparse._SubParsersAction[Parser]") -> None:
    exports = verbs.add_parser("export", help="a system's results in the forms that others read").add_subparsers(
        dest="export_verb", required=True, metavar="form"
    )
    forms = {}
    for name, function in (("btzsc", export_btzsc), ("model-index", export_model_index)):
        forms[name] = exports.add_parser(name, help=function.__doc__)
        forms[name].add_argument("run", type=RUN, metavar="RUN", help="results/<run>")
        forms[name].add_argument("system", metavar="SYSTEM", help="id of the system")
        forms[name].set_defaults(function=function)
    forms["btzsc"].add_argument(
        "--model-type", default="", help="embedding, nli, reranker or llm (default: that of the system's family)"
    )
    forms["btzsc"].add_argument("--out", type=Path, help="file to write (default: print)")
    forms["model-index"].add_argument("--seed", type=int, help="of the checkpoint (default: the first)")
    checkpoint = existing_folder("a checkpoint with its model card", "README.md")
    forms["model-index"].add_argument("--into", type=checkpoint, help="folder whose README.md gets it (default: print)")


def _add_listing_verbs(verbs: "argparse._SubParsersAction[Parser]") -> None:
    verb = verbs.add_parser("systems", help=list_systems.__doc__)
    verb.set_defaults(function=list_systems)
    verb = verbs.add_parser("datasets", help=list_datasets.__doc__)
    verb.set_defaults(function=list_datasets)
    add_resources(verb)
    verb = verbs.add_parser("config-keys", help=config_keys.__doc__)
    verb.add_argument("--schema", action="store_true")
    verb.set_defaults(function=config_keys)
    verb = verbs.add_parser("import-scores", help=import_scores.__doc__)
    verb.add_argument("--root", type=prepared_layout, required=True, help="results/<run>")
    verb.add_argument("--system", required=True, help="id of the system in the config")
    verb.add_argument("--dataset", required=True, help="id of the prepared test set")
    verb.add_argument("csv", type=existing_file("a csv of scores"), help="columns: sample_id, then one a label")
    verb.set_defaults(function=import_scores)
