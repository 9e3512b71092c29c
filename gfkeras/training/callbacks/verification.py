"""Verification on held-out identities during training."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from gfkeras.data.faces import Faces
from gfkeras.evaluation.pair_list import sample_pairs
from gfkeras.evaluation.pairs import evaluate_pair_scores
from gfkeras.models import as_outputs


class Verification(keras.callbacks.Callback):
    """Adds val_accuracy, val_auc and val_eer to the logs of an epoch.

    The pairs are drawn once, and half of them are genuine, so all epochs use the same pairs. The
    callback must come before callbacks that read these logs.

    Args:
        faces: faces of people who are not in the training data.
        pairs: number of pairs. The faces can give fewer.
        every_epochs: number of epochs between verifications. The last epoch is always verified.
        seed: random seed of the pairs.
        batch_size: number of images per call of the network.
        last_epoch: number of the last epoch, counted from 1. The default is the last epoch of the
            call of `fit`.

    Raises:
        ValueError: if the faces do not give enough genuine and impostor pairs.
    """

    def __init__(
        self,
        faces: Faces,
        pairs: int = 3000,
        every_epochs: int = 1,
        seed: int = 0,
        batch_size: int = 64,
        last_epoch: int | None = None,
    ):
        super().__init__()
        self.faces = faces
        self.every_epochs = every_epochs
        self.batch_size = batch_size
        self.last_epoch = last_epoch
        sizes = np.bincount(faces.labels).astype(np.int64)
        genuine = int((sizes * (sizes - 1) // 2).sum())
        impostor = len(faces) * (len(faces) - 1) // 2 - genuine
        count = min(pairs, 2 * genuine, 2 * impostor)
        if count < 4:
            raise ValueError(
                "Held-out identities must be at least two people with at least two images each. "
                f"Received: {len(faces)} images of {len(faces.identities)} people"
            )
        # `sample_pairs` draws pairs of paths, so each face gets its index as a path.
        names = [Path(str(i)) for i in range(len(faces))]
        drawn = sample_pairs(names, faces.labels, count, seed=seed)
        self._first = np.array([int(path.name) for path in drawn.first])
        self._second = np.array([int(path.name) for path in drawn.second])
        self._same, self._fold = drawn.same, drawn.fold

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        last = epoch + 1 == (self.last_epoch or self.params.get("epochs"))
        if logs is None or not ((epoch + 1) % self.every_epochs == 0 or last):
            return
        embedding = embed(self.model.model, self.faces.images, self.batch_size)
        # Such embeddings have no error rates. `FiniteLoss` ends the run if the loss is not finite.
        if not np.isfinite(embedding).all():
            return
        scores = np.einsum("nd,nd->n", embedding[self._first], embedding[self._second])
        result = evaluate_pair_scores(scores, self._same, self._fold)
        logs |= {"val_accuracy": result.accuracy, "val_auc": result.auc, "val_eer": result.eer}


def embed(model: keras.Model, images: np.ndarray, batch_size: int = 64) -> np.ndarray:
    """Returns L2-normalised embeddings, (N, D), of images, (N, 112, 112, 3).

    Under `tf.distribute`, each worker computes all embeddings itself, which gives all workers the
    same order. Under a `keras.distribution`, batches are padded to a multiple of its replicas.
    """
    predict = _local_predict if _replicated() else _predict
    embedding = predict(model, images, batch_size)
    norm = np.linalg.norm(embedding, axis=1, keepdims=True)
    return embedding / np.maximum(norm, np.finfo(np.float32).tiny)


def _replicated() -> bool:
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return tf.distribute.has_strategy()


def _local_predict(model: keras.Model, images: np.ndarray, batch_size: int) -> np.ndarray:
    import tensorflow as tf

    # `model.predict` would distribute the images over the workers.
    step = tf.function(lambda batch: as_outputs(model(batch, training=False))["embedding"])
    found = []
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        # The last batch is padded, because another shape would trace the function again.
        missing = min(batch_size, len(images)) - len(batch)
        padded = np.concatenate([batch, batch[-1:].repeat(missing, 0)]) if missing else batch
        found.append(step(tf.constant(padded)).numpy()[: len(batch)])
    return np.concatenate(found)


def _predict(model: keras.Model, images: np.ndarray, batch_size: int) -> np.ndarray:
    distribution = keras.distribution.distribution()
    replicas = 1 if distribution is None else distribution.num_model_replicas
    batch_size += -batch_size % replicas
    parts = [images]
    if missing := -len(images) % replicas:
        # Padding copies images, so only the last batch is padded.
        whole = len(images) // batch_size * batch_size
        parts = [images[:whole], np.concatenate([images[whole:], images[-1:].repeat(missing, 0)])]
    found = []
    for part in parts:
        if len(part):
            output = model.predict(part, batch_size=batch_size, verbose=0)
            found.append(np.asarray(output["embedding"] if isinstance(output, dict) else output))
    return np.concatenate(found)[: len(images)]
