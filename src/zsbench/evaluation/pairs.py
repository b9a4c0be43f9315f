"""Which comparisons a run makes: the pairs behind the tables of differences."""

import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

from zsbench.evaluation.cells import suite_systems
from zsbench.evaluation.contrasts import derive
from zsbench.evaluation.protocols import PROTOCOLS

FIXED = "fixed-0.5"
ARGMAX = "argmax"


@dataclass(frozen=True)
class Pair:
    """One comparison: (system, protocol) minus (baseline, baseline_protocol) on the rows of one split."""

    table: str
    suite: str
    split: str
    system: str
    protocol: str
    baseline: str
    baseline_protocol: str
    factor: str = ""
    levels: str = ""
    corrected: bool = True  # a comparison with a control is a check, not a finding: it stays out of Holm's family


def single_pairs(spec: dict[str, Any], suite: str) -> Iterator[Pair]:
    """Pairs of a single-label suite: the named system against each other one, ablation contrasts, trained peers."""
    systems = {system["id"]: system for system in suite_systems(spec, suite)}
    named = spec["statistics"]["system"]

    def pair(table: str, system: str, baseline: str) -> Pair:
        return Pair(table, suite, "test", system, ARGMAX, baseline, ARGMAX)

    if named in systems:
        for other in systems.values():
            if other["id"] != named:
                yield replace(pair(f"{suite}_suite", named, other["id"]), corrected=not other["control"])
    for item in derive(spec["gliznet"]):
        yield replace(
            pair("ablations", item.system, item.baseline), factor=item.factor, levels=" vs ".join(item.levels)
        )
    for first, second in itertools.combinations(peers(spec, suite), 2):
        yield pair("peers", first, second)


def peers(spec: dict[str, Any], suite: str) -> list[str]:
    """The named system, then every trained one of another kind than GliZNet."""
    systems = {system["id"]: system for system in suite_systems(spec, suite)}
    named = spec["statistics"]["system"]
    trained = [name for name, system in systems.items() if system["trained"] and system["family"] != "gliznet"]
    return [named, *trained] if named in systems and named not in trained else trained


def topic_pairs(spec: dict[str, Any], suite: str, available: Collection[tuple[str, str, str]]) -> Iterator[Pair]:
    """Pairs of the topic suite, each with the question that it answers as its factor.

    - `system`: a system against an NLI system, the protocol being the same;
    - `thresholds`: one system with fitted thresholds against itself at 0.5;
    - `system + thresholds`: fitted thresholds against an NLI system at 0.5, the way headlines are made; it confounds
      the two above.
    Baselines are all systems of family `nli`.

    Args:
        available: (split, system, protocol) that every dataset of the suite has.
    """
    systems = suite_systems(spec, suite)
    baselines = [entry["id"] for entry in systems if entry["family"] == "nli"]
    places = [(protocol, split) for protocol, splits in PROTOCOLS.items() for split in splits]
    for (protocol, split), system in itertools.product(places, systems):
        name, control = system["id"], system["control"]
        if (split, name, protocol) not in available:  # no such split, or a protocol that the run does not ask for
            continue
        itself = Pair(suite, suite, split, name, protocol, name, FIXED, "thresholds", corrected=not control)
        if protocol != FIXED and not control and (split, name, FIXED) in available:
            yield itself
        for baseline in baselines:
            if baseline == name:
                continue
            yield replace(itself, baseline=baseline, baseline_protocol=protocol, factor="system")
            if protocol != FIXED and (split, baseline, FIXED) in available:
                yield replace(itself, baseline=baseline, factor="system + thresholds")
