"""https sources against a loopback server with faults: truncated, busy, changed, missing."""

import errno
import hashlib
import threading

import pytest
from hub_server import serve

from zsbench.data.errors import FetchError
from zsbench.data.sources import https as https_source
from zsbench.data.sources.fetch import fetch

CONTENT = bytes(range(256)) * 8000  # 2 MB


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr(https_source, "WAIT_SECONDS", 0.01)
    hub, stop = serve()
    hub.plain["/data/rows.json"] = CONTENT
    yield hub
    stop()


def source(hub, **changes):
    pinned = {"kind": "https", "url": f"{hub.address}/data/rows.json", "sha256": hashlib.sha256(CONTENT).hexdigest()}
    return pinned | changes


def left(manifest):
    return [path for path in manifest.parent.rglob("*") if path.is_file()]


def test_one_file_with_its_sum(hub, tmp_path):
    manifest = fetch(source(hub, files=["data/rows.json"]), tmp_path / "set" / "manifest.json")
    assert (tmp_path / "set/files/data/rows.json").read_bytes() == CONTENT
    assert manifest["verified"] == "preset"
    assert manifest["files"] == [
        {"name": "data/rows.json", "bytes": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}
    ]


@pytest.mark.parametrize("ranges", [True, False])
def test_cut_downloads_continue(hub, tmp_path, ranges):
    hub.ranges = ranges  # a server that ignores ranges sends the whole file again
    hub.fault("GET", "rows.json", cut=700_000, times=2)
    fetch(source(hub), tmp_path / "set" / "manifest.json")
    assert (tmp_path / "set/files/rows.json").read_bytes() == CONTENT
    asked = [headers.get("range") for headers in hub.asked("GET", "rows.json")]
    assert asked[:2] == [None, "bytes=700000-"] and len(asked) == 3


def test_a_failed_fetch_keeps_its_part_for_the_next_one(hub, tmp_path):
    manifest = tmp_path / "set" / "manifest.json"
    hub.fault("GET", "rows.json", cut=500_000)
    hub.fault("GET", "rows.json", times=https_source.ATTEMPTS, cut=0)
    with pytest.raises(FetchError, match="the download resumes"):
        fetch(source(hub), manifest)
    assert not manifest.exists() and not (tmp_path / "set/files").exists()
    hub.faults.clear()
    hub.log.clear()
    fetch(source(hub), manifest)
    assert [headers.get("range") for headers in hub.asked("GET", "rows.json")] == ["bytes=500000-"]


def test_a_part_of_another_content_is_thrown_away(hub, tmp_path):
    manifest = tmp_path / "set" / "manifest.json"
    hub.fault("GET", "rows.json", body=b"old" * 1000, cut=2000)
    hub.fault("GET", "rows.json", status=404)
    with pytest.raises(FetchError, match="404"):
        fetch(source(hub), manifest)
    fetch(source(hub), manifest)
    assert (tmp_path / "set/files/rows.json").read_bytes() == CONTENT


def test_parts_of_another_preset_are_not_continued(hub, tmp_path):
    manifest = tmp_path / "set" / "manifest.json"
    hub.fault("GET", "rows.json", cut=500_000)
    hub.fault("GET", "rows.json", status=404)
    with pytest.raises(FetchError):
        fetch(source(hub), manifest)
    hub.log.clear()
    fetch(source(hub, note="another preset"), manifest)
    assert [headers.get("range") for headers in hub.asked("GET", "rows.json")] == [None]


def test_wrong_sum_leaves_nothing_and_keeps_what_was_fetched_before(hub, tmp_path):
    manifest = tmp_path / "set" / "manifest.json"
    fetch(source(hub), manifest)
    before = manifest.read_bytes()
    with pytest.raises(FetchError) as error:
        fetch(source(hub, sha256="0" * 64), manifest)
    assert "sha256 is" in str(error.value) and "0" * 64 in str(error.value)
    assert manifest.read_bytes() == before and len(left(manifest)) == 2


def test_busy_servers_are_asked_again_and_impatient_ones_given_up(hub, tmp_path):
    hub.fault("GET", "rows.json", status=429, headers={"Retry-After": "0"})
    hub.fault("GET", "rows.json", status=503)
    fetch(source(hub), tmp_path / "set" / "manifest.json")
    hub.fault("GET", "rows.json", status=429, headers={"Retry-After": "3600"})
    with pytest.raises(FetchError, match="answered 429"):
        fetch(source(hub), tmp_path / "other" / "manifest.json")


@pytest.mark.parametrize("length", [None, "2 MB", "-5"])
@pytest.mark.parametrize("ranges", [True, False])
def test_a_stream_of_unknown_length_that_is_cut_is_continued(hub, tmp_path, length, ranges):
    hub.ranges = ranges
    hub.fault("GET", "rows.json", headers={"Content-Length": length}, cut=700_000)
    hub.fault("GET", "rows.json", headers={"Content-Length": length})
    fetch(source(hub), tmp_path / "set" / "manifest.json")
    assert (tmp_path / "set/files/rows.json").read_bytes() == CONTENT
    assert [headers.get("range") for headers in hub.asked("GET", "rows.json")] == [None, "bytes=700000-"]


