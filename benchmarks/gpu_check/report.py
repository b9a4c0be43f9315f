"""The page of a GPU check, from its record."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from benchmarks.tables import markdown


def page(record: dict[str, Any]) -> str:
    """The page in Markdown: what passed, what failed or was skipped, and the numbers."""
    facts, parts = record["environment"], record["parts"]
    lines = [f"# GPU check: {record['device']}", ""]
    if record["dry_run"]:
        lines += ["**A dry run without a GPU, at tiny sizes: nothing here says anything about speed.**", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    lines += [f"- not installed: {', '.join(record['missing']) or 'nothing'}", ""]
    lines += ["## Checks", "", markdown(pd.DataFrame(_checks(record))), ""]
    for title, rows in (
        ("Loss curves", _curves(parts)),
        ("Scoring", _scoring(parts)),
        ("Training", _training(parts)),
        ("bf16 against fp32", _flips(parts)),
        ("DeBERTa's attention", _attention(parts)),
    ):
        table = pd.DataFrame(rows)
        if len(table):
            lines += [f"## {title}", "", NOTES[title], "", markdown(table.fillna("")), ""]
    return "\n".join(lines)


NOTES = {
    "Loss curves": "Largest difference from the CPU's curve in fp32, as a share of its first value.",
    "Scoring": "Precision bf16 (autocast). Tokens are those of the encoder without padding; the share is that of one "
    "large bf16 matrix product on this device; the last column is the paired mean against `gliznet`.",
    "Training": "Optimiser steps in bf16: GliZNet in the shared loop, and the bare encoder as transformers has it.",
    "bf16 against fp32": "Random weights, so margins are small and flips more frequent than with a trained model.",
    "DeBERTa's attention": "Times faster than transformers' own, and largest differences from its states in fp32.",
}


def passed(result: dict[str, Any]) -> bool:
    """Whether all checks of a part hold; true for a part that only measures."""
    nested = (value for value in result.values() if isinstance(value, dict))
    return result.get("ok", True) and all(map(passed, nested))


def _checks(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name in record["planned"]:
        result = record["parts"].get(name)
        if result is None:
            failed = record["failed"].get(name)
            state = f"FAILED: {failed}" if failed else "left out, no time: the same command continues"
        elif "skipped" in result:
            state = f"skipped: {result['skipped']}"
        else:
            state = "ok" if passed(result) else "FAILED: out of tolerance"
        seconds = record["seconds"].get(name)
        yield {"part": name, "result": state, "seconds": "" if seconds is None else seconds}


def _curves(parts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name, result in parts.items():
        for precision in ("fp32", "bf16"):
            if isinstance(found := result.get(precision), dict) and "tolerance" in found:
                yield {
                    "what": f"{name}, {precision}",
                    "difference": found["distance"],
                    "tolerance": found["tolerance"],
                    "first loss": found["curve"][0],
                    "last loss": found["curve"][-1],
                }
        if "distance" in result:
            yield {"what": name, "difference": result["distance"], "tolerance": result["tolerance"]}


def _scoring(parts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name, result in parts.items():
        for group in ("joint", "pairs"):
            for one in result.get(group, {}).values():
                yield {
                    "shape": name.removeprefix("scoring: "),
                    "way": one["title"],
                    "texts": one["texts"],
                    "labels": one["labels"],
                    "texts/s": one["texts_per_second"]["wall"]["mean"],
                    "tokens/s": one["tokens_per_second"],
                    "peak MiB": one["peak_mb"],
                    "share of products": one.get("share_of_ceiling", float("nan")),
                    "times gliznet": one["times_gliznet"]["mean"],
                }


def _training(parts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name, result in parts.items():
        if not name.startswith("training: "):
            continue
        for way in ("gliznet", "bare"):
            one = result[way]
            yield {
                "shape": name.removeprefix("training: "),
                "way": way,
                "texts/s": one["texts_per_second"],
                "tokens/s": one["tokens_per_second"],
                "peak MiB": one["peak_mb"],
                "share of products": one["share_of_ceiling"],
            }


def _flips(parts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name, result in parts.items():
        if name.startswith("bf16: "):
            for way, one in result.items():
                yield {"shape": name.removeprefix("bf16: "), "way": way} | {
                    key.replace("_", " "): "" if value is None else value for key, value in one.items()
                }


def _attention(parts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name, result in parts.items():
        if not name.startswith("attention: "):
            continue
        for what in ("one-short", "mixed", "training"):
            for way, one in result[what].items():
                yield {"what": f"{what}: {way}", "times faster": one["mean"], "low": one["low"], "high": one["high"]}
        for way, error in result["errors"].items():
            yield {"what": f"states: {way}", "largest difference": error}
        yield {"what": f"flashdeberta: {result['flashdeberta']}"}
