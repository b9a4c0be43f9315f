"""Detect secrets, and mask them in logs, cards, manifests and messages."""

import base64
import contextlib
import os
import re
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

# Tokens in the formats documented by their issuers; shorter or simpler words are not treated as tokens.
TOKENS = re.compile(
    r"\b(?:(hf_)[A-Za-z0-9]{30,}"  # Hugging Face
    r"|(sk-)(?:[\w-]*[-_])?(?=[A-Za-z]*\d)[A-Za-z0-9]{16,}[\w-]*"  # OpenAI and compatible endpoints
    r"|(gh[pousr]_)[A-Za-z0-9]{36,}|(github_pat_)\w{22,}|(glpat-)[\w-]{20,}"  # GitHub, GitLab
    r"|(A[KS]IA)[A-Z0-9]{16}\b|(AIza)[\w-]{35}|(xox[abeoprs]-)[\w-]{20,}"  # AWS, Google, Slack
    r"|(eyJ)[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,})"  # JSON web tokens
)
HEADER = re.compile(r"(?i)(authorization['\"]?\s*[:=]\s*['\"]?(?:bearer|basic)\s+)[^\s'\"]+")
BEARER = re.compile(r"(?i)\b(bearer\s+)(?=[\w.~+/-]*\d)[\w.~+/-]{16,}=*")
BASIC = re.compile(r"(?i)\b(basic\s+)([A-Za-z0-9+/]{6,}={0,2})")
# A password in a URL, or a long user name with digits, which is a token.
ADDRESS = re.compile(r"(://)(?:[^/\s:@]*:[^/\s@]+|(?=[^/\s@]*\d)[^/\s:@]{16,})@")
# The query of a URL, which in signed download links contains a credential.
QUERY = re.compile(r"(https?://[^\s'\"?]+)\?[^\s'\")>]+")
SIGNED = re.compile(
    r"(?i)://\S*[?&;](?:(?:[\w.-]*[-_])?(?:token|sig|signature|auth|secret|passw(?:or)?d|credential)"
    r"|(?:[\w.-]*(?:api|access|secret|private)[-_]?)?key(?:id)?)="
)
# Config keys whose value is always a secret, and keys (such as pad_token) whose value may be one.
SECRET_KEY = re.compile(
    r"(?i)^token$|(^|_)(secret|passw(or)?d|credentials?|(api|access|secret|private)_?key"
    r"|(access|api|auth|bearer|hf|hub|refresh)_?token)$"
)
TOKEN_KEY = re.compile(r"(?i)token$")
OPAQUE = re.compile(r"(?=\S*\d)(?=\S*[A-Za-z])[\w.~+/=-]{16,}")
# Names of environment variables that hold secrets; `also_mask` adds those named in a config.
NAMES = re.compile(r"(?i)(token|secret|passw(or)?d|api_?key|access_?key|credentials?)$")
SHORTEST = 6  # characters; masking shorter values would mask ordinary words
_more: set[str] = set()


def also_mask(variable: str) -> None:
    """Mask the value of this environment variable from now on, regardless of its name."""
    _more.add(variable)


def _values() -> list[str]:
    """Values of environment variables that hold secrets, longest first."""
    secrets = {value for name, value in os.environ.items() if name in _more or NAMES.search(name)}
    return sorted((value for value in secrets if len(value) >= SHORTEST), key=len, reverse=True)


def mask(text: str) -> str:
    """Mask secrets from the environment, tokens, passwords in URLs, and the queries of (signed) links in a text."""
    return QUERY.sub(r"\1?***", _without_words(text))


def _without_words(text: str) -> str:
    """`mask`, except for queries of links."""
    for value in _values():
        text = text.replace(value, "***")
    text = TOKENS.sub(lambda match: f"{next(filter(None, match.groups()))}***", text)
    text = HEADER.sub(r"\1***", text)
    text = BASIC.sub(lambda match: f"{match[1]}***" if _is_login(match[2]) else match[0], text)
    return ADDRESS.sub(r"\1***@", BEARER.sub(r"\1***", text))


def _is_login(encoded: str) -> bool:
    """Whether this is `name:password` in base64, as in HTTP basic authentication."""
    try:
        decoded = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        return False
    return b":" in decoded and decoded.isascii() and decoded.decode("ascii").isprintable()


def mask_all(value: Any) -> Any:
    """Apply `mask` to every string in a JSON value."""
    if isinstance(value, dict):
        return {key: mask_all(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [mask_all(entry) for entry in value]
    return mask(value) if isinstance(value, str) else value


class _Masked:
    """A text stream that masks secrets in what is written to it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        return self.stream.write(mask(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def masked_output() -> Iterator[None]:
    """Mask secrets in everything that this process prints: messages, tracebacks, logs of libraries."""
    out, err = (cast(TextIO, _Masked(stream)) for stream in (sys.stdout, sys.stderr))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield


def holds_secret(key: str, value: str) -> bool:
    """Whether a config entry is a secret, judged by its key (`api_key`) or the format of its value.

    >>> holds_secret("api_key", "x1"), holds_secret("pad_token", "<pad>"), holds_secret("plain", "basic research")
    (True, False, False)
    >>> holds_secret("url", "https://me:word@example.org/v1"), holds_secret("url", "https://example.org/v1?download=1")
    (True, False)
    """
    if value and (SECRET_KEY.search(key) or (TOKEN_KEY.search(key) and OPAQUE.fullmatch(value))):
        return True
    return bool(SIGNED.search(value)) or _without_words(value) != value
