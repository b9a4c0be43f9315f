"""The page of the learning rate search, from its training records: `python -m benchmarks.search RUN...`."""

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from zsbench.cli.main import run
from zsbench.cli.paths import existing_folder
from zsbench.store.layout import Layout
from zsbench.store.provenance import read_json, write_text
from zsbench.training.rows import read_evaluation_rows
from zsbench.training.selection import mean_average_precision

app = typer.Typer(rich_markup_mode=None)
search_run = existing_folder("a run of `make search`", "models/*/*/training.json", base="results")


def validations(runs: list[Path]) -> pd.DataFrame:
    """One row per training: `system`, `rate`, `seed`, `steps`, `texts` (per step), `validation` (mean AP)."""
    rows = []
    for path in sorted(path for folder in runs for path in folder.glob("models/*/*/training.json")):
        record = read_json(path)
        recipe, last = record["spec"]["recipe"], record["history"][-1]
        rows.append(
            {
                "system": record["spec"]["id"],
                "rate": recipe["learning_rate"],
                "seed": record["spec"]["seed"],
                "steps": last["step"],
                "texts": recipe["effective_batch"],
                "validation": last["validation"],
            }
        )
    return pd.DataFrame(rows)


def random_average_precision(true: int, labels: int) -> float:
    """Expected average precision of a random order of `labels` labels, of which `true` are true.

    At rank k, the precision of a true label is (1 + the true labels before it) / k. The rank is uniform, and each of
    the k - 1 labels before it is true with probability (true - 1) / (labels - 1).
    """
    harmonic = sum(1 / k for k in range(1, labels + 1)) / labels
    return harmonic + (1 - harmonic) * (true - 1) / (labels - 1)


def floors(rows: Path) -> tuple[float, float]:
    """Mean AP of random scores (expected) and of constant scores on the validation rows of a prepared training set."""
    targets = [row for row in read_evaluation_rows(rows).targets if 0 < row.sum() < len(row)]
    chance = [random_average_precision(int(row.sum()), len(row)) for row in targets]
    return float(np.mean(chance)), mean_average_precision([np.zeros(len(row)) for row in targets], targets)


def page(trainings: pd.DataFrame, chance: float, constant: float) -> str:
    """The page in Markdown: mean AP of every system at every rate, with the best per row in bold, and the floors."""
    table = trainings.pivot(index="system", columns="rate", values="validation")
    best = table.max(axis=1)
    shown = pd.DataFrame(
        {
            f"{rate:.0e}".replace("e-0", "e-"): [
                f"**{value:.3f}**" if value == top else f"{value:.3f}" for value, top in zip(column, best, strict=True)
            ]
            for rate, column in table.items()
        },
        index=table.index,
    )
    first = trainings.iloc[0]
    return f"""# Learning rates of the sample run

`make search` trains GliZNet and each peer that learns from hardset-mini at each rate of the encoder, for the same
{first["steps"]} steps of {first["texts"]} texts, with seed {first["seed"]}, and renders this page.
Everything else is as in the embedded run; the head's rate stays 1e-3. The HybridNLI heads are not part of it.
A number is the mean average precision on the validation rows after the last step. A random order scores {chance:.3f}.
A model that gives every label the same score has {constant:.3f}, since ties are ranked together.
Test sets are not scored. The best of a row is bold.

{shown.rename_axis("System").to_markdown(disable_numparse=True)}

{len(trainings)} trainings, one seed each: near ties are not told apart.
"""


@app.command()
def main(
    runs: Annotated[list[Path], typer.Argument(parser=search_run, metavar="RUN...", help="runs of the search")],
    out: Annotated[Path, typer.Option(help="page to write")] = Path("docs/search.md"),
) -> None:
    """Write the page of a finished search."""
    recipe = read_json(next(runs[0].glob("models/*/*/training.json")))["spec"]["recipe"]
    rows = Layout(runs[0]).training_set(recipe["training_set"])
    write_text(out, page(validations(runs), *floors(rows)))
    print(f"The search: {out}")


if __name__ == "__main__":
    sys.exit(run(app, "python -m benchmarks.search"))
