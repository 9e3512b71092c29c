"""Presets whose weights are at a URL, downloaded from a real server that misbehaves."""

from __future__ import annotations

import functools
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from download_server import Server, running
from processes import run_python
from small_networks import SMALL_BOTTLENECKS

import gfkeras
from gfkeras.cli import main
from gfkeras.downloads import DownloadError, transfer
from gfkeras.zoo import registry
from gfkeras.zoo.packing import pack
from gfkeras.zoo.registry import MODEL_FILE

NAME = "far_away"


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A tiny preset."""
    folder = tmp_path_factory.mktemp("packed") / NAME
    backbone = gfkeras.backbones.MobileFaceNet(16, width=0.0625, bottlenecks=SMALL_BOTTLENECKS)
    return pack(backbone, folder).folder


@pytest.fixture
def server(packed, tmp_path, monkeypatch):
    """Serves the weights of the preset at the URL in its description."""
    zoo = tmp_path / "zoo"
    shutil.copytree(packed, zoo / NAME)
    monkeypatch.setattr(registry, "zoo_folder", lambda: zoo)
    monkeypatch.setattr(transfer, "BACKOFF", 0.01)
    for variable in ("GFKERAS_OFFLINE", "GFKERAS_MIRROR", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("GFKERAS_CACHE", str(tmp_path / "cache"))
    weights = zoo / NAME / "weights.safetensors"
    with running(Server()) as server:
        server.content = weights.read_bytes()
        weights.unlink()
        description = zoo / NAME / MODEL_FILE
        text = description.read_text()
        description.write_text(
            text.replace('file = "weights.safetensors"', f'url = "{server.url}"')
        )
        server.cache = tmp_path / "cache"
        yield server


def whole_files(folder):
    return sorted(p.name for p in folder.glob("[!.]*")) if folder.is_dir() else []


def test_it_is_downloaded_once(server):
    first, second = gfkeras.load(NAME), gfkeras.load(NAME)
    assert first.count_params() == second.count_params()
    assert len(server.requests) == 1
    assert whole_files(server.cache) == ["file.bin"]


def test_an_interrupted_download_continues(server):
    server.cuts = [1000, 5000]
    gfkeras.load(NAME)
    assert len(server.requests) == 3
    assert server.sent == len(server.content)


@pytest.mark.parametrize("kind", ["wrong hash", "web page", "404", "no space", "offline"])
def test_a_failure_is_one_error_and_leaves_the_cache_alone(server, monkeypatch, kind, capsys):
    server.cache.mkdir()
    (server.cache / "other.onnx").write_bytes(b"mine")
    message = {
        "wrong hash": "wrong content: expected SHA-256",
        "web page": "wrong content: expected SHA-256",
        "404": "the server answers 404",
        "no space": "not enough space in",
        "offline": "GFKERAS_OFFLINE is set",
    }[kind]
    if kind == "wrong hash":
        server.content = server.content[:-1] + b"!"
    elif kind == "web page":
        server.content = b"<!DOCTYPE html><title>Quota exceeded</title>"
    elif kind == "404":
        server.statuses = [404]
    elif kind == "no space":
        usage = shutil.disk_usage(server.cache)._replace(free=10)
        monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: usage)
    else:
        monkeypatch.setenv("GFKERAS_OFFLINE", "1")
    with pytest.raises(DownloadError, match=message):
        gfkeras.load(NAME)
    assert whole_files(server.cache) == ["other.onnx"]
    assert (server.cache / "other.onnx").read_bytes() == b"mine"
    if kind == "404":
        server.statuses = [404]
    assert main(["zoo", "download", NAME]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert len(error.splitlines()) == 1


def test_a_good_file_in_the_cache_outlives_a_bad_server(server):
    gfkeras.load(NAME)
    server.content = b"<html>"
    server.statuses = [404]
    gfkeras.load(NAME)
    assert len(server.requests) == 1


def test_two_processes_at_once_download_once(server, tmp_path):
    server.delay = 0.01
    code = f"""
from pathlib import Path
from gfkeras.zoo import preset_files, registry
registry.zoo_folder = lambda: Path({str(tmp_path / "zoo")!r})
print(repr(str(preset_files.weights_path(registry.read_preset({NAME!r})))))
"""
    found: list = []

    def run() -> None:
        found.extend(run_python(code, forked=True))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [str(server.cache / "file.bin")] * 2
    assert server.sent == len(server.content)


def test_into_a_folder_of_ones_own(server, tmp_path, capsys):
    assert main(["zoo", "download", NAME, "--out", str(tmp_path / "own"), "--quiet"]) == 0
    assert (tmp_path / "own" / "file.bin").read_bytes() == server.content
    assert str(tmp_path / "own" / "file.bin") in capsys.readouterr().out


def test_a_preset_of_two_files_from_an_empty_cache(shared_data, tmp_path, monkeypatch):
    """The real preset, from a server with its repository's paths."""
    preset = registry.read_preset("mobilefacenet_ms1m")
    files = {preset.weights.url: "0000.params", preset.weights.also[0].url: "symbol.json"}
    for url, end in files.items():
        served = tmp_path / "served" / urlsplit(url).path.lstrip("/")
        served.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(shared_data / "models" / f"mobilefacenet_ms1m-{end}", served)
    handler = functools.partial(SimpleHTTPRequestHandler, directory=tmp_path / "served")
    monkeypatch.setenv("GFKERAS_CACHE", str(tmp_path / "cache"))
    with running(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as server:
        monkeypatch.setenv("GFKERAS_MIRROR", f"http://127.0.0.1:{server.server_address[1]}")
        model = gfkeras.load("mobilefacenet_ms1m")
    assert model.embedding_dim == 128
    assert whole_files(tmp_path / "cache") == [
        "mobilefacenet_ms1m-0000.params", "mobilefacenet_ms1m-symbol.json"
    ]  # fmt: skip
    # Both files are there now, so the network is not needed.
    monkeypatch.setenv("GFKERAS_OFFLINE", "1")
    assert gfkeras.load("mobilefacenet_ms1m").count_params() == model.count_params()
