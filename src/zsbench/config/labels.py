"""Checks of labels as people see them: no invisible characters, and no two labels that look the same.

Models see code points, so they would treat labels differently for no visible reason.
"""

import unicodedata

from zsbench.store.fields import EntryError

# Unicode categories of invisible characters. Joiners and flag tags are allowed: they change how letters and emoji look.
INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")
SHAPING = {"\u200c", "\u200d", *map(chr, range(0xE0020, 0xE0080))}


def check_labels(key: str, labels: list[str]) -> None:
    """Reject labels with invisible characters and labels that look the same.

    Raises:
        EntryError: names the label and the code point.
    """
    first: dict[str, str] = {}
    for i, label in enumerate(labels):
        for letter in label:
            if unicodedata.category(letter) in INVISIBLE and letter not in SHAPING:
                name = unicodedata.name(letter, "a control character")
                problem = f"{label!r:.80} contains U+{ord(letter):04X} {name}; allowed: visible characters and spaces"
                raise EntryError(f"{key}.{i}", problem)
        if (same := first.setdefault(fold(label), label)) is not label:
            allowed = "labels that differ in more than case, spaces, character width or Unicode composition"
            raise EntryError(key, f"labels look the same: {ascii(same):.80} and {ascii(label):.80}; allowed: {allowed}")


def fold(label: str) -> str:
    """Canonical form, the same for labels that look the same: NFKC, case-folded, single spaces."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", label).casefold())
    return " ".join(folded.split())