def test_a_stream_of_unknown_length_that_stays_short_may_be_cut_or_changed(hub, tmp_path):
    hub.ranges = False
    hub.fault("GET", "rows.json", times=9, headers={"Content-Length": None}, cut=700_000)
    with pytest.raises(FetchError, match="it ended after 700000 bytes.* did not say .* cut short or the publisher"):
        fetch(source(hub), tmp_path / "set" / "manifest.json")
    assert len(hub.asked("GET", "rows.json")) == 2, "the same bytes twice: no third look"


def test_an_address_may_have_letters_beyond_ascii_and_spaces(hub, tmp_path):
    hub.plain["/données/a b.json"] = CONTENT
    fetch(source(hub, url=f"{hub.address}/données/a b.json"), tmp_path / "set" / "manifest.json")
    fetch(source(hub, url=f"{hub.address}/donn%C3%A9es/a%20b.json", files=["b"]), tmp_path / "set2" / "manifest.json")
    assert (tmp_path / "set/files/a b.json").read_bytes() == (tmp_path / "set2/files/b").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://example.org/data/", "`files`"),
        ("https://example.org", "`files`"),
        ("https:///rows.json", "no host"),
        ("https://[::1/rows.json", "not a valid address"),
        ("https://example.org:port/rows.json", "not a valid address"),
        (f"https://{'é' * 80}.org/rows.json", "not a valid address"),
    ],
)
def test_an_address_that_cannot_be_asked_is_refused(tmp_path, url, message):
    with pytest.raises(FetchError, match=message):
        fetch({"kind": "https", "url": url, "sha256": "0" * 64}, tmp_path / "set" / "manifest.json")


def test_what_is_there_already_needs_no_space(hub, monkeypatch, tmp_path):
    manifest = tmp_path / "set" / "manifest.json"
    hub.fault("GET", "rows.json", cut=1_500_000)
    hub.fault("GET", "rows.json", status=404)
    with pytest.raises(FetchError, match="404"):
        fetch(source(hub), manifest)
    hub.ranges = False  # the whole file again, overwriting the partial one
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 600_000})())
    fetch(source(hub), manifest)
    assert (tmp_path / "set/files/rows.json").read_bytes() == CONTENT


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_refusals_are_not_repeated(hub, tmp_path, status):
    hub.fault("GET", "rows.json", status=status)
    with pytest.raises(FetchError, match=f"answered {status}"):
        fetch(source(hub), tmp_path / "set" / "manifest.json")
    assert len(hub.asked("GET", "rows.json")) == 1
    assert not left(tmp_path / "set" / "manifest.json")


def test_no_network(monkeypatch, tmp_path):
    monkeypatch.setattr(https_source, "WAIT_SECONDS", 0.0)
    with pytest.raises(FetchError, match="Check the network"):
        fetch(
            {"kind": "https", "url": "http://127.0.0.1:9/rows.json", "sha256": "0" * 64}, tmp_path / "s/manifest.json"
        )
    assert not left(tmp_path / "s/manifest.json")


def test_plain_http_to_the_world_is_refused(tmp_path):
    with pytest.raises(FetchError, match="https only"):
        fetch(
            {"kind": "https", "url": "http://example.org/rows.json", "sha256": "0" * 64}, tmp_path / "s/manifest.json"
        )


def test_full_disk(hub, monkeypatch, tmp_path):
    def full(*arguments, **keywords):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("urllib.request.urlopen", full)
    with pytest.raises(OSError, match="No space left"):
        fetch(source(hub), tmp_path / "set" / "manifest.json")
    monkeypatch.undo()
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 1000})())
    with pytest.raises(FetchError, match="free some space"):
        fetch(source(hub), tmp_path / "set" / "manifest.json")


def test_secrets_in_addresses_stay_out_of_manifest_and_messages(hub, tmp_path):
    secret = f"{hub.address}/data/rows.json?token=verysecret"
    manifest = tmp_path / "set" / "manifest.json"
    fetch(source(hub, url=secret, files=["rows.json"]), manifest)
    assert "verysecret" not in manifest.read_text() and "rows.json?***" in manifest.read_text()
    with pytest.raises(FetchError) as error:
        fetch(source(hub, url=secret, sha256="0" * 64), tmp_path / "other" / "manifest.json")
    assert "verysecret" not in str(error.value)


def test_parallel_fetches_of_different_sources(hub, tmp_path):
    threads = [
        threading.Thread(target=fetch, args=(source(hub), tmp_path / f"set{i}" / "manifest.json")) for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((tmp_path / f"set{i}/files/rows.json").read_bytes() == CONTENT for i in range(4))
