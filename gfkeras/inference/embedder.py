"""The Embedder: embeddings of faces from a model in any format."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gfkeras.cards import FLOAT_PRECISIONS
from gfkeras.data.alignment import FaceAligner
from gfkeras.data.images import check_images, face_size, read_image
from gfkeras.data.photos import Photo, list_photos
from gfkeras.errors import positive_int
from gfkeras.files import sha256, tree_sha256
from gfkeras.inference.embeddings import (
    Embeddings,
    FileEmbeddings,
    PhotoFaces,
    aligner_for,
    embed_photos,
    names_of,
)
from gfkeras.inference.foreign_artefacts import InputRange, InputScaling, ModelFile
from gfkeras.inference.open_model import open_model
from gfkeras.inference.pipeline import Loaded, Result, Runtimes
from gfkeras.inference.runtimes import Runtime
from gfkeras.processors import usable_processors

if TYPE_CHECKING:
    import keras


class Embedder:
    """Embeds faces with a Keras model or an exported artefact.

    Call it with aligned faces as arrays, use `embed_files` for files with aligned faces, or use
    `embed_photos`, which finds and aligns the faces of photos. An aligned face must have the
    model's image size. Other images are never resized to it. Pixels are RGB in 0…255, and the model
    normalises them.

    Threads can share an embedder. A LiteRT interpreter serves one thread at a time, so each thread
    uses its own interpreter. There are at most `num_threads` of them in addition to the first. ONNX
    Runtime and SavedModels run calls of several threads at the same time. A Keras model runs one
    call after another. With 1, 2 and 8 threads, LiteRT embeds 1.00, 1.08 and 1.09 times as many
    images per second as with a lock around one interpreter, and at most 169 images per second.
    These are medians on two shared processors (`python benchmarks/threads.py`, which also compares
    10,000 results of 8 threads and found no wrong one).

    Args:
        model_or_path: a `keras.Model`, a model folder, a SavedModel folder, a .tflite, .onnx,
            .keras or .h5 file, or the name of a preset. If an artefact has a card next to it
            (PATH.json), its SHA-256 must match.
        flip: whether to add the embedding of the mirrored image, e(x) + e(flip x), before
            normalising. This is a little more accurate and takes twice the time. The group and the
            group feature are those of the original image.
        batch_size: number of images per call of the runtime. The defaults are fast for each
            runtime: 16 for LiteRT, 8 for ONNX Runtime, 64 for Keras and SavedModels. An artefact
            with a fixed batch size uses that.
        num_threads: number of threads, by default the number of usable processors. In LiteRT, each
            thread can run its own batch. TensorFlow's thread pools belong to the process
            (`tf.config.threading`) and do not change.
        input_range: the numbers that the network expects for pixels 0 and 255, such as (-1, 1),
            (0, 1) or (0, 255). A .tflite or .onnx file or a SavedModel without a card needs it.
        trust: whether to open a SavedModel whose graph has operators that can read or write files.
            TensorFlow runs them when it loads or runs the model. Such a model is refused by
            default.

    Attributes:
        card: the artefact's card, or None.
        image_size: side of the images in pixels, usually 112. It is (height, width) if the model
            takes images that are not square.

    Raises:
        ValueError: if the model cannot be read. The message names the path and the reason.
        ImportError: if the runtime is not installed. The message names the extra to install.

    Example:
        embedder = Embedder("model.tflite", num_threads=1)
        a, b = embedder.embed_photos(["a.jpg", "b.jpg"]).embeddings.embedding
        cosine = a @ b
    """

    def __init__(
        self,
        model_or_path: keras.Model | str | os.PathLike[str],
        flip: bool = False,
        batch_size: int | None = None,
        num_threads: int | None = None,
        input_range: InputRange = None,
        trust: bool = False,
    ):
        if isinstance(model_or_path, ModelFile):
            input_range = model_or_path.input_range if input_range is None else input_range
            trust = trust or model_or_path.trust
        self.flip = bool(flip)
        if num_threads is not None:
            positive_int("num_threads", num_threads)
        self.num_threads = num_threads or usable_processors()
        if batch_size is not None:
            positive_int("batch_size", batch_size)
        runtime, self.card = open_model(model_or_path, self.num_threads, input_range, trust)
        self._runtimes = Runtimes(runtime, self.num_threads)
        self._fixed = runtime.batch_size
        self.batch_size = self._fixed or batch_size or runtime.good_batch
        self.image_size = runtime.image_size
        self._source = model_or_path

    @functools.cached_property
    def fingerprint(self) -> str:
        """The SHA-256 that identifies the model in galleries and thresholds.

        It is the hash of the model's weights. The card of a float artefact states the hash of the
        weights that it was exported from. Without a card, and for other precisions, it is the hash
        of the artefact's files.
        """
        card = self.card or {}
        if self.model is not None:
            from gfkeras.models.properties import model_fingerprint

            with getattr(self._runtimes.main, "lock", contextlib.nullcontext()):
                return model_fingerprint(self.model)
        if card.get("fingerprint") and self.precision in FLOAT_PRECISIONS:
            return str(card["fingerprint"])
        path = Path(os.fspath(self._source))  # type: ignore[arg-type]
        digest = tree_sha256(path) if path.is_dir() else sha256(path)
        main = self._runtimes.main
        if isinstance(main, InputScaling):
            # The same file gives other embeddings for another input range.
            return hashlib.sha256(f"{digest} {main.low} {main.high}".encode()).hexdigest()
        return digest

    @property
    def model(self) -> keras.Model | None:
        """The Keras model, or None for an artefact."""
        return getattr(self._runtimes.main, "model", None)

    @property
    def mode(self) -> str | None:
        """ "soft" or "hard", or None for a network without groups or an artefact without a card."""
        if self.model is not None:
            return getattr(self.model, "mode", None)
        return (self.card or {}).get("mode")

    @mode.setter
    def mode(self, mode: str) -> None:
        if getattr(self.model, "mode", None) is None:
            raise ValueError(
                "`mode` can be set for a GroupFace in Keras only. The mode of an artefact is "
                f"chosen when it is exported. Received: mode={mode!r}"
            )
        self.model.mode = mode  # type: ignore[union-attr]
        # Another mode gives other embeddings.
        self.__dict__.pop("fingerprint", None)

    @property
    def precision(self) -> str:
        """The precision in the card, such as "fp32" or "int8", or "fp32" without a card."""
        return (self.card or {}).get("precision", "fp32")

    def __call__(self, images: Any) -> Embeddings:
        """Embeds aligned faces, (N, 112, 112, 3) RGB, uint8 or float32, 0…255, N ≥ 1.

        It also takes aligned faces as paths, bytes, PIL images, or a list of these and of arrays.
        Raises ValueError if the images have another shape, type or range, or if there is no image.
        """
        images = self._batch(images)
        if len(images) <= self.batch_size:
            with self._runtimes.borrowed() as runtime:
                return self._embed(images, runtime)
        return Embeddings.joined(self._in_parts(images, self._embed))

    def outputs(self, images: Any) -> dict[str, np.ndarray]:
        """Returns the outputs of the network for aligned faces, without normalising or `flip`.

        The images are the same as for a call. The result maps names to (N, …) float32 arrays:
        "embedding" (v̄) and, for a GroupFace in Keras, "instance" (v), "group_feature" (v̂) and
        "group_logits". An artefact returns the outputs that it was exported with.
        """
        parts = self._in_parts(self._batch(images), self._run)
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def embed_files(
        self,
        paths: Any,
        reader: Callable[[Any], np.ndarray] | None = None,
    ) -> FileEmbeddings:
        """Embeds files, and reads the next batch while one is embedded.

        Files that cannot be used are listed in `skipped` with the reason: a file that is missing or
        damaged, is not an image, or is not an aligned face of the model's size, and a photo in
        which `reader` finds no face. If no file can be used, `embedding` has shape (0, 0).

        Args:
            paths: one file or several, with aligned faces or with images that `reader` accepts.
                Bytes, PIL images and arrays are also accepted, and their name is their position.
            reader: function from a file to an aligned face, (112, 112, 3) uint8. Several threads
                call it at the same time. If it raises an `ImageError`, the file is skipped. The
                default, `read_image`, reads aligned faces. A `gfkeras.data.FaceAligner()` finds and
                aligns the face of a photo.

        Raises:
            ValueError: if `paths` is empty or contains an object that is not an image, or if
                `reader` returns another shape or type.
        """
        photos = list_photos(paths, "paths")
        files = [Path(p) if isinstance(p, str | os.PathLike) else p for p in photos]

        def load(position: int) -> np.ndarray:
            if reader is None:
                return read_image(files[position], self.image_size)
            return reader(files[position])

        return self.embed_loaded(names_of(photos), load)

    def embed_photos(
        self,
        photos: Photo | Iterable[Photo],
        aligner: FaceAligner | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> PhotoFaces:
        """Finds, aligns and embeds the faces of photos.

        Photos that cannot be read and photos without a face are listed in `skipped`.

        Args:
            photos: one photo or several. A photo is a path, the bytes of a file, a PIL image, or an
                array (H, W, 3), RGB 0…255.
            aligner: finds and aligns faces. Its `choose` selects all faces of a photo or one. The
                default selects the largest face and uses the public YuNet detector.
            progress: called with (photos done, photos) after each batch.

        Raises:
            ValueError: if an object is not a photo, or if the aligner has another image size.
            DownloadError: if the detector's file is missing and cannot be downloaded.

        Example:
            faces = Embedder(model).embed_photos(["a.jpg", "b.jpg"])
            cosine = faces.embeddings.embedding[0] @ faces.embeddings.embedding[1]
        """
        finder = aligner_for(self.image_size, aligner)
        return embed_photos(self.embed_loaded, photos, finder, progress)

    def embed_loaded(
        self,
        names: Sequence[Any],
        load: Callable[[int], np.ndarray],
        progress: Callable[[int, int], None] | None = None,
    ) -> FileEmbeddings:
        """Embeds images that a function loads on several threads, some batches ahead.

        Args:
            names: names of the images, for `skipped`.
            load: function from a position in `names` to an aligned face, (112, 112, 3) uint8, or to
                several faces of one photo, (F, 112, 112, 3). If it raises an `ImageError`, the
                image is skipped.
            progress: called with (images done, images) after each batch.
        """
        starts = range(0, len(names), self.batch_size)
        results: list[Embeddings] = []
        index: list[int] = []
        skipped: list[tuple[Any, str]] = []
        found = self._runtimes.map(
            starts,
            lambda start: Loaded(
                range(start, min(start + self.batch_size, len(names))),
                lambda position: self._checked(load(position)),
            ),
            self._embed_loaded,
        )
        for start, (batch, embeddings) in zip(starts, found, strict=True):
            if embeddings is not None:
                results.append(embeddings)
                index += batch.index
            skipped += [(names[position], reason) for position, reason in batch.failed]
            if progress is not None:
                progress(min(start + self.batch_size, len(names)), len(names))
        joined = Embeddings.joined(results) if results else Embeddings(np.zeros((0, 0), np.float32))
        columns = (joined.embedding, joined.group_feature, joined.group)
        positions = np.asarray(index, np.int64)
        return FileEmbeddings(*columns, positions, skipped, norm=joined.norm, model=joined.model)

    def _embed_loaded(self, batch: Loaded, runtime: Runtime) -> tuple[Loaded, Embeddings | None]:
        images, batch.images = batch.images, None
        if images is None:
            return batch, None
        # Photos with several faces can give more than one batch.
        starts = range(0, len(images), self.batch_size)
        parts = [self._embed(images[s : s + self.batch_size], runtime) for s in starts]
        return batch, parts[0] if len(parts) == 1 else Embeddings.joined(parts)

    def _in_parts(self, images: np.ndarray, run: Callable[[Any, Runtime], Result]) -> list[Result]:
        """Calls `run` for parts of `batch_size` images and returns the results."""

        def load(start: int) -> np.ndarray:
            return images[start : start + self.batch_size].astype(np.float32)

        return list(self._runtimes.map(range(0, len(images), self.batch_size), load, run))

    def _batch(self, images: Any) -> np.ndarray:
        images = check_images(images, self.image_size)
        if not len(images):
            raise ValueError("`images` must hold at least one image. Received: none")
        return images

    def _checked(self, image: np.ndarray) -> np.ndarray:
        """Returns the aligned faces that a reader returned as (F, 112, 112, 3), or raises."""
        expected = (*face_size(self.image_size), 3)
        faces = np.asarray(image)
        if faces.ndim == 3:
            faces = faces[np.newaxis]
        if faces.shape[1:] != expected or not len(faces) or faces.dtype != np.uint8:
            raise ValueError(
                f"`reader` must return uint8 arrays of shape {expected}. Received: shape "
                f"{np.shape(image)}, type {getattr(image, 'dtype', type(image).__name__)}"
            )
        return faces

    def _embed(self, images: np.ndarray, runtime: Runtime) -> Embeddings:
        """Embeds one batch of at most `batch_size` images."""
        images = images.astype(np.float32, copy=False)
        outputs = self._run(images, runtime)
        embedding = outputs["embedding"]
        if self.flip:
            embedding = embedding + self._run(images[:, :, ::-1], runtime)["embedding"]
        norm = np.linalg.norm(embedding, axis=-1, keepdims=True)
        logits = outputs.get("group_logits")
        return Embeddings(
            embedding=(embedding / np.maximum(norm, 1e-12)).astype(np.float32),
            group_feature=outputs.get("group_feature"),
            group=None if logits is None else np.argmax(logits, axis=-1).astype(np.int32),
            group_logits=logits,
            norm=norm[:, 0].astype(np.float32),
            model=self.fingerprint,
        )

    def _run(self, images: np.ndarray, runtime: Runtime) -> dict[str, np.ndarray]:
        count = size = len(images)
        # A batch is filled up with copies of its last image. Their outputs are cut off below.
        if self._fixed is not None:
            size = self._fixed
        elif runtime.compiles:
            # Powers of two keep the number of compiled sizes small.
            size = min(1 << (count - 1).bit_length(), self.batch_size)
        if size > count:
            images = np.concatenate([images, np.repeat(images[-1:], size - count, axis=0)])
        outputs = runtime.run(np.ascontiguousarray(images))
        return {name: value[:count] for name, value in outputs.items()}
