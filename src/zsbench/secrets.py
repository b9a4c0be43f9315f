"""Secrets: what they look like, and how they are kept out of logs, cards, manifests and messages."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

PATTERNS = (
    (re.compile(r"\bhf_[A-Za-z0-9]{6,}"), "hf_***"),
    (re.compile(r"\bsk-[A-Za-z0-9_-]{16,}"), "sk-***"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}"), r"\1 ***"),
    (re.compile(r"(://)[^/\s@]+@"), r"\1***@"),
)
# Whatever signs a download link: its query holds a credential.
QUERY = re.compile(r"(https?://[^\s'\"?]+)\?[^\s'\")>]+")
SIGNED = re.compile(r"(?i)[?&;][^=&#\s]*(token|key|sig|auth|secret|passw|credential)[^=&#\s]*=")
# Environment variables that hold secrets, by name; `also_mask` adds those that a config names.
NAMES = re.compile(r"(?i)(token|secret|passw(or)?d|api_?key|access_?key|credentials?)$")
SHORTEST = 6  # characters; a shorter value would blot out plain words
_more: set[str] = set()


def also_mask(variable: str) -> None:
    """Mask this environment variable's value from now on, whatever its name is."""
    _more.add(variable)


def _values() -> list[str]:
    """Values of the environment's secrets, the longest first."""
    found = {value for name, value in os.environ.items() if name in _more or NAMES.search(name)}
    return sorted((value for value in found if len(value) >= SHORTEST), key=len, reverse=True)


def mask(text: str) -> str:
    """`text` without secrets of the environment, tokens, passwords in addresses and the queries of (signed) links."""
    return QUERY.sub(r"\1?***", _without_words(text))


def _without_words(text: str) -> str:
    """`mask` but for the queries."""
    for value in _values():
        text = text.replace(value, "***")
    for pattern, replacement in PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def mask_all(value: Any) -> Any:
    """`mask` applied to every text of a JSON value."""
    if isinstance(value, dict):
        return {key: mask_all(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [mask_all(entry) for entry in value]
    return mask(value) if isinstance(value, str) else value


class _Masked:
    """A text stream that masks what is written to it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        return self.stream.write(mask(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def masked_output() -> Iterator[None]:
    """Mask all that this process prints: messages, tracebacks, and what other libraries log."""
    out, err = (cast(TextIO, _Masked(stream)) for stream in (sys.stdout, sys.stderr))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield


def holds_secret(key: str, value: str) -> bool:
    """Whether a config's entry is a secret, by its key (`api_key`) or by what it looks like.

    >>> holds_secret("api_key", "x1"), holds_secret("key_variable", "OPENAI_API_KEY")
    (True, False)
    >>> holds_secret("url", "https://me:word@example.org/v1"), holds_secret("url", "https://example.org/v1?download=1")
    (True, False)
    """
    return bool((NAMES.search(key) and value) or SIGNED.search(value) or _without_words(value) != value)
