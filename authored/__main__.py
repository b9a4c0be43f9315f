"""`python -m authored check|results`: checks the data sets written for this project, and updates results on cards."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from zsbench.cli.main import run
from zsbench.cli.paths import existing_folder, prepared_run

app = typer.Typer(rich_markup_mode=None, help=__doc__)
measured_run = existing_folder("a run that trains on hardset-mini", "analysis/hardset.json", base="results")


@app.command()
def check(
    against: Annotated[
        Path | None, typer.Option(parser=prepared_run, metavar="RUN", help="also check overlap with its test sets")
    ] = None,
) -> None:
    """Check the sets against all rules stated on their cards."""
    import pandas as pd

    from authored.check_topics import run_checks

    texts = {}
    for path in sorted(against.glob("datasets/*/rows.parquet")) if against else ():
        if path.parent.name != "topics-mini":
            texts[path.parent.name] = pd.read_parquet(path, columns=["text"])["text"].tolist()
    raise typer.Exit(run_checks(texts))


@app.command()
def results(
    run: Annotated[Path, typer.Option("--run", "--root", parser=measured_run, metavar="RUN", help="a run")],
    trained: Annotated[str, typer.Option(help="system trained on hardset-mini")] = "gliznet-full",
    untrained: Annotated[str, typer.Option(help="the same backbone, untrained")] = "biencoder",
) -> None:
    """Put the measurements of a finished run on hardset-mini's card."""
    from authored.card_results import write_card_results

    write_card_results(run, trained, untrained)


if __name__ == "__main__":
    sys.exit(run(app, "python -m authored"))
