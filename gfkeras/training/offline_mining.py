"""Triplets mined offline: over many images, with the newest weights, every n steps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gfkeras.data import Faces, RecordSet
from gfkeras.files import replacing
from gfkeras.training.callbacks.verification import embed
from gfkeras.training.recipe import Recipe
from gfkeras.training.training_data import part_of_people

FOLDER = "mining"
# Similarities computed at once. It bounds the memory, however many images are mined.
_BLOCK = 8_000_000
# Images embedded at once.
_IMAGES = 2048
# A pair without a farther negative is replaced by another pair, at most this many times.
_TRIES = 4

# Takes positions of images. Returns embeddings (M, D) of length 1 and the M positions that were
# readable.
EmbedImages = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def mine_triplets(
    embedding: np.ndarray,
    labels: np.ndarray,
    count: int,
    rng: np.random.Generator,
    negatives: str = "semi-hard",
) -> np.ndarray:
    """Returns triplets (anchor, positive, negative) as rows, (count, 3) int64.

    FaceNet (arXiv 1503.03832, section 3.2) calls this offline mining. Anchors with a positive are
    dealt like cards, and each gets a random positive. The negative is the nearest image of another
    person ("hard"), or the nearest one that is farther than the positive ("semi-hard"). Pairs
    without a farther negative are drawn again, and after a few tries they get the farthest image.

    Args:
        embedding: (N, D) float32, rows of length 1.
        labels: (N,) int, the person in each row.
        count: number of triplets.
        rng: random generator.
        negatives: "semi-hard" or "hard".

    Raises:
        ValueError: if no person has two images, or if there is only one person.
    """
    order = np.argsort(labels, kind="stable")
    ranked = labels[order]
    first = np.searchsorted(ranked, labels, side="left")
    size = np.searchsorted(ranked, labels, side="right") - first
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    possible = np.flatnonzero((size > 1) & (size < len(labels)))
    _require_triplets(labels)
    rounds = -(-count // len(possible))
    anchor = np.concatenate([rng.permutation(possible) for _ in range(rounds)])[:count]
    positive, negative = np.empty_like(anchor), np.full_like(anchor, -1)
    missing = np.arange(count)
    for _ in range(_TRIES):
        a = anchor[missing]
        # Another image of the same person: a step of 1 to size − 1 around the person's images.
        step = rng.integers(1, size[a])
        positive[missing] = order[first[a] + (place[a] - first[a] + step) % size[a]]
        for begin in range(0, len(missing), max(1, _BLOCK // len(labels))):
            part = missing[begin : begin + max(1, _BLOCK // len(labels))]
            negative[part] = _nearest(embedding, labels, anchor[part], positive[part], negatives)
        missing = missing[negative[missing] < 0]
        if not len(missing):
            break
    for begin in range(0, len(missing), max(1, _BLOCK // len(labels))):
        part = missing[begin : begin + max(1, _BLOCK // len(labels))]
        similar = embedding[anchor[part]] @ embedding.T
        similar[labels[anchor[part]][:, None] == labels] = np.inf
        negative[part] = similar.argmin(axis=1)
    return np.stack([anchor, positive, negative], axis=1)


def _require_triplets(labels: np.ndarray) -> None:
    counts = np.unique(labels, return_counts=True)[1]
    if len(counts) < 2 or counts.max() < 2:
        raise ValueError(
            "[mining] needs two or more people, one of them with two images. Received: "
            f"{len(labels)} images of {len(counts)} people"
        )


def _nearest(
    embedding: np.ndarray, labels: np.ndarray, anchor: np.ndarray, positive: np.ndarray, kind: str
) -> np.ndarray:
    """Returns the negatives of some pairs, or −1 for pairs without a farther one."""
    similar = embedding[anchor] @ embedding.T
    excluded = labels[anchor][:, None] == labels
    if kind == "semi-hard":
        # Compare with an entry of the same product: another summation could differ in rounding.
        limit = similar[np.arange(len(anchor)), positive]
        excluded |= similar >= limit[:, None]
    similar[excluded] = -np.inf
    found = similar.argmax(axis=1)
    found[excluded.all(axis=1)] = -1
    return found


class OfflineMining:
    """Batches of mined triplets, as a sampler for `FaceBatches`.

    Each epoch has its own triplets, mined before it starts by `prepare`. They are written to
    `mining/epoch-000000.npy` in the folder of the run, so that a run that is killed continues with
    the same triplets.

    Args:
        labels: (N,) int, the person in each image.
        batch_size: images per batch, three for each triplet.
        steps: steps per epoch, after which triplets are mined again.
        folder: folder of the run.
        negatives: see `mine_triplets`.
        images: mine over people with at least this many images together, drawn anew each time. By
            default, all images.
        seed: random seed.
    """

    images_per_identity = 3

    def __init__(
        self,
        labels: np.ndarray,
        batch_size: int,
        steps: int,
        folder: Path,
        negatives: str = "semi-hard",
        images: int | None = None,
        seed: int = 0,
    ):
        self.labels = np.asarray(labels)
        self.batch_size, self.steps, self.folder = batch_size, steps, folder / FOLDER
        self.negatives, self.images, self.seed = negatives, images, seed
        self.identities_per_batch = batch_size // 3
        self._orders: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return self.steps

    def order(self, epoch: int) -> np.ndarray:
        """Returns the images of all batches of an epoch, (steps, batch_size) int64.

        Raises ValueError before `prepare` was called for this epoch.
        """
        if epoch not in self._orders:
            raise ValueError(f"`epoch` {epoch} has no mined triplets: `prepare` must come first")
        return self._orders[epoch]

    def prepare(self, epoch: int, embed: EmbedImages) -> None:
        """Reads the triplets of an epoch, or mines and writes them."""
        path = self.folder / f"epoch-{epoch:06d}.npy"
        order = self._read(path)
        if order is None:
            order = self._mine(epoch, embed)
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary, temporary.open("wb") as file:
                np.save(file, order)
            # The newest checkpoint can still belong to the epoch before.
            for old in sorted(self.folder.glob("epoch-*.npy"))[:-2]:
                old.unlink()
        self._orders = {epoch: order}

    def _read(self, path: Path) -> np.ndarray | None:
        """Returns the triplets of a file, or None if it is missing, damaged or of other data."""
        try:
            order = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        fits = order.shape == (self.steps, self.batch_size) and order.dtype == np.int64
        return order if fits and 0 <= order.min() <= order.max() < len(self.labels) else None

    def _mine(self, epoch: int, embed: EmbedImages) -> np.ndarray:
        rng = np.random.default_rng((self.seed, epoch, 2))
        chosen = np.arange(len(self.labels))
        if self.images is not None and self.images < len(chosen):
            people = part_of_people(self.labels, self.images, int(rng.integers(2**31)))
            several = np.flatnonzero(np.bincount(self.labels) > 1)
            if not np.isin(people, several).any():
                # People of one image each have no positive.
                people[0] = rng.choice(several)
            chosen = np.flatnonzero(np.isin(self.labels, people))
        parts = [embed(chosen[i : i + _IMAGES]) for i in range(0, len(chosen), _IMAGES)]
        rows, used = (np.concatenate(column) for column in zip(*parts, strict=True))
        # An unreadable image is replaced by another one, which must not count twice.
        used, once = np.unique(used, return_index=True)
        count = self.steps * self.batch_size // 3
        triplets = mine_triplets(rows[once], self.labels[used], count, rng, self.negatives)
        # Shuffled again: the anchors of the first round come before those of the second.
        found = used[triplets[rng.permutation(count)]]
        return found.reshape(self.steps, self.batch_size).astype(np.int64)


def batch_embedder(batches: Any, model: Any) -> EmbedImages:
    """Returns a function that embeds images of `FaceBatches` with a model, without augmentation."""

    def embed_images(chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images, used = batches.read(chosen)
        return embed(model, images), used

    return embed_images


def build_mining(
    recipe: Recipe, faces: Faces | RecordSet, out: Path, num_replicas: int = 1
) -> OfflineMining | None:
    """Builds the mining of a recipe, or returns None without [mining].

    Raises ValueError if the replicas would divide triplets, or if the data has no triplet.
    """
    section, size = recipe.mining, recipe.training.batch_size
    if section is None:
        return None
    if size % (3 * num_replicas):
        raise ValueError(
            f"`training.batch_size` must be a multiple of {3 * num_replicas} with [mining], for "
            f"whole triplets on each replica. Received: {size}"
        )
    _require_triplets(faces.labels)
    return OfflineMining(
        faces.labels, size, section.every_steps, out, section.negatives, section.images, recipe.seed
    )
