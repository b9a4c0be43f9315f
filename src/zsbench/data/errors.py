"""Errors of the data stage. Their messages are what a user reads: they say what to do next, and never hold a secret."""

import errno

from zsbench.store.secrets import mask

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class FetchError(RuntimeError):
    """A source could not be had, or is not what its preset pins. Secrets in the message are masked."""

    def __init__(self, message: str) -> None:
        super().__init__(mask(message))


class DataError(ValueError):
    """A file was fetched but its rows are not what its preset promises."""
