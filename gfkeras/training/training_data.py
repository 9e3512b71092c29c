"""Faces for training and verification, and the training batches."""

import os
from pathlib import Path

import keras
import numpy as np

from gfkeras.data import FaceBatches, FaceFolder, Faces, IdentitySampler, RecordSet
from gfkeras.data.augmentation import Augmentation
from gfkeras.data.batches import Sampler
from gfkeras.data.records.manifest import MANIFEST_FILE
from gfkeras.training.recipe_sections import DataSection, TrainingSection


def load_faces(
    section: DataSection,
    data: str | os.PathLike[str] | FaceFolder | Faces | RecordSet,
    heldout: FaceFolder | Faces | None,
    seed: int = 0,
) -> tuple[Faces | RecordSet, Faces | None, int]:
    """Returns the faces for training, the decoded faces for verification or None, and a number.

    The number is that of all images for training, of which `section.amount` may take a part.
    `seed` chooses the people of this part.
    """
    if isinstance(data, (str, os.PathLike)):
        records = (Path(data) / MANIFEST_FILE).is_file()
        data = RecordSet(data) if records else FaceFolder(data, min_images=section.min_images)
    if isinstance(data, RecordSet):
        return _records(section, data, heldout, seed)
    loaded_holdout: FaceFolder | Faces | None = heldout
    skipped: list[tuple[Path, str]] = []
    if heldout is None and section.holdout_identities:
        whole = data
        data, loaded_holdout = whole.split(section.holdout_identities)
        # Skipped files of the whole folder are listed once. Each part would list them again.
        skipped = list(whole.skipped)
        for part in (data, loaded_holdout):
            part.skipped = []
    whole_size = len(data)
    if section.amount is not None:
        people = part_of_people(data.labels, section.amount, seed)
        if isinstance(data, FaceFolder):
            data = data.select([data.identities[person] for person in people])
        else:
            data = data.select(people.tolist())
    faces = data.load(resize=section.resize) if isinstance(data, FaceFolder) else data
    faces.skipped = skipped + faces.skipped
    faces.require_trainable()
    if isinstance(loaded_holdout, FaceFolder):
        loaded_holdout = loaded_holdout.load(resize=section.resize)
    return faces, loaded_holdout, whole_size


def part_of_people(labels: np.ndarray, amount: float, seed: int) -> np.ndarray:
    """Returns the labels of people who together have an amount of the images, ascending.

    People come in a random order that depends on `seed`, until their images are enough. At least
    two people are returned.

    Args:
        labels: (N,) int, the person in each image.
        amount: a share of the N images, a float up to 1.0, or a number of images, an int.
        seed: random seed.

    Raises:
        ValueError: if there are fewer images than `amount`.
    """
    people, sizes = np.unique(labels, return_counts=True)
    wanted = amount * len(labels) if isinstance(amount, float) else amount
    if wanted > len(labels):
        raise ValueError(
            f"`data.amount` must be at most the {len(labels)} training images. Received: {amount}"
        )
    order = np.random.default_rng((seed, len(people))).permutation(len(people))
    count = int(np.searchsorted(np.cumsum(sizes[order]), wanted)) + 1
    return np.sort(people[order[: max(2, count)]])


def _records(
    section: DataSection, data: RecordSet, heldout: FaceFolder | Faces | None, seed: int
) -> tuple[RecordSet, Faces | None, int]:
    """Returns the records for training, not decoded, and the rest as `load_faces` does."""
    # A part that `gfkeras prepare` held out has precedence over the recipe's number of identities.
    verified: RecordSet | None = None
    if heldout is None and "heldout" in data.manifest.splits:
        verified = RecordSet(data.folder, "heldout")
    elif heldout is None and section.holdout_identities:
        data, verified = data.split(section.holdout_identities)
    data = data.labelled().at_least(section.min_images)
    whole_size = len(data)
    if section.amount is not None:
        people = part_of_people(data.labels, section.amount, seed)
        data = data.select([data.identities[person] for person in people])
    data.require_trainable()
    if isinstance(heldout, FaceFolder):
        heldout = heldout.load(size=data.image_size, resize=section.resize)
    return data, verified.load() if verified is not None else heldout, whole_size


