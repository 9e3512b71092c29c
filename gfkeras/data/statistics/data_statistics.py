"""Counts and sizes of a data set, without decoding its images."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import numpy as np

from gfkeras.data.photos import photo_size
from gfkeras.data.records import RecordSet
from gfkeras.data.sources import Item, Source
from gfkeras.errors import ImageError


@dataclasses.dataclass(frozen=True)
class DataStatistics:
    """Counts and sizes of a data set.

    Attributes:
        images: number of images, including those of unknown people.
        identities: number of people.
        per_identity: {identity: images}.
        unlabelled: number of images whose source does not name the person.
        sizes: {(width, height): images}.
        bytes_per_image, total_bytes: median and sum of the sizes of the encoded images.
        unreadable: {name: reason} of the files that are not images.
    """

    images: int
    identities: int
    per_identity: dict[str, int]
    unlabelled: int
    sizes: dict[tuple[int, int], int]
    bytes_per_image: float
    total_bytes: int
    unreadable: dict[str, str]

    @classmethod
    def of_records(cls, records: RecordSet) -> DataStatistics:
        """Computes the statistics of training records from their index."""
        labels = np.asarray(records.labels)
        counts = np.bincount(labels[labels >= 0], minlength=len(records.identities))
        lengths = records.image_bytes
        height, width = records.image_size
        return cls(
            images=len(records),
            identities=len(records.identities),
            per_identity=dict(zip(records.identities, counts.tolist(), strict=True)),
            unlabelled=int((labels < 0).sum()),
            sizes={(width, height): len(records)},
            bytes_per_image=float(np.median(lengths)) if len(lengths) else 0.0,
            total_bytes=int(lengths.sum(dtype=np.int64)),
            unreadable={},
        )

    @classmethod
    def of_source(cls, source: Source) -> DataStatistics:
        """Computes the statistics of any source. It reads the header of every image."""
        per_identity: Counter[str] = Counter()
        sizes: Counter[tuple[int, int]] = Counter()
        lengths: list[int] = []
        unlabelled = 0
        unreadable: dict[str, str] = {}
        for item in source.items():
            if not isinstance(item, Item):
                unreadable[item.name] = item.reason
                continue
            try:
                content = source.read(item.locator)
                sizes[photo_size(content, item.name)] += 1
            except ImageError as error:
                unreadable[item.name] = error.reason
                continue
            except OSError as error:
                unreadable[item.name] = str(error)
                continue
            lengths.append(len(content))
            if item.identity is None:
                unlabelled += 1
            else:
                per_identity[item.identity] += 1
        return cls(
            images=len(lengths),
            identities=len(per_identity),
            per_identity=dict(per_identity),
            unlabelled=unlabelled,
            sizes=dict(sizes.most_common()),
            bytes_per_image=float(np.median(lengths)) if lengths else 0.0,
            total_bytes=sum(lengths),
            unreadable=unreadable,
        )

    def histogram(self) -> list[tuple[int, int, int]]:
        """Returns rows (from, to, identities) by images per identity: 1, 2, 3–4, 5–8 and so on."""
        counts = np.array(sorted(self.per_identity.values()), np.int64)
        rows: list[tuple[int, int, int]] = []
        low, high = 1, 1
        while len(counts) and low <= counts[-1]:
            rows.append((low, high, int(((counts >= low) & (counts <= high)).sum())))
            low, high = high + 1, 2 * high
        return rows

    def to_json(self) -> dict[str, Any]:
        """Returns all statistics. The counts per person are summarised by their quartiles."""
        counts = list(self.per_identity.values())
        quartiles = np.percentile(counts, [0, 25, 50, 75, 100]) if counts else np.zeros(5)
        names, columns = ("min", "q1", "median", "q3", "max"), ("from", "to", "identities")
        return {
            "images": self.images,
            "identities": self.identities,
            "unlabelled": self.unlabelled,
            "images_per_identity": dict(zip(names, quartiles.tolist(), strict=True)),
            "histogram": [dict(zip(columns, row, strict=True)) for row in self.histogram()],
            "sizes": {f"{width}x{height}": n for (width, height), n in self.sizes.items()},
            "bytes_per_image_median": self.bytes_per_image,
            "total_bytes": self.total_bytes,
            "skipped": len(self.unreadable),
            "skipped_files": [[name, reason] for name, reason in self.unreadable.items()],
        }
