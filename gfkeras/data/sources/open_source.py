"""Opening a source by its path, with automatic detection of the format."""

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gfkeras.data.sources.celeba import IDENTITY_FILE, CelebASource
from gfkeras.data.sources.ijb import IJBSource
from gfkeras.data.sources.image_list import ImageListSource, MXNetListSource
from gfkeras.data.sources.lfw_pairs import LFWPairsSource
from gfkeras.data.sources.megaface import MegaFaceSource
from gfkeras.data.sources.mxnet_records import MXNetRecordsSource, record_files
from gfkeras.data.sources.source import FolderSource, Source
from gfkeras.data.sources.tfds import TFDSSource
from gfkeras.data.sources.verification_bin import VerificationBinSource
from gfkeras.data.sources.youtube_faces import FOLDERS as YOUTUBE_FOLDERS
from gfkeras.data.sources.youtube_faces import YouTubeFacesSource
from gfkeras.data.walk import entries
from gfkeras.errors import by_name, nearest, unknown_name, wrong

_TFDS = "tfds:"

_READERS: tuple[type[Source], ...] = (
    FolderSource, ImageListSource, MXNetListSource, MXNetRecordsSource, VerificationBinSource,
    LFWPairsSource, IJBSource, YouTubeFacesSource, MegaFaceSource, CelebASource,
    TFDSSource,
)  # fmt: skip
SOURCES: dict[str, Callable[..., Source]] = {reader.format: reader for reader in _READERS}

_SUFFIXES = {
    ".rec": "recordio", ".bin": "bin", ".csv": "list", ".tsv": "list", ".lst": "lst",
    ".txt": "lfw-pairs",
}  # fmt: skip
# "facescrub" and "FaceScrub" are missing here: other data sets can have such folders too.
_MEGAFACE = "FlickrFinal2 facescrub_images megaface_images facescrub_lst megaface_lst templatelists"


def open_source(
    path: str | os.PathLike[str],
    format: str | None = None,  # noqa: A002
    **options: Any,
) -> Source:
    """Returns the source at `path`.

    Args:
        path: a file or folder, or "tfds:NAME" for a data set of TensorFlow Datasets.
        format: a name in `SOURCES`. By default, `detect_format` chooses it.
        **options: further arguments for the class of the format, such as `root` for a list.

    Raises:
        ValueError: for a path that does not exist or has an unknown format, for an unknown format
            or option (with the nearest known one), and for errors in the source itself.

    Example:
        open_source("faces_emore")                          # train.rec in it: "recordio"
        open_source("pairs.txt", root="lfw")                # "lfw-pairs"
        open_source("tfds:lfw", data_dir="tensorflow_datasets")
    """
    text = os.fspath(path)
    chosen = detect_format(path) if format is None else format
    source = by_name("format", chosen, SOURCES)
    # The first parameter is the path, and the others are the options of the format.
    first, *others = inspect.signature(source).parameters
    for option in options:
        if option not in others:
            raise unknown_name(f"option of format {chosen!r}", option, others)
    if chosen == "lfw-pairs" and "root" not in options:
        raise wrong("root", f"be the folder of the images that {text!r} names", "no root")
    return source(**{first: text.removeprefix(_TFDS) if chosen == "tfds" else path}, **options)


def detect_format(path: str | os.PathLike[str]) -> str:
    """Returns the format of the file or folder at `path`, a name in `SOURCES`.

    A file is recognised by its suffix: .rec, .bin, .csv and .tsv, .lst, .txt (LFW's pairs), and
    `identity_CelebA.txt` by its name. A folder is recognised by its content: the folders of
    MegaFace or FaceScrub, IJB's `meta`, YouTube Faces' `frame_images_DB`, CelebA's list, a .rec
    file, or `dataset_info.json` of TensorFlow Datasets. Any other folder with folders in it has one
    folder per person. Raises ValueError for a path that does not exist or matches none of these.
    """
    text = os.fspath(path)
    if text.startswith(_TFDS):
        return "tfds"
    place = Path(path)
    if not place.exists():
        siblings = place.parent.iterdir() if place.parent.is_dir() else ()
        guess = nearest(place.name, (entry.name for entry in siblings))
        hint = f" (did you mean {guess!r}?)" if guess else ""
        received = f"path={text!r}, which does not exist{hint}"
        raise wrong("path", "be a file, a folder or tfds:NAME", received)
    if place.name.lower() == IDENTITY_FILE.lower():
        return CelebASource.format
    found = _folder_format(place) if place.is_dir() else _SUFFIXES.get(place.suffix.lower())
    if found is None:
        kind = f"a file that ends with {place.suffix!r}, not {', '.join(_SUFFIXES)}"
        raise ValueError(
            f"`path` must be in a known format, or `format` must name it: "
            f"{', '.join(SOURCES)}. Received: path={text!r}, "
            + ("a folder without folders or known files" if place.is_dir() else kind)
        )
    return found


def _folder_format(folder: Path) -> str | None:
    if any((folder / name).exists() for name in _MEGAFACE.split()):
        return "megaface"
    if any(folder.glob("meta/ijb[bc]_face_tid_mid.txt")):
        return "ijb"
    if any((folder / name).is_dir() for name in YOUTUBE_FOLDERS):
        return "ytf"
    if any((folder / part / IDENTITY_FILE).is_file() for part in ("", "Anno")):
        return CelebASource.format
    if record_files(folder):
        return "recordio"
    if (folder / "dataset_info.json").is_file():
        return "tfds"
    if any(entry.is_folder and entry.problem is None for entry in entries(folder)):
        return "folder"
    return None
