"""Addresses of https sources. Apart from downloading, so that a config can be checked without its code."""

import urllib.parse
from typing import Any

from zsbench.data.errors import FetchError


def file_name(source: dict[str, Any]) -> str:
    """Where the file of an https source lies below its folder."""
    return source.get("files", [urllib.parse.urlsplit(source["url"]).path.rpartition("/")[2]])[0]


def address(source: dict[str, Any]) -> str:
    """The URL of an https source as a server is asked for it: letters beyond ASCII and spaces encoded.

    Raises:
        FetchError: not an https URL, without a valid host or port, or one that names no file.
    """
    url = source["url"]
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
        name = file_name(source)
    except ValueError as error:
        raise FetchError(f"{url}: not a valid address ({error})") from None
    if not host:
        raise FetchError(f"{url}: not a valid address (no host)")
    if parts.scheme != "https" and host not in ("127.0.0.1", "localhost"):
        raise FetchError(f"{url}: only https addresses are fetched")
    if not name:
        raise FetchError(f"{url}: names no file; say in `files` what to call it, for example `files: [rows.csv]`")
    netloc = parts.netloc if parts.netloc.isascii() else host + (f":{port}" if port else "")
    path, query = (urllib.parse.quote(part, safe="%/?:@!$&'()*+,;=~") for part in (parts.path, parts.query))
    return urllib.parse.urlunsplit((parts.scheme, netloc, path, query, ""))
