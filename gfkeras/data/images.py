"""Images: reading, checking, JPEG."""

from __future__ import annotations

import io
import os
import stat
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps

from gfkeras.errors import ImageError as ImageError

# Start and end of an image, start of scan, baseline frame.
_SOI, _EOI, _SOS, _SOF0 = b"\xff\xd8\xff", b"\xff\xd9", 0xDA, 0xC0
# What may come before the scan and changes nothing: JFIF, tables, restart interval, comment.
_PASSED = frozenset((0xE0, 0xDB, 0xC4, 0xDD, 0xFE))

IMAGE_SIZE = 112
# An aligned face never needs more; a small file that claims more is a decompression bomb.
MAX_PIXELS = 64_000_000
# No photo has as many bytes: a file that has is not read into memory to find that out.
MAX_BYTES = 256 * 2**20
# Only plain picture formats: Pillow would also hand files to Ghostscript and other interpreters.
_FORMATS = ("JPEG", "PNG", "PPM", "BMP", "WEBP", "TIFF")


def read_image(source: str | os.PathLike[str] | bytes, size: int = IMAGE_SIZE) -> np.ndarray:
    """Reads one aligned face as RGB.

    Grey, 16-bit, palette, CMYK and transparent images become RGB: 16 bits keep their upper 8, and
    transparent parts become black, as alignment leaves what lies outside of the photo. The EXIF
    orientation is applied. An image of `size`×`size` keeps its decoded pixels. Any other is taken
    for a face that is already cropped: it is scaled to fit, keeping its proportions, centred, and
    its border pixels repeated. A 92×112 image of the ORL database gets 10 columns on either side.

    Args:
        source: a file, or the bytes of one.
        size: height and width of the result.

    Returns:
        uint8 array of shape (size, size, 3), values 0…255.

    Raises:
        ImageError: for a file that is missing, empty, truncated, not an image, or of more than
            `MAX_PIXELS` pixels.
    """
    pixels = read_photo(source)
    return pixels if pixels.shape[:2] == (size, size) else _fit(pixels, size)


def read_photo(source: str | os.PathLike[str] | bytes) -> np.ndarray:
    """Reads a photo as RGB, uint8 (height, width, 3), at its own size.

    Modes and EXIF orientation are treated and errors raised as by `read_image`.
    """
    name = "<bytes>" if isinstance(source, bytes) else os.fspath(source)
    try:
        content = source if isinstance(source, bytes) else _contents(name)
        if not content:
            raise ImageError(name, "the file is empty", "empty")
        plain = decode_plain_jpeg(content, MAX_PIXELS)
        if plain is not None:
            return plain
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                reason = f"{width}x{height} pixels are more than the {MAX_PIXELS} allowed"
                raise ImageError(name, reason, "too-large")
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


def _contents(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            status = os.fstat(file.fileno())
            # Room for as much as is asked for is made first; a pipe does not say how much comes.
            known = stat.S_ISREG(status.st_mode)
            content = file.read((min(status.st_size, MAX_BYTES) if known else MAX_BYTES) + 1)
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
    if image.mode == "F":
        raise ValueError("floating-point pixels, expected 8 or 16 bits")
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, image).convert("RGB")
    return image.convert("RGB")


def _fit(pixels: np.ndarray, size: int) -> np.ndarray:
    """Scales (H, W, 3) to fit a square and repeats the border around it."""
    height, width = pixels.shape[:2]
    scale = size / max(height, width)
    new_height, new_width = max(1, round(height * scale)), max(1, round(width * scale))
    if (new_height, new_width) != (height, width):
        new_size, way = (new_width, new_height), Image.Resampling.BILINEAR
        pixels = np.asarray(Image.fromarray(pixels).resize(new_size, way, reducing_gap=3.0))
    top, left = (size - new_height) // 2, (size - new_width) // 2
    below, right = size - new_height - top, size - new_width - left
    return np.pad(pixels, ((top, below), (left, right), (0, 0)), mode="edge")


def check_images(images: Any, size: int = IMAGE_SIZE, name: str = "images") -> np.ndarray:
    """Returns a batch of aligned faces as a contiguous array, or says what is wrong.

    Args:
        images: (N, size, size, 3), RGB: integers or floats in 0…255. N may be 0.
        size: height and width expected.
        name: the argument's name, for messages.

    Returns:
        The images as `uint8` where integers came, else as `float32`. Floats that all lie in 0…1
        are taken as they are with a warning: they are nearly black.

    Raises:
        ValueError: naming the argument, what was expected and what was received.
    """
    expected = f"`{name}` must have shape (N, {size}, {size}, 3), RGB with values 0…255."
    try:
        array = np.asarray(images)
    except ValueError as error:
        raise ValueError(f"{expected} Received images of different shapes: {error}") from error
    hint = _shape_hint(array.shape, size)
    if hint is not None:
        raise ValueError(f"{expected} Received: {name} of shape {array.shape}; {hint}")
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    is_integer = np.issubdtype(array.dtype, np.integer)
    if not is_integer and not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"{expected} Received: {name} of type {array.dtype}")
    if not is_integer:
        array = array.astype(np.float32, copy=False)
        if not np.isfinite(array).all():
            raise ValueError(f"{expected} Received: {name} with NaN or infinite values")
    if array.size:
        low, high = array.min(), array.max()
        if low < 0 or high > 255:
            advice = (
                "; it looks normalised already: give the plain pixels, the model normalises them"
                if -3 <= low < 0 and high <= 3
                else ""
            )
            raise ValueError(f"{expected} Received: {name} with values {low}…{high}{advice}")
        if not is_integer and 0 < high <= 1:
            warnings.warn(
                f"`{name}` holds values of at most {high:.3g}: expected 0…255, so these are "
                "nearly black images. Multiply by 255 if they were scaled to 0…1.",
                stacklevel=2,
            )
    return np.ascontiguousarray(array.astype(np.uint8) if is_integer else array)


