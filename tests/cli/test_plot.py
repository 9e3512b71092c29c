"""`gfkeras plot`: files, numbers as JSON, and one-line errors."""

from __future__ import annotations

import json
import shutil
import sys
import xml.etree.ElementTree as ET

import keras
import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="plots need the extra 'plots'")

from PIL import Image

import gfkeras
from gfkeras.cli import main
from gfkeras.data.synthetic import synthetic_faces

PEOPLE, EACH = 5, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("plot") / "people"
    images, labels = synthetic_faces(num_identities=PEOPLE, images_per_identity=EACH, seed=0)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        person = root / f"person_{label}"
        person.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(image, np.uint8)).save(
            person / f"person_{label}_{i % EACH + 1:04d}.png"
        )
    return root


def backbone(width=None):
    images = keras.Input((112, 112, 3))
    x = keras.layers.AveragePooling2D(16)(keras.layers.Rescaling(1 / 127.5, -1)(images))
    x = keras.layers.Flatten()(x)
    return keras.Model(images, keras.layers.Dense(width)(x) if width else x)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An untrained GroupFace in a folder."""
    keras.utils.set_random_seed(0)
    network = gfkeras.GroupFace(
        backbone(), embedding_dim=8, num_groups=3, shared_dim=None, group_dim=8, bn_momentum=0.0
    )
    network(np.random.default_rng(0).integers(0, 256, (16, 112, 112, 3)), training=True)
    return str(network.save_to(tmp_path_factory.mktemp("plot") / "model"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A network without groups."""
    keras.utils.set_random_seed(1)
    network = gfkeras.backbones.MobileFaceNet(embedding_dim=8, width=0.0625, bottlenecks=[
        [64, 64, 1, 2]])  # fmt: skip
    return str(network.save_to(tmp_path_factory.mktemp("plot") / "plain"))


def plotted(*arguments, out):
    assert main(["plot", *map(str, arguments), "--out", str(out), "--json", f"{out}.json"]) == 0
    left = {path.name for path in out.parent.iterdir()}
    assert {out.name, f"{out.name}.json"} <= left
    assert not any(name.startswith(".") for name in left), "nothing half-written"
    return json.loads((out.parent / f"{out.name}.json").read_text())


def check_png(path, width=1440):
    with Image.open(path) as image:
        image.load()
        assert (image.format, image.width) == ("PNG", width)
        assert len(image.convert("RGB").getcolors(1 << 22)) > 20


def svg_texts(path):
    root = ET.parse(path).getroot()
    assert root.tag.endswith("svg")
    return ["".join(element.itertext()).strip() for element in root.iter() if
            element.tag.endswith("}text")]  # fmt: skip


def test_tsne_beside_a_baseline(model, plain, folder, tmp_path, capsys):
    out = tmp_path / "tsne.png"
    found = plotted(
        "tsne", model, "--data", folder, "--people", 4, "--baseline", plain, out=out
    )  # fmt: skip
    check_png(out, 1980)
    assert list(found["panels"]) == ["baseline", "instance", "embedding"]
    assert (found["images"], found["people"][0]) == (16, "person 0")
    assert np.shape(found["panels"]["instance"]["points"]) == (16, 2)
    outputs = gfkeras.Embedder(model).outputs(
        np.stack([np.asarray(Image.open(p)) for p in sorted(folder.glob("person_[0-3]/*"))])
    )
    from gfkeras.experiments.figures import project

    for key in ("instance", "embedding"):
        expected = project(outputs[key], found["labels"]).silhouette
        assert found["panels"][key]["silhouette"] == pytest.approx(expected, abs=1e-5)
    assert "v̄, instance and group" in capsys.readouterr().out


