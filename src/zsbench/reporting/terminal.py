"""A report in the terminal: one screen with the main results, and full tables wrapped to the terminal width."""

import json
import textwrap
from pathlib import Path
from typing import Any

import pandas as pd

from zsbench.plan.plan import Plan
from zsbench.reporting.frames import RunData
from zsbench.reporting.header import header
from zsbench.reporting.readme import averages, written_tables
from zsbench.reporting.render import Table, cells, interval_text, number
from zsbench.store.errors import counted
from zsbench.store.layout import Layout

WIDTH = 100  # maximum columns of the screen
HEIGHT = 36  # maximum lines of the screen
GAP = "  "
SURE = 0.95  # P(best) above which the first system is clearly ahead of the second
OTHER_CONTROLS = (
    "oracle",
    "shuffled-oracle",
    "position-first",
    "position-last",
)  # controls that use the gold label or the label order
ASCII = {
    ord(a): b for a, b in zip("†‡◇¶§°Δ–−×≥", ["+", "#", "^", "!", "$", "@", "delta", "-", "-", "x", ">="], strict=True)
}
# Significant between trainings, or (with one seed) only between these checkpoints.
DIFFERS = ("differs", "checkpoint_differs")


def results_of(reports: Path) -> Path:
    """The folder results/RUN for reports/RUN."""
    return reports.absolute().parent.parent / "results" / reports.absolute().name


def run_data(reports: Path) -> RunData | None:
    """The run behind a report; None if only the report is available."""
    layout = Layout(results_of(reports))
    if not layout.config.is_file():
        return None
    return RunData(layout.root, Plan(**json.loads(layout.config.read_text(encoding="utf-8"))).spec("analysis"))


