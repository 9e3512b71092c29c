"""Quantization-aware fine-tuning of an int8 network by its float one."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from gfkeras.errors import positive, positive_int, require
from gfkeras.export.preparation.network import Network
from gfkeras.export.quantization.calibration import Embeddings
from gfkeras.export.quantization.simulation import Simulation
from gfkeras.losses import CosineDistillationLoss

_BATCH_SIZE = 32
_SEED = 0
# What the groups' outputs count for, beside the embedding.
_GROUPS_WEIGHT = 0.1


@dataclass(frozen=True, slots=True)
class QatSettings:
    """Settings of quantization-aware fine-tuning.

    Attributes:
        epochs: passes over the calibration faces.
        learning_rate: of LAMB at first; it falls to zero along a cosine. LAMB steps by a fraction
            of each kernel's size, so that one rate fits equalised layers.
        callbacks: of `keras.Model.fit`, such as one that shows progress.
    """

    epochs: int = 4
    learning_rate: float = 2e-5
    callbacks: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        positive_int("epochs", self.epochs)
        positive("learning_rate", self.learning_rate)


def fine_tune(
    network: Network,
    ranges: Mapping[str, tuple[float, float]],
    teacher: keras.Model,
    faces: np.ndarray,
    settings: QatSettings,
    fixed: Collection[str] = (),
) -> Simulation:
    """Trains the simulation of an int8 network by the float network's embeddings; needs no labels.

    The loss is 1 − cos(t, x) of the embeddings and, for a GroupFace, a tenth of the same for the
    group features and of the cross-entropy to the teacher's group probabilities. Batch
    normalisations are folded beforehand, so that what is trained is what the file computes. Half of
    the `faces`, (N, H, W, 3) of 0…255, are mirrored, others in each epoch. The ends of `fixed`
    nodes are not learned. Raises ValueError if it diverges.
    """
    student = Simulation(network, ranges, fixed)
    steps = -(-len(faces) // _BATCH_SIZE)
    names = list(network.outputs)
    student.compile(
        optimizer=keras.optimizers.Lamb(
            keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps * settings.epochs)
        ),
        loss={name: _loss(name) for name in names},
        loss_weights={name: 1.0 if name == "embedding" else _GROUPS_WEIGHT for name in names},
        jit_compile=False,
    )
    # While tracing, each of its variables would get a graph of its own: half a minute.
    student.optimizer.build(student.trainable_variables)
    student.fit(
        _batches(faces, _targets(teacher, faces), _targets(teacher, faces[:, :, ::-1])),
        epochs=settings.epochs,
        shuffle=False,
        verbose=0,
        callbacks=[*settings.callbacks, keras.callbacks.TerminateOnNaN()],
    )
    if not all(np.isfinite(ops.convert_to_numpy(each)).all() for each in student.variables):
        raise ValueError(
            "Fine-tuning diverged; `learning_rate` must be lower. "
            f"Received: learning_rate={settings.learning_rate:g}"
        )
    return student


def simulated(student: Simulation, faces: np.ndarray) -> Embeddings:
    """The student's embeddings of faces, (N, H, W, 3) of 0…255."""
    return Embeddings.of(_outputs(student, faces))


def _loss(output: str) -> keras.losses.Loss:
    if output == "group_logits":
        return keras.losses.CategoricalCrossentropy(from_logits=True)
    return CosineDistillationLoss()


def _targets(teacher: keras.Model, faces: np.ndarray) -> dict[str, np.ndarray]:
    """The teacher's outputs for faces: embeddings, features and the groups' probabilities."""
    targets = _outputs(teacher, faces)
    if "group_logits" in targets:
        targets["group_logits"] = ops.convert_to_numpy(ops.softmax(targets["group_logits"]))
    return targets


def _outputs(model: keras.Model, faces: np.ndarray) -> dict[str, np.ndarray]:
    rows: list[dict[str, Any]] = []
    for start in range(0, len(faces), _BATCH_SIZE):
        batch = faces[start : start + _BATCH_SIZE].astype(np.float32)
        rows.append(model(batch, training=False))
    return {
        name: np.concatenate([ops.convert_to_numpy(row[name]) for row in rows]) for name in rows[0]
    }


def _batches(
    faces: np.ndarray, targets: dict[str, np.ndarray], mirrored: dict[str, np.ndarray]
) -> Any:
    tf: Any = require("tensorflow", "export")
    data = tf.data.Dataset.from_tensor_slices((faces, targets, mirrored))
    data = data.shuffle(len(faces), seed=_SEED)
    turns = tf.data.Dataset.random(_SEED, rerandomize_each_iteration=True)

    def turned(row: Any, number: Any) -> Any:
        face, plain, other = row
        mirror = number % 2 == 0
        face = tf.cast(tf.where(mirror, face[:, ::-1], face), tf.float32)
        return face, {name: tf.where(mirror, other[name], plain[name]) for name in plain}

    pairs = tf.data.Dataset.zip(data, turns).map(turned)
    return pairs.batch(_BATCH_SIZE).prefetch(1)
