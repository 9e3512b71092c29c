"""Results of a cleaning, the files that report them, and the cleaned manifest."""

import csv
import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from gfkeras.data import FaceFolder, Faces, ImageError, RecordSet
from gfkeras.data.folder import check_listable, write_image_list
from gfkeras.data.records.manifest import Manifest
from gfkeras.data.records.selection import SELECTION_NOTE, write_selection
from gfkeras.errors import wrong_value
from gfkeras.experiments.cleaning.sub_centers import DominantCenters
from gfkeras.files import csv_file, replacing, write_json
from gfkeras.safe_text import csv_cell
from gfkeras.training import TrainingResult

DROPPED_FILE, CLASSES_FILE, REPORT_FILE = "dropped.csv", "classes.csv", "report.json"
_DROPPED = ("image", "identity", "angle", "looks_like", "looks_like_angle")
_CLASSES = ("identity", "images", "dominant_share", "dropped", "kept")


@dataclasses.dataclass(frozen=True)
class DroppedImage:
    """An image that the cleaned manifest leaves out, with its label `identity`.

    `image` is the path below the folder of people, or the record's name. `angle` is to the dominant
    center of the label, in degrees, or NaN if the image was unreadable. `looks_like` is the other
    identity with the nearest dominant center. `row` is the position among the measured faces.
    """

    image: str
    identity: str
    angle: float
    looks_like: str
    looks_like_angle: float
    row: int


@dataclasses.dataclass(frozen=True)
class CleaningResult:
    """The images that a cleaning kept and dropped.

    Attributes:
        out: the folder of the cleaning.
        run: the folder of the training with sub-centers.
        angle: images at this angle or more were dropped, degrees.
        identities, labels: the measured identities, and (N,) int32 the position of each image's
            identity in them.
        centers: dominant centers, shares and the (N,) angles.
        dropped: the dropped images, largest angles first.
        emptied: identities without kept images. The manifest leaves them out.
        manifest: `cleaned.txt` for a folder of people, or the folder `cleaned` for records.
        sheets: contact sheets of the dropped images.
        training: the training with sub-centers. None if the run existed before.
        retrained: the training on the kept images. None if it was not requested.
        notes: further messages for the user.
    """

    out: Path
    run: Path
    angle: float
    identities: list[str]
    labels: np.ndarray
    centers: DominantCenters
    dropped: list[DroppedImage]
    emptied: list[str]
    manifest: Path
    sheets: list[Path]
    training: TrainingResult | None
    notes: list[str]
    retrained: TrainingResult | None = None

    @property
    def kept(self) -> np.ndarray:
        """(N,) bool, true for the measured images that were kept."""
        kept = np.ones(len(self.labels), bool)
        kept[[image.row for image in self.dropped]] = False
        return kept

    def classes(self) -> list[dict[str, Any]]:
        """Returns images, share of the dominant center, dropped and kept images by identity."""
        images = np.bincount(self.labels, minlength=len(self.identities)).tolist()
        kept = np.bincount(self.labels[self.kept], minlength=len(self.identities)).tolist()
        return [
            {
                "identity": name,
                "images": images[label],
                "dominant_share": float(self.centers.share[label]),
                "sub_center_images": self.centers.counts[label].tolist(),
                "dropped": images[label] - kept[label],
                "kept": kept[label],
            }
            for label, name in enumerate(self.identities)
        ]

    def summary(self) -> list[tuple[str, Any]]:
        """Returns rows of (label, value) to print."""
        report = self.to_json()
        dropped = f"{report['dropped']:,} at {self.angle:g}° or more"
        share = f"{report['dominant_share']:.1%} of a person's images on average"
        return [
            ("Images", f"{report['images']:,} of {report['identities']:,} people measured"),
            ("Dropped", f"{dropped}, {report['dropped'] / report['images']:.1%}"),
            ("Median angle", f"{report['median_angle']:.1f}°"),
            ("Dominant center", f"{share}, of {report['sub_centers']} centers"),
            ("Report", f"{self.out / 'report.json'}, dropped.csv, classes.csv"),
            ("Contact sheets", f"{len(self.sheets)}, {self.out / 'dropped_*.jpg'}"),
            ("Kept", self.manifest),
        ]

    def to_json(self) -> dict[str, Any]:
        """Returns everything except the angles of the kept images, for `json.dump`."""
        read = self.centers.angles[~np.isnan(self.centers.angles)]
        return {
            "run": str(self.run),
            "manifest": str(self.manifest),
            "angle": self.angle,
            "sub_centers": self.centers.counts.shape[1],
            "images": len(self.labels),
            "identities": len(self.identities),
            "dropped": len(self.dropped),
            "kept": int(self.kept.sum()),
            "dominant_share": float(np.nanmean(self.centers.share)),
            "median_angle": float(np.median(read)),
            "emptied": self.emptied,
            "classes": self.classes(),
            "dropped_images": [
                {k: v for k, v in dataclasses.asdict(image).items() if k != "row"}
                for image in self.dropped
            ],
            "sheets": [str(sheet) for sheet in self.sheets],
            "training": self.training and self.training.to_json(),
            "retrained": self.retrained and self.retrained.to_json(),
            "notes": self.notes,
        }


