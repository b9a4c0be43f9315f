"""Commands to create, run and preview a config."""

from pathlib import Path
from typing import Annotated

import typer

from zsbench.cli.paths import PRESET_FOLDER

app = typer.Typer()
Configs = Annotated[
    list[Path],
    typer.Argument(
        exists=True,
        dir_okay=False,
        metavar="[CONFIG]...",
        help="config files; later files override earlier ones (default: config.yaml)",
    ),
]
DEFAULT = Path("config.yaml")


def configs_or_default(configs: list[Path]) -> list[Path]:
    """The given configs, or else `config.yaml` in the current directory."""
    if not configs and not DEFAULT.is_file():
        raise typer.BadParameter(f"no {DEFAULT} in this directory; name a config, or create one with `zsbench init`")
    return configs or [DEFAULT]


@app.command(epilog="Example: zsbench run my.yaml --cores 8 --gpus 2")
def run(
    config: Configs = [],  # noqa: B006
    cores: Annotated[
        int, typer.Option(help="jobs at a time (default: as many as there are cores)", min=0, show_default=False)
    ] = 0,
    gpus: Annotated[
        int,
        typer.Option(
            help="GPUs that jobs may use at a time (default: the visible ones; without any, as cores and memory allow)",
            min=0,
            show_default=False,
        ),
    ] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="print the jobs without running them")] = False,
    target: Annotated[list[str], typer.Option(help="target to build, such as data or tables (default: all)")] = [],  # noqa: B006
) -> None:
    """Run a config.

    Starts Snakemake with the project's workflow and writes results/ and reports/ in the current directory. Repeat the
    command to resume an interrupted run.
    """
    import time

    from zsbench.config.load import load_yaml, merge
    from zsbench.jobs.workflow import default_cores, default_gpus, run_workflow, snakemake_command

    configs, cores = configs_or_default(config), cores or default_cores()
    page = Path("reports") / str(merge(*map(load_yaml, configs)).get("run")) / "index.html"
    started = time.time()
    code = run_workflow(snakemake_command(configs, cores, gpus or default_gpus(cores), dry_run, target))
    whole = {*target} <= {"all", "report"}
    if code == 0 and not dry_run and whole and page.is_file():
        if page.stat().st_mtime >= started:
            from zsbench.reporting.terminal import summary_screen

            print(summary_screen(page.parent))
        else:
            print(f"Results: zsbench show {page.parent.name}; the page: {page}")
    raise typer.Exit(code)


@app.command(epilog="Example: zsbench init reviews.csv --labels negative,positive --text body")
def init(
    path: Annotated[Path, typer.Argument(metavar="FILE|FOLDER", help="file with texts and labels, or a new folder")],
    labels: Annotated[str, typer.Option(help="comma-separated labels in words (default: the gold values)")] = "",
    text: Annotated[str, typer.Option(help="column with the texts (default: the column with the longest values)")] = "",
    gold: Annotated[str, typer.Option(help="column with the gold labels (default: detected from the values)")] = "",
    force: Annotated[bool, typer.Option("--force", help="overwrite an existing config")] = False,
) -> None:
    """Write a starter config for your own file, or in a new folder.

    Prints what the file contains: columns, classes and unusual rows. The config is short and meant to be edited.
    """
    from zsbench.config.load import load_resources
    from zsbench.config.starter import FOLDER, SYSTEMS, config_for, describe, slug
    from zsbench.store.errors import ConfigError, counted

    names = [name.strip() for name in labels.split(",") if name.strip()]
    if path.is_file():
        if slug(path.name) in load_resources(PRESET_FOLDER)["datasets"]:
            raise ConfigError(f"{path}: {slug(path.name)!r} is the id of a data set of the project; rename the file")
        described = describe(path, text, gold, names)
        target, words = Path(f"{slug(path.name)}.yaml"), config_for(path, described)
        print(f"{path}: {counted(sum(described.rows.values()), 'row')}; columns: {', '.join(described.columns)}")
        print(f"texts: {described.text}; gold labels: {described.gold}")
        for value, label in zip(described.values, described.labels, strict=True):
            print(f"  {label if value == label else f'{value} = {label}'}: {counted(described.rows[value], 'row')}")
        for note in described.notes:
            print(note)
    elif path.suffix:
        raise typer.BadParameter(f"no such file: {path}")
    else:
        target, words = path / DEFAULT, FOLDER + SYSTEMS
    if target.exists() and not force:
        raise ConfigError(f"{target} already exists; --force overwrites it")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(words, encoding="utf-8")
    where = "zsbench run" if target.name == DEFAULT.name else f"zsbench run {target}"
    print(f"wrote {target}; next: {f'cd {path} && ' if target.parent == path else ''}{where}")


@app.command(epilog="Example: zsbench estimate config.yaml")
def estimate(config: Configs = []) -> None:  # noqa: B006
    """Estimate the cost of a run: jobs, downloads, disk space, hours, and the smallest detectable effect.

    Hours and effect size are extrapolated from an earlier run in this directory, or from `make gpu-check`.
    """
    from zsbench.config.load import load_yaml, merge, resolve
    from zsbench.plan.estimate import plan_lines
    from zsbench.plan.plan import Plan
    from zsbench.store.layout import WORKFLOW

    merged = merge(*map(load_yaml, configs_or_default(config)))
    resources = resolve(merged, WORKFLOW)
    print("\n".join(plan_lines(Plan(merged, resources))))


@app.command("plan", epilog="Example: zsbench plan my.yaml")
def plan_of(config: Configs = [], target: Annotated[list[str], typer.Option(help="same as for `run`")] = []) -> None:  # noqa: B006
    """List the jobs that a run would start.

    Same as `zsbench run --dry-run`.
    """
    run(config, dry_run=True, target=target, cores=1, gpus=1)
