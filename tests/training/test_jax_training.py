"""Training on JAX without TensorFlow."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest
from blocking import WITHOUT_TENSORFLOW

SCRIPT = """
import numpy as np, keras
from gfkeras.data import Faces
from gfkeras.training import Recipe, train
from small_networks import SMALL_BACKBONE
import gfkeras

assert keras.backend.backend() == "jax"
rng = np.random.default_rng(0)
faces = Faces(rng.integers(0, 256, (12, 112, 112, 3), np.uint8), np.repeat(np.arange(6), 2))
recipe = Recipe.parse({
    "data": {"holdout_identities": 2},
    "model": {"embedding_dim": 16, "num_groups": 2, "group_dim": 16, "shared_dim": "none",
              "backbone": SMALL_BACKBONE},
    "loss": [{"name": "SelfGroupingLoss"}],
    "training": {"epochs": 2, "batch_size": 4},
})
result = train(recipe, faces, sys.argv[1], verbose=0)
assert np.isfinite(result.metrics["loss"]), result
assert "val_auc" in result.metrics
assert any("TensorFlow" in note for note in result.notes)
assert gfkeras.load(result.last)(faces.images[:2])["embedding"].shape == (2, 16)
resumed = train(Recipe.parse(recipe.model_dump(exclude_none=True), ["training.epochs=3"]), faces,
                sys.argv[1], resume=True, verbose=0)
assert resumed.epochs == 3
# The same from photos: prepared, read and varied without TensorFlow.
from pathlib import Path
from PIL import Image
from gfkeras.data.prepare import PrepareOptions, prepare
out = Path(sys.argv[1]).parent
for number, (image, label) in enumerate(zip(faces.images, faces.labels)):
    (out / "photos" / str(label)).mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(out / "photos" / str(label) / f"{number}.jpg")
prepare(out / "photos", out / "records", PrepareOptions(holdout=2), workers=1)
recipe = Recipe.parse(recipe.model_dump(exclude_none=True), [
    "training.epochs=1", 'augmentation=[{name="color", brightness_factor=0.1}]'])
result = train(recipe, out / "records", out / "run2", verbose=0)
assert (result.images, result.heldout_images, result.skipped) == (8, 4, 0)
assert np.isfinite(result.metrics["loss"]), result
assert not any(name.split(".")[0] == "tensorflow" for name in sys.modules)
print("trained")
"""


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
@pytest.mark.slow
def test_training_on_jax_without_tensorflow(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW + SCRIPT, str(tmp_path / "run")],
        env=os.environ | {"KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip().endswith("trained")
