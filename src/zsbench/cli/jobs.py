"""`zsbench launch`, and `zsbench job KIND --run RUN ...`, which the workflow rules run.

A job reads `results/RUN/config.json`, looks up its spec by key (`Plan.spec`) and calls one function of a package.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zsbench.cli.paths import run_ids
from zsbench.jobs.launch import CONFIGS, Strategy
from zsbench.store.layout import Layout

if TYPE_CHECKING:
    from zsbench.plan.plan import Plan

# Disable progress bars and warnings of libraries, which are not about the progress of the job.
QUIET = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_VERBOSITY": "error", "TQDM_DISABLE": "1"}
launcher = typer.Typer()
app = typer.Typer(no_args_is_help=True, help="Run a single job, as the workflow does.")


def open_run(text: str) -> "Plan":
    """Parse the id or folder of a run that Snakemake has started."""
    from zsbench.plan.plan import Plan

    root = Path(text) if Layout(Path(text)).config.is_file() else Path("results") / text
    if not Layout(root).config.is_file():
        raise typer.BadParameter(f"no such file: {Layout(root).config}; snakemake writes it at startup")
    return Plan.read(root)


def spec_of(run: "Plan", kind: str, *names: Any) -> Any:
    """The spec of one job (`Plan.spec`).

    Raises:
        typer.BadParameter: the run has no such job.
    """
    if kind in ("score", "measure") and names[0] in run.systems and names not in run.jobs:
        raise typer.BadParameter(f"seed {names[1]} of {names[0]!r} is not in {run.layout.config}")
    try:
        spec = run.spec(kind, *names)
    except KeyError as error:
        raise typer.BadParameter(f"{error} is not in {run.layout.config}") from error
    if spec is None:
        raise typer.BadParameter(f"{kind!r} is not in {run.layout.config}")
    return spec


RunOption = Annotated[
    Any,
    typer.Option("--run", "--root", parser=open_run, metavar="RUN", autocompletion=run_ids, help="run id or folder"),
]
System = Annotated[str, typer.Option(help="system id")]
Model = Annotated[str, typer.Option(help="id of the trained model")]
Seed = Annotated[int, typer.Option(help="seed of the model")]


@launcher.command(epilog="Example: zsbench launch --gpus 2 --strategy ddp -- -m my_package.train --steps 100")
def launch(
    command: Annotated[list[str], typer.Argument(metavar="-- -m MODULE ...", help="module to run, with its arguments")],
    gpus: Annotated[int, typer.Option(help="number of GPUs, one process each")] = 1,
    strategy: Annotated[
        Strategy | None, typer.Option(help="accelerate strategy (default: a single plain process)")
    ] = None,
    configs: Annotated[Path, typer.Option(help="folder with accelerate launch configs", show_default=False)] = CONFIGS,
    cpu: Annotated[bool, typer.Option("--cpu", help="use the CPU, with --gpus processes")] = False,
) -> None:
    """Run a Python module on leased GPUs.

    Without a GPU, the module runs on the CPU.
    """
    from zsbench.jobs.launch import launch as run

    raise typer.Exit(run(gpus, strategy, command, configs=configs, cpu=cpu))


@app.callback()
def offline(context: typer.Context) -> None:
    if context.invoked_subcommand != "fetch":  # the only job that opens connections
        os.environ["HF_HUB_OFFLINE"] = "1"  # for the model libraries, which are imported later
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)


@app.command()
def fetch(run: RunOption, source: Annotated[str, typer.Option()]) -> None:
    """Fetch one source."""
    from zsbench.data.sources.fetch import fetch as fetch_source

    fetch_source(spec_of(run, "source", source), run.layout.fetched(source))


@app.command()
def manifest(run: RunOption) -> None:
    """Merge the manifests of all sources."""
    from zsbench.data.fetched import write_run_manifest

    write_run_manifest(run.layout, spec_of(run, "manifest")["licences"])


@app.command()
def prepare(run: RunOption, dataset: Annotated[str, typer.Option()]) -> None:
    """Prepare the rows of a fetched test set."""
    from zsbench.data.prepare import prepare_dataset

    spec, layout = spec_of(run, "dataset", dataset), run.layout
    prepare_dataset(spec, layout.fetched(spec["source"]), layout.dataset(dataset), layout.dataset_card(dataset))


@app.command()
def prepare_training(run: RunOption, training_set: Annotated[str, typer.Option()]) -> None:
    """Prepare the rows of a training set."""
    from zsbench.data.training_sets import prepare_training_set

    spec, layout = spec_of(run, "training_set", training_set), run.layout
    rows, card = layout.training_set(training_set), layout.training_set_card(training_set)
    prepare_training_set(spec, layout.fetched(spec["source"]), rows, card)


@app.command()
def overlap(run: RunOption) -> None:
    """Count test texts that occur in training sets."""
    from zsbench.data.contamination import write_overlap

    spec = spec_of(run, "overlap")
    write_overlap(run.layout.root, spec["training_sets"], spec["datasets"])


@app.command()
def label_sets(run: RunOption) -> None:
    """Find label sets that a system cannot handle."""
    from zsbench.evaluation.label_sets import check_label_sets

    check_label_sets(run.layout.root, spec_of(run, "label_sets"))


@app.command()
def train(run: RunOption, model: Model, seed: Seed) -> None:
    """Train one model."""
    from zsbench.training.run import train_job

    train_job(spec_of(run, "training", model, seed), run.layout, spec_of(run, "model_licences", "trained", model))


@app.command()
def train_hybrid(run: RunOption, model: Model, seed: Seed) -> None:
    """Train the PolyEncoder heads of a hybrid."""
    from zsbench.training.hybrid import train_hybrid as train_heads

    train_heads(run.layout.root, spec_of(run, "hybrid", model, seed), spec_of(run, "model_licences", "hybrid", model))


@app.command()
def score(run: RunOption, system: System, seed: Seed) -> None:
    """Score all data sets in the suites of a system."""
    from zsbench.evaluation.scoring import score_job

    score_job(run.layout.root, *spec_of(run, "score", system, seed), licences=spec_of(run, "system_licences", system))


@app.command()
def measure(run: RunOption, system: System, seed: Seed) -> None:
    """Compute metrics from stored scores."""
    from zsbench.evaluation.measure import measure_job

    measure_job(run.layout.root, spec_of(run, "measure", system, seed))


@app.command()
def compare(run: RunOption) -> None:
    """Compute paired deltas with intervals."""
    from zsbench.evaluation.compare import compare as compare_cells
    from zsbench.evaluation.measure import gather

    spec = spec_of(run, "analysis")
    gather(run.layout.root, spec)
    compare_cells(run.layout.root, spec)


@app.command()
def label_counts(run: RunOption, system: System) -> None:
    """Score a system with increasing numbers of labels."""
    from zsbench.evaluation.label_counts import count_labels

    count_labels(run.layout.root, spec_of(run, "label_counts", system))


@app.command()
def label_pairs(run: RunOption) -> None:
    """Find pairs of labels that the untrained encoder considers similar."""
    from zsbench.evaluation.label_pairs import label_cosines

    label_cosines(run.layout.root, spec_of(run, "label_pairs"))


@app.command()
def claims(run: RunOption) -> None:
    """Judge all claims from the results of the run."""
    from zsbench.evaluation.claims import write_claims
    from zsbench.evaluation.confusable import compare_confusable
    from zsbench.evaluation.label_slopes import gather_label_counts

    spec = spec_of(run, "analysis")
    gather_label_counts(run.layout.root, spec)
    compare_confusable(run.layout.root, spec)
    write_claims(run.layout.root, spec)


@app.command()
def hardset(run: RunOption) -> None:
    """Evaluate on the test split of hardset-mini."""
    from zsbench.evaluation.hardset import measure_hardset

    measure_hardset(run.layout.root, spec_of(run, "hardset"))


@app.command()
def tables(run: RunOption) -> None:
    """Write the tables."""
    from zsbench.reporting.tables import write_tables

    write_tables(run.layout.root, spec_of(run, "analysis"), run.reports / "tables")


@app.command()
def figures(run: RunOption) -> None:
    """Draw the figures."""
    from zsbench.reporting.figures import write_figures

    write_figures(run.layout.root, spec_of(run, "analysis"), run.reports / "figures")


@app.command()
def report(run: RunOption) -> None:
    """Write the report page, REPORT.md and the index of all runs."""
    from zsbench.reporting.index import write_index
    from zsbench.reporting.page import write_report

    write_report(run.layout.root, spec_of(run, "analysis"), run.reports)
    write_index(run.reports.parent)


@app.command()
def check(run: RunOption) -> None:
    """Check that everything a run depends on is available.

    Checks sources, packages, data and devices. Exit code 1: something is missing.
    """
    from zsbench.cli.check import check_run
    from zsbench.store.errors import ConfigError

    failed = []
    for state, subject, facts in check_run(run):
        print(f"{state:5} {subject:9} {facts}", flush=True)
        failed += [f"{subject} {facts}"] if state == "FAIL" else []
    if failed:
        raise ConfigError("; ".join(failed))
