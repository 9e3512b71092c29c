"""Options and results of `prepare`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from gfkeras.data.images import IMAGE_SIZE
from gfkeras.errors import one_of, positive_int
from gfkeras.files import PathLike

SIZES = ((IMAGE_SIZE, IMAGE_SIZE), (IMAGE_SIZE, 96))
FACES = ("largest", "central", "all")


@dataclasses.dataclass(frozen=True)
class PrepareOptions:
    """Options for turning photos into records.

    Attributes:
        align: detect faces and warp them onto the template. Without it images must be aligned
            already; one of another size is skipped and listed.
        resize: without `align`, scale images of another size to fit, and count them: for faces that
            are cropped alike, not for photos.
        detector: path of a YuNet model; by default it is downloaded once.
        face: which face of a photo counts: "largest", "central" or "all".
        size: (height, width) of the records: (112, 112), or with `align` (112, 96).
        quality: of newly encoded JPEGs. A JPEG that needs no change is stored byte for byte.
        shard_size: records in a shard.
        min_images: people with fewer usable images are left out.
        max_images: only the first so many images of a person are kept.
        holdout: so many people, the last ones, go into the split "heldout".
        shuffle: write the records of a split in random order, so that reading them in turn is
            reading them at random; else in the order of the source.
        seed: of that order.
        keep_duplicates: keep images that are equal byte for byte; by default only where the
            source has pairs, which may name them.

    Raises:
        ValueError: naming the argument, for a value out of its range.
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
        object.__setattr__(self, "size", tuple(self.size))
        one_of("face", self.face, FACES)
        if self.size not in SIZES:
            raise ValueError(
                f"`size` must be (112, 112) or (112, 96), height and width. "
                f"Received: size={self.size!r}"
            )
        if self.align and self.resize:
            raise ValueError("`resize` is for faces that are not aligned with `align` (--align).")
        if not self.align:
            for argument, default in {
                "detector": None,
                "face": "largest",
                "size": SIZES[0],
            }.items():
                if (value := getattr(self, argument)) != default:
                    raise ValueError(
                        f"`{argument}` belongs to alignment: give align (--align) too. "
                        f"Received: {argument}={value!r}"
                    )
        positive_int("shard_size", self.shard_size)
        positive_int("min_images", self.min_images)
        most = self.max_images
        if most is not None and positive_int("max_images", most) < self.min_images:
            raise ValueError(
                f"`max_images` must be at least min_images={self.min_images}. "
                f"Received: max_images={most}"
            )
        for argument, low, high in (("quality", 1, 100), ("holdout", 0, 2**31), ("seed", 0, 2**63)):
            value = getattr(self, argument)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ValueError(
                    f"`{argument}` must be an integer from {low} to {high}. "
                    f"Received: {argument}={value!r}"
                )

    def to_json(self) -> dict[str, Any]:
        """What bears on the result, as JSON; the detector by its file's name."""
        detector = None if self.detector is None else Path(self.detector).name
        return dataclasses.asdict(self) | {"size": list(self.size), "detector": detector}


# The skipped files that a result names: a data set may have millions.
LISTED = 100


@dataclasses.dataclass(frozen=True)
class PrepareResult:
    """The summary of a run of `prepare`.

    Counts of images and identities are over all splits. `skipped` items gave no record, as
    `skipped.csv` lists; `skipped_files` are the first hundred of them, each with its reason.
    `fitted` images were scaled to fit, unaligned. `size_bytes` are those of the shards, `seconds`
    those of this run; `resumed` says that an earlier run did a part, or all.
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
        """Rows of (label, value) to print."""
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
        """All fields, the path as text."""
        return dataclasses.asdict(self) | {"out": str(self.out)}
