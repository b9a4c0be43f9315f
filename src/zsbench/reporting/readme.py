"""README's tables: rendered from a written report, never typed."""

import re
from pathlib import Path

# Block name -> the table (below `reports/<run>`, without ending) that fills it.
BLOCKS = {
    "suite": "tables/gliclass_suite",
    "ablations": "tables/ablations",
    "topics": "tables/topics",
    "speed": "speed/targets",
}
# Blocks that show a part: rows (or notes) that hold this text; the whole table is in the report.
ONLY = {"topics": "held-out"}
# Blocks whose table a report need not have, and what they say then.
WITHOUT = {"speed": "Not measured in the committed sample; `make speed` measures it, `make sample` then shows it here."}
_BLOCK = re.compile(r"<!-- begin:([\w-]+) -->\n(.*?)<!-- end:([\w-]+) -->", re.DOTALL)


def render(readme_text: str, reports: Path) -> str:
    """The text with every marked block filled from the md table of its name.

    A block is `<!-- begin:suite -->` ... `<!-- end:suite -->`, each marker on a line of its own. Filling a filled text
    again changes nothing.

    Args:
        readme_text: the whole README.
        reports: `reports/<run>`.

    Raises:
        ValueError: a block whose name is unknown, or that ends under another name or not at all.
        FileNotFoundError: the table of a block is not written, and the block needs one.
    """

    def fill(found: re.Match[str]) -> str:
        name, end = found.group(1), found.group(3)
        if name not in BLOCKS:
            raise ValueError(f"README block {name!r} is not known; allowed: {', '.join(BLOCKS)}")
        if end != name:
            raise ValueError(f"README block {name!r} ends as {end!r}")
        path = reports / f"{BLOCKS[name]}.md"
        if name in WITHOUT and not path.is_file():
            return f"<!-- begin:{name} -->\n{WITHOUT[name]}\n<!-- end:{name} -->"
        table = path.read_text(encoding="utf-8").strip()
        if name in ONLY:
            table = _part(table, ONLY[name])
        return f"<!-- begin:{name} -->\n{table}\n<!-- end:{name} -->"

    filled = _BLOCK.sub(fill, readme_text)
    if readme_text.count("<!-- begin:") != len(_BLOCK.findall(readme_text)):
        raise ValueError("README: a block begins but does not end, or its markers are not on lines of their own")
    return filled


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
