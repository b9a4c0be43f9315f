"""The error of a user's input, and the words of its messages. Imports nothing heavy."""

import difflib
from collections.abc import Iterable
from typing import Any

from zsbench.store.secrets import mask


class ConfigError(ValueError):
    """Input that cannot be run with. The message names the key, the value and what is allowed, and holds no secret."""

    def __init__(self, message: str) -> None:
        super().__init__(mask(message))


def suggest(value: Any, allowed: Iterable[Any]) -> str:
    """`; did you mean 'x'? allowed: a, b, c` for a word that is not among `allowed`."""
    options = sorted(map(str, allowed))
    close = difflib.get_close_matches(str(value)[:80], options, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    return f"{hint} allowed: {', '.join(options) or 'none'}"
