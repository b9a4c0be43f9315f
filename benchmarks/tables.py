"""The tables of the speed page, from a speed record only."""

import math
from typing import Any

import pandas as pd

from benchmarks.ratios import verdict

# Parts in which systems were timed in the same rounds.
PARTS = {
    "mixed": "mixed texts",
    "pairs": "pairs",
    "many": "pairs, many labels",
    "nli-5": "topics, 5 labels",
    "nli-10": "topics, 10 labels",
}
MEMORY_LIMIT = 200.0  # maximum memory growth in MB
TWIN = "deberta-v3, random"  # not a valid source id, so it cannot clash with one


def backbones(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Measurements by display name of the backbone, in config order."""
    names = {"own": data["spec"]["backbone"], "deberta": TWIN}
    return {names[shape]: data["shapes"][shape] for shape in data["spec"]["shapes"]}


def targets(data: dict[str, Any]) -> pd.DataFrame:
    """Every comparison: how many times faster, with its interval, and whether its goal is met."""
    rows = []
    for backbone, found in backbones(data).items():
        for one in found["ratios"]:
            times, tokens = one["times"][data["clock"]], one["times_tokens"] or math.nan
            rows.append(
                {
                    "backbone": backbone,
                    "comparison": one["comparison"],
                    "precision": one["precision"],
                    "against": one["against"],
                    "labels": "" if one["labels"] is None else str(one["labels"]),
                    "times": times["mean"],
                    "low": times["low"],
                    "high": times["high"],
                    "goal": goal_text(one["goal"], one["at_most"]),
                    "met": verdict(times["low"], times["high"], one["goal"], one["at_most"]),
                    "tokens": tokens,
                    "kernels": times["mean"] / tokens,
                    "mainly": "" if math.isnan(tokens) else "tokens" if tokens**2 > times["mean"] else "kernels",
                    "wall time": one["times"]["wall"]["mean"],
                    "rounds": str(one["rounds"]),
                }
            )
    grown = data["memory"]["growth_mb"]
    memory = {
        "backbone": "tiny",
        "comparison": f"memory growth over {data['memory']['texts']:,} texts, MB",
        "times": grown,
        "goal": goal_text(MEMORY_LIMIT, at_most=True),
        "met": verdict(grown, grown, MEMORY_LIMIT, at_most=True),
    }
    text = ("precision", "against", "labels", "rounds", "mainly")
    return pd.DataFrame([*rows, memory]).fillna(dict.fromkeys(text, ""))


def goal_text(goal: float | None, at_most: bool) -> str:
    """A goal as it is shown: "≥ 1.5" or "≤ 1.05"; "" if there is none."""
    return "" if goal is None else f"{'≤' if at_most else '≥'} {goal:g}"


def mixed(data: dict[str, Any]) -> pd.DataFrame:
    """Every contender on each workload."""
    rows = []
    for backbone, found in backbones(data).items():
        for part, shown in PARTS.items():
            for name, one in found[part].items():
                if name.startswith("products/"):
                    continue
                system, precision = name.split("/")
                rate = one["texts_per_second"][data["clock"]]
                rows.append(
                    {
                        "backbone": backbone,
                        "workload": shown,
                        "labels": one["labels"],
                        "system": system,
                        "precision": precision,
                        "texts": one["texts"],
                        "texts/s": rate["mean"],
                        "low": rate["low"],
                        "high": rate["high"],
                        "pairs/s": one["pairs_per_second"][data["clock"]]["mean"],
                        "tokens per text": one["encoder_tokens"] / one["texts"],
                        "padding efficiency": one["padding_efficiency"],
                    }
                )
    return pd.DataFrame(rows)


def sweep_table(data: dict[str, Any]) -> pd.DataFrame:
    """The sweep over labels and text length: measured speed and operation counts, relative to GliZNet."""
    rows = []
    for backbone, found in backbones(data).items():
        base = {(r["labels"], r["tokens"]): r for r in found["sweep"] if r["system"] == "gliznet"}
        for row in found["sweep"]:
            ours, rate = base[row["labels"], row["tokens"]], row["texts_per_second"][data["clock"]]
            rows.append(
                {
                    "backbone": backbone,
                    **{key: row[key] for key in ("labels", "tokens", "system", "texts")},
                    "texts/s": rate["mean"],
                    "low": rate["low"],
                    "high": rate["high"],
                    "pairs/s": rate["mean"] * row["labels"],
                    "GFLOP a text": row["operations"] / 1e9,
                    "GliZNet faster, measured": ours["texts_per_second"][data["clock"]]["mean"] / rate["mean"],
                    "GliZNet faster, arithmetic": row["operations"] / ours["operations"],
                }
            )
    return pd.DataFrame(rows)


def gates(data: dict[str, Any]) -> pd.DataFrame:
    """Results of the correctness gate."""
    return pd.DataFrame(
        {"backbone": backbone, "precision": precision, "ways": ways}
        | {key.replace("_", " "): value for key, value in facts.items()}
        for backbone, found in backbones(data).items()
        for precision, gate in found["gate"].items()
        for ways, facts in gate.items()
    )


def show(value: Any) -> str:
    """Format a value of a table: numbers with three significant digits."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def markdown(table: pd.DataFrame) -> str:
    """A table in Markdown."""
    rows = [[str(name) for name in table.columns], ["---"] * len(table.columns)]
    rows += [[show(value) for value in row] for row in table.itertuples(index=False)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
