"""The tables of the speed page, from a speed record only."""

import math
import statistics
from typing import Any

import pandas as pd

from benchmarks.timing import ratio

# Parts in which all systems scored the same texts in the same rounds.
PARTS = {"mixed": "all", "padded": "padded", "pairs": "pairs", "many": "pairs, many labels"}
MEMORY_LIMIT = 200.0  # maximum memory growth in MB when scoring a million texts
TWIN = "deberta-v3, random"  # not a valid source id, so it cannot clash with one


def backbones(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Measurements by display name of the backbone, in config order."""
    names = {"own": data["spec"]["backbone"], "deberta": TWIN}
    return {names[shape]: data["shapes"][shape] for shape in data["spec"]["shapes"]}


def targets(data: dict[str, Any]) -> pd.DataFrame:
    """Every comparison with a target: speed-up in wall time and in CPU time."""
    rows = [
        {
            "backbone": backbone,
            "comparison": one["comparison"],
            "against": one["against"],
            "labels": "" if one["labels"] is None else str(one["labels"]),
            "times": one["times"]["wall"]["median"],
            "low": one["times"]["wall"]["low"],
            "high": one["times"]["wall"]["high"],
            "times (CPU time)": one["times"]["cpu"]["median"],
            "times (encoder tokens)": one.get("times_tokens", math.nan),
            "rounds": str(one["rounds"]),
            "at least": one["at_least"],
            "met": "yes" if one["times"]["wall"]["median"] >= one["at_least"] else "no",
        }
        for backbone, found in backbones(data).items()
        for one in found["ratios"]
    ]
    grown = data["memory"]["growth_mb"]
    memory = {
        "backbone": "tiny",
        "comparison": f"memory growth over {data['memory']['texts']:,} texts, MB (at most)",
        "times": grown,
        "at least": MEMORY_LIMIT,
        "met": "yes" if grown < MEMORY_LIMIT else "no",
    }
    return pd.DataFrame([*rows, memory]).fillna({"against": "", "labels": "", "rounds": ""})


def mixed(data: dict[str, Any]) -> pd.DataFrame:
    """Every contender on the mixed texts."""
    rows = []
    for backbone, found in backbones(data).items():
        limit = found["mixed"]["bare"]["texts_per_second"]["wall"]["median"]
        for part, shown in PARTS.items():
            for name, one in found[part].items():
                rate = one["texts_per_second"]["wall"]
                rows.append(
                    {
                        "backbone": backbone,
                        "workload": shown,
                        "labels": one["labels"],
                        "system": name,
                        "texts": one["texts"],
                        "texts/s": rate["median"],
                        "low": rate["low"],
                        "high": rate["high"],
                        "pairs/s": one["pairs_per_second"]["wall"]["median"],
                        "share of bare encoder": rate["median"] / limit if part == "mixed" else math.nan,
                        "share of matrix products": one.get("share_of_ceiling", math.nan),
                        "padding efficiency": one["padding_efficiency"],
                        "peak MB": one["peak_mb"],
                    }
                )
    return pd.DataFrame(rows)


def latency(data: dict[str, Any]) -> pd.DataFrame:
    """One text at a time."""
    return pd.DataFrame(
        {
            "backbone": backbone,
            "system": name,
            "p50 ms": one["p50"] * 1e3,
            "p95 ms": one["p95"] * 1e3,
            "texts": one["texts"],
        }
        for backbone, found in backbones(data).items()
        for name, one in found["latency"].items()
    )


def sweep_table(data: dict[str, Any]) -> pd.DataFrame:
    """The sweep over labels, text length and batching: measured speed and operation counts, relative to GliZNet."""
    rows = []
    for backbone, found in backbones(data).items():
        base = {(r["labels"], r["tokens"], r["batch"]): r for r in found["sweep"] if r["system"] == "gliznet"}
        for row in found["sweep"]:
            ours, rate = base[row["labels"], row["tokens"], row["batch"]], row["texts_per_second"]["wall"]
            rows.append(
                {
                    "backbone": backbone,
                    **{key: row[key] for key in ("labels", "tokens", "batch", "system", "texts")},
                    "texts/s": rate["median"],
                    "low": rate["low"],
                    "high": rate["high"],
                    "pairs/s": rate["median"] * row["labels"],
                    "GFLOP a text": row["operations"] / 1e9,
                    "GliZNet faster, measured": ours["texts_per_second"]["wall"]["median"] / rate["median"],
                    "GliZNet faster, arithmetic": row["operations"] / ours["operations"],
                }
            )
    return pd.DataFrame(rows)


def compiled(data: dict[str, Any]) -> pd.DataFrame:
    """Speed-up by `torch.compile`, and the number of texts after which it makes up for its warm-up."""
    rows = []
    for backbone, found in backbones(data).items():
        for what, one in found.get("compiled", {}).items():
            if what == "skipped":
                rows.append({"backbone": backbone, "what": f"not measured: {one}"})
                continue
            gain = ratio(one["compiled"], one["eager"])["wall"]
            saved = (statistics.median(r["wall"] for r in one["eager"]) * (1 - 1 / gain["median"])) / one["texts"]
            rows.append(
                {
                    "backbone": backbone,
                    "what": f"{what}, encoder, {one['texts']} texts of mixed lengths",
                    "times faster": gain["median"],
                    "low": gain["low"],
                    "high": gain["high"],
                    "warm-up s": one["warm_up"],
                    "pays after texts": f"{one['warm_up'] / saved:,.0f}" if saved > 0 else "never",
                }
            )
    table = pd.DataFrame(rows)
    return table.fillna({"pays after texts": ""}) if "pays after texts" in table else table


def gates(data: dict[str, Any]) -> pd.DataFrame:
    """Results of the correctness gate."""
    return pd.DataFrame(
        {"backbone": backbone, "ways": ways, **{key.replace("_", " "): value for key, value in facts.items()}}
        for backbone, found in backbones(data).items()
        for ways, facts in found["gate"].items()
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
