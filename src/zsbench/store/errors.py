"""The error for invalid user input, and helpers for its messages. Imports nothing heavy."""

import difflib
from collections.abc import Iterable
from typing import Any

from zsbench.store.secrets import mask


class ConfigError(ValueError):
    """Invalid user input. The message names the key, the value and the allowed values; secrets are masked."""

    def __init__(self, message: str) -> None:
        super().__init__(mask(message))


def suggest(value: Any, allowed: Iterable[Any]) -> str:
    """`; did you mean 'x'? allowed: a, b, c` for a value that is not in `allowed`."""
    options = sorted(map(str, allowed))
    close = difflib.get_close_matches(str(value)[:80], options, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    return f"{hint} allowed: {', '.join(options) or 'none'}"


def counted(number: float, noun: str) -> str:
    """`1 row`, `1,200 rows`."""
    return f"{number:,.0f} {noun}{'' if number == 1 else 's'}"
