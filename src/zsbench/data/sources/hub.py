"""Source kind `hub`: files of a Hugging Face repository at a commit; code in the repository is never run."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from zsbench.data.errors import DISK_FULL, FetchError
from zsbench.data.sources.files import choose, wrong_sum
from zsbench.store.fields import Inside, Some, Strict, Text, absent, pattern
from zsbench.store.progress import progress_logger

BUSY = (429, 500, 502, 503, 504)
ATTEMPTS = 4
LONGEST_WAIT = 120.0  # seconds; give up if the hub asks for a longer wait
UNLOCKED = (
    "has no commit yet, since lock.yaml does not have it and the hub could not be asked. "
    "Run again with the hub at hand (or `zsbench fetch --lock`), or set ZSBENCH_MIRROR."
)
# Files of a model repository or folder that can be loaded without running code; weights only as safetensors.
CHECKPOINT = ["*.json", "*.txt", "*.model", "*.safetensors", "*.pt"]
Listing = dict[str, dict[str, Any]]
Repo = Annotated[str, pattern(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$", "owner/name")]
Revision = Annotated[str, pattern("^(lock|[0-9a-f]{40})$", "a commit, or lock")]


class Hub(Strict):
    """Files of a Hugging Face repository at a commit."""

    kind: Literal["hub"]
    repo_type: Literal["dataset", "model"]
    repo: Repo
    revision: Revision = Field("lock", description="commit, or lock: the one pinned in lock.yaml")
    branch: Annotated[str, pattern(r"^[A-Za-z0-9][\w./-]*$", "a branch")] | None = absent(
        "branch that `zsbench fetch --lock` resolves to a commit; default: main"
    )
    files: Some[Inside] = Field(description="file names or glob patterns")
    pickled: Inside | None = absent("pickled weights to convert to safetensors")
    licence: Text | None = absent("licence of the repository; that of a data set is in its preset")

    def delivered(self) -> list[str]:
        """Names, or patterns, of the files that the source is fetched as."""
        return self.files


def fetch_hub(source: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Download a preset's files at its commit, and check each against the checksum from the hub or the lock.

    Args:
        source: `repo`, `repo_type` ("dataset" or "model"), `revision` (a commit or "lock"), `files` (names, patterns),
            and its entry in the lock, if any (`lock`).
        folder: where the files go, laid out as in the repository. Complete files found there are not downloaded again.

    Returns:
        Facts for the manifest: `origin`, `revision`, `verified`.

    Raises:
        FetchError: not locked, gated, missing, unreachable, wrong checksum or no disk space; the message tells what to
            do.
    """
    from huggingface_hub import hf_hub_download  # not earlier: its log lines have signed links, and go to masked output

    revision, lock = wanted_revision(source), source.get("lock")
    if revision is None:
        raise FetchError(f"{source['repo']} {UNLOCKED}")
    commit, listing = hub_listing(source, revision)
    if lock is not None:
        listing = {name: lock["files"].get(name, facts) for name, facts in listing.items()}
    there = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())  # complete and partial files
    check_space(sum(facts["bytes"] for facts in listing.values()) - there, folder)
    say = progress_logger("fetch")
    for name, facts in listing.items():
        say(f"{source['repo']} {name}  {facts['bytes'] / 1e6:.1f} MB")
        with explained(source, revision):
            hf_hub_download(source["repo"], name, repo_type=source["repo_type"], revision=commit, local_dir=folder)
        problem = wrong_sum(folder / name, facts)
        if problem:
            (folder / name).unlink()
            raise FetchError(
                f"{source['repo']} {name} at {commit}: {problem}. The file was removed; run again, and if it stays so, "
                "the repository or its lock entry changed: compare them before pinning the new sum."
            )
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # download metadata of huggingface_hub
    return {
        "origin": f"hub:{source['repo_type']}s/{source['repo']}",
        "revision": commit,
        "verified": "lock" if lock else "hub",
    }


def wanted_revision(source: dict[str, Any]) -> str | None:
    """The commit a source is pinned to; None if its preset has no revision, or `lock` and the lock has no entry."""
    revision, lock = source.get("revision"), source.get("lock")
    if revision != "lock":
        return revision
    return lock["revision"] if lock and lock["repo"] == source["repo"] else None


