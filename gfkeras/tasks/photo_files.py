"""Photo files that tasks are given: lists of them, and checks before a model is opened."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from gfkeras.data.images import IMAGE_SUFFIXES, ImageError
from gfkeras.files import PathLike, natural_key

# Formats that drawn images are written in.
_DRAWN = (".png", ".jpg", ".jpeg")


def require_photo(photo: PathLike) -> Path:
    """Returns the path of a photo; raises ImageError where there is no such file."""
    path = Path(photo)
    if not path.exists():
        raise ImageError(str(path), "no such file", "missing")
    return path


def images_of(sources: PathLike | Sequence[PathLike]) -> list[Path]:
    """Returns the files given, and the images in the folders given, in natural order.

    Raises:
        ValueError: for a folder without images, or no source at all.
        ImageError: where none of the files is there.
    """
    given = [sources] if isinstance(sources, str | os.PathLike) else sources
    paths: list[Path] = []
    for source in map(Path, given):
        if source.is_dir():
            found = images_in(source)
            if not found:
                raise ValueError(f"No images in the folder {str(source)!r}")
            paths += found
        else:
            paths.append(source)
    if not paths:
        raise ValueError("`sources` must name at least one image. Received: none")
    if not any(path.exists() for path in paths):
        raise unusable(len(paths), "images", "read", paths[0], "no such file")
    return paths


def images_in(folder: Path) -> list[Path]:
    """Returns the images in a folder and its folders, in natural order."""
    found = [path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES]
    return sorted(found, key=lambda path: natural_key(str(path)))


def unusable(count: int, kind: str, use: str, path: object, reason: str) -> ValueError:
    """Returns the error of a task to which none of its files is of use."""
    return ValueError(f"None of the {count} {kind} can be {use}; {path}: {reason}")


def skipped_json(skipped: Sequence[tuple[object, str]]) -> dict[str, object]:
    """Returns the JSON keys of files that were left out: how many, and which for what reason."""
    return {
        "skipped": len(skipped),
        "skipped_files": [[str(path), reason] for path, reason in skipped],
    }


def check_drawn(path: PathLike | None, name: str = "picture") -> None:
    """Raises ValueError for a drawn image of a format other than PNG and JPEG."""
    if path is not None and Path(path).suffix.lower() not in _DRAWN:
        raise ValueError(f"`{name}` must end in .png or .jpg. Received: {name}={str(path)!r}")
