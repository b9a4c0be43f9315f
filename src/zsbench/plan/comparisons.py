"""The comparisons of a run: the pairs of systems behind the tables of differences.

First the pairs of each suite, then the ablation contrasts: variants that differ in exactly one factor, derived from the
overrides in the config.
"""

import dataclasses
import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

from gliznet.options import GliZNetOptions
from zsbench.plan.claims import compared
from zsbench.plan.suites import ARGMAX, FIXED, METRICS, OF_THE_CARD, PROTOCOLS, is_random, suite_systems

CLAIMS = "claims"  # the table of pairs that claims compare


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
    corrected: bool = True  # in the family of tests that are corrected; not for controls and sums of other comparisons


@dataclass(frozen=True)
class Contrast:
    """One comparison of an ablation: `system` minus `baseline`, both system ids.

    `factor` is the only factor that differs, or `compound NAME (n factors)` for a compound of the config; `levels` are
    those of both sides in words.
    """

    system: str
    baseline: str
    factor: str
    levels: str


def pairs_of(spec: dict[str, Any], suite: str, available: Collection[tuple[str, str, str]]) -> list[Pair]:
    """All pairs of a suite; those with a control are not corrected. `available`: as in `multi_pairs`."""
    if spec["suites"][suite]["task"] == "single":
        pairs = [*single_pairs(spec, suite), *claim_pairs(spec, suite, available)]
    else:
        pairs = [*multi_pairs(spec, suite, available), *hybrid_pairs(spec, suite, available)]
        pairs += claim_pairs(spec, suite, available)
    controls = {system["id"] for system in spec["systems"] if system["control"]}
    return [
        pair if controls.isdisjoint((pair.system, pair.baseline)) else replace(pair, corrected=False) for pair in pairs
    ]


def claim_pairs(spec: dict[str, Any], suite: str, available: Collection[tuple[str, str, str]]) -> Iterator[Pair]:
    """Pairs that claims compare; `available`: as in `multi_pairs`."""
    if spec["suites"][suite]["task"] == "single":
        decided = [(ARGMAX, "test")]
    else:
        decided = _decided(spec, suite, available)
    for (first, second), (protocol, split) in itertools.product(compared(spec, suite), decided):
        if all((split, name, protocol) in available for name in (first, second)):
            yield Pair(CLAIMS, suite, split, first, protocol, second, protocol)


def suite_table(suite: str) -> str:
    """Name of the table of a single-label suite."""
    return f"{suite}_suite"


def deltas_table(suite: str) -> str:
    """Name of the table of differences of a multi-label suite."""
    return f"{suite}_deltas"


def single_pairs(spec: dict[str, Any], suite: str) -> Iterator[Pair]:
    """Pairs of a single-label suite: each other system against the reference, ablation contrasts, trained peers."""
    systems = {system["id"]: system for system in suite_systems(spec, suite)}
    named = spec["statistics"]["system"]

    def pair(table: str, system: str, baseline: str) -> Pair:
        return Pair(table, suite, "test", system, ARGMAX, baseline, ARGMAX)

    if named in systems:
        for other in systems.values():
            if other["id"] != named and not is_random(other):
                yield pair(suite_table(suite), other["id"], named)
    for item in derive(spec["gliznet"]):
        yield replace(pair("ablations", item.system, item.baseline), factor=item.factor, levels=item.levels)
    for first, second in itertools.combinations(peers(spec, suite), 2):
        yield pair("peers", first, second)


def peers(spec: dict[str, Any], suite: str) -> list[str]:
    """The reference system, then every trained system that is not a GliZNet."""
    systems = {system["id"]: system for system in suite_systems(spec, suite)}
    named = spec["statistics"]["system"]
    trained = [name for name, system in systems.items() if system["trained"] and system["family"] != "gliznet"]
    return [named, *trained] if named in systems and named not in trained else trained


