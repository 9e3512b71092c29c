"""Embedding faces with a model in any form."""

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
from gfkeras.data.images import check_images, read_image
from gfkeras.data.photos import Photo, list_photos
from gfkeras.errors import positive_int
from gfkeras.files import sha256, tree_sha256
from gfkeras.inference.embeddings import Embeddings, FileEmbeddings
from gfkeras.inference.foreign_artefacts import InputRange, InputScaling, ModelFile
from gfkeras.inference.open_model import open_model
from gfkeras.inference.photos import PhotoFaces, aligner_for, embed_photos, names_of
from gfkeras.inference.pipeline import Loaded, Result, Runtimes
from gfkeras.inference.runtimes import Runtime
from gfkeras.processors import usable_processors

if TYPE_CHECKING:
    import keras


class Embedder:
    """Embeds faces with a Keras model or an exported artefact, all alike.

    It takes aligned faces as arrays (calling it) or files (`embed_files`), or finds and aligns the
    faces of photos (`embed_photos`). An image of another size than the model's is no aligned face,
    and never squeezed. Every runtime gets RGB in 0…255: the model normalises.

    Threads may share an embedder; each call gets the answer for its own images. A LiteRT
    interpreter serves one thread at a time, so that each thread at work has one, up to
    `num_threads` of them and the first. With 1, 2 and 8 threads that embeds 1.00, 1.08 and 1.09
    times as many images a second as a lock around a single interpreter (medians on two processors
    that others used too; 169 a second at best), and of 10,000 answers to 8 threads none was wrong
    (`python benchmarks/threads.py`). ONNX Runtime and SavedModels run the calls of all threads at
    once; a Keras model takes one call after another.

    Args:
        model_or_path: a `keras.Model`, a model folder, a SavedModel folder, a .tflite, .onnx,
            .keras or .h5 file, or the name of a preset. An artefact with a card beside it
            (PATH.json) must match the card's SHA-256.
        flip: add the embedding of the mirrored image, e(x) + e(flip x), before normalising: a
            little more accurate at twice the time. The group and its feature are the image's own.
        batch_size: images run at once; by default what is fast for the runtime: 16 for LiteRT, 8
            for ONNX Runtime, 64 for Keras and SavedModels. An artefact with a fixed batch keeps it.
        num_threads: that work at once, on one batch, or in LiteRT on a batch each; all usable
            processors by default. TensorFlow's own pools belong to the process
            (`tf.config.threading`), and are left as they are.
        input_range: of a .tflite or .onnx file or a SavedModel without a card, which it needs: the
            numbers that the network takes for 0 and 255, such as (-1, 1), (0, 1) or (0, 255).
        trust: open a SavedModel whose graph has operators that read or write files, as TensorFlow
            lets it whenever it is loaded or run. It is refused otherwise.

    Attributes:
        card: the artefact's card, or None.
        image_size: height and width of the images, usually 112.

    Raises:
        ValueError: for what cannot be read; the message names path and reason.
        ImportError: naming the extra to install for a runtime that is missing.

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
        """SHA-256 that names the model; galleries and thresholds keep it.

        It is that of the weights, or of those that a float artefact was exported from, as its card
        states; without a card, and for other precisions, that of the artefact's files.
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
            # Fed with other numbers, the same file gives other embeddings.
            return hashlib.sha256(f"{digest} {main.low} {main.high}".encode()).hexdigest()
        return digest

    @property
    def model(self) -> keras.Model | None:
        """The Keras model inside; None for an artefact."""
        return getattr(self._runtimes.main, "model", None)

    @property
    def mode(self) -> str | None:
        """ "soft" or "hard"; None for a network without groups or without a card."""
        if self.model is not None:
            return getattr(self.model, "mode", None)
        return (self.card or {}).get("mode")

    @mode.setter
    def mode(self, mode: str) -> None:
        if getattr(self.model, "mode", None) is None:
            raise ValueError(
                "`mode` can be set for a GroupFace in Keras only; export an artefact with the mode "
                f"it should have. Received: mode={mode!r}"
            )
        self.model.mode = mode  # type: ignore[union-attr]
        # Another mode gives other embeddings.
        self.__dict__.pop("fingerprint", None)

    @property
    def precision(self) -> str:
        """What the card states: "fp32" or "fp16"; "fp32" without a card."""
        return (self.card or {}).get("precision", "fp32")

    def __call__(self, images: Any) -> Embeddings:
        """Embeds (N, 112, 112, 3) RGB images, uint8 or float32, 0…255, N ≥ 1: aligned faces.

        Also takes aligned faces as paths, bytes, PIL images, or a list of them and of arrays.
        Raises ValueError for another shape, type or range, or no image at all.
        """
        images = self._batch(images)
        if len(images) <= self.batch_size:
            with self._runtimes.borrowed() as runtime:
                return self._embed(images, runtime)
        return Embeddings.joined(self._in_parts(images, self._embed))

    def outputs(self, images: Any) -> dict[str, np.ndarray]:
        """The network's own outputs for a batch: nothing normalised, no `flip`.

        Takes what the call takes. Returns (N, …) float32 by output: "embedding" (v̄) and, for a
        GroupFace in Keras, "instance" (v), "group_feature" (v̂) and "group_logits". An artefact has
        those that it was exported with.
        """
        parts = self._in_parts(self._batch(images), self._run)
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def embed_files(
        self,
        paths: Any,
        reader: Callable[[Any], np.ndarray] | None = None,
    ) -> FileEmbeddings:
        """Embeds files, reading the next batch while one is embedded.

        A file that is missing, damaged, no image or no aligned face of the model's size is left out
        and listed, and so is a photo without a face where `reader` looks for one. With no file
        left, `embedding` is (0, 0).

        Args:
            paths: a file, or several: images of aligned faces, or what `reader` takes. Bytes, PIL
                images and arrays are taken, too, and named by their position.
            reader: turns a file into an aligned face, (112, 112, 3) uint8; several threads call it
                at once, and an `ImageError` of it lists the file. A `gfkeras.data.FaceAligner()`
                finds and aligns the face of a photo; `read_image`, the default, takes faces.

        Raises:
            ValueError: if `paths` is empty or holds what is no image, or `reader` gives another
                shape or type.
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
        """Finds, aligns and embeds the faces of photos, any number of them.

        Photos that cannot be read or show no face are listed in the result.

        Args:
            photos: one photo or several; a photo is a path, the bytes of a file, a PIL image, or an
                array (H, W, 3), RGB 0…255.
            aligner: its `choose` says which faces of a photo: "all", or one. By default the largest
                of each, found with the public YuNet.
            progress: called with (photos done, photos) after each batch.

        Raises:
            ValueError: for what is no photo, or an aligner of another size.
            DownloadError: where the detector's file is not there and cannot be downloaded.

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
        """Embeds images that a function loads, some batches ahead and on several threads.

        Args:
            names: what the images are called, in `skipped`.
            load: from a position in `names` to an aligned face, (112, 112, 3) uint8, or to several
                of one photo, (F, 112, 112, 3), which all get its position; an `ImageError` lists
                the image.
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
        # More than a batch where photos show several faces.
        starts = range(0, len(images), self.batch_size)
        parts = [self._embed(images[s : s + self.batch_size], runtime) for s in starts]
        return batch, parts[0] if len(parts) == 1 else Embeddings.joined(parts)

    def _in_parts(self, images: np.ndarray, run: Callable[[Any, Runtime], Result]) -> list[Result]:
        """What `run` gives for the images, `batch_size` of them at once."""

        def load(start: int) -> np.ndarray:
            return images[start : start + self.batch_size].astype(np.float32)

        return list(self._runtimes.map(range(0, len(images), self.batch_size), load, run))

    def _batch(self, images: Any) -> np.ndarray:
        images = check_images(images, self.image_size)
        if not len(images):
            raise ValueError("`images` must hold at least one image. Received: none")
        return images

    def _checked(self, image: np.ndarray) -> np.ndarray:
        """What a reader gave, if it is an aligned face or several, as (F, 112, 112, 3)."""
        expected = (self.image_size, self.image_size, 3)
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
        """One batch of at most `batch_size` images."""
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
        if self._fixed is not None:
            size = self._fixed
        elif runtime.compiles:
            # Powers of two: no more than a handful of sizes are ever compiled.
            size = min(1 << (count - 1).bit_length(), self.batch_size)
        if size > count:
            images = np.concatenate([images, np.repeat(images[-1:], size - count, axis=0)])
        outputs = runtime.run(np.ascontiguousarray(images))
        return {name: value[:count] for name, value in outputs.items()}
