"""Public face data sets by name, as folders for `gfkeras prepare`."""

import dataclasses
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import numpy as np
from PIL import Image

from gfkeras.downloads import DownloadError, cache_folder, fetch_file
from gfkeras.errors import by_name, require, wrong_value
from gfkeras.files import PathLike, parsed_json, replacing, write_json

_NOTE = "fetched.json"
# YuNet is not a data set, but `gfkeras prepare --align` needs it.
_DETECTOR = "yunet"

# Name, number at figshare and SHA-256. scikit-learn publishes them in fetch_lfw_people,
# fetch_lfw_pairs and fetch_olivetti_faces. Its own downloads cannot be resumed.
_LFW = """\
lfw-funneled.tgz 5976015 b47c8422c8cded889dc5a13418c4bc2abbda121092b3533a83306f90d900100a
pairsDevTrain.txt 5976012 1d454dada7dfeca0e7eab6f65dc4e97a6312d44cf142207be28d688be92aabfa
pairsDevTest.txt 5976009 7cb06600ea8b2814ac26e946201cdb304296262aad67d046a16a7ec85d0ff87c
pairs.txt 5976006 ea42330c62c92989f9d7c03237ed5d591365e89b3e649747777b70e692dc1592"""
_OLIVETTI = """\
olivettifaces.mat 5976027 b612fb967f2dc77c9c62d3e1266e0c73d5fca46a4b8906c18e454d41af987794"""


@dataclasses.dataclass(frozen=True)
class RemoteFile:
    """The name, address and SHA-256 of a public file."""

    name: str
    url: str
    sha256: str


@dataclasses.dataclass(frozen=True)
class DataSet:
    """A public data set: its title, its terms of use, and its files.

    The first of `files` contains the faces. The function `unpack` takes the downloaded files by
    name and writes the result to an empty folder. `faces` is the folder in the result that has one
    folder per person, or "" for the result itself.
    """

    title: str
    terms: str
    files: tuple[RemoteFile, ...]
    faces: str
    unpack: Callable[[dict[str, Path], Path], None]


def _unpack_lfw(files: dict[str, Path], folder: Path) -> None:
    archive, *lists = files.values()
    with tarfile.open(archive, "r:gz") as tar:
        # The filter refuses members outside the folder, links that leave it, and special files.
        tar.extractall(folder, filter="data")
    for path in lists:
        (folder / path.name).write_bytes(path.read_bytes())


def _unpack_olivetti(files: dict[str, Path], folder: Path) -> None:
    (path,) = files.values()
    # Read as in scikit-learn, but the 8-bit values are kept. scikit-learn scales them to 0…1.
    columns = require("scipy.io", "sklearn").loadmat(path)["faces"].T
    faces = columns.reshape(-1, 64, 64).transpose(0, 2, 1).astype(np.uint8)
    for index, face in enumerate(faces):
        person = folder / f"s{index // 10 + 1}"
        person.mkdir(exist_ok=True)
        Image.fromarray(face).save(person / f"{index % 10 + 1}.png")


def _figshare(table: str) -> tuple[RemoteFile, ...]:
    rows = (line.split() for line in table.splitlines())
    address = "https://ndownloader.figshare.com/files/"
    return tuple(RemoteFile(name, address + number, sha256) for name, number, sha256 in rows)


DATA_SETS = {
    "lfw": DataSet(
        "Labeled Faces in the Wild, funneled: 13,233 photos of 5,749 people",
        "research benchmark of the University of Massachusetts",
        _figshare(_LFW),
        "lfw_funneled",
        _unpack_lfw,
    ),
    "olivetti": DataSet(
        "Olivetti (AT&T) faces: 400 grey images of 40 people, 64×64",
        "free for research; credit AT&T Laboratories Cambridge",
        _figshare(_OLIVETTI),
        "",
        _unpack_olivetti,
    ),
}


def fetchable() -> dict[str, str]:
    """Returns the names that `fetch` accepts, with a description of each."""
    titles = {name: data_set.title for name, data_set in DATA_SETS.items()}
    return titles | {_DETECTOR: "YuNet, the face detector for aligning photos (233 KB)"}


def fetch(name: str, out: PathLike | None = None) -> Path:
    """Downloads a public data set, one of `fetchable()`, and unpacks it.

    Downloads are verified, can be resumed, and obey the environment variables that
    `gfkeras.downloads` describes. The result is complete or missing, never partial. A second call
    finds it and downloads nothing. Archives are deleted after they were unpacked.

    Returns the folder with one folder per person, by default in `<cache>/datasets/<name>`. For
    "lfw", the pairs files of its protocols are next to that folder. For "yunet", returns the file
    of the detector. Raises ValueError for an unknown name, or if `out` contains anything else, and
    DownloadError if the download or unpacking fails.
    """
    by_name("data set", name, fetchable())
    if name == _DETECTOR:
        from gfkeras.data.alignment.detector import YUNET_SHA256, YUNET_URL

        return fetch_file(YUNET_URL, YUNET_SHA256, folder=out)
    data_set = DATA_SETS[name]
    target = cache_folder() / "datasets" / name if out is None else Path(out)
    note = {
        "name": name,
        "title": data_set.title,
        "terms": data_set.terms,
        "sha256": {file.name: file.sha256 for file in data_set.files},
    }
    if _holds(target, note):
        return target / data_set.faces
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        expected = "be a new or empty folder, because nothing is overwritten"
        raise wrong_value("out", expected, str(target))
    archives = cache_folder() / "archives" / name
    archives.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(archives / ".lock"):
        # Another process may have unpacked it while this one waited for the lock.
        if not _holds(target, note):
            _make(data_set, archives, target, note)
    return target / data_set.faces


def _make(data_set: DataSet, archives: Path, target: Path, note: dict[str, Any]) -> None:
    """Downloads and unpacks the archives, then deletes them."""
    files = {
        file.name: fetch_file(file.url, file.sha256, file_name=file.name, folder=archives)
        for file in data_set.files
    }
    try:
        with replacing(target) as temporary:
            temporary.mkdir()
            data_set.unpack(files, temporary)
            if not (temporary / data_set.faces).is_dir():
                raise ValueError(f"it has no folder {data_set.faces!r}")
            write_json(temporary / _NOTE, note)
    except (OSError, ValueError, KeyError, tarfile.TarError) as error:
        raise DownloadError(
            data_set.files[0].url,
            f"cannot be unpacked to {str(target)!r} ({error}). The download is kept",
        ) from error
    for path in files.values():
        path.unlink(missing_ok=True)


def _holds(folder: Path, note: dict[str, Any]) -> bool:
    """Whether a folder contains the result of an earlier call for the same files."""
    try:
        return bool(parsed_json((folder / _NOTE).read_text(encoding="utf-8")) == note)
    except (OSError, ValueError):
        return False
