"""Labels as people see them: nothing invisible in one, no two that read alike. Models see code points, and either tell
such labels apart for a reason that nobody sees or drop what is left of them."""

import unicodedata

from zsbench.config.load import ConfigError

JOINERS, SELECTORS, FLAG = "\u200c\u200d", "\ufe0e\ufe0f", "\U0001f3f4"
# Invisible, though Unicode calls them letters, marks or symbols: grapheme joiner, fillers, vowels without a form, the
# empty pattern of Braille.
BLANKS = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
SYMBOLS_BY_SELECTOR = "\u203c\u2049\u2139\u3030"  # emoji whose plain form is a letter or punctuation


def check_labels(key: str, labels: list[str]) -> None:
    """Refuse labels that hold what nobody sees, and labels that read alike.

    Raises:
        ConfigError: names the label's place and its code points.
    """
    first: dict[str, str] = {}
    for i, label in enumerate(labels):
        for at, letter in enumerate(label):
            if _invisible(letter) and not _joins_emoji(label, at) and not _shapes_letters(label, at):
                name = unicodedata.name(letter, "a control character")
                raise ConfigError(
                    f"{key}.{i}: {label!r:.80} holds U+{ord(letter):04X} {name}; allowed: visible characters and spaces"
                )
        same = first.setdefault(fold(label), label)
        if same is not label:
            raise ConfigError(
                f"{key}: labels read alike: {_with_points(same)} and {_with_points(label)}; allowed: labels that "
                "differ by more than case, spaces, width or accents spelt in another way"
            )


def fold(label: str) -> str:
    """One form for all labels that read alike: compatible, composed, lower case, single spaces, nothing invisible."""
    seen = "".join(letter for letter in label if letter.isspace() or not _invisible(letter))
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", seen).casefold())
    return " ".join(folded.split())


def _with_points(label: str) -> str:
    points = " ".join(f"U+{ord(letter):04X}" for letter in label if not letter.isascii())
    return f"{label!r:.80}" + (f" ({points:.80})" if points else "")


def _invisible(letter: str) -> bool:
    kind = unicodedata.category(letter)
    selects = "\ufe00" <= letter <= "\ufe0f" or "\U000e0100" <= letter <= "\U000e01ef"
    return kind in ("Cc", "Cf", "Cs", "Zl", "Zp") or letter in BLANKS or selects


def _joins_emoji(label: str, at: int) -> bool:
    """Whether an invisible character is part of an emoji: a selector, a joiner of two, or a tag of a flag."""
    letter, before, after = label[at], label[at - 1 : at], label[at + 1 : at + 2]
    symbols = ("Sc", "Sk", "Sm", "So")
    if not before:
        return False
    if letter in SELECTORS:
        keycap = after == "\u20e3" and before in "0123456789#*"
        return keycap or before in SYMBOLS_BY_SELECTOR or unicodedata.category(before) in symbols
    if letter == "\u200d" and after:
        whole = before in SELECTORS or unicodedata.category(before) in symbols
        return whole and unicodedata.category(after) in symbols
    return "\U000e0020" <= letter <= "\U000e007f" and (before == FLAG or "\U000e0020" <= before <= "\U000e007f")


def _shapes_letters(label: str, at: int) -> bool:
    """Whether a joiner stands where scripts need one: after a virama (Indic), between two Arabic letters (Persian)."""
    before, after = label[at - 1 : at], label[at + 1 : at + 2]
    if label[at] not in JOINERS or not before:
        return False
    arabic = bool(after) and unicodedata.bidirectional(before) == unicodedata.bidirectional(after) == "AL"
    return unicodedata.combining(before) == 9 or arabic