def hub_listing(source: dict[str, Any], revision: str) -> tuple[str, Listing]:
    """The commit of a revision, and size (`bytes`) and checksum of each file that the source names.

    Raises:
        FetchError: the repository or a named file is unavailable.
    """
    with explained(source, revision):
        info = _patiently(lambda: _info(source, revision))
    siblings = {entry.rfilename: entry for entry in info.siblings or []}
    names = choose(list(siblings), source["files"], f"{source['repo']} at {revision}")
    if info.sha is None:
        raise FetchError(f"{source['repo']}: the hub returned no commit for revision {revision!r}")
    return info.sha, {name: _facts(siblings[name]) for name in names}


def _info(source: dict[str, Any], revision: str) -> Any:
    from huggingface_hub import HfApi

    ask = HfApi().dataset_info if source["repo_type"] == "dataset" else HfApi().model_info
    return ask(source["repo"], revision=revision, files_metadata=True)


def _patiently(ask: Callable[[], Any]) -> Any:
    """Retry when the hub is busy, after the time it asks for; the client does this for files but not for listings."""
    from huggingface_hub.errors import HfHubHTTPError

    attempt = 0
    while True:
        try:
            return ask()
        except HfHubHTTPError as error:
            wait = error.response.headers.get("Retry-After", "")
            seconds = float(wait) if wait.isdigit() else 2.0**attempt
            if error.response.status_code not in BUSY or attempt + 1 == ATTEMPTS or seconds > LONGEST_WAIT:
                raise
            progress_logger("fetch")(f"the hub answered {error.response.status_code}; trying again in {seconds:.0f} s")
            time.sleep(seconds)
            attempt += 1


def _facts(entry: Any) -> dict[str, Any]:
    if entry.lfs is not None:
        return {"bytes": entry.lfs.size, "sha256": entry.lfs.sha256}
    return {"bytes": entry.size, "git_sha1": entry.blob_id}


def check_space(wanted: int, folder: Path) -> None:
    """Raise FetchError unless the disk of `folder` has room for `wanted` bytes."""
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise FetchError(
            f"the download needs {wanted / 1e9:.2f} GB but only {free / 1e9:.2f} GB are free in {folder}; free some "
            "space, or run on a larger disk"
        )


@contextmanager
def explained(source: dict[str, Any], revision: str) -> Iterator[None]:
    """Turn the client's errors into a FetchError that tells what to do; the cause may hold signed links, so drop it."""
    try:
        yield
    except Exception as error:
        foreign = type(error).__module__.startswith(("httpx", "httpcore", "huggingface_hub"))
        if getattr(error, "errno", None) in DISK_FULL or not (foreign or isinstance(error, OSError)):
            raise
        message = _explanation(error, source, revision)
    else:
        return
    raise FetchError(message) from None


def _explanation(error: BaseException, source: dict[str, Any], revision: str) -> str:
    """What went wrong with a download, and what to do about it."""
    from huggingface_hub import constants, errors

    if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__ is not None:
        error = error.__cause__
    kind, repo = source["repo_type"], source["repo"]
    address = f"{constants.ENDPOINT}/{'datasets/' if kind == 'dataset' else ''}{repo}"
    login = "log in with `hf auth login` (or set HF_TOKEN)"
    if isinstance(error, errors.GatedRepoError):
        return f"{repo} is gated: accept its terms at {address}, then {login} and run again"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{repo} has no revision {revision!r}: correct its preset, or run `zsbench fetch --lock`"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"there is no {kind} {repo} at {constants.ENDPOINT} (or it is private): check the name, or {login}"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return f"HF_HUB_OFFLINE is set, so {repo} cannot be fetched: unset it for fetch, or set ZSBENCH_MIRROR"
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        hints = {
            401: f"the token is not valid: {login}",
            403: f"access is refused: {login} as somebody who may read it",
            429: f"too many requests: wait some minutes, or {login} for a higher limit",
        }
        return f"{address} at {revision}: the hub answered {status}; {hints.get(status, 'try again later')}"
    return (
        f"{repo} at {revision} could not be downloaded from {constants.ENDPOINT} ({type(error).__name__}: "
        f"{str(error)[:200]}). Check the network and run again (whole files are kept), or set ZSBENCH_MIRROR to a "
        "folder that has it"
    )
