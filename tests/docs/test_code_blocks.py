"""Checks of every code block in the documentation, and runs of most."""

from __future__ import annotations

import ast
import doctest
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import command_lines
import keras
import pytest
from code_names import names_of_gfkeras, resolve
from command_lines import Command
from documentation_folder import make_folder
from documentation_pages import NOT_RUN, PAGES, SHORTER, TOML_READERS, page_of, pooled
from markdown_blocks import ROOT, SHELL, SHOWN, Block, blocks, other_pages, pages

import gfkeras
from gfkeras.cli import main
from gfkeras.training import Recipe

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the command line runs on TensorFlow"
)

ALL = [block for page in pages() for block in blocks(page)]
CHECKED = ALL + [block for page in other_pages() for block in blocks(page)]


def is_not_run(command: Command) -> bool:
    return any(" ".join(command).startswith(beginning) for beginning in NOT_RUN)


# -- checks without running ---------------------------------------------------------------------


def test_every_block_has_a_language_that_is_run_or_shown():
    known = {"python", "toml"} | SHELL | SHOWN
    assert [block.place for block in CHECKED if block.language not in known] == []


@pytest.mark.parametrize(
    "block", [b for b in CHECKED if b.language in SHELL], ids=lambda block: block.place
)
def test_commands_and_options_exist(block: Block):
    for command in command_lines.commands(block.text):
        command_lines.check(command)


@pytest.mark.parametrize(
    "command",
    [
        "gfkeras trian RECIPE.toml --data d --out o",
        "gfkeras train RECIPE.toml --data d --out o --sett a=1",
        "gfkeras train RECIPE.toml --data d",
        "gfkeras zoo lst",
        "gfkeras bench a.tflite --repeats many",
        "python benchmarks/gone.py",
        "python benchmarks/int8_artefacts.py --lfv",
        "make tests",
        "pip install '.[exprot]'",
        "npm run server",
        "curl example.org",
    ],
)
def test_the_check_sees_what_does_not_exist(command):
    with pytest.raises(command_lines.UnknownCommandError):
        command_lines.check(command_lines.commands(command)[0])


@pytest.mark.parametrize(
    "block", [b for b in CHECKED if b.language == "toml"], ids=lambda block: block.place
)
def test_recipes_are_read(block: Block):
    TOML_READERS.get(block.page, Recipe.parse)(tomllib.loads(block.text))


def source(block: Block) -> str:
    """Returns the Python code of a block, without the prompts and results of a session."""
    if not block.text.startswith(">>>"):
        return block.text
    return "".join(example.source for example in doctest.DocTestParser().get_examples(block.text))


@pytest.mark.parametrize(
    "block", [b for b in CHECKED if b.language == "python"], ids=lambda block: block.place
)
def test_names_exist(block: Block):
    for name in names_of_gfkeras(ast.parse(source(block), block.place)):
        resolve(name)


def test_no_exception_is_stale():
    commands = [
        " ".join(command)
        for block in ALL if block.language in SHELL
        for command in command_lines.commands(block.text)
    ]  # fmt: skip
    for beginning in NOT_RUN:
        assert any(command.startswith(beginning) for command in commands), beginning
    assert set(PAGES) <= set(pages())
    for name, page in PAGES.items():
        python = "".join(block.text for block in blocks(name) if block.language == "python")
        shell = "".join(block.text for block in blocks(name) if block.language in SHELL)
        for text in page.shorter:
            assert text in python, (name, text)
        for beginning in page.slow if isinstance(page.slow, tuple) else ():
            assert beginning in shell, (name, beginning)


# -- runs -----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def stand_ins(tmp_path_factory, shared_data) -> Path:
    """Makes a folder with all files that the pages name. Each page gets a copy."""
    root = tmp_path_factory.mktemp("documentation") / "folder"
    return make_folder(root, shared_data / "models")