def multi_pairs(spec: dict[str, Any], suite: str, available: Collection[tuple[str, str, str]]) -> Iterator[Pair]:
    """Pairs of a multi-label suite; the factor names the question that a pair answers.

    - `system`: a system against an NLI system under the same protocol;
    - `thresholds`: a system with fitted thresholds against itself at 0.5;
    - `system + thresholds`: a system with fitted thresholds against an NLI system at 0.5, as often reported in headline
      numbers. It confounds the two above, so it is not part of the corrected tests.
    Baselines are all systems of family `nli`. If the headline metric is computed from scores, thresholds do not matter,
    so only systems are compared.

    Args:
        available: (split, system, protocol) triples that every data set of the suite has.
    """
    systems = suite_systems(spec, suite)
    baselines = [entry["id"] for entry in systems if entry["family"] == "nli"]
    thresholds = METRICS[spec["suites"][suite]["metric"]].reads == "counts"
    for (protocol, split), system in itertools.product(_decided(spec, suite, available), systems):
        name, control = system["id"], system["control"]
        if (split, name, protocol) not in available:  # no such split, or a protocol that the run does not use
            continue
        if is_random(system):
            continue
        itself = Pair(suite, suite, split, name, protocol, name, FIXED, "thresholds")
        if thresholds and protocol != FIXED and not control and (split, name, FIXED) in available:
            yield itself
        for baseline in baselines:
            if baseline == name:
                continue
            yield replace(itself, baseline=baseline, baseline_protocol=protocol, factor="system")
            if thresholds and protocol != FIXED and (split, baseline, FIXED) in available:
                yield replace(itself, baseline=baseline, factor="system + thresholds", corrected=False)


def _decided(spec: dict[str, Any], suite: str, available: Collection[tuple[str, str, str]]) -> list[tuple[str, str]]:
    """(protocol, split) to compare: all, or the first protocol of each split if the metric is computed from scores."""
    tested = {protocol: splits for protocol, splits in PROTOCOLS.items() if protocol not in OF_THE_CARD}
    every = [(protocol, split) for protocol, splits in tested.items() for split in splits]
    if METRICS[spec["suites"][suite]["metric"]].reads == "counts":
        return every
    there = {(protocol, split) for split, _, protocol in available}
    first = {split: protocol for protocol, split in reversed(every) if (protocol, split) in there}
    return [(protocol, split) for split, protocol in first.items()]


HYBRID_FACTORS = {  # setting of a hybrid -> name of the factor
    "blend": "blend of NLI and heads",
    "template": "hypothesis template",
    "training.blend_weight": "blend term of the loss",
    "training.kl_weight": "KL term of the loss",
    "nli": "NLI model",
}
NAMES_ONLY = ("id", "hybrid", "seed")


def hybrid_contrasts(spec: dict[str, Any], suite: str) -> Iterator[Contrast]:
    """The contrast of every trained hybrid that differs from the first in exactly one setting.

    This yields the attribution (heads alone, equal blend, or NLI alone against the learned blend), the blend term and
    the template. A hybrid that differs in several settings is not a contrast.
    """
    hybrids = [entry for entry in suite_systems(spec, suite) if entry["family"] == "hybridnli" and entry["trained"]]
    for other in hybrids[1:]:
        first, second = flat(other["settings"]), flat(hybrids[0]["settings"])
        changed = [key for key in second if first.get(key) != second[key]]
        if len(changed) == 1:
            levels = f"{first.get(changed[0])} vs {second[changed[0]]}"
            yield Contrast(other["id"], hybrids[0]["id"], HYBRID_FACTORS.get(changed[0], changed[0]), levels)


