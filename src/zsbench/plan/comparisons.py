"""Which comparisons a run makes: the pairs behind the tables of differences."""

import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

from zsbench.evaluation.cells import suite_systems
from zsbench.evaluation.protocols import PROTOCOLS
from zsbench.plan.contrasts import derive
from zsbench.systems.controls import RANDOM

FIXED = "fixed-0.5"
ARGMAX = "argmax"
HYBRID_TABLE = "topic_deltas"


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
    corrected: bool = True  # belongs to the family that is tested; checks against controls and sums of others do not


def single_pairs(spec: dict[str, Any], suite: str) -> Iterator[Pair]:
    """Pairs of a single-label suite: the named system against each other one, ablation contrasts, trained peers."""
    systems = {system["id"]: system for system in suite_systems(spec, suite)}
    named = spec["statistics"]["system"]

    def pair(table: str, system: str, baseline: str) -> Pair:
        return Pair(table, suite, "test", system, ARGMAX, baseline, ARGMAX)

    if named in systems:
        for other in systems.values():
            if other["id"] != named and not _random(other):
                yield replace(pair(f"{suite}_suite", named, other["id"]), corrected=not other["control"])
    for item in derive(spec["gliznet"]):
        yield replace(
            pair("ablations", item.system, item.baseline), factor=item.factor, levels=" vs ".join(item.levels)
        )
    for first, second in itertools.combinations(peers(spec, suite), 2):
        yield pair("peers", first, second)


def _random(system: dict[str, Any]) -> bool:
    """A random control: its row in the tables is an expectation, and a delta from one draw would not be."""
    return system["settings"].get("control") in RANDOM


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
      the two above, so it is not tested with them.
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
        if _random(system):
            continue
        itself = Pair(suite, suite, split, name, protocol, name, FIXED, "thresholds", corrected=not control)
        if protocol != FIXED and not control and (split, name, FIXED) in available:
            yield itself
        for baseline in baselines:
            if baseline == name:
                continue
            yield replace(itself, baseline=baseline, baseline_protocol=protocol, factor="system")
            if protocol != FIXED and (split, baseline, FIXED) in available:
                yield replace(itself, baseline=baseline, factor="system + thresholds", corrected=False)


HYBRID_FACTORS = {  # setting of a hybrid -> what the contrast is called
    "blend": "blend of NLI and heads",
    "template": "hypothesis template",
    "training.blend_weight": "blend term of the loss",
    "nli": "NLI model",
}
NAMES_ONLY = ("id", "hybrid", "seed")


def hybrid_contrasts(spec: dict[str, Any], suite: str) -> Iterator[tuple[str, str, str, str]]:
    """(system, baseline, factor, levels): every trained hybrid that differs from the first one in exactly one setting.

    So come the attribution (heads alone, half and half, NLI alone, against the learned blend), v1 against v2 and the
    template. A hybrid that differs in several settings is no contrast.
    """
    hybrids = [entry for entry in suite_systems(spec, suite) if entry["family"] == "hybridnli" and entry["trained"]]
    for other in hybrids[1:]:
        first, second = flat(other["settings"]), flat(hybrids[0]["settings"])
        changed = [key for key in second if first.get(key) != second[key]]
        if len(changed) == 1:
            levels = f"{first.get(changed[0])} vs {second[changed[0]]}"
            yield other["id"], hybrids[0]["id"], HYBRID_FACTORS.get(changed[0], changed[0]), levels


def hybrid_pairs(spec: dict[str, Any], suite: str, available: Collection[tuple[str, str, str]]) -> Iterator[Pair]:
    """The hybrid's ablations under every protocol that both sides have.

    Args:
        available: as in `topic_pairs`.
    """
    places = [(protocol, split) for protocol, splits in PROTOCOLS.items() for split in splits]
    for (system, baseline, factor, levels), (protocol, split) in itertools.product(
        hybrid_contrasts(spec, suite), places
    ):
        if all((split, name, protocol) in available for name in (system, baseline)):
            yield Pair(HYBRID_TABLE, suite, split, system, protocol, baseline, protocol, factor, levels)


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings with dotted keys, without those that only name."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        elif prefix or key not in NAMES_ONLY:
            found[prefix + key] = value
    return found
