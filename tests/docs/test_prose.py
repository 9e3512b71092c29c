"""The check of the prose: it finds bad sentences in each place, and leaves good ones alone."""

from __future__ import annotations

import runpy
import subprocess
import sys

import pytest
from markdown_blocks import ROOT

SCRIPT = ROOT / "docs" / "check_prose.py"
CHECK = runpy.run_path(str(SCRIPT))
BAD = [
    "Of several shards only an augmentation's moves are those of the whole batch.",
    "What cannot be used is listed with its reason.",
    "Killed at any moment, the training goes on from its checkpoint.",
    "No group has a say in that.",
    "It raises ValueError for what is none of a use.",
    "The people whom it knows are listed.",
    "A picture of each person.",
    "All figures are below.",
    "The model in the box does it.",
    "A label that is no class is refused.",
    "The card lies beside the file; it is read first.",
    "word " * 41 + "end.",
]
GOOD = [
    "A run that was killed and resumed reaches the same weights as one that was not.",
    "There is no model, and there are no cards.",
    "What is GroupFace?",
    "Of course it works, as Figure 3 shows.",
    "The labels lie in [0, 10).",
    "Options such as `--picture` and `a; b` are code.",
    "The result is no longer used, and is no better than chance.",
]


def advice(words: str, suffix: str, tmp_path) -> list[str]:
    path = tmp_path / f"text{suffix}"
    path.write_text(words)
    return CHECK["check"](path)


@pytest.mark.parametrize("sentence", BAD)
def test_bad_sentences_are_found_in_pages_docstrings_and_comments(sentence, tmp_path):
    assert advice(f"# Title\n\n- {sentence}\n", ".md", tmp_path)
    assert advice(f'def f():\n    """{sentence}"""\n', ".py", tmp_path)
    assert advice(f"# {sentence}\nx = 1\n", ".py", tmp_path)
    assert advice(f'"""Module.\n\nArgs:\n    x: {sentence}\n"""\n', ".py", tmp_path)


@pytest.mark.parametrize("sentence", BAD[:-1])
def test_bad_sentences_are_found_in_messages(sentence, tmp_path):
    # A message can join two halves by a semicolon.
    message = sentence.replace("; it is read first", "")
    assert advice(f'raise ValueError("{message}")\n', ".py", tmp_path)
    assert advice(f'raise ValueError(f"{{x}} is wrong. {message}")\n', ".py", tmp_path)


@pytest.mark.parametrize("sentence", GOOD)
def test_good_sentences_pass(sentence, tmp_path):
    assert advice(f"{sentence}\n", ".md", tmp_path) == []
    assert advice(f'"""{sentence}"""\n', ".py", tmp_path) == []


def test_code_is_not_prose(tmp_path):
    page = "```python\nfor a; b in figures:  # Of that\n```\n\n<!-- Of that; and that. -->\n"
    assert advice(page, ".md", tmp_path) == []
    module = '"""Module.\n\nExample:\n    a = 1; b = 2\n\nThe end.\n"""\n'
    assert advice(module, ".py", tmp_path) == []


def test_the_command_names_file_and_line(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("Fine.\n\nA picture.\n")
    result = subprocess.run(
        [sys.executable, str(SCRIPT), str(page)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert result.stdout.splitlines() == [f"{page}:3: 'picture': 'image', or 'plot' for a diagram"]
