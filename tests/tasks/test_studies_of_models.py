"""`plot`, `invert`, `train`, `clean` and `ablate` of `gfkeras.tasks`."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_sets import EACH, PEOPLE, write_people
from pixel_network import write_pixel_network

from gfkeras.tasks import plot
from gfkeras.tasks.ablate import ablate, read_grid
from gfkeras.tasks.clean import clean
from gfkeras.tasks.invert import invert
from gfkeras.tasks.train import train, training_faces


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Path:
    return write_people(tmp_path_factory.mktemp("people"))


def test_plots_of_an_artefact(people, tmp_path):
    pytest.importorskip("matplotlib", reason="needs the extra 'plots'")
    model = write_pixel_network(tmp_path / "pixels.onnx")
    drawn = plot.tsne(model, people, tmp_path / "t.svg", people=3, anonymous=True)
    assert (drawn.path, drawn.path.is_file()) == (tmp_path / "t.svg", True)
    assert drawn.numbers["people"] == ["Person 1", "Person 2", "Person 3"]
    assert drawn.to_json()["skipped"] == 0
    assert [label for label, _ in drawn.summary] == ["Embedding"]
    rows = [f"p{i}/p{i}_0001.jpg,p{(i + k) % PEOPLE}/p{(i + k) % PEOPLE}_0002.jpg,{int(not k)}"
            for i in range(PEOPLE) for k in (0, 1)]  # fmt: skip
    (tmp_path / "pairs.csv").write_text("\n".join(["first,second,same", *rows]))
    angles = plot.angles(model, people, tmp_path / "pairs.csv", tmp_path / "a.png", far=[0.25])
    assert angles.numbers["genuine"]["pairs"] == PEOPLE
    assert list(angles.numbers["threshold_at_far"]) == ["2.5e-1"]
    with pytest.raises(ValueError, match="`model` must be a GroupFace"):
        plot.groups(model, people, tmp_path / "g.png")
    assert not (tmp_path / "g.png").exists()


def test_plots_check_their_arguments_before_a_model_is_opened(people, tmp_path):
    pytest.importorskip("matplotlib", reason="needs the extra 'plots'")
    for call, message in (
        (lambda: plot.tsne("none", people, "a.jpg"), "`out` must end in"),
        (lambda: plot.tsne("none", "missing", "a.png"), "does not exist"),
        (lambda: plot.groups("none", people, "a.png", identities=["x"]), "'x'"),
        (lambda: plot.sheet("none", people, "a.png", face="all", align=True), "`face` must be"),
        (lambda: plot.angles("none", people, "none.txt", "a.png"), "none.txt"),
        (lambda: plot.group_training([people], tmp_path / "a.png"), "log.csv"),
        (lambda: plot.margins(tmp_path / "a.png", ["ArkFace"]), "did you mean 'ArcFace'"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_inversion_looks_for_the_photo_before_the_detector(tmp_path, monkeypatch):
    from gfkeras.tasks import alignment

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("the detector was asked for")

    monkeypatch.setattr(alignment, "FaceDetector", fail)
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=r"none\.jpg: no such file"):
        invert("none", out, photos=[tmp_path / "none.jpg"])
    with pytest.raises(ValueError, match="no such file"):
        invert("none", out, embeddings=tmp_path / "none.npz")
    with pytest.raises(ValueError, match="does not exist"):
        invert("none", out, identities=["Ann"], data=tmp_path / "none")
    with pytest.raises(ValueError, match=r"Received: `photos` .* and `classes` "):
        invert("none", out, photos=[tmp_path / "none.jpg"], classes=["Ann"])
    assert not out.exists()


def test_training_data(people, tmp_path):
    assert len(training_faces(people, None, None, 1)) == PEOPLE * EACH
    (tmp_path / "names.txt").write_text("p1\n")
    assert training_faces(people, tmp_path / "names.txt", None, 1).identities == ["p1"]
    for task in (train, clean):
        with pytest.raises(ValueError, match="does not exist"):
            task("orl_arcface", tmp_path / "none", tmp_path / "out")
        with pytest.raises(ValueError, match="Unknown recipe 'orll'"):
            task("orll", people, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_grids(people, tmp_path):
    assert len(read_grid("lfw").rows) > 3
    with pytest.raises(ValueError, match=r"`pairs_data` requires `pairs` \(--pairs\)"):
        ablate("lfw", people, tmp_path / "out", pairs_data=people)
    with pytest.raises(ValueError, match=r"none\.txt"):
        ablate("lfw", people, tmp_path / "out", pairs="none.txt")
