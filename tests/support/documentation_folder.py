"""Files for the placeholders on pages, made of synthetic faces: MODEL, photos, DATA, pairs.txt…"""

from __future__ import annotations

import io
import itertools
import pickle
import shutil
from pathlib import Path

import keras
import numpy as np
import tomli_w
from PIL import Image
from small_networks import SMALL_BACKBONE, SMALL_BOTTLENECKS

import gfkeras
from gfkeras.backbones import MobileFaceNet
from gfkeras.cli import main
from gfkeras.data.synthetic import synthetic_faces
from gfkeras.evaluation import COSINE, Thresholds

PEOPLE, EACH = 20, 4
# 1,000 impostor pairs, so that thresholds for a FAR of 1e-2 can be measured.
FOLDS, PAIRS = 10, 100
RECIPE = {
    "model": {"embedding_dim": 16, "num_groups": 2, "shared_dim": "none", "group_dim": 16,
              "backbone": SMALL_BACKBONE},
    "loss": [{"name": "SelfGroupingLoss"}],
    "data": {"holdout_identities": 2},
    "training": {"epochs": 1, "batch_size": 16},
}  # fmt: skip

# With `model.init`, which defines the backbone.
FINE_TUNING = {**RECIPE, "model": {"num_groups": 2, "group_dim": 16}}


def small_groupface() -> keras.Model:
    """A GroupFace that compiles in a second."""
    keras.utils.set_random_seed(0)
    return gfkeras.GroupFace(
        MobileFaceNet(width=0.0625, bottlenecks=SMALL_BOTTLENECKS),
        embedding_dim=16,
        num_groups=2,
        shared_dim=None,
        group_dim=16,
    )


def _photo(*faces: np.ndarray) -> Image.Image:
    """Faces side by side in a grey image, large enough for the detector."""
    photo = Image.new("RGB", (300 * len(faces), 300), (128, 128, 128))
    for place, face in enumerate(faces):
        photo.paste(Image.fromarray(face).resize((224, 224)), (300 * place + 38, 38))
    return photo


def _write_people(folder: Path, faces: np.ndarray, names: list[str]) -> None:
    for name, images in zip(names, faces, strict=True):
        (folder / name).mkdir(parents=True)
        for number, image in enumerate(images, 1):
            path = folder / name / f"{name.replace(' ', '_')}_{number:04d}.jpg"
            Image.fromarray(image).save(path, quality=95)


def _lfw_pairs(names: list[str], folds: int, pairs: int) -> str:
    """Writes LFW's list with as many impostor as genuine pairs. Genuine pairs can occur twice."""
    images = range(1, EACH + 1)
    two = list(itertools.combinations(images, 2))
    genuine = itertools.cycle((name, i, j) for name in names for i, j in two)
    impostor = itertools.cycle(
        (a, i, b, j) for a, b in itertools.combinations(names, 2) for i in images for j in images
    )
    lines = [f"{folds}\t{pairs}"]
    for _ in range(folds):
        for kind in (genuine, impostor):
            lines += ["\t".join(map(str, next(kind))) for _ in range(pairs)]
    return "\n".join(lines) + "\n"


def _verification_bin(faces: np.ndarray, path: Path) -> None:
    """Writes InsightFace's .bin: two JPEG files per pair, and whether they show one person."""

    def jpeg(image: np.ndarray) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, "JPEG", quality=95)
        return stream.getvalue()

    pairs = [(faces[p % 8, 0], faces[(p + p % 2) % 8, 1]) for p in range(60)]
    content = [jpeg(image) for pair in pairs for image in pair]
    path.write_bytes(pickle.dumps((content, [p % 2 == 0 for p in range(60)])))


