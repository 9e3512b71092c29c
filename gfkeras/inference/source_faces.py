"""Embeddings of a data source's faces by name, for evaluation protocols."""

from collections.abc import Callable, Sequence

import numpy as np

from gfkeras.data.alignment import FaceAligner, FaceCropper
from gfkeras.data.images import read_image
from gfkeras.data.sources import Item, Source
from gfkeras.errors import ImageError
from gfkeras.inference.embedder import Embedder
from gfkeras.inference.embeddings import FileEmbeddings, aligner_for


class SourceFaces:
    """Embeds items of a data source by their names.

    Images with known landmarks (IJB) are aligned by these landmarks. With an `aligner`, other
    images are photos whose face is found and aligned. Without an `aligner`, they must be aligned
    faces. The list of items is read once. Images are read when they are embedded and are not kept
    in memory.

    Args:
        embedder: the embedder of the model.
        source: a source of `gfkeras.data.open_source`.
        aligner: finds and aligns faces of the model's image size. A `FaceCropper` cuts all images
            alike, also those with landmarks.
        progress: called with (images done, images) after each batch.
        change: function that changes each face before it is embedded, from (S, S, 3) uint8 to
            (S, S, 3) uint8.
        resize: whether to scale aligned faces of another size (see `read_image`). By default they
            are skipped.

    Attributes:
        items: the items by name.
        refused: the reason for each name in the source that is not an image.

    Example:
        faces = SourceFaces(Embedder("model.tflite"), IJBSource("IJBC"))
        templates, skipped = ijb_templates(faces, IJBMetadata.load("IJBC"))
    """

    def __init__(
        self,
        embedder: Embedder,
        source: Source,
        aligner: FaceAligner | FaceCropper | None = None,
        progress: Callable[[int, int], None] | None = None,
        change: Callable[[np.ndarray], np.ndarray] | None = None,
        resize: bool = False,
    ):
        self.embedder, self.source, self.progress = embedder, source, progress
        self.aligner, self.change, self.resize = aligner, change, resize
        # Alignment by known landmarks does not detect faces and needs no file of a detector.
        self._by_landmarks: Callable[..., np.ndarray] = (
            aligner
            if isinstance(aligner, FaceCropper)
            else aligner_for(embedder.image_size, aligner)
        )
        self.items: dict[str, Item] = {}
        self.refused: dict[str, str] = {}
        for item in source.items():
            if isinstance(item, Item):
                self.items[item.name] = item
            else:
                self.refused[item.name] = item.reason

    def __call__(self, names: Sequence[str]) -> FileEmbeddings:
        """Embeds the items that can be read. Other names are listed with the reason."""
        return self.embedder.embed_loaded(names, lambda i: self._load(names[i]), self.progress)

    def _load(self, name: str) -> np.ndarray:
        face = self._face(name)
        return face if self.change is None else self.change(face)

    def _face(self, name: str) -> np.ndarray:
        item = self.items.get(name)
        if item is None:
            raise ImageError(name, self.refused.get(name, "not in the data set"), "missing")
        content = self.source.read(item.locator)
        if item.landmarks is not None:
            return self._by_landmarks(content, item.landmarks)
        if self.aligner is not None:
            return self.aligner(content)
        return read_image(content, self.embedder.image_size, self.resize)