def write(result: CleaningResult) -> None:
    """Writes `dropped.csv`, `classes.csv` and `report.json`, each whole or not at all."""
    with csv_file(result.out / DROPPED_FILE, _DROPPED) as write_row:
        for d in result.dropped:
            other = (d.looks_like, _degrees(d.looks_like_angle))
            write_row([PurePosixPath(d.image), d.identity, _degrees(d.angle), *other])
    with csv_file(result.out / CLASSES_FILE, _CLASSES) as write_row:
        for c in result.classes():
            share = f"{c['dominant_share']:.4f}"
            write_row([c["identity"], c["images"], share, c["dropped"], c["kept"]])
    write_json(result.out / REPORT_FILE, result.to_json())


def require_same(out: Path, dropped: Sequence[DroppedImage]) -> None:
    """Raises ValueError if an earlier call in `out` dropped other images than this one."""
    path = out / DROPPED_FILE
    if not path.is_file():
        return
    with path.open(newline="", encoding="utf-8") as file:
        before = {row["image"] for row in csv.DictReader(file)}
    changed = before ^ {csv_cell(PurePosixPath(image.image)) for image in dropped}
    if changed:
        raise ValueError(
            f"`out` holds a network that was trained on another selection: {len(changed)} images "
            f"differ, such as {min(changed)!r}. Give another folder, or remove "
            f"{str(out / 'retrained')!r}"
        )


def _degrees(angle: float) -> str:
    return "" if math.isnan(angle) else f"{angle:.2f}"


LIST_FILE, RECORDS_FOLDER = "cleaned.txt", "cleaned"


def image_name(data: FaceFolder | RecordSet, faces: Faces | RecordSet, row: int) -> str:
    """Returns the name of an image: its path below the folder of people, or the record's name."""
    if isinstance(faces, RecordSet):
        try:
            return faces.record(row).name
        except ImageError as error:
            return error.path
    assert isinstance(data, FaceFolder)
    return faces.paths[row].relative_to(data.root).as_posix()


def require_place(data: FaceFolder | RecordSet, out: Path) -> None:
    """Raises ValueError if the kept records would replace data that no cleaning can restore.

    Also raises it for image names that the list of kept files cannot hold.
    """
    if isinstance(data, FaceFolder):
        check_listable(data.listed())
    folder = out / RECORDS_FOLDER
    if not isinstance(data, RecordSet) or not folder.exists():
        return
    if folder.samefile(data.folder):
        expected = f"not be the folder that contains `data`: {str(folder)!r} would be replaced"
        raise wrong_value("out", expected, str(out))
    try:
        # Only records with this note come from a cleaning and can be made again.
        ours = SELECTION_NOTE in Manifest.read(folder).options
    except ValueError:
        ours = False
    if not ours:
        raise ValueError(
            f"`out` must not hold a folder {RECORDS_FOLDER!r} that no earlier cleaning wrote, "
            f"because it would be replaced. Received: out={str(out)!r}"
        )


def write_manifest(
    data: FaceFolder | RecordSet,
    faces: Faces | RecordSet,
    dropped: np.ndarray,
    out: Path,
    note: Mapping[str, Any],
) -> Path:
    """Writes all of `data` except the rows `dropped` of `faces`. People held out are included.

    Returns `cleaned.txt` (`gfkeras train --data DIR --images cleaned.txt`), or the folder `cleaned`
    of records with a note in its manifest (`gfkeras train --data cleaned`).
    """
    if isinstance(data, RecordSet):
        assert isinstance(faces, RecordSet)
        keep = ~np.isin(data.rows, faces.rows[dropped])
        with replacing(out / RECORDS_FOLDER) as folder:
            write_selection(data, keep, folder, note)
        return out / RECORDS_FOLDER
    assert isinstance(faces, Faces)
    left_out = {*(faces.paths[row] for row in dropped), *(path for path, _ in faces.skipped)}
    listed = zip(data.paths, data.listed(), strict=True)
    write_image_list(out / LIST_FILE, [name for path, name in listed if path not in left_out])
    return out / LIST_FILE
