"""Reading of photos: files, bytes, PIL images and arrays."""

import contextlib
import io
import os
import stat
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from gfkeras.data.jpeg import decode_plain_jpeg
from gfkeras.data.walk import AVIF_BRANDS, HEIF_BRANDS
from gfkeras.errors import ImageError, require

# Limit of 64 megapixels. A small file that claims more is probably a decompression bomb.
MAX_PIXELS = 64_000_000
# No photo has more bytes. A larger file is rejected without being read into memory.
MAX_BYTES = 256 * 2**20
# Image formats that Pillow decodes itself. It would start Ghostscript and the like for others.
_FORMATS = ("JPEG", "PNG", "GIF", "PPM", "BMP", "WEBP", "TIFF")
# Such images are refused below, with an error. Filters that the user sets come first.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning, append=True)
# Two threads must not load the same PIL image.
_loading = threading.Lock()

# Tensors and other objects that NumPy converts to arrays are accepted too, see `read_photo`.
Photo = str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | np.ndarray
_KINDS = "a path, the bytes of a file, a PIL image, or an array of shape (H, W, 3), RGB 0…255"


def read_photo(photo: Photo, name: str = "photo") -> np.ndarray:
    """Reads a photo as RGB at its own size.

    All functions of gfkeras that take a photo accept these forms. A file can be JPEG, PNG, GIF,
    WebP, BMP, PPM or TIFF, recognised by its content, and HEIC with the extra `heic`. The EXIF
    orientation is applied. Grey, 16-bit, palette, CMYK and transparent images become RGB. 16-bit
    values keep their upper 8 bits. Transparent parts become black, like the area outside a photo
    after alignment. An animated file gives its first frame, and a PIL image its current frame.

    Args:
        photo: a path, the bytes of a file, a PIL image, or an array (H, W, 3), RGB, with integers
            or floats in 0…255.
        name: name of the argument, for messages.

    Returns:
        uint8 array of shape (H, W, 3), values 0…255.

    Raises:
        ImageError: for a file that is missing, empty, truncated or not an image, or has more than
            `MAX_PIXELS` pixels. It is a ValueError.
        ValueError: for an object that is not a photo, and, with advice, for an array of another
            shape, type or range.
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
    """Returns one or several photos as a list of items for `read_photo`. It decodes nothing.

    Several photos are an iterable, such as a list, a generator or an array (N, H, W, 3). `name` is
    that of the argument. Raises ValueError for other objects, for an empty iterable, and for a
    single path that is not a file.
    """
    photos = plain_path(photos)
    if isinstance(photos, str | os.PathLike) and not _is(Path.is_file, photos):
        raise ValueError(
            f"`{name}` must be a photo or a list of photos. Received: {name}={os.fspath(photos)!r},"
            f" which is {'a folder' if _is(Path.is_dir, photos) else 'not a file'}"
        )
    if _is_photo(photos):
        return [photos]
    # An open file is iterable, but it yields lines.
    several = isinstance(photos, Iterable) and not isinstance(photos, Mapping | Set | io.IOBase)
    found = [plain_path(photo) for photo in photos] if several else None
    if found is None:
        raise ValueError(
            f"`{name}` must be a photo or a list of photos. A photo is {_KINDS}. "
            f"Received: {shown(name, photos)}"
        )
    if not found:
        kind = "photo" if name == "photos" else "image"
        raise ValueError(f"`{name}` must name at least one {kind}. Received: none")
    for position, photo in enumerate(found):
        if not _is_photo(photo):
            raise ValueError(
                f"`{name}` must be photos, each of them {_KINDS}. "
                f"Received: {shown(f'{name}[{position}]', photo)}"
            )
        if _is_array(photo):
            _check_shape(np.shape(photo), f"{name}[{position}]")
    return found


def photo_name(photo: Any) -> str:
    """Returns the name of a photo in messages: its path, or its kind."""
    if isinstance(photo, str | os.PathLike):
        return os.fsdecode(photo)
    if isinstance(photo, Image.Image):
        return str(getattr(photo, "filename", "") or "<image>")
    return "<bytes>" if isinstance(photo, bytes | bytearray | memoryview) else "<array>"


def plain_path(value: Any) -> Any:
    """Returns a path as text if it is NumPy text or gives bytes. Other values do not change."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, np.str_):
        return str(value)
    if isinstance(value, os.PathLike) and isinstance(os.fspath(value), bytes):
        return os.fsdecode(value)
    return value


