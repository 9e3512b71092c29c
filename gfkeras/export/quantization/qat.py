"""Quantisation-aware fine-tuning of an int8 network, with the float network as teacher."""

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
# Weight of the losses of the groups' outputs. The loss of the embedding has weight 1.
_GROUPS_WEIGHT = 0.1


@dataclass(frozen=True, slots=True)
class QatSettings:
    """Settings of quantisation-aware fine-tuning.

    Attributes:
        epochs: number of passes over the calibration faces.
        learning_rate: first learning rate of LAMB, which falls to zero along a cosine. LAMB's steps
            are a fraction of each kernel's norm, so one rate fits all equalised layers.
        callbacks: callbacks for `keras.Model.fit`, for example one that shows progress.
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
    """Trains the simulation of an int8 network to reproduce the float network's embeddings.

    No labels are needed. The loss is 1 − cos(t, x) for the embeddings t and x. For a GroupFace, the
    same loss of the group features and the cross-entropy to the teacher's group probabilities are
    added with weight 0.1. Batch normalisations are already folded, so training changes exactly the
    weights that the file stores. A random half of the faces is mirrored in each epoch.

    `ranges` has (low, high) of each rounded node, and the ends of the nodes in `fixed` are not
    learned. Raises ValueError if the training diverges.
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
    # Without this, Keras creates the optimizer's variables while it traces the training step. That
    # takes half a minute, because each variable gets its own graph.
    student.optimizer.build(student.trainable_variables)
    student.fit(
        _batches(faces, _targets(teacher, faces), _targets(teacher, faces[:, :, ::-1])),
        epochs=settings.epochs,
        # The data set already shuffles.
        shuffle=False,
        verbose=0,
        callbacks=[*settings.callbacks, keras.callbacks.TerminateOnNaN()],
    )
    if not all(np.isfinite(ops.convert_to_numpy(each)).all() for each in student.variables):
        raise ValueError(
            "Fine-tuning diverged. `learning_rate` must be lower. "
            f"Received: learning_rate={settings.learning_rate:g}"
        )
    return student


def simulated(student: Simulation, faces: np.ndarray) -> Embeddings:
    """Returns the student's embeddings of faces, (N, H, W, 3) of 0…255."""
    return Embeddings.of(_outputs(student, faces))


def _loss(output: str) -> keras.losses.Loss:
    if output == "group_logits":
        return keras.losses.CategoricalCrossentropy(from_logits=True)
    return CosineDistillationLoss()


def _targets(teacher: keras.Model, faces: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the teacher's embeddings, group features and group probabilities of faces."""
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
