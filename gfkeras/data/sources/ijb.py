"""IJB-B and IJB-C in the layout of InsightFace's evaluation."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gfkeras.data.sources import local
from gfkeras.data.sources.ijb_metadata import find_subset, image_rows, meta_file
from gfkeras.data.sources.source import Item, NamedPair, Refused


class IJBSource:
    """The loose crops of IJB-B or IJB-C with their landmarks.

    `root` holds `loose_crop/` with the images and `meta/` with the lists:
    `ijbc_name_5pts_score.txt` (name, five points, detector's score: read here) and the
    protocols, which `IJBMetadata` reads. Identities are unknown: the protocols speak of
    templates, and so are its pairs.

    Args:
        root: the folder.
        subset: "IJBB" or "IJBC"; by default the one whose lists are there.

    Raises:
        ValueError: for missing lists; from `items` for a malformed line, naming file, line, what
            was expected and received.

    Example:
        next(IJBSource("IJBC").items()).landmarks       # five points in the loose crop
    """

    format = "ijb"

    def __init__(self, root: str | os.PathLike[str], subset: str | None = None):
        self.root = self.path = Path(root)
        self.subset = find_subset(self.root, subset)
        meta_file(self.root, self.subset, "name_5pts_score.txt")
        self.images = local.existing_folder("root", self.root / "loose_crop", "the images")

    def items(self) -> Iterator[Item | Refused]:
        """The images in the list's order; the locator is the path under `loose_crop/`."""
        for _, listed, landmarks, _ in image_rows(self.root, self.subset):
            name = local.posix(listed)
            reason = local.image_problem(name)
            yield Refused(name, reason) if reason else Item(name, None, name, landmarks)

    def read(self, locator: str) -> bytes:
        """The bytes of the file `locator`, a path under `loose_crop/`."""
        return local.read_under(self.images, locator)

    def pairs(self) -> Iterator[NamedPair] | None:
        """None: IJB's pairs are of templates; see `IJBMetadata.pairs`."""
        return None

    def describe(self) -> dict[str, Any]:
        """Format, path and subset."""
        return {
            "format": self.format,
            "path": str(self.root.absolute()),
            "subset": self.subset,
        }