def make_folder(root: Path, models: Path) -> Path:
    """Fills a folder with all files that the pages name.

    Args:
        root: a folder that does not exist.
        models: folder of YuNet and of InsightFace's MobileFaceNet.
    """
    images, _ = synthetic_faces(num_identities=PEOPLE, images_per_identity=EACH, seed=0)
    faces = images.reshape(PEOPLE, EACH, *images.shape[1:])
    names = [f"s{number}" for number in range(1, PEOPLE + 1)]
    data = ("DATA/celeba_aligned112", "DATA/lfw_aligned112", "DATA/orl_faces")
    for folder in (*data, "lfw", "faces", "heldout", "FACES", "DIR"):
        _write_people(root / folder, faces, names)
    (root / "DATA" / "lfw_lists").mkdir()
    (root / "pairs.txt").write_text(_lfw_pairs(names, FOLDS, PAIRS))
    (root / "DATA" / "lfw_lists" / "pairs.txt").write_text(_lfw_pairs(names, FOLDS, PAIRS))
    halves = {"Test": names[: PEOPLE // 2], "Train": names[PEOPLE // 2 :]}
    for half, people in halves.items():
        for place in (root, root / "DATA" / "lfw_lists"):
            (place / f"pairsDev{half}.txt").write_text(_lfw_pairs(people, 1, 30))
        listed = "\n".join([str(len(people)), *(f"{name}\t{EACH}" for name in people)])
        (root / "DATA" / "lfw_lists" / f"peopleDev{half}.txt").write_text(listed)
    for group, people in zip("ab", halves.values(), strict=True):
        (root / f"group_{group}.txt").write_text("\n".join(people))
    _verification_bin(faces, root / "agedb_30.bin")

    people = ["Bob", "Cleo", "Ann Example", *names[3:]]
    for name, pictures in zip(people, faces, strict=True):
        (root / "photos" / name).mkdir(parents=True)
        for number, picture in enumerate(pictures):
            _photo(picture).save(root / "photos" / name / f"{number}.jpg", quality=95)
    for name, number in (("a.jpg", 0), ("b.jpg", 1), ("photo.jpg", 2)):
        _photo(faces[0, number]).save(root / name, quality=95)
    _photo(faces[0, 3], faces[1, 3]).save(root / "party.jpg", quality=95)
    for name, number in (("a.png", 0), ("b.png", 1)):
        Image.fromarray(faces[0, number]).save(root / name)
    (root / "DATA" / "models").symlink_to(models, target_is_directory=True)
    shutil.copy(models / "face_detection_yunet_2023mar.onnx", root)
    for end in ("0000.params", "symbol.json"):
        shutil.copy(models / f"mobilefacenet_ms1m-{end}", root / f"model-{end}")

    for place in ("RECIPE", "RECIPE.toml"):
        (root / place).write_text(tomli_w.dumps(RECIPE))
    (root / "mine.toml").write_text(tomli_w.dumps(FINE_TUNING))
    _make_models(root, faces)
    return root


def _make_models(root: Path, faces: np.ndarray) -> None:
    """Writes MODEL with its thresholds, and the results of earlier pages."""
    small_groupface().save_to(root / "MODEL")
    fingerprint = gfkeras.Embedder(root / "MODEL").fingerprint
    # Pretend that it was measured on many more pairs, for the FARs on the pages.
    Thresholds(
        COSINE, {"1e-1": 0.3, "1e-2": 0.5, "1e-3": 0.7}, 100_000, "made up", fingerprint
    ).save(root / "MODEL" / "thresholds.json")
    shutil.copytree(root / "MODEL", root / "runs" / "first" / "best")
    artefact = root / "face.tflite"
    arguments = ["export", str(root / "MODEL"), "--format", "tflite", "--mode", "hard"]
    assert main([*arguments, "--out", str(artefact)]) == 0
    for path in (artefact, artefact.with_suffix(".tflite.json")):
        for copy in ("face_int8.tflite", "runs/ms1m.tflite"):
            shutil.copy(path, root / path.name.replace("face.tflite", copy))
    assert main(["prepare", str(root / "faces"), str(root / "records"), "--quiet",
                 "--holdout", "2"]) == 0  # fmt: skip
    small_groupface_backbone().save_to(root / "runs" / "r50")
    _write_people(root / "enrolled", faces[:2], ["Ann Example", "Carl"])
    assert main(["enroll", str(root / "enrolled"), str(root / "faces.gallery"), "--aligned",
                 "--model", str(root / "MODEL"), "--quiet"]) == 0  # fmt: skip


def small_groupface_backbone() -> keras.Model:
    """Writes a small backbone instead of a ResNet of 166 MB."""
    return MobileFaceNet(16, width=0.0625, bottlenecks=SMALL_BOTTLENECKS)
