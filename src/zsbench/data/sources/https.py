"""Source kind `https`: one file with its SHA-256; an interrupted download resumes where it stopped."""

import hashlib
import http.client
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from zsbench.data.errors import DISK_FULL, FetchError
from zsbench.data.sources.hub import Repo, Revision, check_space
from zsbench.store.fields import EntryError, Inside, Sha256, Strict, Url, absent
from zsbench.store.progress import progress_logger

ATTEMPTS = 5  # consecutive attempts without a new byte before giving up
WAIT_SECONDS = 1.0  # after the first failed attempt; doubles each time
LONGEST_WAIT = 120.0  # seconds; give up if a server asks for a longer wait
TIMEOUT_SECONDS = 30.0
BLOCK = 1 << 20


class Https(Strict):
    """One file at a URL, with its sha256."""

    kind: Literal["https"]
    url: Url
    sha256: Sha256
    files: Annotated[list[Inside], Field(min_length=1, max_length=1)] | None = absent("local file name")
    repo: Repo | None = absent("hub repository under which a mirror may hold the file")
    repo_type: Literal["dataset", "model"] | None = absent("type of that repository")
    revision: Revision | None = absent("revision of that repository")

    @model_validator(mode="after")
    def _can_be_asked(self) -> Any:
        try:
            address(self.model_dump())
        except FetchError as error:
            raise EntryError("url", str(error)) from None
        return self

    def delivered(self) -> list[str]:
        """Names, or patterns, of the files that the source is fetched as."""
        return [file_name(self.model_dump())]


def file_name(source: dict[str, Any]) -> str:
    """Path of an https source's file, relative to its folder."""
    return source.get("files", [urllib.parse.urlsplit(source["url"]).path.rpartition("/")[2]])[0]


def address(source: dict[str, Any]) -> str:
    """The URL to request for an https source, with spaces and non-ASCII characters encoded.

    Raises:
        FetchError: not an https URL, no valid host or port, or no file name.
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
        raise FetchError(f"{url}: not an https URL; allowed: https only")
    if not name:
        raise FetchError(f"{url}: has no file name; set `files`, for example `files: [rows.csv]`")
    netloc = parts.netloc if parts.netloc.isascii() else host + (f":{port}" if port else "")
    path, query = (urllib.parse.quote(part, safe="%/?:@!$&'()*+,;=~") for part in (parts.path, parts.query))
    return urllib.parse.urlunsplit((parts.scheme, netloc, path, query, ""))


def fetch_https(source: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Download one file and check its checksum.

    Args:
        source: `url`, `sha256`, optional `files` (one name, the file's path below `folder`).
        folder: where the file goes; a partial file from an earlier attempt is resumed.

    Returns:
        Facts for the manifest: `origin`, `revision`, `verified`.

    Raises:
        FetchError: invalid URL, server unreachable, request refused, wrong checksum, or no disk space.
    """
    address(source)  # reject an invalid URL before deriving a file name from it
    download(source["url"], folder / file_name(source), source["sha256"])
    revision = source.get("revision", source["sha256"][:12])
    return {"origin": f"https:{source['url']}", "revision": revision, "verified": "preset"}


def download(url: str, target: Path, pinned: str, algorithm: str = "sha256", by: str = "the preset") -> None:
    """Download a URL to `target`, resuming a partial file of an earlier attempt, and check its checksum.

    Also for kinds of sources with other checksums: see `docs/adding/source-kind.md`.

    Args:
        pinned: the expected checksum, in hexadecimal.
        algorithm: its name in `hashlib`.
        by: where the checksum comes from, for the message.

    Raises:
        FetchError: server unreachable, request refused, wrong checksum, or no disk space.
    """
    request = address({"url": url, "files": [target.name]})
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    doubt = ""
    if not target.is_file():
        continued = part.exists()
        doubt = _download(request, part, pinned, algorithm)
        if continued and _sum(part, algorithm) != pinned:
            part.unlink()  # the partial file was of other content: start over
            doubt = _download(request, part, pinned, algorithm)
        part.replace(target)
    actual = _sum(target, algorithm)
    if actual != pinned:
        target.unlink()
        cause = doubt or "The publisher changed the file, or something in between did"
        raise FetchError(
            f"{url}: {algorithm} is {actual}, {by} pins {pinned}. {cause}: find out which before pinning the new sum"
        )


def _sum(path: Path, algorithm: str) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, algorithm).hexdigest()


def _download(url: str, part: Path, pinned: str, algorithm: str) -> str:
    """Append to `part` until it is complete, retrying after cut connections and when a server asks to wait.

    If the server does not send a length, only the checksum shows whether the stream was complete.

    Returns:
        A possible reason for a wrong checksum if the length is unknown; "" if the file is known to be complete.
    """
    failures, last = 0, ""
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            complete = _attempt(url, part, before)
            if complete or (complete is None and _sum(part, algorithm) == pinned):
                return ""
            problem, wait = "the connection was cut", 0.0
            if complete is None:
                problem = f"it ended after {part.stat().st_size} bytes and the server did not say how many there are"
                if (checksum := _sum(part, algorithm)) == last:
                    return f"Twice {problem}: it was cut short or the publisher changed the file"
                last = checksum
        except urllib.error.HTTPError as error:
            if error.code == 416:  # range not satisfiable: nothing left to send
                return ""
            if error.code not in (408, 429, 500, 502, 503, 504):
                raise FetchError(f"{url}: the server answered {error.code} {error.reason}; check the address") from None
            problem = f"the server answered {error.code}"
            wait = float(value) if (value := error.headers.get("Retry-After", "")).isdigit() else 0.0
        except (OSError, http.client.HTTPException) as error:
            if getattr(error, "errno", None) in DISK_FULL:
                raise
            problem, wait = f"{type(error).__name__}: {error}", 0.0
        grown = part.exists() and part.stat().st_size > before
        failures = 1 if grown else failures + 1
        if failures >= ATTEMPTS or wait > LONGEST_WAIT:
            raise FetchError(
                f"{url} could not be downloaded: {problem}. Check the network and run again (the download resumes), "
                "or set ZSBENCH_MIRROR to a folder with the file"
            )
        wait = max(wait, 0.0 if grown else WAIT_SECONDS * 2 ** (failures - 1))
        progress_logger("fetch")(f"{problem}; trying again in {wait:.0f} s")
        time.sleep(wait)


def _attempt(url: str, part: Path, start: int) -> bool | None:
    """One request; returns whether the file is complete, or None if its length is unknown."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
        continues = response.status == 206
        length = response.length  # None also for an invalid Content-Length
        if length is not None:
            check_space(length - (0 if continues else start), part.parent)  # overwriting frees `start` bytes
        with part.open("ab" if continues else "wb") as handle:
            written = 0
            try:
                while block := response.read(BLOCK):
                    handle.write(block)
                    written += len(block)
            except http.client.IncompleteRead as cut:
                handle.write(cut.partial)
                return False
    return None if length is None else written >= length