def _shape_hint(shape: tuple[int, ...], size: int) -> str | None:
    """Advice for a wrong shape; None for a right one."""
    if len(shape) == 4 and shape[1:] == (size, size, 3):
        return None
    if shape == (size, size, 3):
        return "for a single image use images[np.newaxis]"
    if len(shape) in (2, 3) and shape[-2:] == (size, size):
        return "for grey images repeat the channel: np.repeat(grey[..., np.newaxis], 3, axis=-1)"
    if len(shape) == 4 and shape[1] == 3 and shape[2:] == (size, size):
        return "move the channels last: np.transpose(images, (0, 2, 3, 1))"
    if len(shape) == 4 and shape[1:3] == (size, size):
        if shape[3] == 1:
            return "for grey images repeat the channel: np.repeat(images, 3, axis=-1)"
        if shape[3] == 4:
            return "drop the alpha channel: images[..., :3]"
        return f"it has {shape[3]} channels"
    if len(shape) == 4 and shape[3] == 3:
        return f"faces must be aligned and cropped to {size}×{size} first"
    return f"that is not a batch of {size}×{size} RGB images"


def decode_jpeg(content: bytes) -> np.ndarray:
    """Pixels (H, W, 3) uint8, RGB, of a JPEG that was checked before.

    A damaged one may give odd pixels: `read_image` is for files of unknown origin. What is no JPEG
    at all raises ImageError.
    """
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise ImageError("<bytes>", f"cannot be decoded ({error})") from error
    if pixels is None:
        raise ImageError("<bytes>", "cannot be decoded")
    return pixels


def decode_batch(
    sources: Sequence[Any] | np.ndarray,
    image_size: tuple[int, int],
    decode: Callable[[Any], np.ndarray],
    place: Callable[[Any], str],
) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
    """Images (B, height, width, 3) uint8, which of them could be read, and why others not.

    An image that cannot be read is black, and its reason is listed under its place.
    """
    images = np.zeros((len(sources), *image_size, 3), np.uint8)
    read = np.ones(len(sources), bool)
    reasons: dict[str, str] = {}
    for position, source in enumerate(sources):
        try:
            pixels = decode(source)
            if pixels.shape != images.shape[1:]:
                raise ImageError("", f"has shape {pixels.shape}, not {images.shape[1:]}")
            images[position] = pixels
        except ImageError as error:
            read[position] = False
            reasons[place(source)] = error.reason
    return images, read, reasons


def encode_jpeg(pixels: np.ndarray, quality: int = 95) -> bytes:
    """A JPEG of (H, W, 3) uint8 RGB, colour at full resolution (4:4:4); equal pixels, equal bytes.

    Halving the resolution of colour, as most encoders do unasked, blurs lips and eyes of a face
    this small.
    """
    settings = (
        cv2.IMWRITE_JPEG_QUALITY, quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    )  # fmt: skip
    done, content = cv2.imencode(".jpg", pixels[:, :, ::-1], settings)
    if not done:
        raise ValueError(f"an image of shape {pixels.shape} cannot be encoded as JPEG")
    return content.tobytes()


def decode_plain_jpeg(content: bytes, max_pixels: int) -> np.ndarray | None:
    """Pixels (H, W, 3) uint8, RGB, of a baseline JPEG that says nothing unusual; else None.

    Most aligned faces are such. Anything else (an EXIF orientation, a colour profile, progressive
    scans, four channels, too many pixels, a missing end) is left to Pillow, which knows the modes
    and says what is wrong.
    """
    if content[:3] != _SOI or content[-2:] != _EOI:
        return None
    shape = _plain_shape(content)
    if shape is None or not 0 < shape[0] * shape[1] <= max_pixels:
        return None
    try:
        pixels = decode_jpeg(content)
    except ImageError:
        return None
    return pixels if pixels.shape[:2] == shape else None


def _plain_shape(content: bytes) -> tuple[int, int] | None:
    """Height and width, if the markers up to the scan are those of a plain JPEG."""
    position, shape = 2, None
    while position + 10 <= len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        if marker == _SOS:
            # Of the data no byte looks like a marker but the end's: OpenCV passes over a stray one.
            whole = content.count(b"\xff", position + 2) == 1 + content.count(
                b"\xff\x00", position + 2
            )
            return shape if whole else None
        if marker == _SOF0:
            head = content[position + 4 : position + 10]
            if shape is not None or head[0] != 8 or head[5] not in (1, 3):
                return None
            shape = int.from_bytes(head[1:3]), int.from_bytes(head[3:5])
        elif marker not in _PASSED:
            return None
        position += 2 + int.from_bytes(content[position + 2 : position + 4])
    return None
