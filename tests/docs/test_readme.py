"""The first code and the images of the README."""

from __future__ import annotations

import re

import pytest
from markdown_blocks import ROOT
from PIL import Image

from gfkeras.tasks.compare import compare

README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("heading", ["Train on your photos", "Compare two photos"])
def test_a_few_lines_train_and_embed(heading):
    section = README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.S)
    assert len(code.splitlines()) <= 6


def test_images_exist():
    images = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README)
    assert len(images) >= 2
    assert [image for image in images if not (ROOT / image).is_file()] == []


def test_the_lines_that_compare_are_right_about_photos_of_any_size(
    shared_data, tmp_path, monkeypatch, capsys
):
    """Runs the lines unchanged on four photos of two people."""
    monkeypatch.setenv("GFKERAS_DATA", str(shared_data))
    section = README.partition("\n## Compare two photos\n")[2]
    (code,) = re.findall(r"```python\n(.*?)```", section.partition("\n## ")[0], re.S)
    monkeypatch.chdir(tmp_path)
    files = [
        file
        for person in ("Akhmed_Zakayev", "Amber_Tamblyn")
        for file in sorted((shared_data / "lfw_raw250" / person).glob("*.jpg"))[:2]
    ]
    photos = [
        Image.open(file).resize((side, side)).crop((0, 0, side, side * 9 // 10))
        for file, side in zip(files, (600, 180, 1000, 333), strict=True)
    ]
    cosines = {}
    for first, second in ((0, 1), (2, 3), (0, 2), (1, 3)):
        photos[first].save("a.jpg", quality=95)
        photos[second].save("b.jpg", quality=95)
        exec(code, {})
        cosines[first, second] = float(capsys.readouterr().out.split()[1])
        same = compare("a.jpg", "b.jpg")
        assert same.same is (second - first == 1)
        assert same.cosine == pytest.approx(cosines[first, second], abs=1e-3)
    assert min(cosines[0, 1], cosines[2, 3]) > max(cosines[0, 2], cosines[1, 3]) + 0.1