def hybrid_pairs(spec: dict[str, Any], suite: str, available: Collection[tuple[str, str, str]]) -> Iterator[Pair]:
    """Ablations of the hybrid under every protocol that both sides have. `available`: as in `multi_pairs`."""
    table, decided = deltas_table(suite), _decided(spec, suite, available)
    for one, (protocol, split) in itertools.product(hybrid_contrasts(spec, suite), decided):
        if all((split, name, protocol) in available for name in (one.system, one.baseline)):
            yield Pair(table, suite, split, one.system, protocol, one.baseline, protocol, one.factor, one.levels)


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten settings to dotted keys, without keys that are only names."""
    dotted: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            dotted |= flat(value, f"{prefix}{key}.")
        elif prefix or key not in NAMES_ONLY:
            dotted[prefix + key] = value
    return dotted


PREFIX = "gliznet-"  # variant `full` is system `gliznet-full`

# Factor -> the option keys that set it. Keys that are not listed are factors themselves.
FACTORS = {
    "VICReg": ("vicreg", "vicreg_weight"),
    "margin": ("margin",),
    "BCE weight": ("bce_weight",),
    "texts without a false label": ("samples_without_negatives",),
    "softmax weight": ("softmax_weight",),
    "text representation": ("text_repr",),
    "label representation": ("label_repr",),
    "head": ("head",),
    "head start": ("head_init", "identity_scale", "identity_offset"),
    "truncation": ("truncation",),
    "label order": ("order_invariant", "label_reserve"),
    "label context": ("label_context",),
}
_FACTOR_OF = {key: factor for factor, keys in FACTORS.items() for key in keys}
_RANK = {key: rank for keys in FACTORS.values() for rank, key in enumerate(keys)}  # levels do not name the first key
DEFAULTS = {option.name: option.default for option in dataclasses.fields(GliZNetOptions)}


def levels(options: dict[str, Any]) -> dict[str, str]:
    """{factor: level in words} for the factors set in `options`.

    With a VICReg weight of 0, its variant is irrelevant, so `off` is a single level for all variants.
    """
    by_factor: dict[str, list[str]] = {}
    for key in sorted(options, key=lambda key: (_RANK.get(key, 0), key)):
        words = key.replace("_", " ")
        prefix = f"{words} " if _RANK.get(key, 0) else ""
        by_factor.setdefault(_FACTOR_OF.get(key, words), []).append(prefix + _level(options[key]))
    joined = {factor: ", ".join(parts) for factor, parts in by_factor.items()}
    if options.get("vicreg_weight") == 0:
        joined["VICReg"] = "off"
    return joined


def _level(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def differing(gliznet: dict[str, Any], variant: str, against: str) -> dict[str, tuple[str, str]]:
    """{factor: (level of `variant`, level of `against`)} for the factors in which two variants differ."""
    settings = [gliznet["base"] | gliznet["variants"][name] for name in (variant, against)]
    defaults = {key: DEFAULTS[key] for key in sorted({*settings[0], *settings[1]})}
    first, second = (levels(defaults | options) for options in settings)
    return {factor: (first[factor], second[factor]) for factor in sorted(first) if first[factor] != second[factor]}


def derive(gliznet: dict[str, Any]) -> Iterator[Contrast]:
    """Every pair of variants that differ in one factor, then every compound.

    The variant with more overrides comes first, so that the delta is the effect of the change; in a tie, the later one
    in the config.

    Args:
        gliznet: `base`, `variants` (overrides) and `compounds` (name -> [variant, against]) of the config.
    """
    variants, compounds = gliznet["variants"], gliznet["compounds"]

    def contrast(variant: str, against: str, compound: str = "") -> Contrast:
        found = differing(gliznet, variant, against)
        if len(found) == 1:
            ((factor, sides),) = found.items()
        else:
            factor = f"compound {compound} ({len(found)} factors)"
            first, second = (", ".join(f"{key}: {pair[side]}" for key, pair in found.items()) for side in (0, 1))
            sides = first, second
        return Contrast(PREFIX + variant, PREFIX + against, factor, " vs ".join(sides))

    named = {frozenset(pair) for pair in compounds.values()}
    names = list(variants)
    for later, earlier in ((later, earlier) for index, later in enumerate(names) for earlier in names[:index]):
        if len(differing(gliznet, later, earlier)) == 1 and frozenset((later, earlier)) not in named:
            more = len(variants[earlier]) > len(variants[later])
            yield contrast(earlier, later) if more else contrast(later, earlier)
    for name, (variant, against) in compounds.items():
        yield contrast(variant, against, name)