def summary_screen(reports: Path, width: int = WIDTH) -> str:
    """The main results: facts of the run, ranking per suite, ablations, checks, and where to find more.

    Args:
        reports: `reports/<run>`.
        width: columns per line; there are at most `HEIGHT` lines.
    """
    tables = written_tables(reports)
    run = run_data(reports)
    head = _head(reports.name, run, width)
    tail = [
        *_ablations(tables, width),
        *_topics(tables, width),
        *_checks(tables, width),
        "",
        f"report  {reports / 'index.html'}",
        f"tables  {reports / 'tables'}; in the terminal: zsbench show {reports.name} --all, or --table NAME",
        f"data    {reports.parent.parent / 'results' / reports.name if run else reports / 'tables'}",
    ]
    suites = [table for table in tables.values() if table.kind == "suite"]
    room = HEIGHT - len(head) - len(tail)
    body = [line for table in suites for line in _suite(table, room // len(suites), width)]
    return "\n".join(line[:width] for line in [*head, *body, *tail][:HEIGHT])


def _head(name: str, run: RunData | None, width: int) -> list[str]:
    if run is None:
        return [f"Run {name}"]
    card = header(run)
    facts = "; ".join(f"{key.lower()}: {words}" for key, words in card.facts.items())
    return [f"Run {name}", *textwrap.wrap(card.banner, width), *textwrap.wrap(facts, width)[:2]]


def _suite(table: Table, room: int, width: int) -> list[str]:
    """Systems by average, with the best text-blind control at its rank and the other controls in one line."""
    rows, metric = averages(table)
    whole = rows[rows["n_sets"] == rows["of_sets"]].sort_values("value", ascending=False, kind="stable")
    systems, controls = whole[~whole["control"]], whole[whole["control"]]
    if systems.empty:
        return []
    trivial = controls[~controls["system"].isin(OTHER_CONTROLS)].iloc[:1]
    reference = next(iter(whole[whole["reference"]]["system"]), "")
    lines: list[list[str]] = [["", metric, f"minus {reference}" if reference else ""]]
    most = max(1, room - 9)  # leaves room for the other lines
    shown = pd.concat([systems.iloc[:most], trivial]).sort_values("value", ascending=False, kind="stable")
    lines += [_row(entry) for entry in shown.to_dict("records")]
    names = max(len(line[0]) for line in lines)
    out = ["", f"{rows['suite'].iloc[0]}: average over {counted(int(rows['of_sets'].max()), 'dataset')}"]
    for line, control in zip(lines, [False, *(text[0].startswith("--") for text in lines[1:])], strict=True):
        shown = f"{line[0]:<{names}}{GAP}{line[1]:>8}{GAP}{line[2]}"
        out.append(f"{shown.rstrip()} ".ljust(min(width, names + 42), "-") if control else shown.rstrip())
    if len(systems) > most:
        out.append(f"... {len(systems) - most} more: zsbench show --all")
    others = controls[~controls["system"].isin(trivial["system"])]
    if len(others):
        out += _wrapped("controls: " + ", ".join(f"{one.system} {one.value:.3f}" for one in others.itertuples()), width)
    if legend := _below(systems, any("*" in line[2] for line in lines[1:])):
        out += _wrapped(legend, width)
    return [line[:width] for line in out]


def _wrapped(text: str, width: int) -> list[str]:
    """At most two lines, the second indented."""
    return textwrap.wrap(text, width, subsequent_indent="  ", break_on_hyphens=False, max_lines=2, placeholder=" ...")


def _row(entry: dict[str, Any]) -> list[str]:
    marks = ["*"] if any(entry.get(key) is True for key in DIFFERS) else []
    marks += ["below control"] if entry.get("below") is True else []
    delta = ""
    if pd.notna(entry["delta"]) and not entry["control"]:
        delta = f"{number(entry['delta'], 3, signed=True)} {interval_text(entry['low'], entry['high'])}"
    name = f"-- {entry['system']} (ignores the text)" if entry["control"] else entry["system"]
    beside = " ".join([delta, *marks]).strip()
    return [name, f"{entry['value']:.3f}", beside or ("reference" if entry["reference"] else "")]


def _below(systems: pd.DataFrame, starred: bool) -> str:
    """The meaning of `*` (if shown), and whether the first system is clearly ahead of the second."""
    phrases = ["* differs from the reference after correction"] if starred else []
    if len(systems) < 2 or pd.isna(systems["p_best"].iloc[0]):
        return "; ".join(phrases)
    first, second, p = systems["system"].iloc[0], systems["system"].iloc[1], systems["p_best"].iloc[0]
    apart = "is clearly ahead of" if p >= SURE else "cannot be told apart from"
    return "; ".join([*phrases, f"{first} {apart} {second} (P(best) {p:.2f})"])


def _ablations(tables: dict[str, Table], width: int) -> list[str]:
    if "ablations" not in tables:
        return []
    frame = tables["ablations"].frame
    frame = frame[(frame["dataset"] == "average") & frame["delta"].notna()]
    lines = []
    for verdict, group in frame.groupby("verdict", sort=False):
        each = [f"{row.system} minus {row.baseline} {number(row.delta, 3, signed=True)}" for row in group.itertuples()]
        lines += [f"  {line}" for line in _wrapped(f"{verdict or 'not tested'}: {', '.join(each)}", width - 2)]
    return ["", f"Ablations ({counted(len(frame), 'contrast')})", *lines] if lines else []


def _topics(tables: dict[str, Table], width: int) -> list[str]:
    """The best system of each multi-label suite, under the first protocol of its table."""
    lines = []
    for name, table in tables.items():
        if table.kind != "multi" or table.frame.empty:
            continue
        frame = table.frame[(table.frame["source"] == "measured") & table.frame["macro_f1"].notna()]
        frame = frame[~frame["system"].isin(OTHER_CONTROLS)]
        if frame.empty:
            continue
        shown = frame[(frame["protocol"] == frame["protocol"].iloc[0]) & (frame["split"] == frame["split"].iloc[0])]
        parts = []
        kinds = {"zero-shot": shown[~shown["supervised"]], "trained on its rows": shown[shown["supervised"]]}
        for words, group in kinds.items():
            if len(group):
                best = group.loc[group["macro_f1"].idxmax()]
                parts.append(f"best {words} {best['system']} {best['macro_f1']:.3f}")
        where = f"{shown['protocol'].iloc[0]} on {shown['split'].iloc[0]}"
        lines += _wrapped(f"{name}, macro-F1, {where}: {'; '.join(parts)}", width)
    return ["", *lines] if lines else []


def _checks(tables: dict[str, Table], width: int) -> list[str]:
    if "integrity" not in tables:
        return []
    frame = tables["integrity"].frame
    counts = {key: frame.filter(like=f"{key}:").sum().sum() for key in ("exact", "near")}
    words = [f"{counts['exact']:.0f} exact and {counts['near']:.0f} near copies of test texts in training sets"]
    words += [counted(frame[f"{kind}_texts"].sum(), f"{kind} text") for kind in ("empty", "duplicate")]
    return [f"Checks: {'; '.join(words)}"[:width]]


def table_text(table: Table, width: int) -> str:
    """A table in plain text; columns that do not fit continue below, with the first column repeated."""
    rows = cells(table)
    columns = [[column.title, *(row[i].shown for row in rows)] for i, column in enumerate(table.columns)]
    widths = [max(map(len, column)) for column in columns]
    numeric = [column.kind != "text" for column in table.columns]
    blocks: list[list[int]] = [[]]
    for i in range(1, len(columns)):
        used = widths[0] + sum(len(GAP) + widths[k] for k in blocks[-1])
        if blocks[-1] and used + len(GAP) + widths[i] > width:
            blocks.append([])
        blocks[-1].append(i)
    lines = [table.title, ""]
    for block in blocks:
        for line in range(len(rows) + 1):
            texts = [(columns[i][line], widths[i], numeric[i]) for i in [0, *block]]
            shown = [text.rjust(size) if right else text.ljust(size) for text, size, right in texts]
            lines.append(GAP.join(shown).rstrip()[:width])
        lines.append("")
    for note in table.notes:
        lines += textwrap.wrap(note, width)
    return "\n".join(lines)


def in_ascii(text: str) -> str:
    """The text in ASCII, with marks and symbols replaced."""
    return text.translate(ASCII)


def as_json(tables: dict[str, Table]) -> str:
    """Tables as JSON: name -> rows of tidy numbers."""
    frames = {name: json.loads(table.frame.to_json(orient="records")) for name, table in tables.items()}
    return json.dumps(frames, indent=1, ensure_ascii=False)
