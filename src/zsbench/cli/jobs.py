"""`zsbench launch`, and `zsbench job KIND --run RUN ...`: what the workflow's rules run.

A job reads `results/RUN/config.json`, makes its spec from it by key (`Plan.spec`) and calls one function of a package.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zsbench.cli.paths import run_ids
from zsbench.jobs.launch import CONFIGS, Strategy
from zsbench.store.layout import Layout

if TYPE_CHECKING:
    from zsbench.plan.plan import Plan

launcher = typer.Typer()
app = typer.Typer(no_args_is_help=True, help="Run one job of a run, as the workflow does.")


@dataclass(frozen=True)
class Run:
    """A run that snakemake has started."""

    layout: Layout
    plan: "Plan"

    @property
    def root(self) -> Path:
        """results/RUN"""
        return self.layout.root

    @property
    def reports(self) -> Path:
        """reports/RUN, beside the results"""
        return self.root.parent.parent / "reports" / self.root.name

    def spec(self, kind: str, *names: Any) -> Any:
        """What one job depends on (`Plan.spec`).

        Raises:
            typer.BadParameter: the run has nothing of that name.
        """
        if kind in ("score", "measure") and names[0] in self.plan.systems and names not in self.plan.jobs:
            raise typer.BadParameter(f"seed {names[1]} of {names[0]!r} is not in {self.layout.config}")
        try:
            spec = self.plan.spec(kind, *names)
        except KeyError as error:
            raise typer.BadParameter(f"{error} is not in {self.layout.config}") from error
        if spec is None:
            raise typer.BadParameter(f"{kind!r} is not in {self.layout.config}")
        return spec


def open_run(text: str) -> Run:
    """A parser for a run's id or folder."""
    from zsbench.plan.plan import Plan

    root = Path(text) if Layout(Path(text)).config.is_file() else Path("results") / text
    if not Layout(root).config.is_file():
        raise typer.BadParameter(f"no such file: {Layout(root).config}; snakemake writes it when it starts")
    return Run(Layout(root), Plan(**json.loads(Layout(root).config.read_text(encoding="utf-8"))))


RunOption = Annotated[
    Any, typer.Option("--run", "--root", parser=open_run, metavar="RUN", autocompletion=run_ids, help="id or folder")
]
System = Annotated[str, typer.Option(help="id of a system")]
Model = Annotated[str, typer.Option(help="id of a trained model")]
Seed = Annotated[int, typer.Option(help="seed of the model")]


@launcher.command(epilog="Example: zsbench launch --gpus 2 --strategy ddp -- -m my_package.train --steps 100")
def launch(
    command: Annotated[list[str], typer.Argument(metavar="-- -m MODULE ...", help="what to run")],
    gpus: Annotated[int, typer.Option(help="GPUs of the job, one process each")] = 1,
    strategy: Annotated[Strategy | None, typer.Option(help="of accelerate (default: one plain process)")] = None,
    configs: Annotated[Path, typer.Option(help="folder of accelerate's launch configs", show_default=False)] = CONFIGS,
    cpu: Annotated[bool, typer.Option("--cpu", help="stay on the CPU, with --gpus processes")] = False,
) -> None:
    """Run a module on leased GPUs.

    On a machine without GPUs it runs on the CPU.
    """
    from zsbench.jobs.launch import launch as run

    raise typer.Exit(run(gpus, strategy, command, configs=configs, cpu=cpu))


@app.callback()
def offline(context: typer.Context) -> None:
    if context.invoked_subcommand != "fetch":  # the only job that opens connections
        os.environ["HF_HUB_OFFLINE"] = "1"  # for the model libraries, which are imported later


@app.command()
def fetch(run: RunOption, source: Annotated[str, typer.Option()]) -> None:
    """Fetch one source."""
    from zsbench.data.sources.fetch import fetch as fetch_source

    spec = run.spec("source", source)
    mirror = os.environ.get("ZSBENCH_MIRROR") or spec["mirror"]
    description = {key: value for key, value in spec.items() if key not in ("id", "mirror", "lock")}
    fetch_source(description, run.layout.fetched(source), mirror=mirror, lock=spec.get("lock"))


