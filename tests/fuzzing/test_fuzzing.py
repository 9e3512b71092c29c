"""The fuzzer finds known crashes, and a few seconds find none in the fast readers."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


@pytest.fixture(scope="module")
def fuzzer():
    # The fuzzer is a program that finds `seeds.py` next to itself.
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location("fuzz_readers", FOLDER / "fuzz_readers.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(FOLDER))
    return module


@pytest.mark.parametrize("name", ["list", "bin", "rec", "pt", "npz", "recipe", "card_beside"])
def test_quick_readers_survive_a_moment(fuzzer, name, tmp_path):
    state = fuzzer.fuzz(name, fuzzer.READERS[name], tmp_path / name, 1)
    assert state["executions"] > 0
    assert not state["crashes"]


def test_crashes_are_found_and_a_run_goes_on(fuzzer, tmp_path):
    def read(path):
        first = path.read_bytes()[:1]
        if first == b"k":
            raise KeyError("unexpected")
        if first != b"g":
            os.kill(os.getpid(), signal.SIGSEGV)

    reader = fuzzer.Reader("x", lambda folder: [b"good" * 30, b"kept" * 30], lambda: read)
    state = fuzzer.fuzz("x", reader, tmp_path, 2)
    assert {"KeyError: ·", "signal SIGSEGV"} <= set(state["crashes"])
    again = fuzzer.fuzz("x", reader, tmp_path, 0.5)
    assert again["executions"] > state["executions"]
    assert json.loads((tmp_path / "state.json").read_text()) == again
    assert any((tmp_path / "crashes").iterdir())
