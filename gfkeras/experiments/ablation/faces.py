"""Faces of an ablation, decoded once for all rows."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gfkeras.data import FaceFolder, Faces, RecordSet
from gfkeras.data.faces import decode_files
from gfkeras.data.folder import read_names
from gfkeras.data.records.manifest import MANIFEST_FILE
from gfkeras.evaluation import AllPairs, PairList, sample_pairs
from gfkeras.evaluation.blockwise import EmbeddedAllPairs
from gfkeras.evaluation.pairs import EmbeddedPairs, embed_pairs
from gfkeras.experiments.ablation.row import pairs_fingerprint
from gfkeras.files import sha256
from gfkeras.inference import FileEmbeddings
from gfkeras.training import Recipe


class PairFaces:
    """Pairs of aligned faces, and the images of their distinct `files` in memory.

    `resize` scales images of another size, as in `FaceFolder.load`.
    """

    def __init__(self, pairs: PairList | AllPairs, resize: bool = False):
        self.pairs, self.resize = pairs, resize
        self.files = pairs.files()

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash that identifies the pairs."""
        return pairs_fingerprint(self.pairs)

    @functools.cached_property
    def decoded(self) -> tuple[np.ndarray, np.ndarray, list[tuple[Path, str]]]:
        """The readable files as (M, 112, 112, 3) uint8, their positions, and the others as
        (file, reason).
        """
        images, kept, skipped, _ = decode_files(self.files, resize=self.resize)
        return images, np.asarray(kept, np.int64), skipped

    @functools.cached_property
    def measured(self) -> EmbeddedPairs | EmbeddedAllPairs:
        """The pairs with two readable files. Their embeddings are placeholders."""
        _, index, skipped = self.decoded
        # Only positions matter here. Each model replaces these embeddings by its own.
        nothing = np.ones((len(index), 1), np.float32)
        found = FileEmbeddings(nothing, None, None, index, skipped)
        return embed_pairs(lambda files: found, self.pairs)


class TrainingFaces:
    """The training data of all rows.

    The images of a folder are decoded for the first training and then stay in memory. Records are
    read during each training.

    Args:
        data: records that `gfkeras prepare` wrote, or a folder with one folder of images per
            person.
        identities: the people to use, as names or as a text file of names. All by default.
    """

    def __init__(
        self,
        data: str | os.PathLike[str],
        identities: Sequence[str] | str | os.PathLike[str] | None = None,
    ):
        self._records: RecordSet | None = None
        self._folders: dict[int, FaceFolder] = {}
        self._decoded: dict[tuple[int, bool], Faces] = {}
        self._fingerprints: dict[int, str] = {}
        if (Path(data) / MANIFEST_FILE).is_file():
            records = RecordSet(data)
            if identities is not None:
                records = records.select(read_names(identities))
            self._records = records
        else:
            self._folders[1] = FaceFolder(data, identities)

    def of(self, recipe: Recipe) -> Faces | RecordSet:
        """Returns the data that `gfkeras.training.train` needs for a recipe."""
        if self._records is not None:
            return self._records
        least, resize = key = recipe.data.min_images, recipe.data.resize
        # Rows with other settings for the data need another set of faces. Most grids need only one.
        if key not in self._decoded:
            self._decoded[key] = self._folder(least).load(resize=resize)
        return self._decoded[key]

    def fingerprint(self, recipe: Recipe) -> str:
        """Returns a hash of the data: the manifest of records, or a folder's files and sizes."""
        least = recipe.data.min_images
        if least not in self._fingerprints:
            self._fingerprints[least] = self._fingerprint(least)
        return self._fingerprints[least]

    def trained_files(self, recipe: Recipe) -> set[Path]:
        """Returns the image files that a recipe trains on, links resolved. Empty for records."""
        if self._records is not None:
            return set()
        folder, holdout = self._folder(recipe.data.min_images), recipe.data.holdout_identities
        part = folder.split(holdout)[0] if holdout else folder
        return {path.resolve() for path in part.paths}

    def heldout_pairs(self, recipe: Recipe) -> PairList:
        """Returns pairs of the people that a recipe holds out, half of them genuine.

        Their number is `evaluation.pairs`, or fewer if there are not enough. Raises ValueError if
        the recipe holds out nobody.
        """
        holdout = recipe.data.holdout_identities
        if self._records is not None or not holdout:
            reason = "records" if self._records is not None else "holdout_identities = 0"
            raise ValueError(
                "`pairs` must be given, unless the recipe's `data.holdout_identities` holds out "
                f"people of a folder of images. Received: {reason}"
            )
        people = self._folder(recipe.data.min_images).split(holdout)[1]
        sizes = [int((people.labels == label).sum()) for label in range(len(people.identities))]
        genuine = sum(size * (size - 1) // 2 for size in sizes)
        impostor = len(people) * (len(people) - 1) // 2 - genuine
        count = min(recipe.evaluation.pairs, 2 * genuine, 2 * impostor)
        return sample_pairs(people.paths, people.labels, count)

    def _folder(self, least: int) -> FaceFolder:
        if least not in self._folders:
            whole = self._folders[1]
            self._folders[least] = FaceFolder(whole.root, whole.identities, min_images=least)
        return self._folders[least]

    def _fingerprint(self, least: int) -> str:
        digest = hashlib.sha256()
        if self._records is not None:
            digest.update(sha256(self._records.folder / MANIFEST_FILE).encode())
            digest.update("\n".join(self._records.identities).encode())
        else:
            folder = self._folder(least)
            for path, label in zip(folder.paths, folder.labels.tolist(), strict=True):
                name = path.relative_to(folder.root).as_posix()
                # Hash sizes instead of contents: reading every image would take too long.
                digest.update(f"{name}\0{path.stat().st_size} {label}\n".encode())
        return digest.hexdigest()[:12]