@app.command()
def manifest(run: RunOption) -> None:
    """Gather the manifests of all sources."""
    from zsbench.data.fetched import write_run_manifest

    write_run_manifest(run.layout, run.plan.sources)


@app.command()
def prepare(run: RunOption, dataset: Annotated[str, typer.Option()]) -> None:
    """Prepare the rows of a fetched test set."""
    from zsbench.data.prepare import prepare_dataset

    spec, layout = run.spec("dataset", dataset), run.layout
    prepare_dataset(spec, layout.fetched(spec["source"]), layout.dataset(dataset), layout.dataset_card(dataset))


@app.command()
def prepare_training(run: RunOption, training_set: Annotated[str, typer.Option()]) -> None:
    """Prepare the rows of a training set."""
    from zsbench.data.training_sets import prepare_training_set

    spec, layout = run.spec("training_set", training_set), run.layout
    rows, card = layout.training_set(training_set), layout.training_set_card(training_set)
    prepare_training_set(spec, layout.fetched(spec["source"]), rows, card)


@app.command()
def overlap(run: RunOption) -> None:
    """Count test texts found in training sets."""
    from zsbench.data.contamination import write_overlap

    spec = run.spec("overlap")
    write_overlap(run.root, spec["training_sets"], spec["datasets"])


@app.command()
def label_sets(run: RunOption) -> None:
    """Find label sets that a system cannot take."""
    from zsbench.evaluation.label_sets import check_label_sets

    check_label_sets(run.root, run.spec("label_sets"))


@app.command()
def train(run: RunOption, model: Model, seed: Seed) -> None:
    """Train one model."""
    from zsbench.training.run import train_job

    train_job(run.spec("training", model, seed), run.layout)


@app.command()
def train_hybrid(run: RunOption, model: Model, seed: Seed) -> None:
    """Train the PolyEncoder heads of a hybrid."""
    from zsbench.training.hybrid import train_hybrid as train_heads

    train_heads(run.root, run.spec("hybrid", model, seed))


@app.command()
def score(run: RunOption, system: System, seed: Seed) -> None:
    """Score every dataset of a system's suites."""
    from zsbench.evaluation.scoring import score_job

    score_job(run.root, *run.spec("score", system, seed))


@app.command()
def measure(run: RunOption, system: System, seed: Seed) -> None:
    """Compute metrics from stored scores."""
    from zsbench.evaluation.measure import measure_job

    measure_job(run.root, run.spec("measure", system, seed))


@app.command()
def compare(run: RunOption) -> None:
    """Compute paired deltas with intervals."""
    from zsbench.evaluation.compare import compare as compare_cells
    from zsbench.evaluation.measure import gather

    spec = run.spec("analysis")
    gather(run.root, spec)
    compare_cells(run.root, spec)


@app.command()
def hardset(run: RunOption) -> None:
    """Measure hardset-mini's test split."""
    from zsbench.evaluation.hardset import measure_hardset

    measure_hardset(run.root, run.spec("hardset"))


@app.command()
def tables(run: RunOption) -> None:
    """Write the tables."""
    from zsbench.reporting.tables import write_tables

    write_tables(run.root, run.spec("analysis"), run.reports / "tables")


@app.command()
def figures(run: RunOption) -> None:
    """Draw the figures."""
    from zsbench.reporting.figures import write_figures

    write_figures(run.root, run.spec("analysis"), run.reports / "figures")


@app.command()
def report(run: RunOption) -> None:
    """Write the page and REPORT.md."""
    from zsbench.reporting.page import write_report

    write_report(run.root, run.spec("analysis"), run.reports)


@app.command()
def check(run: RunOption) -> None:
    """Check what a run depends on.

    Sources, packages, data and devices. Exit code 1: something is missing.
    """
    from zsbench.cli.check import check_run

    rows = list(check_run(run.plan))
    for state, subject, facts in rows:
        print(f"{state:5} {subject:9} {facts}")
    raise typer.Exit(int(any(state == "FAIL" for state, *_ in rows)))
