"""Labels as people see them: nothing invisible in one, no two that read alike. Models see code points, and either tell
such labels apart for a reason that nobody sees or drop what is left of them."""

import unicodedata

from zsbench.fields import EntryError

# Characters of these categories are invisible, but for what shapes letters and emoji: joiners, and the tags of flags.
INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")
SHAPING = {"\u200c", "\u200d", *map(chr, range(0xE0020, 0xE0080))}


def check_labels(key: str, labels: list[str]) -> None:
    """Refuse labels that hold what nobody sees, and labels that read alike.

    Raises:
        EntryError: names the label and the code point.
    """
    first: dict[str, str] = {}
    for i, label in enumerate(labels):
        for letter in label:
            if unicodedata.category(letter) in INVISIBLE and letter not in SHAPING:
                name = unicodedata.name(letter, "a control character")
                problem = f"{label!r:.80} holds U+{ord(letter):04X} {name}; allowed: visible characters and spaces"
                raise EntryError(f"{key}.{i}", problem)
        if (same := first.setdefault(fold(label), label)) is not label:
            allowed = "labels that differ by more than case, spaces, width or accents spelt in another way"
            raise EntryError(key, f"labels read alike: {ascii(same):.80} and {ascii(label):.80}; allowed: {allowed}")


def fold(label: str) -> str:
    """One form for all labels that read alike: compatible, composed, lower case, single spaces."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", label).casefold())
    return " ".join(folded.split())
