"""Invalid and merely unusual texts and labels, for the tests of all systems."""

LABELS = ["money", "chips"]
REFUSED = {
    "a text in place of a list": ("markets", LABELS, TypeError, "^texts"),
    "a label in place of a list": (["a"], "money", TypeError, "^labels"),
    "None for a text": (["a", None], LABELS, TypeError, r"texts\[1\]"),
    "NaN for a text": (["a", float("nan")], LABELS, TypeError, r"texts\[1\]"),
    "bytes for a text": ([b"a"], LABELS, TypeError, r"texts\[0\]"),
    "half of a pair in a text": (["x\ud800"], LABELS, ValueError, r"texts\[0\]"),
    "no labels": (["a"], [], ValueError, "^labels"),
    "an empty label": (["a"], ["x", ""], ValueError, r"labels\[1\]"),
    "a blank label": (["a"], ["x", " \n"], ValueError, r"labels\[1\]"),
    "None for a label": (["a"], [None, "x"], TypeError, r"labels\[0\]"),
    "half of a pair in a label": (["a"], ["x", "\udfff"], ValueError, r"labels\[1\]"),
}
SCORED = {
    "no texts": ([], LABELS),
    "one label": (["a", "b"], ["money"]),
    "control characters": (["\x00\x01\x1f\x7f", "a\x00b"], LABELS),
    "right to left": (["مرحبا \u202e abc \u202c", "שלום"], LABELS),
    "emoji": (["👩\u200d👩\u200d👧", "😀"], ["😀", "👍🏽"]),
    "no characters": (["", " ", "\n\t\u2028"], LABELS),
    "markers in a label": (["markets"], ["[SEP]", "x [LAB] y", "<<LABEL>> z", "[CLS][PAD]"]),
    "a line break in a label": (["markets"], ["mo\nney", "chips"]),
    "braces in a label": (["markets"], ["{x}", "{}", "{0.__class__}"]),
    "a control character for a label": (["markets"], ["\x00", "chips"]),
    "a long text": (["markets " * 5000], LABELS),
}


def many_labels(count: int) -> list[str]:
    """Distinct labels of two words."""
    return [f"{word} {i}" for i in range(count // 2) for word in ("money", "rising")]
