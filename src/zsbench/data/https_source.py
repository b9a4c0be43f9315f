"""Source kind `https`: one file with its sha256; a cut download continues where it stopped."""

import http.client
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from zsbench.data.errors import DISK_FULL, FetchError
from zsbench.data.hub_source import check_space
from zsbench.progress import say_for
from zsbench.provenance import file_sha256

ATTEMPTS = 5  # in a row without a new byte
WAIT_SECONDS = 1.0  # after the first failed attempt; doubles
LONGEST_WAIT = 120.0  # a server that asks for more patience is given up
TIMEOUT_SECONDS = 30.0
BLOCK = 1 << 20


def fetch_https(source: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Download one file and check its sum.

    Args:
        source: `url`, `sha256`, optional `files` (one name, the file's place below `folder`).
        folder: where the file goes; a part of an earlier attempt is continued.

    Returns:
        Facts for the manifest: `origin`, `revision`, `verified`.

    Raises:
        FetchError: not an https address, unreachable, refused, wrong sum or no space.
    """
    url, host = source["url"], urllib.parse.urlsplit(source["url"]).hostname
    if urllib.parse.urlsplit(url).scheme != "https" and host not in ("127.0.0.1", "localhost"):
        raise FetchError(f"{url}: only https addresses are fetched")
    target = folder / file_name(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    if not target.is_file():
        continued = part.exists()
        _download(url, part)
        if continued and file_sha256(part) != source["sha256"]:
            part.unlink()  # the part was of another content: once more from the start
            _download(url, part)
        part.replace(target)
    found = file_sha256(target)
    if found != source["sha256"]:
        target.unlink()
        raise FetchError(
            f"{url}: sha256 is {found}, the preset pins {source['sha256']}. The publisher changed the file, or "
            "something in between did: find out what changed before pinning the new sum"
        )
    return {"origin": f"https:{url}", "revision": source.get("revision", found[:12]), "verified": "preset"}


def file_name(source: dict[str, Any]) -> str:
    """Where the file of an https source lies below its folder."""
    return source.get("files", [urllib.parse.urlsplit(source["url"]).path.rpartition("/")[2]])[0]


def _download(url: str, part: Path) -> None:
    """Fill `part` from where it ends, with patience for cut connections and for servers that ask to wait."""
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _attempt(url, part, before):
                return
            problem, wait = "the connection was cut", 0.0
        except urllib.error.HTTPError as error:
            if error.code == 416:  # nothing is left to send
                return
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
                f"{url} could not be downloaded: {problem}. Check the network and run again (the part is continued), "
                "or set ZSBENCH_MIRROR to a folder that has the file"
            )
        wait = max(wait, 0.0 if grown else WAIT_SECONDS * 2 ** (failures - 1))
        say_for("fetch")(f"{problem}; trying again in {wait:.0f} s")
        time.sleep(wait)


def _attempt(url: str, part: Path, start: int) -> bool:
    """One request; returns whether the file is complete."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
        continues = response.status == 206
        length = response.headers.get("Content-Length")
        if length is not None:
            check_space(int(length), part.parent)
        with part.open("ab" if continues else "wb") as handle:
            written = 0
            try:
                while block := response.read(BLOCK):
                    handle.write(block)
                    written += len(block)
            except http.client.IncompleteRead as cut:
                handle.write(cut.partial)
                return False
    return length is None or written >= int(length)
