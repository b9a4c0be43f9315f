"""Errors of the data stage. Their messages are what a user reads: they say what to do next."""


class FetchError(RuntimeError):
    """A source could not be had, or is not what its preset pins."""


class DataError(ValueError):
    """A file was fetched but its rows are not what its preset promises."""
