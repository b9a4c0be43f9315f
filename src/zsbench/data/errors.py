"""Errors of the data stage. Their messages are what a user reads: they say what to do next, and never hold a secret."""

import errno
import os
import re
from typing import Any

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
SECRETS = (
    (re.compile(r"\bhf_[A-Za-z0-9]{6,}"), "hf_***"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}"), r"\1 ***"),
    (re.compile(r"(://)[^/\s@]+@"), r"\1***@"),
    # Whatever signs a download link: its query holds a credential.
    (re.compile(r"(https?://[^\s'\"?]+)\?[^\s'\")>]+"), r"\1?***"),
)


def mask(text: str) -> str:
    """`text` without tokens, passwords in addresses and the queries of (signed) links."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if os.environ.get(name):
            text = text.replace(os.environ[name], "***")
    for pattern, replacement in SECRETS:
        text = pattern.sub(replacement, text)
    return text


def mask_all(value: Any) -> Any:
    """`mask` applied to every text of a JSON value."""
    if isinstance(value, dict):
        return {key: mask_all(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [mask_all(entry) for entry in value]
    return mask(value) if isinstance(value, str) else value


class FetchError(RuntimeError):
    """A source could not be had, or is not what its preset pins. Secrets in the message are masked."""

    def __init__(self, message: str) -> None:
        super().__init__(mask(message))


class DataError(ValueError):
    """A file was fetched but its rows are not what its preset promises."""
