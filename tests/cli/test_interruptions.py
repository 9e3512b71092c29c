"""Commands that cannot write or are killed: one line of error, and earlier files stay."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import pytest
from data_sets import write_people

from gfkeras.cli import main

if keras.backend.backend() != "tensorflow":
    pytest.skip("exports need TensorFlow", allow_module_level=True)
resource = pytest.importorskip("resource")

# A kind of file, a command that writes it, and a limit of bytes that is too small for it.
COMMANDS = {
    "embed": ("e.npz", ("embed", "PEOPLE", "--out", "OUT/e.npz", "--aligned"), 2_000),
    "enroll": ("g.gallery", ("enroll", "PEOPLE", "OUT/g.gallery", "--aligned", "--quiet"), 3_000),
    "prepare": ("records", ("prepare", "PEOPLE", "OUT/records", "--workers", "1"), 3_000),
    "export": ("f.tflite", ("export", "h_groupface_mobilefacenet", "--format", "tflite", "--out",
                            "OUT/f.tflite"), 20_000),
}  # fmt: skip
QUICK = ("embed", "enroll", "prepare")


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Path:
    return write_people(tmp_path_factory.mktemp("people"))


@pytest.fixture
def out(tmp_path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def arguments(command: str, people: Path, out: Path) -> list[str]:
    names = {"PEOPLE": str(people), "OUT": str(out)}
    parts = []
    for part in COMMANDS[command][1]:
        for name, value in names.items():
            part = part.replace(name, value)
        parts.append(part)
    return parts


def the_line(error: str) -> str:
    """Returns the one line that a failing command prints."""
    (line,) = [line for line in error.splitlines() if line.startswith("gfkeras:")]
    assert "Traceback" not in error
    return line


@pytest.fixture
def file_size() -> Iterator:
    """Limits the size of files, which has the same effect as a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("command", [*QUICK, pytest.param("export", marks=pytest.mark.slow)])
def test_a_full_disk(command, people, out, file_size, capsys):
    place = out / COMMANDS[command][0]
    if command == "embed":
        place.write_bytes(b"from before")
    file_size(COMMANDS[command][2])
    assert main(arguments(command, people, out)) == 2
    assert "Traceback" not in (said := capsys.readouterr().err)
    assert COMMANDS[command][0] in the_line(said)
    if command == "embed":
        assert place.read_bytes() == b"from before"
    elif command != "prepare":
        assert not list(out.iterdir())
    # With enough space, the same command works.
    file_size(resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    assert main(arguments(command, people, out)) == 0


@pytest.mark.parametrize("command", QUICK)
def test_the_current_folder_was_removed(command, people, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    assert main(arguments(command, people, Path())) == 2
    assert "current folder has been removed" in the_line(capsys.readouterr().err)


@pytest.mark.parametrize("command", QUICK)
def test_sigterm_while_a_file_is_renamed(command, people, out, monkeypatch, capsys):
    assert main(arguments(command, people, out)) == 0
    place = out / COMMANDS[command][0]
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    more = write_people(out.parent / "more")
    next(more.iterdir()).rename(more / "somebody else")
    if command == "prepare":
        out, place = out.parent / "other", out.parent / "other" / "records"
    capsys.readouterr()
    rename, handler = Path.replace, signal.getsignal(signal.SIGTERM)

    def terminated(path: Path, target: Path) -> Path:
        os.kill(os.getpid(), signal.SIGTERM)
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", terminated)
        assert main(arguments(command, more, out)) == 128 + signal.SIGTERM
    assert the_line(capsys.readouterr().err) == "gfkeras: terminated"
    assert signal.getsignal(signal.SIGTERM) is handler
    # Nothing changed, and nothing unfinished is left.
    for path, content in before.items():
        assert path.read_bytes() == content
    if command != "prepare":
        assert set(before) == {path for path in out.rglob("*") if path.is_file()}
    assert main(arguments(command, more, out)) == 0
    assert place.exists()


@pytest.mark.parametrize(
    ("number", "word"), [(signal.SIGINT, "interrupted"), (signal.SIGHUP, "terminated")]
)
def test_ctrl_c_and_a_closed_terminal_end_with_a_line(
    number, word, people, out, monkeypatch, capsys
):
    # A test run in the background ignores both signals.
    handler = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    before, rename = signal.signal(number, handler), Path.replace

    def ended(path: Path, target: Path) -> Path:
        os.kill(os.getpid(), number)
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", ended)
    try:
        assert main(arguments("embed", people, out)) == 128 + number
        assert the_line(capsys.readouterr().err) == f"gfkeras: {word}"
        assert not list(out.iterdir())
        assert signal.getsignal(number) == handler
    finally:
        signal.signal(number, before)


def test_ctrl_c_while_packages_are_imported(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gfkeras.cli.app", Interrupting())
    assert main(["zoo", "list"]) == 128 + signal.SIGINT
    assert the_line(capsys.readouterr().err) == "gfkeras: interrupted"


class Interrupting:
    """A module whose import Ctrl-C interrupts."""

    def __getattr__(self, name: str):
        raise KeyboardInterrupt
