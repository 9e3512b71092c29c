"""The README's Python runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

README = Path(__file__).resolve().parents[2] / "README.md"


def python_blocks() -> dict[str, str]:
    """The Python under each heading of the README."""
    sections = re.split(r"^## ", README.read_text(), flags=re.M)[1:]
    found = {section.partition("\n")[0]: re.search(r"```python\n(.*?)```", section, re.S)
             for section in sections}  # fmt: skip
    return {heading: block[1] for heading, block in found.items() if block}


def test_readme_shows_training_and_embedding():
    assert {"Train", "Embed and compare"} <= set(python_blocks())
    for heading in ("Train", "Embed and compare"):
        assert len(python_blocks()[heading].splitlines()) <= 6


def test_training_and_embedding_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    # A tenth of the faces: that it runs is asked here, not how well it learns.
    train = python_blocks()["Train"].replace("images_per_identity=20", "images_per_identity=2")
    exec(train, names)
    model = names["model"]
    model.mode = "hard"
    model.save_to("runs/first/best")
    for name, face in zip(("a.jpg", "b.jpg"), names["images"], strict=False):
        Image.fromarray(face).save(name)
    exec(python_blocks()["Embed and compare"], names)
    cosine = float(re.search(r"cosine (\S+)", capsys.readouterr().out)[1])
    assert -1 <= cosine <= 1
    np.testing.assert_allclose(np.linalg.norm(names["emb"].embedding, axis=1), 1, rtol=1e-5)
    assert names["emb"].group.shape == (2,)


@pytest.mark.parametrize("picture", ["architecture.png", "synthetic_faces.jpg"])
def test_pictures_exist(picture):
    assert f"docs/images/{picture}" in README.read_text()
    assert (README.parent / "docs/images" / picture).is_file()
