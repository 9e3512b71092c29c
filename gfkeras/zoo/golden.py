"""Golden embeddings (`golden.npz`): a model's embeddings of a few images, to test each runtime."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gfkeras.archives import read_npz
from gfkeras.data.synthetic import synthetic_faces
from gfkeras.files import replacing

if TYPE_CHECKING:
    import keras

# Four synthetic people with two images each. Synthetic faces can be published.
_PEOPLE, _PICTURES = 4, 2


@dataclasses.dataclass(frozen=True)
class Golden:
    """Images, (N, 112, 112, 3) uint8, and their unit embeddings and groups, by Keras."""

    images: npt.NDArray[np.uint8]
    embedding: npt.NDArray[np.float32]
    group: npt.NDArray[np.int32] | None

    @classmethod
    def of(cls, model: keras.Model) -> Golden:
        """Returns the golden embeddings of a model."""
        import keras

        from gfkeras.models.properties import as_outputs

        images, _ = synthetic_faces(_PEOPLE, _PICTURES)
        outputs = as_outputs(model(images, training=False))
        # Normalise in float64, to leave only the rounding of the model itself.
        embedding = np.asarray(keras.ops.convert_to_numpy(outputs["embedding"]), np.float64)
        embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
        group = None
        if "group_logits" in outputs:
            logits = keras.ops.convert_to_numpy(outputs["group_logits"])
            group = logits.argmax(axis=1).astype(np.int32)
        return cls(images, embedding.astype(np.float32), group)

    @classmethod
    def load(cls, path: Path) -> Golden:
        """Reads a file that `save` wrote. Raises ValueError if it is damaged."""
        found = read_npz(path, "golden embeddings", ("images", "embedding"), ("group",))
        images, embedding, group = found["images"], found["embedding"], found.get("group")
        count = len(images) if images.ndim == 4 and images.dtype == np.uint8 else -1
        if embedding.shape[:1] != (count,) or embedding.ndim != 2 or embedding.dtype != np.float32:
            raise ValueError(
                f"{path} is damaged: expected (N, H, W, 3) uint8 images and (N, D) float32 "
                f"embeddings. Received: {images.shape} {images.dtype} and {embedding.shape} "
                f"{embedding.dtype}"
            )
        # Other parts of gfkeras trust these shapes, so a damaged file must not pass.
        if group is not None and (group.shape != (count,) or group.dtype != np.int32):
            raise ValueError(
                f"{path} is damaged: expected (N,) int32 groups. Received: {group.shape} "
                f"{group.dtype}"
            )
        return cls(images, embedding, group)

    def save(self, path: Path) -> None:
        """Writes the file. It appears only when it is complete."""
        values: dict[str, Any] = {"images": self.images, "embedding": self.embedding}
        if self.group is not None:
            values["group"] = self.group
        with replacing(path) as temporary:
            np.savez_compressed(temporary, **values)

    def least_cosine(self, embedding: Any) -> float:
        """Returns the smallest cosine of embeddings, (N, D) of length 1, with the golden ones."""
        given = np.asarray(embedding, np.float64)
        return float(np.sum(self.embedding.astype(np.float64) * given, axis=1).min())

    def largest_error(self, embedding: Any) -> float:
        """Returns the largest absolute difference between embeddings and the golden ones."""
        return float(np.abs(self.embedding - np.asarray(embedding, np.float64)).max())
