"""Settings for running the code blocks of each page of the documentation."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import keras_insightface
import numpy as np
from documentation_folder import small_groupface, small_groupface_backbone
from markdown_blocks import blocks
from small_networks import SMALL_BOTTLENECKS

import gfkeras
from gfkeras.backbones import MobileFaceNet
from gfkeras.cli import main
from gfkeras.experiments.ablation import Grid

# Commands that are parsed but not run: their beginning, and the reason.
NOT_RUN = {
    "make": "runs these tests, or hours",
    "pip install": "installs into the environment of these tests",
    "docker": "builds a container",
    "gfkeras train groupface_r100": "takes several GPUs and hours",
    "export TF_CONFIG": "takes several machines; tests/training/distribution has two processes",
    "python benchmarks/": "minutes to hours against a peer: `make bench`",
    "gfkeras ablate data-amount": "hours; tests/experiments/test_data_amount.py has small data",
    "gfkeras evaluate MODEL --protocol cfp": "images of CFP; tests/cli/test_protocols.py has some",
    "gfkeras evaluate MODEL --data lfw_raw250": "raw photos of LFW; tests/cli has some",
    "gfkeras zoo import w600k_r50.onnx": "a download of 166 MB; tests/zoo imports its like",
    "gfkeras zoo import backbone.pt": "written by PyTorch, in tests/zoo/test_importers_on_torch.py",
}
# The placeholder data has only about eighty images.
SHORT = ["--set", "training.epochs=1", "--set", "training.batch_size=16"]
# Options that make a command or a script fast. If an option is given twice, the last one wins.
SHORTER = {
    "train": [*SHORT, "--quiet"],
    "evaluate": ["--bootstrap", "20"],
    "bench": ["--repeats", "3"],
    "groups": ["--bootstrap", "3"],
    "ablate": ["--rows", "1", "--seeds", "0", *SHORT, "--quiet"],
    # After an epoch all angles are large.
    "clean": ["--angle", "179", *SHORT, "--quiet"],
    "invert": ["--steps", "2", "--quiet"],
    "examples/compatible_embeddings.py": [
        "--seeds",
        "0",
        "--epochs",
        "1",
        "--width",
        "0.0625",
        "--rows",
        "independent",
        "--batch-size",
        "8",
    ],
    "demo": [
        "--people",
        "8",
        "--faces",
        "4",
        "--holdout",
        "3",
        *SHORT,
        "--set",
        "training.batch_size=8",
    ],
}


# TOML blocks that are not recipes, by page.
TOML_READERS: dict[str, Callable[[dict[str, Any]], Any]] = {"docs/ablations.md": Grid.parse}


@dataclass(frozen=True)
class Page:
    """How the blocks of a page are run.

    Attributes:
        given: functions that make the names that its Python code expects.
        shorter: replacements in its Python code that make it run in seconds.
        slow: beginnings of commands that only `make test-all` runs. Otherwise their results are
            taken from the folder of placeholders. True for all commands.
        files: functions that make further files for slow commands.
        absent: placeholders of other pages that must not exist on this one.
        quick_python: whether its Python code runs without `make test-all` too.
        holds: conditions that must be true afterwards.
    """

    given: Mapping[str, Callable[[Path], Any]] = field(default_factory=dict)
    shorter: Mapping[str, str] = field(default_factory=dict)
    slow: tuple[str, ...] | bool = ()
    files: Mapping[str, Callable[[Path], Any]] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    quick_python: bool = True
    holds: Callable[[dict[str, Any]], None] = lambda names: None


def _guides_recipe(path: Path) -> None:
    """The recipe that the README tells the reader to copy from the guide."""
    (recipe,) = [block for block in blocks("docs/guide.md") if block.language == "toml"]
    path.write_text(recipe.text)


def _embedder(folder: Path) -> Any:
    return gfkeras.Embedder(folder / "face.tflite")


def _model(path: Path) -> None:
    small_groupface().save_to(path)


def _in_the_box(path: Path) -> None:
    gfkeras.load("h_groupface_mobilefacenet").save_to(path)


def _box_sized_backbone() -> keras.Model:
    """A model with as many embedding dimensions as the bundled one."""
    return MobileFaceNet(128, width=0.0625, bottlenecks=SMALL_BOTTLENECKS)


def _people(path: Path, images: int = 4) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    gfkeras.data.synthetic.write_synthetic_folder(path, 20, images)


def _ann_and_bob(path: Path) -> None:
    _people(path)
    for name, people in zip(("Ann", "Bob"), sorted(path.iterdir()), strict=False):
        people.rename(path / name)


def _first_half(path: Path) -> None:
    path.write_text("".join(f"s{number}\n" for number in range(1, 11)))


def _second_half(path: Path) -> None:
    path.write_text("".join(f"s{number}\n" for number in range(11, 21)))


def _run(path: Path) -> None:
    """A training on DATA/faces, with its checkpoint."""
    shutil.rmtree(path, ignore_errors=True)
    root = path.parents[1]
    recipe, data = str(root / "RECIPE.toml"), str(root / "DATA" / "faces")
    assert main(["train", recipe, "--data", data, "--out", str(path), "--quiet"]) == 0


def _embeddings(path: Path) -> None:
    np.savez(path, embedding=np.random.default_rng(0).normal(size=(2, 16)).astype(np.float32))


def _trained_finitely(*trainings: str) -> Callable[[dict[str, Any]], None]:
    def holds(names: dict[str, Any]) -> None:
        for training in trainings:
            assert np.isfinite(names[training].history.history["loss"]).all()

    return holds


def _embedded_two(names: dict[str, Any]) -> None:
    np.testing.assert_allclose(np.linalg.norm(names["emb"].embedding, axis=1), 1, rtol=1e-5)
    assert names["emb"].group.shape == (2,)
    _trained_finitely("training")(names)


def pooled(width: float, embedding_dim: int = 16) -> keras.Model:
    """Replaces a MobileFaceNet, which takes long to compile."""
    images = keras.Input((112, 112, 3))
    x = keras.layers.Flatten()(keras.layers.AveragePooling2D(16)(images))
    return keras.Model(images, keras.layers.Dense(embedding_dim)(keras.layers.Rescaling(0.01)(x)))


def _classifier(folder: Path) -> Any:
    training = gfkeras.FaceClassifier(pooled(1.0), gfkeras.heads.ArcFace(num_classes=20))
    training.compile("adam")
    return training


PAGES = {
    "README.md": Page(
        shorter={"images_per_identity=20": "images_per_identity=2"},
        slow=True,
        files={"RECIPE.toml": _guides_recipe},
        holds=_embedded_two,
    ),
    # "lfw" is a built-in grid there.
    "docs/ablations.md": Page(slow=("gfkeras ablate lfw --data",), absent=("lfw",)),
    "docs/backbones.md": Page(
        shorter={"gfkeras.backbones.BACKBONES": '("SphereFaceNet4", "FaceNetNNS2")'}
    ),
    "docs/cleaning.md": Page(
        slow=True,
        files={"photos": lambda path: _people(path, images=8)},
    ),
    "docs/compatible_embeddings.md": Page(
        slow=True,
        files={
            "runs/old/last": _model,
            "runs/new/last": _model,
            "runs/ms1m": _in_the_box,
            "runs/ladder/arcface-0/last": _in_the_box,
            "runs/ladder/arcface-1/last": lambda path: _box_sized_backbone().save_to(path),
        },
    ),
    "docs/data.md": Page(
        given={
            "gfkeras": lambda folder: gfkeras,
            "photos": lambda folder: sorted((folder / "photos" / "Bob").iterdir()),
            "model": _classifier,
        },
        shorter={"batch_size=128": "batch_size=8", "epochs=20": "epochs=2", "1234": "1"},
        slow=True,
    ),
    "docs/evaluation.md": Page(
        given={"embedder": _embedder},
        shorter={"replicates=1000": "replicates=20"},
        slow=("gfkeras",),
    ),
    "docs/export.md": Page(
        given={
            "gfkeras": lambda folder: gfkeras,
            "model": lambda folder: small_groupface(),
            "images": lambda folder: gfkeras.data.synthetic.synthetic_faces(4, 2)[0],
        },
        slow=True,
        quick_python=False,
    ),
    "docs/figures.md": Page(
        slow=True,
        files={
            "photos/synthetic": _people,
            "runs/ladder/arcface-0/last": _model,
            "runs/ms1m": lambda path: small_groupface_backbone().save_to(path),
        },
    ),
    "docs/galleries.md": Page(
        given={
            "gfkeras": lambda folder: gfkeras,
            "photos_of_ann": lambda folder: [folder / "a.jpg", folder / "b.jpg"],
            "more": lambda folder: gfkeras.Embedder(folder / "MODEL").embed_files(
                [folder / "a.png"]
            ),
        },
        slow=("gfkeras cluster",),
    ),
    "docs/guide.md": Page(slow=True),
    "docs/heads_and_losses.md": Page(holds=_trained_finitely("training", "own")),
    "docs/how_much_data.md": Page(
        slow=True,
        files={
            "people.txt": _first_half,
            "heldout.txt": _second_half,
            "mine.toml": lambda path: shutil.copy(path.parent / "RECIPE.toml", path),
        },
    ),
    "docs/index.md": Page(slow=True),
    "docs/inversion.md": Page(
        slow=True,
        files={"DATA/faces": _ann_and_bob, "runs/first": _run, "stored.npz": _embeddings},
    ),
    "docs/migrating_from_keras_insightface.md": Page(
        slow=("gfkeras",),
        files={"TT_r50_basic_model_latest.h5": lambda path: keras_insightface.resnet().save(path)},
    ),
    "docs/migrating_from_tensorflow_addons.md": Page(
        given={
            "gfkeras": lambda folder: gfkeras,
            "keras": lambda folder: keras,
            "model": lambda folder: small_groupface().backbone,
            # It cannot be imported with Keras 3, which is what the page is about.
            "tfa": lambda folder: SimpleNamespace(
                losses=SimpleNamespace(TripletSemiHardLoss=gfkeras.losses.TripletLoss)
            ),
        },
    ),
    "docs/privacy.md": Page(),
    "docs/python.md": Page(),
    "docs/training.md": Page(
        given={"gfkeras": lambda folder: gfkeras, "model": lambda folder: small_groupface()},
        shorter={"1_000_000": "1_000"},
    ),
    "docs/zoo.md": Page(
        given={"gfkeras": lambda folder: gfkeras},
        # A download of 166 MB.
        shorter={"w600k_r50": "h_groupface_mobilefacenet"},
        slow=True,
    ),
}


# For all other pages, `make test` runs the Python code and `make test-all` the commands.
OTHER_PAGE = Page(given={"gfkeras": lambda folder: gfkeras}, slow=True)


def page_of(name: str) -> Page:
    return PAGES.get(name, OTHER_PAGE)
