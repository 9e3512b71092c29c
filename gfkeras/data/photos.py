"""Photos in any form: files, bytes, PIL images and arrays."""

from __future__ import annotations

import io
import os
import stat
import threading
from collections.abc import Callable, Iterable, Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from gfkeras.data.jpeg import decode_plain_jpeg
from gfkeras.errors import ImageError, require

# An aligned face never needs more; a small file that claims more is a decompression bomb.
MAX_PIXELS = 64_000_000
# No photo has as many bytes: a file that has is not read into memory to find that out.
MAX_BYTES = 256 * 2**20
# Only plain picture formats: Pillow would also hand files to Ghostscript and other interpreters.
_FORMATS = ("JPEG", "PNG", "GIF", "PPM", "BMP", "WEBP", "TIFF")
# What an HEIF file says it is, in its bytes 8 to 12.
_HEIF_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))
_AVIF_BRANDS = frozenset((b"avif", b"avis"))
# Threads must not load one PIL image at the same time.
_loading = threading.Lock()

# Also tensors and whatever else NumPy makes an array of; see `read_photo`.
Photo = str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | np.ndarray
_KINDS = "a path, the bytes of a file, a PIL image, or an array of shape (H, W, 3), RGB 0…255"


def read_photo(photo: Photo, name: str = "photo") -> np.ndarray:
    """Reads a photo as RGB at its own size.

    Everything in gfkeras that takes a photo takes it in these forms. Files are JPEG, PNG, GIF,
    WebP, BMP, PPM or TIFF, by their content, and HEIC with the extra `heic`. The EXIF orientation
    is applied. Grey, 16-bit, palette, CMYK and transparent images become RGB: 16 bits keep their
    upper 8, and transparent parts become black, as alignment leaves what lies outside of the photo.
    An animation gives its first frame, a PIL image the frame it shows.

    Args:
        photo: a path, the bytes of a file, a PIL image, or an array (H, W, 3), RGB: integers or
            floats in 0…255.
        name: the argument's name, for messages.

    Returns:
        uint8 array of shape (H, W, 3), values 0…255.

    Raises:
        ImageError: for a file that is missing, empty, truncated, not an image, or of more than
            `MAX_PIXELS` pixels; it is a ValueError.
        ValueError: for anything but a photo, naming the argument, and for an array with another
            shape, type or range, with advice.
    """
    photo = plain_path(photo)
    if isinstance(photo, bytearray | memoryview):
        photo = bytes(photo)
    if isinstance(photo, str | os.PathLike | bytes | Image.Image):
        return _decoded(photo)
    if _is_array(photo):
        return _photo_array(np.asarray(photo), name)
    raise ValueError(f"`{name}` must be a photo: {_KINDS}. Received: {shown(name, photo)}")


def list_photos(photos: Any, name: str = "photos") -> list[Any]:
    """One photo or several, as a list of what `read_photo` takes; nothing is decoded.

    Args:
        photos: a photo, or an iterable of photos, such as a list, a generator or an array
            (N, H, W, 3).
        name: the argument's name, for messages.

    Raises:
        ValueError: naming the argument, for anything else, no photo at all, and a single path
            where there is no file.
    """
    photos = plain_path(photos)
    if isinstance(photos, str | os.PathLike) and not _is(Path.is_file, photos):
        raise ValueError(
            f"`{name}` must be a photo or a list of photos. Received: {name}={os.fspath(photos)!r},"
            f" which is {'a folder' if _is(Path.is_dir, photos) else 'no file'}"
        )
    if _is_photo(photos):
        return [photos]
    # A file would give its lines.
    several = isinstance(photos, Iterable) and not isinstance(photos, Mapping | Set | io.IOBase)
    found = [plain_path(photo) for photo in photos] if several else None
    if found is None:
        raise ValueError(
            f"`{name}` must be a photo or a list of photos; a photo is {_KINDS}. "
            f"Received: {shown(name, photos)}"
        )
    if not found:
        kind = "photo" if name == "photos" else "image"
        raise ValueError(f"`{name}` must name at least one {kind}. Received: none")
    for position, photo in enumerate(found):
        if not _is_photo(photo):
            raise ValueError(
                f"`{name}` must be photos: each is {_KINDS}. "
                f"Received: {shown(f'{name}[{position}]', photo)}"
            )
        if _is_array(photo):
            _check_shape(np.shape(photo), f"{name}[{position}]")
    return found