def check_values(array: np.ndarray, name: str, expected: str) -> np.ndarray:
    """Returns pixels as uint8 (from integers) or float32 (from floats), or raises an error.

    The models need plain pixels, so another type, NaN, values outside 0…255, and floats scaled to
    0…1 or −1…1 raise ValueError. `expected` is the beginning of the message.
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
    """Returns advice for values that are not plain pixels, as the end of a sentence."""
    if not is_integer and low >= 0 and high <= 1:
        return "; they look scaled to 0…1: multiply by 255"
    if -3 <= low < 0 and high <= 3:
        return (
            "; they look normalised already, but the model normalises them itself: give the plain "
            "pixels, (x + 1) * 127.5 if they were scaled to −1…1"
        )
    if is_integer and low >= 0 and high <= 65535:
        return "; for 16-bit values, keep the upper 8 bits: (x >> 8).astype(np.uint8)"
    return ""


def _is(kind: Callable[[Path], bool], path: str | os.PathLike[str]) -> bool:
    try:
        return kind(Path(path))
    except OSError:
        # The name is too long.
        return False


def _is_photo(value: Any) -> bool:
    if isinstance(value, str | os.PathLike | bytes | bytearray | memoryview | Image.Image):
        return True
    # An array with one more dimension contains several photos. An array of text contains paths.
    return _is_array(value) and len(np.shape(value)) in (2, 3)


def _is_array(value: Any) -> bool:
    return hasattr(value, "__array__") and not isinstance(value, Image.Image | bytes)


def shown(name: str, value: Any) -> str:
    """Returns an argument and its value, for the end of a message."""
    text = repr(value)
    hint = "; for an open file, pass its bytes: file.read()" if hasattr(value, "read") else ""
    return f"{name}={text if len(text) <= 60 else type(value).__name__}{hint}"


def _photo_array(array: np.ndarray, name: str) -> np.ndarray:
    _check_shape(array.shape, name)
    expected = f"`{name}` must be {_KINDS}."
    pixels = check_values(array, name, expected)
    return pixels if pixels.dtype == np.uint8 else np.rint(pixels).astype(np.uint8)


def _check_shape(shape: tuple[int, ...], name: str) -> None:
    """Raises ValueError, with advice, unless the shape is that of one RGB photo."""
    if len(shape) == 3 and shape[2] == 3 and 0 not in shape:
        return
    advice = ""
    if len(shape) == 2 or (len(shape) == 3 and shape[2] == 1):
        grey = "x[..., np.newaxis]" if len(shape) == 2 else "x"
        advice = f"; for a grey photo, repeat the channel: np.repeat({grey}, 3, axis=-1)"
    elif len(shape) == 3 and shape[0] == 3:
        advice = "; move the channels last: np.transpose(x, (1, 2, 0))"
    elif len(shape) == 3 and shape[2] == 4:
        advice = "; drop the alpha channel: x[..., :3]"
    elif len(shape) == 4:
        advice = "; give one photo at a time"
    raise ValueError(f"`{name}` must be {_KINDS}. Received: {name} of shape {shape}{advice}")


def photo_size(content: bytes, name: str) -> tuple[int, int]:
    """Returns (width, height) of an image file without decoding its pixels.

    Raises ImageError if the content is not an image that `read_photo` reads.
    """
    with _decoding(name), _opened(content, name) as image:
        return image.size


def _decoded(photo: str | os.PathLike[str] | bytes | Image.Image) -> np.ndarray:
    name = photo_name(photo)
    with _decoding(name):
        if isinstance(photo, Image.Image):
            with _loading:
                _check_pixels(photo, name)
                return np.array(_as_rgb(ImageOps.exif_transpose(photo)))
        content = photo if isinstance(photo, bytes) else file_contents(name)
        if not content:
            raise ImageError(name, "the file is empty", "empty")
        plain = decode_plain_jpeg(content, MAX_PIXELS)
        if plain is not None:
            return plain
        with _opened(content, name) as image:
            _check_pixels(image, name)
            # In place, because otherwise a photo that is already upright would be copied.
            ImageOps.exif_transpose(image, in_place=True)
            return np.array(_as_rgb(image))


@contextlib.contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Turns any exception of a decoder into an `ImageError`."""
    try:
        yield
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(name, f"too many pixels ({error})", "too-large") from error
    except Image.UnidentifiedImageError as error:
        raise ImageError(name, "not an image of a known format", "not-an-image") from error
    # A damaged file can make a decoder raise almost any exception, such as struct.error or
    # SyntaxError. All of them mean that this image cannot be read.
    except Exception as error:
        kind = "truncated" if "truncated" in str(error) else "unreadable"
        raise ImageError(name, f"damaged or unreadable ({error})", kind) from error


def _opened(content: bytes, name: str) -> Image.Image:
    if content[4:8] == b"ftyp" and content[8:12] in AVIF_BRANDS:
        raise ImageError(name, "an AVIF image, which is not supported: convert it to JPEG or PNG")
    if content[4:8] != b"ftyp" or content[8:12] not in HEIF_BRANDS:
        return Image.open(io.BytesIO(content), formats=_FORMATS)
    try:
        heif: Any = require("pi_heif", "heic")
    except ImportError as error:
        raise ImageError(name, f"an HEIC photo. {error}, or convert it to JPEG or PNG") from error
    file = heif.open_heif(io.BytesIO(content))
    # Check the size before decoding.
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


def file_contents(path: str) -> bytes:
    """Reads an image file. Raises ImageError if it is missing, empty or not a regular file."""
    if not path:
        raise ImageError("''", "no such file", "missing")
    try:
        status = Path(path).stat()
        # Opening a pipe without a writer would block forever, and so would reading a file of the
        # system such as /proc/kmsg, which has no size.
        if not stat.S_ISREG(status.st_mode):
            reason = "a folder, not an image" if Path(path).is_dir() else "not a regular file"
            raise ImageError(path, reason, "special")
        if status.st_size > MAX_BYTES:
            reason = f"{status.st_size:,} bytes, more than the {MAX_BYTES:,} allowed"
            raise ImageError(path, reason, "too-large")
        # `read` allocates the requested number of bytes first, so do not ask for too many.
        content = b"" if not status.st_size else _read(path, status.st_size)
    except FileNotFoundError as error:
        raise ImageError(path, "no such file", "missing") from error
    except OSError as error:
        raise ImageError(path, f"cannot be read ({error.strerror or error})") from error
    if not content:
        raise ImageError(path, "the file is empty", "empty")
    return content


def _read(path: str, size: int) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(size)


def _as_rgb(image: Image.Image) -> Image.Image:
    """Converts any Pillow mode to 8-bit RGB."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        # 16-bit grey: Pillow's own conversion would clip it at 255.
        values = np.asarray(image).astype(np.int64)
        if values.size and (values.min() < 0 or values.max() > 65535):
            raise ValueError("pixel values outside 16 bits")
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
