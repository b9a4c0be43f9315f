"""The tables in README and docs/: rendered from a written report, never typed."""

import csv
import re
from collections.abc import Callable
from pathlib import Path

from zsbench.reporting.marks import UNMOVED, UNMOVED_NOTE, plain
from zsbench.reporting.table import EMPTY, Table, markdown_text
from zsbench.systems.controls import CONTROLS

Row = dict[str, str]  # column title -> cell

# Block name -> the table (below `reports/<run>`, without ending) that fills it as it is.
BLOCKS = {
    "suite": "tables/gliclass_suite",
    "ablations": "tables/ablations",
    "topics": "tables/topics",
    "speed": "speed/targets",
}
# Blocks that show some columns of a table: the table and the titles. Narrow enough for a page of text.
NARROW = {
    "verdicts": ("tables/ablations", ("Contrast", "Factor", "Average Δ", "interval", "p (Holm)")),
    "ratios": ("speed/targets", ("backbone", "comparison", "labels", "times", "met")),
}
# Blocks that show a part: rows (or notes) that hold this text; the whole table is in the report.
ONLY = {"topics": "held-out"}
# Blocks whose table a report need not have, and what they say then.
_NO_SPEED = "Not measured in the committed sample; `make speed` measures it, `make sample` then shows it here."
WITHOUT = {"speed": _NO_SPEED, "ratios": _NO_SPEED}
MOST_ROWS = 7  # of the headline
_GOLD = ("oracle", "shuffled-oracle")  # controls that are told the answers
_BLOCK = re.compile(r"<!-- begin:([\w-]+) -->\n(.*?)<!-- end:([\w-]+) -->", re.DOTALL)


def render(text: str, reports: Path) -> str:
    """The text with every marked block filled from the report.

    A block is `<!-- begin:suite -->` ... `<!-- end:suite -->`, each marker on a line of its own. Filling a filled text
    again changes nothing.

    Args:
        text: the whole Markdown file.
        reports: `reports/<run>`.

    Raises:
        ValueError: a block with an unknown name, one that ends under another name or not at all, or a table without
            a column that a block shows.
        FileNotFoundError: the table of a block is not written, and the block needs one.
    """

    def fill(found: re.Match[str]) -> str:
        name, end = found.group(1), found.group(3)
        if name not in _known():
            raise ValueError(f"block {name!r}: unknown name; allowed: {', '.join(_known())}")
        if end != name:
            raise ValueError(f"block {name!r} ends as {end!r}")
        return f"<!-- begin:{name} -->\n{_body(name, reports)}\n<!-- end:{name} -->"

    filled = _BLOCK.sub(fill, text)
    if text.count("<!-- begin:") != len(_BLOCK.findall(text)):
        raise ValueError("a block begins but does not end, or its markers are not on lines of their own")
    return filled


def outside_blocks(text: str) -> str:
    """The text without its generated blocks."""
    return _BLOCK.sub("", text)


def _known() -> list[str]:
    return [*BLOCKS, *NARROW, *COMPOSED]


def _body(name: str, reports: Path) -> str:
    if name in COMPOSED:
        return COMPOSED[name](reports)
    path = BLOCKS.get(name) or NARROW[name][0]
    if name in WITHOUT and not (reports / f"{path}.md").is_file():
        return WITHOUT[name]
    if name in NARROW:
        rows = _rows(reports, *NARROW[name])
        titles = NARROW[name][1]
        return markdown_text(Table(name, titles, [[row[title] for title in titles] for row in rows])).strip()
    table = (reports / f"{path}.md").read_text(encoding="utf-8").strip()
    return _part(table, ONLY[name]) if name in ONLY else table


