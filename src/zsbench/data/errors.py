"""Errors of the data stage. Their messages are shown to users and tell them what to do next."""

import errno

from zsbench.store.secrets import mask

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class FetchError(RuntimeError):
    """A source could not be fetched, or does not match its pinned checksum. Secrets in the message are masked."""

    def __init__(self, message: str) -> None:
        super().__init__(mask(message))


class DataError(ValueError):
    """A fetched file does not match its preset."""
