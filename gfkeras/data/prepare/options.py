"""Options and result of `prepare`."""

import dataclasses
from pathlib import Path
from typing import Any

from gfkeras.data.images import IMAGE_SIZE
from gfkeras.errors import one_of, positive_int, wrong_value
from gfkeras.files import PathLike

SIZES = ((IMAGE_SIZE, IMAGE_SIZE), (IMAGE_SIZE, 96))
FACES = ("largest", "central", "all")


@dataclasses.dataclass(frozen=True)
class PrepareOptions:
    """Options for converting photos to records.

    Attributes:
        align: detect faces and warp them onto the template. Otherwise the images must already be
            aligned, and an image of another size is skipped and listed.
        resize: without `align`, scale images of another size to fit, and count them. Use this for
            faces that are all cropped in the same way, not for photos.
        detector: path of a YuNet model. By default it is downloaded once.
        face: face of a photo to use: "largest", "central" or "all".
        size: (height, width) of the records: (112, 112), or (112, 96) with `align`.
        quality: quality of newly encoded JPEGs, 1 to 100. A JPEG that needs no change is stored
            byte for byte.
        shard_size: records per shard.
        min_images: people with fewer usable images are left out.
        max_images: largest number of images of a person. The first ones are kept.
        holdout: number of people, the last ones, that go into the split "heldout".
        shuffle: write the records of a split in random order, so that sequential reads are random
            samples. Otherwise the order is that of the source.
        seed: random seed of that order.
        keep_duplicates: keep images that are equal byte for byte. The default is to keep them only
            if the source has pairs, because pairs can name them.

    Raises:
        ValueError: with the name of the argument, for a value out of range.
    """

    align: bool = False
    detector: PathLike | None = None
    face: str = "largest"
    size: tuple[int, int] = (IMAGE_SIZE, IMAGE_SIZE)
    quality: int = 95
    shard_size: int = 8192
    min_images: int = 1
    max_images: int | None = None
    holdout: int = 0
    shuffle: bool = True
    seed: int = 0
    keep_duplicates: bool | None = None
    resize: bool = False

    def __post_init__(self) -> None:
        # The dataclass is frozen, and a size from JSON is a list.
        object.__setattr__(self, "size", tuple(self.size))
        one_of("face", self.face, FACES)
        if self.size not in SIZES:
            raise wrong_value("size", "be (112, 112) or (112, 96), height and width", self.size)
        if self.align and self.resize:
            raise ValueError("`resize` is for faces that are not aligned with `align` (--align).")
        if not self.align:
            usual = {"detector": None, "face": "largest", "size": SIZES[0]}
            for argument, default in usual.items():
                if (value := getattr(self, argument)) != default:
                    raise ValueError(
                        f"`{argument}` belongs to alignment: give align (--align) too. "
                        f"Received: {argument}={value!r}"
                    )
        positive_int("shard_size", self.shard_size)
        positive_int("min_images", self.min_images)
        most = self.max_images
        if most is not None and positive_int("max_images", most) < self.min_images:
            raise wrong_value("max_images", f"be at least min_images={self.min_images}", most)
        for argument, low, high in (("quality", 1, 100), ("holdout", 0, 2**31), ("seed", 0, 2**63)):
            value = getattr(self, argument)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ValueError(
                    f"`{argument}` must be an integer from {low} to {high}. "
                    f"Received: {argument}={value!r}"
                )

    def to_json(self) -> dict[str, Any]:
        """Returns the options that affect the result, as JSON. The detector is its file's name."""
        detector = None if self.detector is None else Path(self.detector).name
        return dataclasses.asdict(self) | {"size": list(self.size), "detector": detector}


# Number of skipped files in a result. A data set can have millions of them.
LISTED = 100


@dataclasses.dataclass(frozen=True)
class PrepareResult:
    """Summary of a run of `prepare`.

    Counts of images and identities include all splits. `skipped` items have no record and are
    listed in `skipped.csv`. `skipped_files` contains the first hundred of them with their reasons.
    `fitted` images were scaled to fit, without alignment. `size_bytes` is the size of the shards,
    and `seconds` the time of this run. `resumed` says that an earlier run did part or all of the
    work.
    """

    out: Path
    items: int
    images: int
    identities: int
    heldout_images: int
    heldout_identities: int
    skipped: int
    skipped_reasons: dict[str, int]
    skipped_files: list[tuple[str, str]]
    fitted: int
    shards: int
    size_bytes: int
    seconds: float
    resumed: bool

    def summary(self) -> list[tuple[str, Any]]:
        """Returns rows of (label, value) to print."""
        reasons = ", ".join(f"{count:,} {kind}" for kind, count in self.skipped_reasons.items())
        detail = f" ({reasons}), see skipped.csv" if reasons else ""
        return [
            ("Images", f"{self.images:,} of {self.identities:,} people"),
            ("Held out", f"{self.heldout_images:,} of {self.heldout_identities:,} people"),
            ("Skipped", f"{self.skipped:,}{detail}"),
            ("Shards", f"{self.shards}, {self.size_bytes / 2**20:,.1f} MiB"),
            ("Seconds", self.seconds),
            ("Records", self.out),
        ]

    def to_json(self) -> dict[str, Any]:
        """Returns all fields, with the path as text."""
        return dataclasses.asdict(self) | {"out": str(self.out)}