def photo_name(photo: Any) -> str:
    """What messages call a photo: its path, or what it is."""
    if isinstance(photo, str | os.PathLike):
        return os.fsdecode(photo)
    if isinstance(photo, Image.Image):
        return str(getattr(photo, "filename", "") or "<image>")
    return "<bytes>" if isinstance(photo, bytes | bytearray | memoryview) else "<array>"


def plain_path(value: Any) -> Any:
    """The same path as text where NumPy holds it, or an object gives it as bytes."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, np.str_):
        return str(value)
    if isinstance(value, os.PathLike) and isinstance(os.fspath(value), bytes):
        return os.fsdecode(value)
    return value


def check_values(array: np.ndarray, name: str, expected: str) -> np.ndarray:
    """Returns pixels as uint8 (of integers) or float32 (of floats), or says what is wrong.

    Args:
        array: pixels of any shape.
        name: the argument's name.
        expected: the beginning of the message.

    Raises:
        ValueError: for another type, NaN, values out of 0…255, and floats that were scaled to 0…1
            or −1…1: the models take plain pixels.
    """
    if array.dtype == np.uint8:
        return array
    is_integer = np.issubdtype(array.dtype, np.integer)
    if not is_integer and not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"{expected} Received: {name} of type {array.dtype}")
    if not is_integer:
        array = array.astype(np.float32, copy=False)
        if not np.isfinite(array).all():
            raise ValueError(f"{expected} Received: {name} with NaN or infinite values")
    if array.size:
        low, high = array.min(), array.max()
        if low < 0 or high > 255 or (not is_integer and 0 < high <= 1):
            advice = _range_advice(float(low), float(high), is_integer)
            raise ValueError(f"{expected} Received: {name} with values {low}…{high}{advice}")
    return array.astype(np.uint8) if is_integer else array


def _range_advice(low: float, high: float, is_integer: bool) -> str:
    """What to do about values that are no plain pixels, as the end of a sentence."""
    if not is_integer and low >= 0 and high <= 1:
        return "; they look scaled to 0…1: multiply by 255"
    if -3 <= low < 0 and high <= 3:
        return (
            "; it looks normalised already: give the plain pixels, (x + 1) * 127.5 where they were "
            "scaled to −1…1; the model normalises them"
        )
    if is_integer and low >= 0 and high <= 65535:
        return "; of 16 bits keep the upper 8: (x >> 8).astype(np.uint8)"
    return ""


def _is(kind: Callable[[Path], bool], path: str | os.PathLike[str]) -> bool:
    try:
        return kind(Path(path))
    except OSError:
        # A name that is too long.
        return False


def _is_photo(value: Any) -> bool:
    if isinstance(value, str | os.PathLike | bytes | bytearray | memoryview | Image.Image):
        return True
    # An array of one more dimension is several photos; one of text holds paths.
    return _is_array(value) and len(np.shape(value)) in (2, 3)


def _is_array(value: Any) -> bool:
    return hasattr(value, "__array__") and not isinstance(value, Image.Image | bytes)


def shown(name: str, value: Any) -> str:
    """An argument and its value, as messages end."""
    text = repr(value)
    hint = "; of an open file give the bytes, file.read()" if hasattr(value, "read") else ""
    return f"{name}={text if len(text) <= 60 else type(value).__name__}{hint}"


def _photo_array(array: np.ndarray, name: str) -> np.ndarray:
    _check_shape(array.shape, name)
    expected = f"`{name}` must be {_KINDS}."
    pixels = check_values(array, name, expected)
    return pixels if pixels.dtype == np.uint8 else np.rint(pixels).astype(np.uint8)


def _check_shape(shape: tuple[int, ...], name: str) -> None:
    """Raises ValueError, with advice, for the shape of anything but one RGB photo."""
    if len(shape) == 3 and shape[2] == 3 and 0 not in shape:
        return
    advice = ""
    if len(shape) == 2 or (len(shape) == 3 and shape[2] == 1):
        grey = "x[..., np.newaxis]" if len(shape) == 2 else "x"
        advice = f"; for a grey photo repeat the channel: np.repeat({grey}, 3, axis=-1)"
    elif len(shape) == 3 and shape[0] == 3:
        advice = "; move the channels last: np.transpose(x, (1, 2, 0))"
    elif len(shape) == 3 and shape[2] == 4:
        advice = "; drop the alpha channel: x[..., :3]"
    elif len(shape) == 4:
        advice = "; give one photo at a time"
    raise ValueError(f"`{name}` must be {_KINDS}. Received: {name} of shape {shape}{advice}")


def _decoded(photo: str | os.PathLike[str] | bytes | Image.Image) -> np.ndarray:
    name = photo_name(photo)
    try:
        if isinstance(photo, Image.Image):
            with _loading:
                _check_pixels(photo, name)
                return np.array(_as_rgb(ImageOps.exif_transpose(photo)))
        content = photo if isinstance(photo, bytes) else _contents(name)
        if not content:
            raise ImageError(name, "the file is empty", "empty")
        plain = decode_plain_jpeg(content, MAX_PIXELS)
        if plain is not None:
            return plain
        with _opened(content, name) as image:
            _check_pixels(image, name)
            # In place: a photo that stands upright would be copied for nothing.
            ImageOps.exif_transpose(image, in_place=True)
            return np.array(_as_rgb(image))
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(name, f"too many pixels ({error})", "too-large") from error
    except Image.UnidentifiedImageError as error:
        raise ImageError(name, "not an image of a known format", "not-an-image") from error
    # A damaged file can make a decoder raise nearly anything, struct.error and
    # SyntaxError among them; whatever it is, this one image cannot be read.
    except Exception as error:
        kind = "truncated" if "truncated" in str(error) else "unreadable"
        raise ImageError(name, f"damaged or unreadable ({error})", kind) from error


def _opened(content: bytes, name: str) -> Image.Image:
    if content[4:8] == b"ftyp" and content[8:12] in _AVIF_BRANDS:
        raise ImageError(name, "an AVIF image, which is not read: convert it to JPEG or PNG")
    if content[4:8] != b"ftyp" or content[8:12] not in _HEIF_BRANDS:
        return Image.open(io.BytesIO(content), formats=_FORMATS)
    try:
        heif: Any = require("pi_heif", "heic")
    except ImportError as error:
        raise ImageError(name, f"an HEIC photo. {error}, or convert it to JPEG or PNG") from error
    file = heif.open_heif(io.BytesIO(content))
    # Nothing is decoded before the size is known.
    width, height = file.size
    _check_size(width, height, name)
    return file.to_pillow()


def _check_pixels(image: Image.Image, name: str) -> None:
    _check_size(*image.size, name)


def _check_size(width: int, height: int, name: str) -> None:
    if not width * height:
        raise ImageError(name, f"{width}x{height} pixels: it is empty", "empty")
    if width * height > MAX_PIXELS:
        reason = f"{width}x{height} pixels are more than the {MAX_PIXELS} allowed"
        raise ImageError(name, reason, "too-large")


def _contents(path: str) -> bytes:
    if not path:
        raise ImageError("''", "no such file", "missing")
    try:
        # A pipe without a writer would keep the process waiting for ever.
        if not stat.S_ISREG(Path(path).stat().st_mode) and not Path(path).is_dir():
            raise ImageError(path, "not a regular file")
        with Path(path).open("rb") as file:
            # Room for as much as is asked for is made first.
            content = file.read(min(os.fstat(file.fileno()).st_size, MAX_BYTES) + 1)
    except FileNotFoundError as error:
        raise ImageError(path, "no such file", "missing") from error
    except OSError as error:
        raise ImageError(path, error.strerror or str(error)) from error
    if len(content) > MAX_BYTES:
        raise ImageError(path, f"more than the {MAX_BYTES:,} bytes allowed", "too-large")
    return content


def _as_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode as 8-bit RGB."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        # 16-bit grey; Pillow's own conversion would clip it at 255.
        values = np.asarray(image).astype(np.int64)
        if values.size and (values.min() < 0 or values.max() > 65535):
            raise ValueError("pixel values outside of 16 bits")
        return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode == "F":
        raise ValueError("floating-point pixels, expected 8 or 16 bits")
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, image).convert("RGB")
    return image.convert("RGB")
