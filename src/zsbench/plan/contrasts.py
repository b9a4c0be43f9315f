"""Ablation contrasts: pairs of variants that differ in exactly one named factor, derived from config's overrides."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

PREFIX = "gliznet-"  # a variant `full` is the system `gliznet-full`

# Factor -> the option keys that set it. Keys that are not listed are factors of their own name.
FACTORS = {
    "VICReg": ("vicreg", "vicreg_weight"),
    "margin": ("margin",),
    "BCE weight": ("bce_weight",),
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
_PLACE = {key: place for keys in FACTORS.values() for place, key in enumerate(keys)}  # the first key needs no name
DEFAULT = "default"  # the level of a side that leaves a factor at its default


class ConfoundedContrastError(ValueError):
    """Two variants differ in several factors, so their difference says nothing about any one of them."""


@dataclass(frozen=True)
class Contrast:
    """One comparison of an ablation table: `system` minus `baseline`, both system ids.

    `factor` is the one factor that differs, or `compound NAME (n factors)` for a pair that config names as a compound.
    """

    system: str
    baseline: str
    factor: str
    levels: tuple[str, str]


def levels(options: dict[str, Any]) -> dict[str, str]:
    """Factor -> its level in words, for the factors that `options` sets.

    Switching VICReg off by its weight makes its kind moot, so that `off` is one level whatever kind was named.
    """
    found: dict[str, list[str]] = {}
    for key in sorted(options, key=lambda key: (_PLACE.get(key, 0), key)):
        words = key.replace("_", " ")
        prefix = f"{words} " if _PLACE.get(key, 0) else ""
        found.setdefault(_FACTOR_OF.get(key, words), []).append(prefix + _level(options[key]))
    joined = {factor: ", ".join(parts) for factor, parts in found.items()}
    if options.get("vicreg_weight") == 0:
        joined["VICReg"] = "off"
    return joined


def _level(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def differing(gliznet: dict[str, Any], variant: str, against: str) -> dict[str, tuple[str, str]]:
    """Factors in which two variants differ, with the level of each side ("default" where a side does not set it).

    Raises:
        ValueError: a variant that the config does not have.
    """
    sides = []
    for name in (variant, against):
        if name not in gliznet["variants"]:
            raise ValueError(f"variant {name!r} is not known; available: {', '.join(gliznet['variants'])}")
        sides.append(levels(gliznet["base"] | gliznet["variants"][name]))
    factors = sorted(set(sides[0]) | set(sides[1]))
    pairs = {factor: (sides[0].get(factor, DEFAULT), sides[1].get(factor, DEFAULT)) for factor in factors}
    return {factor: pair for factor, pair in pairs.items() if pair[0] != pair[1]}


def contrast(gliznet: dict[str, Any], variant: str, against: str) -> Contrast:
    """The contrast of two variants.

    Args:
        gliznet: `base`, `variants` (one-factor overrides) and `compounds` (name -> [variant, against]) of the config.

    Raises:
        ConfoundedContrastError: they differ in several factors and no compound names the pair; the message names them.
        ValueError: a variant is unknown, or the two do not differ.
    """
    differences = differing(gliznet, variant, against)
    if not differences:
        raise ValueError(f"variants {variant!r} and {against!r} have the same settings; a contrast needs a difference")
    systems = PREFIX + variant, PREFIX + against
    if len(differences) == 1:
        ((factor, pair),) = differences.items()
        return Contrast(*systems, factor, pair)
    for name, pair_named in gliznet["compounds"].items():
        if list(pair_named) == [variant, against]:
            shown = _side(differences, 0), _side(differences, 1)
            return Contrast(*systems, f"compound {name} ({len(differences)} factors)", shown)
    raise ConfoundedContrastError(
        f"variants {variant!r} and {against!r} differ in {len(differences)} factors ({', '.join(differences)}); their "
        f"difference cannot be put down to one. Compare variants one factor apart, or name the pair under "
        f"gliznet.compounds: NAME: [{variant}, {against}]"
    )


def _side(differences: dict[str, tuple[str, str]], side: int) -> str:
    """One side of a compound in words; just "default" where it sets none of the factors."""
    if all(pair[side] == DEFAULT for pair in differences.values()):
        return DEFAULT
    return ", ".join(f"{factor}: {pair[side]}" for factor, pair in differences.items())


def derive(gliznet: dict[str, Any]) -> Iterator[Contrast]:
    """Every pair of variants one factor apart, then every compound.

    The side with more overrides comes first (its delta says what the change does); of equals the later one in config.
    """
    names = list(gliznet["variants"])
    named = {frozenset(pair) for pair in gliznet["compounds"].values()}
    for index, later in enumerate(names):
        for earlier in names[:index]:
            if len(differing(gliznet, later, earlier)) == 1 and frozenset((later, earlier)) not in named:
                pair = (later, earlier)
                if len(gliznet["variants"][earlier]) > len(gliznet["variants"][later]):
                    pair = (earlier, later)
                yield contrast(gliznet, *pair)
    for variant, against in gliznet["compounds"].values():
        yield contrast(gliznet, variant, against)
