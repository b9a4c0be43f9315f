"""`zsbench export`: a system's results in the formats of other projects."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from zsbench.cli.paths import ScoredRun, existing_folder

app = typer.Typer(no_args_is_help=True)
System = Annotated[str, typer.Argument(help="id of the system")]
checkpoint = existing_folder("a checkpoint with its model card", "README.md")


@app.command(epilog="Example: zsbench export btzsc embedded biencoder --out biencoder.json")
def btzsc(
    run: ScoredRun,
    system: System,
    model_type: Annotated[
        Literal["embedding", "nli", "reranker", "llm"] | None, typer.Option(help="(default: that of the family)")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="file to write (default: print)")] = None,
) -> None:
    """Write a BTZSC result file."""
    import json

    from zsbench.reporting.export import btzsc as payload_of
    from zsbench.store.provenance import write_json

    payload = payload_of(run, system, model_type or "")
    if out is None:
        print(json.dumps(payload, indent=2, ensure_ascii=False))
    else:
        write_json(out, payload)
        print(out)


@app.command(epilog="Example: zsbench export model-index embedded gliznet-full")
def model_index(
    run: ScoredRun,
    system: System,
    seed: Annotated[int | None, typer.Option(help="of the checkpoint (default: the first)")] = None,
    into: Annotated[
        Path | None,
        typer.Option(parser=checkpoint, metavar="FOLDER", help="folder whose README.md gets it (default: print)"),
    ] = None,
) -> None:
    """Write the model-index of a model card.

    The block is that of the Hugging Face hub.
    """
    from zsbench.reporting.export import model_index as block_of
    from zsbench.reporting.export import write_model_index

    block = block_of(run, system, seed)
    if into is None:
        print(block, end="")
    else:
        print(write_model_index(into, block))
