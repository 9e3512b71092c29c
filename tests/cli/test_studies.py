"""`gfkeras evaluate --study` and `--gallery-model`."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from small_networks import SMALL_BOTTLENECKS

import gfkeras
from gfkeras.cli import main
from gfkeras.data.synthetic import synthetic_faces

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the command line runs on TensorFlow"
)

PEOPLE, EACH = 8, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Eight people. pairs.csv compares the first six."""
    root = tmp_path_factory.mktemp("studies")
    images, labels = synthetic_faces(num_identities=PEOPLE, images_per_identity=EACH, seed=0)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = root / "people" / f"p{label}" / f"{i % EACH}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(image, np.uint8)).save(path)
    rows = ["first,second,same"]
    for person in range(6):
        for i in (0, 2):
            rows.append(f"p{person}/{i}.png,p{person}/{i + 1}.png,1")
            rows.append(f"p{person}/{i}.png,p{(person + 1) % 6}/{i + 1}.png,0")
    (root / "pairs.csv").write_text("\n".join(rows))
    return root


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, str]:
    """Untrained networks: two of 4 numbers, as ONNX and in Keras' form, and one of 8."""
    root = tmp_path_factory.mktemp("models")
    made = {}
    for name, seed, dim in (("new", 0, 4), ("old", 1, 4), ("wide", 2, 8)):
        keras.utils.set_random_seed(seed)
        network = gfkeras.backbones.MobileFaceNet(
            width=0.0625, bottlenecks=SMALL_BOTTLENECKS, embedding_dim=dim
        )
        if name == "new":
            made[name] = str(gfkeras.export.export_model(network, root / "new.onnx", format="onnx"))
        else:
            network.save_to(root / name)
            made[name] = str(root / name)
    return made


def command(folder: Path, *arguments: str) -> list[str]:
    data = ["--data", str(folder / "people"), "--pairs", str(folder / "pairs.csv")]
    return ["evaluate", *arguments[:1], *data, "--bootstrap", "20", *arguments[1:]]


def measured(folder: Path, tmp_path: Path, *arguments: str) -> dict:
    found = tmp_path / "found.json"
    assert main([*command(folder, *arguments), "--json", str(found)]) == 0
    return json.loads(found.read_text())


@pytest.mark.parametrize(
    ("study", "at", "same"),
    [
        ("jpeg", "40,95", None),
        ("size", "16,112", "112"),
        ("dimension", "2,4", "4"),
        ("bits", "8", None),
    ],
)
def test_a_study_beside_the_plain_figures(study, at, same, folder, models, tmp_path, capfd):
    plain = measured(folder, tmp_path, models["new"])
    found = measured(
        folder, tmp_path, models["new"], "--study", study, "--at", at, "--plots", str(tmp_path)
    )
    assert {key: found[key] for key in plain} == plain
    assert found["study"]["name"] == study
    values = [int(value) for value in at.split(",")]
    series = 2 if study == "dimension" else 1
    points = found["study"]["points"]
    assert [point["value"] for point in points] == values * series
    for point in points:
        if str(point["value"]) == same:
            # At this value nothing changes.
            assert point["accuracy"] == plain["accuracy"]
            assert point["auc"] == pytest.approx(plain["auc"])
    assert (tmp_path / f"study_{study}.png").is_file()
    assert found["study"]["axis"] in capfd.readouterr().out


def test_a_change_of_faces_is_measured(folder, models, tmp_path):
    """The result of the study equals that of files that were degraded before."""
    from gfkeras.experiments.studies import small_image

    found = measured(folder, tmp_path, models["new"], "--study", "size", "--at", "12")
    for path in (folder / "people").glob("*/*.png"):
        small = small_image(12)(np.asarray(Image.open(path)))
        (tmp_path / "people" / path.parent.name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(small).save(tmp_path / "people" / path.parent.name / path.name)
    (tmp_path / "pairs.csv").write_text((folder / "pairs.csv").read_text())
    expected = measured(tmp_path, tmp_path, models["new"])
    point = found["study"]["points"][0]
    assert point["auc"] == expected["auc"] != found["auc"]
    assert point["accuracy"] == expected["accuracy"]


def test_a_gallery_of_another_model(folder, models, tmp_path, capfd):
    old = ["--gallery-model", models["old"]]
    found = measured(folder, tmp_path, models["new"], *old, "--plots", str(tmp_path))
    for name in ("new", "old"):
        plain = measured(folder, tmp_path, models[name])
        for key in ("accuracy", "auc", "tar_at_far"):
            assert found[f"{name}/{name}"][key] == plain[key]
    across = [found[name]["accuracy"] for name in ("new/old", "old/new")]
    assert found["cross_accuracy"] == pytest.approx(np.mean(across))
    assert (tmp_path / "roc.png").is_file()
    assert "new probe, old gallery" in capfd.readouterr().out


def test_options_that_do_not_fit_together(folder, models, capfd):
    for arguments, message in (
        (["--study", "jpg"], "`study` must be one of 'jpeg'"),
        (["--study", "jpeg", "--at", "10;20"], "`at` must be whole numbers"),
        (["--study", "jpeg", "--at", "0"], "`at` must be whole numbers"),
        (["--study", "jpeg", "--at", "101"], "`quality` must be from 1 to 100"),
        (["--study", "size", "--at", "113"], "at most the faces' 112 pixels"),
        (["--study", "dimension", "--at", "5"], "embedding's 4 numbers"),
        (["--at", "10"], "`at` requires `study` (--study)"),
        (["--study", "jpeg", "--fit-data", "x"], "`fit_data` requires study=dimension (--study)"),
        (
            ["--study", "jpeg", "--protocol", "facenet"],
            "`study` requires `protocol` (--protocol) pairs or bin",
        ),
        (["--study", "jpeg", "--gallery-model", models["old"]], "`study` cannot be combined"),
        (["--gallery-model", models["old"], "--record"], "`record` cannot be combined"),
        (["--gallery-model", models["old"], "--group-aware"], "requires the cosine"),
        (["--gallery-model", models["wide"]], "expected 8 numbers, as in the old model"),
        (["--gallery-model", "nothing"], "`model_or_path` must be"),
    ):
        assert main(command(folder, models["new"], *arguments)) == 2
        error = capfd.readouterr().err.strip().splitlines()[-1]
        assert message in error, error


def test_principal_directions_need_other_people(folder, models, tmp_path, capfd):
    (tmp_path / "scored.txt").write_text("p0\np1\n")
    arguments = ["--study", "dimension", "--fit-identities", str(tmp_path / "scored.txt")]
    assert main(command(folder, models["new"], *arguments)) == 2
    assert "`fit_data` must have people who are not in a pair" in capfd.readouterr().err
    (tmp_path / "one.txt").write_text("p6\n")
    arguments[-1] = str(tmp_path / "one.txt")
    assert main(command(folder, models["new"], *arguments)) == 0
