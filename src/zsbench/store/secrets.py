"""Detect secrets, and mask them in logs, cards, manifests and messages."""

import base64
import contextlib
import os
import re
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

# Tokens by the shapes that those who issue them document; a shorter or plainer word is a word.
TOKENS = re.compile(
    r"\b(?:(hf_)[A-Za-z0-9]{30,}"  # Hugging Face
    r"|(sk-)(?:[\w-]*[-_])?(?=[A-Za-z]*\d)[A-Za-z0-9]{16,}[\w-]*"  # OpenAI and those who copy its endpoint
    r"|(gh[pousr]_)[A-Za-z0-9]{36,}|(github_pat_)\w{22,}|(glpat-)[\w-]{20,}"  # GitHub, GitLab
    r"|(A[KS]IA)[A-Z0-9]{16}\b|(AIza)[\w-]{35}|(xox[abeoprs]-)[\w-]{20,}"  # AWS, Google, Slack
    r"|(eyJ)[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,})"  # JSON web tokens
)
HEADER = re.compile(r"(?i)(authorization['\"]?\s*[:=]\s*['\"]?(?:bearer|basic)\s+)[^\s'\"]+")
BEARER = re.compile(r"(?i)\b(bearer\s+)(?=[\w.~+/-]*\d)[\w.~+/-]{16,}=*")
BASIC = re.compile(r"(?i)\b(basic\s+)([A-Za-z0-9+/]{6,}={0,2})")
# A password in an address, or a long name with digits, which is a token.
ADDRESS = re.compile(r"(://)(?:[^/\s:@]*:[^/\s@]+|(?=[^/\s@]*\d)[^/\s:@]{16,})@")
# Whatever signs a download link: its query holds a credential.
QUERY = re.compile(r"(https?://[^\s'\"?]+)\?[^\s'\")>]+")
SIGNED = re.compile(
    r"(?i)://\S*[?&;](?:(?:[\w.-]*[-_])?(?:token|sig|signature|auth|secret|passw(?:or)?d|credential)"
    r"|(?:[\w.-]*(?:api|access|secret|private)[-_]?)?key(?:id)?)="
)
# Keys of a config whose every value would be a secret, and those (pad_token) whose value may be one.
SECRET_KEY = re.compile(
    r"(?i)^token$|(^|_)(secret|passw(or)?d|credentials?|(api|access|secret|private)_?key"
    r"|(access|api|auth|bearer|hf|hub|refresh)_?token)$"
)
TOKEN_KEY = re.compile(r"(?i)token$")
OPAQUE = re.compile(r"(?=\S*\d)(?=\S*[A-Za-z])[\w.~+/=-]{16,}")
# Environment variables that hold secrets, by name; `also_mask` adds those that a config names.
NAMES = re.compile(r"(?i)(token|secret|passw(or)?d|api_?key|access_?key|credentials?)$")
SHORTEST = 6  # characters; a shorter value would blot out plain words
_more: set[str] = set()


def also_mask(variable: str) -> None:
    """Mask this environment variable's value from now on, whatever its name is."""
    _more.add(variable)


def _values() -> list[str]:
    """Values of the environment's secrets, the longest first."""
    secrets = {value for name, value in os.environ.items() if name in _more or NAMES.search(name)}
    return sorted((value for value in secrets if len(value) >= SHORTEST), key=len, reverse=True)


def mask(text: str) -> str:
    """`text` without secrets of the environment, tokens, passwords in addresses and the queries of (signed) links."""
    return QUERY.sub(r"\1?***", _without_words(text))


def _without_words(text: str) -> str:
    """`mask` but for the queries."""
    for value in _values():
        text = text.replace(value, "***")
    text = TOKENS.sub(lambda match: f"{next(filter(None, match.groups()))}***", text)
    text = HEADER.sub(r"\1***", text)
    text = BASIC.sub(lambda match: f"{match[1]}***" if _is_login(match[2]) else match[0], text)
    return ADDRESS.sub(r"\1***@", BEARER.sub(r"\1***", text))


def _is_login(encoded: str) -> bool:
    """Whether this is `name:password` in base64, as HTTP's basic authentication sends it."""
    try:
        decoded = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        return False
    return b":" in decoded and decoded.isascii() and decoded.decode("ascii").isprintable()


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

    >>> holds_secret("api_key", "x1"), holds_secret("pad_token", "<pad>"), holds_secret("plain", "basic research")
    (True, False, False)
    >>> holds_secret("url", "https://me:word@example.org/v1"), holds_secret("url", "https://example.org/v1?download=1")
    (True, False)
    """
    if value and (SECRET_KEY.search(key) or (TOKEN_KEY.search(key) and OPAQUE.fullmatch(value))):
        return True
    return bool(SIGNED.search(value)) or _without_words(value) != value
