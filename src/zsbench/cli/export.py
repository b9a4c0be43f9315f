"""`zsbench export`: the results of a system in the formats of other projects."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from zsbench.cli.paths import Report, ScoredRun, existing_folder

app = typer.Typer(no_args_is_help=True)
System = Annotated[str, typer.Argument(help="system id")]
Out = Annotated[Path | None, typer.Option("--out", help="output file (default: print)")]
Seed = Annotated[int | None, typer.Option(help="seed of the checkpoint (default: the first)")]
checkpoint = existing_folder("a checkpoint with its model card", "README.md")


def emit(text: str, out: Path | None) -> None:
    """Write a text to `out` and print the path; without `out`, print the text."""
    from zsbench.store.provenance import write_text

    if out is None:
        print(text, end="")
    else:
        write_text(out, text)
        print(out)


@app.command(epilog="Example: zsbench export btzsc embedded biencoder --out biencoder.json")
def btzsc(
    run: ScoredRun,
    system: System,
    model_type: Annotated[
        Literal["embedding", "nli", "reranker", "llm"] | None,
        typer.Option(help="model type in BTZSC (default: that of the family)"),
    ] = None,
    out: Out = None,
) -> None:
    """Write a BTZSC result file."""
    from zsbench.reporting.export import btzsc as payload_of

    emit(json.dumps(payload_of(run, system, model_type or ""), indent=2, ensure_ascii=False) + "\n", out)


@app.command(epilog="Example: zsbench export model-index embedded gliznet-full")
def model_index(
    run: ScoredRun,
    system: System,
    seed: Seed = None,
    into: Annotated[
        Path | None,
        typer.Option(parser=checkpoint, metavar="FOLDER", help="folder whose README.md is updated (default: print)"),
    ] = None,
) -> None:
    """Write the model-index block of a Hugging Face model card."""
    from zsbench.reporting.export import model_index as block_of
    from zsbench.reporting.export import write_model_index

    block = block_of(run, system, seed)
    if into is None:
        print(block, end="")
    else:
        print(write_model_index(into, block))


@app.command(epilog="Example: zsbench export latex embedded ablations --columns average,interval,p-adjusted")
def latex(
    run: Report,
    table: Annotated[str, typer.Argument(help="name of a table in reports/RUN/tables, such as ablations")],
    columns: Annotated[
        str, typer.Option(metavar="A,B,...", help="columns to print, by title or a prefix of it (default: all)")
    ] = "",
    protocol: Annotated[str, typer.Option(help="threshold protocol of a multi-label table (default: all)")] = "",
    short_names: Annotated[
        bool, typer.Option("--short-names", help="drop the common prefix of the system names")
    ] = False,
    out: Out = None,
) -> None:
    """Write a table as a LaTeX float.

    The float fits a single column or the text width, and has a caption, a label and footnotes.
    """
    from zsbench.reporting.latex import to_float
    from zsbench.reporting.readme import written_tables

    tables = written_tables(run)
    if table not in tables:
        raise typer.BadParameter(f"no table {table!r} in {run}; allowed: {', '.join(tables)}", param_hint="TABLE")
    picked = [name.strip() for name in columns.split(",") if name.strip()]
    emit(to_float(tables[table], run.resolve().name, picked, short_names, protocol), out)


@app.command(epilog="Example: zsbench export eee embedded gliznet-full --model-id my-org/gliznet --organization my-org")
def eee(
    run: ScoredRun,
    system: System,
    model_id: Annotated[str, typer.Option(metavar="DEVELOPER/NAME", help="model id on the hub")],
    organization: Annotated[str, typer.Option(help="organization that ran the evaluation")],
    relationship: Annotated[
        Literal["first_party", "third_party", "collaborative", "other"],
        typer.Option(help="relationship of the organization to the model"),
    ] = "first_party",
    seed: Seed = None,
    into: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="datastore; the record goes to its data/ (default: print)")
    ] = None,
) -> None:
    """Write an Every Eval Ever record."""
    from zsbench.reporting.export_eval import every_eval_ever, write_every_eval_ever

    record = every_eval_ever(
        run, system, model_id=model_id, organization=organization, relationship=relationship, seed=seed
    )
    if into is None:
        print(json.dumps(record, indent=2, ensure_ascii=False))
    else:
        print(write_every_eval_ever(into, record))


@app.command(epilog="Example: zsbench export eval-results paper gliznet-full --into results/paper/models/...")
def eval_results(
    run: ScoredRun,
    system: System,
    seed: Seed = None,
    source_url: Annotated[str | None, typer.Option(help="URL that the results link to")] = None,
    notes: Annotated[str | None, typer.Option(help="text to prepend to the notes")] = None,
    into: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="checkpoint; the files go to its .eval_results/ (default: print)"),
    ] = None,
) -> None:
    """Write the .eval_results files for a model on the hub.

    Writes one YAML file per data set that is on the hub.
    """
    from zsbench.reporting.export_eval import eval_results as files_of
    from zsbench.reporting.export_eval import write_eval_results

    files = files_of(run, system, seed, source_url=source_url, notes=notes)
    if into is None:
        print("\n".join(f"# .eval_results/{name}\n{text}" for name, text in files.items()), end="")
    else:
        print("\n".join(map(str, write_eval_results(into, files))))
