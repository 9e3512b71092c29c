"""Downloads against a real server that cuts, changes, refuses and lies."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from download_server import Server

from gfkeras.downloads import DownloadError, cache_folder, fetch_file, transfer

RESUMING = """
import sys
from gfkeras.downloads import fetch_file, transfer
transfer.BACKOFF = 0.01
print(fetch_file(sys.argv[1], sys.argv[2]))
"""


def visible(folder: Path) -> list[str]:
    """The files that a user sees: no lock, no partial file and no notes."""
    return sorted(path.name for path in folder.glob("*") if not path.name.startswith("."))


def partials(folder: Path) -> list[Path]:
    return list(folder.glob(".*.partial"))


def child(server: Server, **options) -> subprocess.Popen:
    arguments = [sys.executable, "-c", options.pop("script", RESUMING), server.url, server.digest]
    return subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def test_a_file_is_downloaded_once(server, capfd):
    path = fetch_file(server.url, server.digest.upper())
    assert path == cache_folder() / "file.bin"
    assert path.read_bytes() == server.content
    assert fetch_file(server.url, server.digest) == path
    assert len(server.requests) == 1
    headers = server.requests[0][1]
    assert headers["accept-encoding"] == "identity"
    assert headers["user-agent"].startswith("gfkeras/")
    assert "range" not in headers
    assert partials(path.parent) == []
    assert list(path.parent.glob("*.json")) == []
    assert capfd.readouterr() == ("", "")


def test_names_and_folders(server, tmp_path):
    path = fetch_file(server.url, server.digest, file_name="m.onnx", folder=tmp_path / "a" / "b")
    assert path == tmp_path / "a" / "b" / "m.onnx"
    other = fetch_file(server.url + "/A%20b.zip?download=1", server.digest)
    assert other.name == "A b.zip"
    assert server.requests[-1][0].endswith("/A%20b.zip?download=1")
    for name in ("a/b", "..", ".", "", "/abs"):
        with pytest.raises(ValueError, match="`file_name` must be the name of a file"):
            fetch_file(server.url, server.digest, file_name=name)
    for digest in ("", "abc", "g" * 64, server.digest + "0", None):
        with pytest.raises(ValueError, match="`sha256` must be 64 hexadecimal digits"):
            fetch_file(server.url, digest)
    for url in ("file:///etc/passwd", "ftp://host/file", "file.bin", "http:///file.bin"):
        with pytest.raises(ValueError, match="`url` must start with http"):
            fetch_file(url, server.digest)


def test_a_cut_connection_is_continued(server):
    server.cuts = [100_000, 50_000]
    path = fetch_file(server.url, server.digest)
    assert path.read_bytes() == server.content
    assert server.asked_ranges() == [None, "bytes=100000-", "bytes=150000-"]
    assert server.requests[1][1]["if-range"] == '"one"'
    assert server.sent == len(server.content)


def test_a_download_that_failed_is_continued_the_next_time(server):
    server.cuts = [100_000] + [0] * transfer.ATTEMPTS
    with pytest.raises(DownloadError, match=r"5 attempts in a row failed.*is kept"):
        fetch_file(server.url, server.digest)
    folder = cache_folder()
    assert visible(folder) == []
    assert [path.stat().st_size for path in partials(folder)] == [100_000]
    assert fetch_file(server.url, server.digest).read_bytes() == server.content
    assert server.asked_ranges()[-1] == "bytes=100000-"
    assert server.sent == len(server.content)


def test_a_server_without_ranges_begins_again(server):
    server.ranges = False
    server.cuts = [100_000]
    assert fetch_file(server.url, server.digest).read_bytes() == server.content
    assert server.asked_ranges() == [None, "bytes=100000-"]
    assert server.sent == 100_000 + len(server.content)


@pytest.mark.parametrize(
    ("first", "second", "validator"),
    [
        (('"one"', None), ('"two"', None), '"one"'),
        ((None, "Mon, 1 Jan 2024"), (None, "Tue, 2 Jan 2024"), "Mon, 1 Jan 2024"),
        # Not told apart by the server: the SHA-256 tells that the parts do not belong together.
        (('W/"one"', None), ('W/"two"', None), None),
        ((None, None), (None, None), None),
    ],
)
def test_a_file_that_changed_is_not_continued(server, first, second, validator):
    new = server.content[::-1]
    server.etag, server.modified = first
    server.cuts = [100_000] + [0] * transfer.ATTEMPTS
    old_content, server.content = server.content, new
    digest = server.digest
    server.content = old_content
    with pytest.raises(DownloadError):
        fetch_file(server.url, digest)
    server.content = new
    server.etag, server.modified = second
    assert fetch_file(server.url, digest).read_bytes() == new
    assert server.requests[-1][1].get("if-range") == validator


def test_a_partial_file_that_is_whole_or_too_long(server):
    folder = cache_folder()
    folder.mkdir()
    name = f".file.bin.{server.digest[:12]}.partial"
    (folder / name).write_bytes(server.content)
    assert fetch_file(server.url, server.digest).read_bytes() == server.content
    assert server.sent == 0
    (folder / "file.bin").unlink()
    (folder / name).write_bytes(server.content + b"more")
    assert fetch_file(server.url, server.digest).read_bytes() == server.content
    assert visible(folder) == ["file.bin"]


def test_wrong_content_is_deleted_and_overwrites_nothing(server):
    path = fetch_file(server.url, server.digest)
    old = server.content
    digest = server.digest
    server.content = b"something else"
    assert fetch_file(server.url, digest) == path
    wanted = "0" * 64
    with pytest.raises(DownloadError, match=f"expected SHA-256 {wanted}, received") as caught:
        fetch_file(server.url, wanted)
    assert server.digest in str(caught.value)
    assert server.url in str(caught.value)
    assert len(server.requests) == 2
    assert path.read_bytes() == old
    assert visible(path.parent) == ["file.bin"]
    assert partials(path.parent) == []
    # An existing file with another hash is replaced.
    assert fetch_file(server.url, server.digest).read_bytes() == b"something else"


@pytest.mark.parametrize("status", [404, 403, 410])
def test_a_refusal_is_final(server, status):
    server.statuses = [status]
    with pytest.raises(DownloadError, match=f"file.bin: the server answers {status}") as caught:
        fetch_file(server.url, server.digest)
    assert len(server.requests) == 1
    assert visible(cache_folder()) == []
    error = pickle.loads(pickle.dumps(caught.value))
    assert (error.url, error.reason) == (server.url, caught.value.reason)
    assert isinstance(error, OSError)


def test_passing_failures_are_waited_for(server, monkeypatch):
    server.statuses = [503, 503]
    server.retry_after = "1"
    monkeypatch.setattr(transfer, "LONGEST_WAIT", 0.2)
    start = time.monotonic()
    assert fetch_file(server.url, server.digest).read_bytes() == server.content
    # As long as the server asks, but no longer than is reasonable.
    assert 0.4 <= time.monotonic() - start < 2
    assert len(server.requests) == 3


def test_lasting_failures_are_an_error(server):
    server.statuses = [503] * 50
    with pytest.raises(DownloadError, match="the server answers 503 Service Unavailable"):
        fetch_file(server.url, server.digest)
    assert len(server.requests) == transfer.ATTEMPTS


def test_no_server(server):
    url, digest = server.url, server.digest
    server.server_close()
    with pytest.raises(DownloadError, match=r"Connection refused; 5 attempts in a row failed"):
        fetch_file(url, digest)


def test_a_silent_server(server, monkeypatch):
    monkeypatch.setattr(transfer, "TIMEOUT", (0.2, 0.2))
    monkeypatch.setattr(transfer, "ATTEMPTS", 2)
    server.delay = 1.0
    server.content = server.content[:20_000]
    # Every attempt brings the first missing piece, so the download ends.
    assert fetch_file(server.url, server.digest).read_bytes() == server.content
    assert len(server.requests) == 2


def test_offline(server, monkeypatch):
    monkeypatch.setenv("GFKERAS_OFFLINE", "1")
    with pytest.raises(
        DownloadError, match=r"GFKERAS_OFFLINE is set and .* is not there"
    ) as caught:
        fetch_file(server.url, server.digest)
    place = cache_folder() / "file.bin"
    assert str(place) in str(caught.value)
    assert server.digest in str(caught.value)
    assert server.url in str(caught.value)
    assert not place.parent.exists()
    place.parent.mkdir()
    place.write_bytes(b"wrong")
    with pytest.raises(DownloadError, match="has another SHA-256"):
        fetch_file(server.url, server.digest)
    place.write_bytes(server.content)
    assert fetch_file(server.url, server.digest) == place
    assert server.requests == []
    monkeypatch.setenv("GFKERAS_OFFLINE", "0")
    assert fetch_file(server.url, server.digest, file_name="b").read_bytes() == server.content


@pytest.mark.parametrize(
    ("mirror", "path"),
    [
        ("", "/owner/file.bin?raw=true"),
        ("/", "/owner/file.bin?raw=true"),
        ("/files/", "/files/owner/file.bin?raw=true"),
        ("/files/{host}", "/files/host.invalid:81/owner/file.bin?raw=true"),
    ],
)
def test_mirror(server, monkeypatch, mirror, path):
    base = server.url.removesuffix("/some/file.bin")
    monkeypatch.setenv("GFKERAS_MIRROR", base + mirror)
    found = fetch_file("https://host.invalid:81/owner/file.bin?raw=true", server.digest)
    assert found.read_bytes() == server.content
    assert [asked for asked, _ in server.requests] == [path]


def test_a_mirror_that_is_none(server, monkeypatch):
    monkeypatch.setenv("GFKERAS_MIRROR", "mirror.example")
    with pytest.raises(ValueError, match="`GFKERAS_MIRROR` must start with http"):
        fetch_file(server.url, server.digest)


def test_of_two_processes_one_downloads(server):
    server.delay = 0.02
    children = [child(server), child(server)]
    for process in children:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert Path(out.strip()).read_bytes() == server.content
    assert len(server.requests) == 1


def test_a_killed_process_leaves_what_it_had(server):
    server.delay = 0.05
    process = child(server)
    deadline = time.monotonic() + 30
    while server.sent < 100_000 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    (partial,) = partials(cache_folder())
    had = partial.stat().st_size
    assert visible(cache_folder()) == []
    assert 0 < had < len(server.content)
    server.delay = 0
    time.sleep(0.1)
    server.sent = 0
    # The lock of a process that is gone holds nobody up.
    assert fetch_file(server.url, server.digest).read_bytes() == server.content
    assert server.asked_ranges()[-1] == f"bytes={had}-"
    assert server.sent == len(server.content) - had


def test_no_space(server, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(
        DownloadError, match=r"not enough space in .*: 307,200 bytes needed, 1,000 free"
    ):
        fetch_file(server.url, server.digest)
    assert partials(cache_folder()) == []
    assert visible(cache_folder()) == []


def test_a_limit_on_the_size_of_files(server):
    """As a full disk in the middle of a file: the system refuses the write."""
    script = (
        "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (70_000, 70_000))\n" + RESUMING
    )
    process = child(server, script=script)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "DownloadError" in err
    assert "cannot be written to" in err
    assert "Set GFKERAS_CACHE to use another folder" in err
    assert visible(cache_folder()) == []
    assert fetch_file(server.url, server.digest).read_bytes() == server.content
    assert server.asked_ranges() == [None, "bytes=70000-"]


def test_a_cache_that_cannot_be_written(server, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("GFKERAS_CACHE", str(tmp_path / "file"))
    with pytest.raises(DownloadError, match=r"cannot be written to .*GFKERAS_CACHE"):
        fetch_file(server.url, server.digest)
    assert server.requests == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_cache(server, tmp_path):
    path = fetch_file(server.url, server.digest)
    path.parent.chmod(0o555)
    try:
        assert fetch_file(server.url, server.digest) == path
        with pytest.raises(DownloadError, match="Permission denied"):
            fetch_file(server.url, server.digest, file_name="other")
    finally:
        path.parent.chmod(0o755)


def test_progress(server, capfd):
    server.cuts = [100_000]
    fetch_file(server.url, server.digest, progress=True)
    error = capfd.readouterr().err
    assert "file.bin" in error
    assert "307.2" in error