def _rows(reports: Path, table: str, titles: tuple[str, ...]) -> list[Row]:
    """A table's csv, every row with these columns.

    Raises:
        ValueError: a column is missing.
    """
    with (reports / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    for title in titles:
        if title not in (reader.fieldnames or ()):
            raise ValueError(f"{reports / table}.csv: no column {title!r}; it has {', '.join(reader.fieldnames or ())}")
    return rows


def _suite(reports: Path) -> tuple[Row, list[Row]]:
    """The reference's row of the suite table, and every row, with Δ and interval as row minus reference.

    The reference is what the others are compared with: a system with an average and no difference. Which way round the
    table prints its differences shows in their signs, taken together.
    """
    rows = _rows(reports, "tables/gliclass_suite", ("System", "Average", "Δ", "interval", "p (Holm)", "Seeds"))
    reference = next(row for row in rows if not _control(row) and _whole(row) and row["interval"] == EMPTY)
    base = _whole(reference) or 0.0
    agreement = 0.0
    for row in rows:
        if (value := _whole(row)) is not None and row["interval"] != EMPTY:
            agreement += float(row["Δ"].split()[0]) * (value - base)
    if agreement < 0:
        rows = [row if row["interval"] == EMPTY else _turned(row) for row in rows]
    return reference, rows


def _whole(row: Row) -> float | None:
    """The average, None where it is missing or over some of the sets only."""
    found = re.fullmatch(r"(\d+\.\d+)( [^\w(]+)?", row["Average"])
    return float(found[1]) if found else None


def _turned(row: Row) -> Row:
    """The row with its difference the other way round."""
    delta, _, rest = row["Δ"].partition(" ")
    low, high = row["interval"].strip("[]").split(", ")
    return row | {
        "Δ": " ".join([_negated(delta), *([rest] if rest else [])]),
        "interval": f"[{_negated(high)}, {_negated(low)}]",
    }


def _negated(text: str) -> str:
    if float(text) == 0:
        return text
    return f"+{text[1:]}" if text.startswith("-") else f"-{text.removeprefix('+')}"


def _control(row: Row) -> bool:
    """Controls are known by name; those of other names by a difference that is not corrected."""
    return row["System"] in CONTROLS or (row["p"] != EMPTY and row["p (Holm)"] == EMPTY)


def headline(reports: Path) -> str:
    """At most seven rows: the reference, the best systems, the best untrained one, the best control without gold."""
    reference, rows = _suite(reports)
    ranked = sorted((row for row in rows if _whole(row) is not None), key=lambda row: -(_whole(row) or 0.0))
    systems = [row for row in ranked if not _control(row)]
    untrained = next((row for row in systems if row["Seeds"] == EMPTY), None)
    control = next((row for row in ranked if _control(row) and row["System"] not in _GOLD), None)
    picked = [row["System"] for row in (reference, untrained, control) if row is not None]
    picked += [row["System"] for row in systems if row["System"] not in picked][: MOST_ROWS - len(picked)]
    shown = [row for row in ranked if row["System"] in picked]
    titles = ("System", "Average", "Δ", "interval", "p (Holm)")
    renamed = ("System", "Average macro-F1", f"Δ to {plain(reference['System'])}", "Interval of Δ", "p (Holm)")
    table = Table("headline", renamed, [[row[title] for title in titles] for row in shown])
    notes = [f"\n\n{UNMOVED_NOTE}"] if any(UNMOVED in row["System"] for row in shown) else []
    return "".join([f"{markdown_text(table)}\n{_sentence(reference, systems, control)}", *notes])


def _sentence(reference: Row, systems: list[Row], control: Row | None) -> str:
    """What the table says, with its interval."""
    name, best = plain(reference["System"]), systems[0]
    if best is reference and len(systems) > 1:
        other = systems[1]
        first = f"`{name}` has the highest average of {len(systems)} systems; `{plain(other['System'])}`, the next,"
        first += f" differs from it by {other['Δ']} {other['interval']}"
    elif best is reference:
        first = f"`{name}` is the only system"
    else:
        first = f"`{plain(best['System'])}` has the highest average of {len(systems)} systems,"
        first += f" {best['Δ']} {best['interval']} from `{name}`"
    if control is None:
        return f"{first}."
    return f"{first}; the best control that reads no text, `{control['System']}`, reaches {_whole(control):.4f}."


def scale(reports: Path) -> str:
    """How small the run behind the sample is: sets, rows, seeds, steps of the reference."""
    reference, _ = _suite(reports)
    notes = (reports / "tables" / "gliclass_suite.notes.txt").read_text(encoding="utf-8")
    counts = sorted({int(count.replace(",", "")) for count in re.findall(r" ([\d,]+) test @", notes)})
    signed = dict(part.split(":", 1) for part in notes.strip().splitlines()[-1].split("|") if ":" in part)
    seeds = len(signed["seeds"].split(",")) if signed.get("seeds", "none") != "none" else 0
    rows = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    sets = f"{signed['sets']} test set{'s' * (signed['sets'] != '1')}"
    parts = [_steps(reports, plain(reference["System"])), f"{seeds or 'no'} seed{'s' * (seeds != 1)}"]
    return (
        f"**A demonstration, not a benchmark result**: a 22.7 M encoder, {', '.join(filter(None, parts))},"
        f" {rows} rows of each of {sets}."
    )


def _steps(reports: Path, system: str) -> str:
    """How long a system was trained, from the curves of its training; "" where there are none."""
    path = reports / "figures" / "training_curves.csv"
    if not path.is_file():
        return ""
    with path.open(encoding="utf-8", newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row["model"] == system]
    return f"{max(steps):,} training steps" if steps else ""


# Blocks that are put together from more than one file or rule.
COMPOSED: dict[str, Callable[[Path], str]] = {"headline": headline, "scale": scale}


def _part(table: str, wanted: str) -> str:
    """Header and rule of an md table, the rows and notes that hold `wanted`, and the signature."""
    head, *lines = table.split("\n")
    rows = [line for line in lines[1:] if line.startswith("|") and wanted in line]
    shown = "".join(rows)

    def kept(note: str) -> bool:
        """A note that begins with a sign explains it, and goes where the sign goes; the signature always goes."""
        return wanted in note if note[2].isalnum() else note[2] in f"`{shown}"

    notes = [line for line in lines[1:] if line.startswith("- ") and kept(line)]
    return "\n".join([head, lines[0], *rows, "", *notes]).strip()
