"""The README: short code to begin with, and its pictures."""

from __future__ import annotations

import re

import pytest
from markdown_blocks import ROOT

README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("heading", ["Train", "Embed and compare"])
def test_a_few_lines_train_and_embed(heading):
    section = README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.S)
    assert len(code.splitlines()) <= 6


@pytest.mark.parametrize("picture", ["architecture.png", "synthetic_faces.jpg"])
def test_pictures_exist(picture):
    assert f"docs/images/{picture}" in README
    assert (ROOT / "docs" / "images" / picture).is_file()