class Run:
    """A run of the blocks of a page, in order, in one folder and one namespace."""

    def __init__(self, name: str, folder: Path, whole: bool):
        self.page = page_of(name)
        self.whole = whole
        self.folder = folder
        self.names: dict[str, Any] = {"__name__": "page"}
        for name_of in self.page.absent:
            shutil.rmtree(folder / name_of)
        if whole:
            self._remove_what_is_written(blocks(name))
            for file, make in self.page.files.items():
                make(folder / file)
        self.names.update({given: make(folder) for given, make in self.page.given.items()})
        for block in blocks(name):
            getattr(self, f"_{'shell' if block.language in SHELL else block.language}")(block)
        self.page.holds(self.names)

    def _remove_what_is_written(self, all_blocks: list[Block]) -> None:
        for block in all_blocks:
            for command in self._commands(block) if block.language in SHELL else ():
                for path in command_lines.written(command):
                    place = self.folder / path
                    shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)

    def _commands(self, block: Block) -> list[Command]:
        return [c for c in command_lines.commands(block.text) if not is_not_run(c)]

    def _is_slow(self, command: Command) -> bool:
        slow = self.page.slow
        beginnings = slow if isinstance(slow, tuple) else ("",) if slow else ()
        return any(" ".join(command).startswith(beginning) for beginning in beginnings)

    def _text(self, block: Block) -> None:
        pass

    _dockerfile = _kotlin = _swift = _text

    def _toml(self, block: Block) -> None:
        if block.saved_as:
            (self.folder / block.saved_as).write_text(block.text)

    def _python(self, block: Block) -> None:
        if not (self.whole or self.page.quick_python):
            return
        if block.text.startswith(">>>"):
            test = doctest.DocTestParser().get_doctest(
                block.text, self.names, block.place, block.page, block.line
            )
            said: list[str] = []
            doctest.DocTestRunner(verbose=False).run(test, out=said.append, clear_globs=False)
            self.names.update(test.globs)
            assert said == []
            return
        text = block.text
        for old, new in self.page.shorter.items():
            text = text.replace(old, new)
        # With the page's path and empty lines before the code, errors name the page and the line.
        exec(compile("\n" * block.line + text, str(ROOT / block.page), "exec"), self.names)

    def _shell(self, block: Block) -> None:
        for command in self._commands(block):
            if self.whole or not self._is_slow(command):
                self._run(command, block)

    def _run(self, command: Command, block: Block) -> None:
        command = command_lines.without_environment(command)
        words = ["0" if w == "SEED" else w.replace("=SEED", "=0") for w in command]
        if words[0] == "gfkeras":
            status = main([*words[1:], *SHORTER.get(words[1], [])])
        else:
            # Pages name scripts by their path in the repository.
            script, *options = words[1:]
            options += SHORTER.get(script, [])
            line = [sys.executable, str(ROOT / script), *options]
            status = subprocess.run(line, check=False).returncode
        assert status == 0, f"{block.place}: {shlex.join(command)}"


def run(name: str, stand_ins: Path, tmp_path: Path, monkeypatch, whole: bool) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(stand_ins, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GFKERAS_YUNET", str(folder / "face_detection_yunet_2023mar.onnx"))
    monkeypatch.setenv("GFKERAS_OFFLINE", "1")
    monkeypatch.delenv("GFKERAS_CACHE", raising=False)
    Run(name, folder, whole)


PAGES_WITH_BLOCKS = list(dict.fromkeys(block.page for block in ALL))


@pytest.mark.parametrize("name", PAGES_WITH_BLOCKS)
def test_page(name, stand_ins, tmp_path, monkeypatch):
    monkeypatch.setattr(gfkeras.backbones, "MobileFaceNet", pooled)
    run(name, stand_ins, tmp_path, monkeypatch, whole=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", [page for page in PAGES_WITH_BLOCKS if page_of(page).slow])
def test_whole_page(name, stand_ins, tmp_path, monkeypatch):
    run(name, stand_ins, tmp_path, monkeypatch, whole=True)