def test_tsne_of_named_people_numbered(plain, folder, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("person_3\nperson_1\n")
    out = tmp_path / "tsne.svg"
    by_file = plotted(
        "tsne", plain, "--data", folder, "--identities", names, "--anonymous", out=out
    )
    assert list(by_file["panels"]) == ["embedding"]
    assert {"Embedding", "Person 1", "Person 2"} <= set(svg_texts(out))
    by_name = plotted(
        "tsne", plain, "--data", folder, "--identity", "person_3", "--identity", "person_1",
        out=out,
    )  # fmt: skip
    assert by_name["people"] == ["person 3", "person 1"]
    assert by_name["panels"] == by_file["panels"]


def test_groups_and_their_sheet(model, folder, tmp_path):
    out = tmp_path / "groups.svg"
    found = plotted("groups", model, "--data", folder, out=out)
    assert (found["images"], found["num_groups"]) == (20, 3)
    assert "Share of faces" in svg_texts(out)
    groups = gfkeras.Embedder(model)(
        np.stack([np.asarray(Image.open(p)) for p in sorted(folder.glob("*/*"))])
    ).group
    assert found["faces"] == np.bincount(groups, minlength=3).tolist()
    out = tmp_path / "sheet.png"
    sheet = plotted("sheet", model, "--data", folder, "--faces", 3, out=out)
    assert {g["group"]: g["faces"] for g in sheet["groups"]} == {
        g: n for g, n in enumerate(found["faces"]) if n
    }
    for group in sheet["groups"]:
        assert len(group["shown"]) == min(3, group["faces"])
    with Image.open(out) as image:
        assert len(image.convert("RGB").getcolors(1 << 22)) > 1000
    some = plotted("groups", model, "--data", folder, "--limit", 7, out=tmp_path / "some.png")
    assert some["images"] == 7


def test_groups_over_training(tmp_path, capsys):
    for name, end in (("naive", 1.2), ("self-distributed", 6.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "log.csv").write_text(
            f"epoch,loss,effective_groups,effective_groups_soft\n1,9,5,7\n2,8,{end},6\n"
        )
    runs = [tmp_path / "naive", tmp_path / "self-distributed"]
    (tmp_path / "out").mkdir()
    found = plotted("groups", *runs, "--over-training", out=tmp_path / "out" / "epochs.png")
    check_png(tmp_path / "out" / "epochs.png")
    assert found["runs"]["naive"]["effective_groups"] == [5, 1.2]
    assert found["runs"]["naive"]["entropy"][1] == pytest.approx(np.log(1.2))
    assert "self-distributed" in capsys.readouterr().out
    implied = plotted("groups", *runs, out=tmp_path / "out" / "epochs.svg")
    assert implied == found


def test_margins(tmp_path):
    out = tmp_path / "margins.svg"
    found = plotted("margins", "--head", "ArcFace", "--head", "CosFace", out=out)
    assert {curve["head"] for curve in found["curves"]} == {"ArcFace", "CosFace"}
    assert len(found["degrees"]) == len(found["curves"][0]["logit"]) == 361
    assert "CosFace: m = 0.35" in svg_texts(out)


def test_boundaries(tmp_path):
    out = tmp_path / "boundaries.svg"
    found = plotted("boundaries", "--head", "Softmax", "--head", "ArcFace", out=out)
    gaps = {(each["head"], each["setting"]): each["gap"] for each in found["boundaries"]}
    assert gaps["ArcFace", "m = 0.5"] == 29
    assert gaps["Softmax", "‖W₁‖ = 1.5 ‖W₂‖"] == 0
    assert "m = 0.5" in svg_texts(out)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_toy(dimensions, folder, tmp_path, capsys):
    (folder / "person_0" / "broken.png").write_bytes(b"no image")
    try:
        found = plotted(
            "toy", "--data", folder, "--people", 3, "--epochs", 1, "--head", "NormSoftmax",
            "--dimensions", dimensions, out=tmp_path / "toy.png",
        )  # fmt: skip
    finally:
        (folder / "person_0" / "broken.png").unlink()
    check_png(tmp_path / "toy.png", width=1040)
    (head,) = found["heads"]
    assert found["images"] == len(head["points"]) == len(found["labels"]) == 3 * EACH
    assert np.shape(head["centers"]) == (3, dimensions)
    assert found["skipped"] == 1
    assert "NormSoftmax" in capsys.readouterr().out


def test_toy_without_the_images_of_some_people(folder, tmp_path, capsys):
    shutil.copytree(folder, tmp_path / "people")
    for name in ("person_1", "person_3"):
        for file in (tmp_path / "people" / name).iterdir():
            file.write_bytes(b"no image")
    command = ["toy", "--data", tmp_path / "people", "--people", 5, "--epochs", 1]
    found = plotted(*command, "--head", "ArcFace", out=tmp_path / "toy.png")
    assert set(found["labels"]) == {0, 1, 2}
    assert (len(found["heads"][0]["centers"]), found["skipped"]) == (3, 2 * EACH)
    for name in ("person_0", "person_2"):
        for file in (tmp_path / "people" / name).iterdir():
            file.write_bytes(b"no image")
    assert main(["plot", *map(str, command), "--out", str(tmp_path / "one.png")]) == 2
    assert "readable images of two people or more" in capsys.readouterr().err


def test_angles(plain, folder, tmp_path):
    rows = ["first,second,same"]
    for person in range(PEOPLE):
        other = (person + 1) % PEOPLE
        for i, j in ((1, 2), (3, 4), (1, 4)):
            first = f"person_{person}/person_{person}_000{i}.png"
            rows.append(f"{first},person_{person}/person_{person}_000{j}.png,1")
            rows.append(f"{first},person_{other}/person_{other}_000{j}.png,0")
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("\n".join(rows))
    out = tmp_path / "angles.png"
    found = plotted(
        "angles", plain, "--data", folder, "--pairs", pairs, "--far", 0.1, "--far", 0.2, out=out
    )
    check_png(out)
    assert found["genuine"]["pairs"] == found["impostor"]["pairs"] == 15
    assert list(found["threshold_at_far"]) == ["1e-1", "2e-1"]
    embedder = gfkeras.Embedder(plain)
    a, b = (folder / row.split(",")[side] for row in rows[1:2] for side in (0, 1))
    e = embedder.embed_files([a, b]).embedding.astype("float64")
    angle = np.degrees(np.arccos(e[0] @ e[1]))
    assert found["genuine"]["counts"][int(angle // 2)] >= 1
    # 15 impostor pairs cannot measure the default, 1e-2.
    found = plotted("angles", plain, "--data", folder, "--pairs", pairs, out=out)
    assert found["threshold_at_far"] == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["groups", "{plain}", "--data", "{folder}"], "`model` must be a GroupFace"),
        (["sheet", "{plain}", "--data", "{folder}"], "`model` must be a GroupFace"),
        (["groups", "{plain}"], "`sources` must be one model with --data"),
        (["groups", "{plain}", "--over-training"], "with log.csv"),
        (["groups", "{plain}", "--over-training", "--data", "{folder}"], "`data` must be left out"),
        (["tsne", "{plain}", "--data", "{folder}", "--people", "6"], "from 2 to 5"),
        (["tsne", "{plain}", "--data", "{folder}", "--identity", "persn_1"],
         "did you mean 'person_1'"),
        (["margins", "--head", "ArkFace"], "did you mean 'ArcFace'"),
        (["margins", "--out", "{tmp}/m.jpg"], "`out` must end in .png or .svg"),
        (["boundaries", "--head", "ArkFace"], "did you mean 'ArcFace'"),
        (["toy", "--head", "ArkFace"], "did you mean 'ArcFace'"),
        (["toy", "--data", "{folder}"], "from 2 to 5"),
        (["toy", "--data", "{tmp}/none"], "does not exist"),
    ],
)  # fmt: skip
def test_errors_are_one_line_and_leave_no_file(arguments, message, plain, folder, tmp_path, capsys):
    places = {"plain": plain, "folder": folder, "tmp": tmp_path}
    command = ["plot", *(argument.format(**places) for argument in arguments)]
    if "--out" not in command:
        command += ["--out", str(tmp_path / "picture.png")]
    assert main(command) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("gfkeras: error: ")
    assert message in error
    assert "\n" not in error
    assert list(tmp_path.iterdir()) == []


def test_a_missing_matplotlib_names_the_extra(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["plot", "margins", "--out", str(tmp_path / "m.png")]) == 2
    assert "pip install 'gfkeras[plots]'" in capsys.readouterr().err