def _sampler(
    section: TrainingSection,
    faces: Faces | RecordSet,
    seed: int,
    accumulate: int,
    epoch_images: int | None,
) -> IdentitySampler | None:
    """Returns a sampler of batches by identity, or None without `images_per_identity`.

    With `accumulate` batches per update, it draws their identities together, so that none is twice
    in an update. If there are too few identities for that, it draws each batch by itself.
    """
    images = section.images_per_identity
    if images is None:
        return None
    wanted, present = section.batch_size // images, len(np.unique(faces.labels))
    if wanted > present:
        raise ValueError(
            "`training.batch_size` / `training.images_per_identity` must be at most the "
            f"{present} training identities. Received: {section.batch_size} / {images} = {wanted}"
        )
    drawn = wanted * accumulate if wanted * accumulate <= present else wanted
    updates = None if epoch_images is None else max(1, epoch_images // (drawn * images))
    return IdentitySampler(faces.labels, drawn, images, seed=seed, batches_per_epoch=updates)


def build_batches(
    section: TrainingSection,
    faces: Faces | RecordSet,
    augmentation: Augmentation | None,
    seed: int,
    num_replicas: int = 1,
    accumulate: int = 1,
    epoch_images: int | None = None,
    mining: Sampler | None = None,
) -> FaceBatches:
    """Builds the training batches.

    Args:
        section: sizes of the batches.
        faces: the images and labels.
        augmentation: changes of the images, or None.
        seed: determines the order and the augmentation.
        num_replicas: number of replicas that share a batch.
        accumulate: batches per update of the weights.
        epoch_images: number of images in an epoch, if it differs from `len(faces)`.
        mining: chooses the images instead of `section`.

    Raises:
        ValueError: if a batch is too small, if it is larger than the data, or if the replicas
            cannot share it equally.
    """
    batch_size = section.batch_size
    if batch_size % num_replicas:
        raise ValueError(
            f"`training.batch_size` must be a multiple of the {num_replicas} replicas that share "
            f"it. Received: {batch_size}"
        )
    # The statistics of a single image would have no variance.
    least = 2 if section.synchronized_batch_norm else 2 * num_replicas
    if batch_size < least:
        raise ValueError(
            f"`training.batch_size` must be at least {least}, because batch normalisation and the "
            f"expectation of the groups need several images. Received: {batch_size}"
        )
    if batch_size > len(faces):
        raise ValueError(
            f"`training.batch_size` must be at most the {len(faces)} training images. "
            f"Received: {batch_size}. Use a smaller batch, or add images"
        )
    return FaceBatches(
        faces.images if isinstance(faces, Faces) else faces,
        faces.labels,
        batch_size,
        seed=seed,
        augmentation=augmentation,
        drop_remainder=True,
        sampler=mining or _sampler(section, faces, seed, accumulate, epoch_images),
        batches_per_epoch=None if epoch_images is None else epoch_images // batch_size,
        workers=section.workers,
    )


def require_size(model: keras.Model, batches: FaceBatches) -> None:
    """Raises ValueError if the images do not have the size of the model's input."""
    expected, found = getattr(model, "input_shape", None), batches.image_shape
    if isinstance(expected, tuple) and tuple(expected[1:]) != found:
        height, width = found[:2]
        raise ValueError(
            f"`data` must have images of {expected[1]}x{expected[2]} pixels, height and width, "
            f"which the model takes. Received: {height}x{width}. Set input_shape = [{height}, "
            f"{width}, 3] in [model.backbone], or prepare records with `gfkeras prepare --size`"
        )
