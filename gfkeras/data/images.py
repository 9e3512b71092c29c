"""Reading and checking of aligned faces."""

import io
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any

import numpy as np
from PIL import Image

from gfkeras.data.photos import (
    Photo,
    check_values,
    photo_name,
    plain_path,
    read_photo,
    shown,
)
from gfkeras.errors import ImageError as ImageError
from gfkeras.errors import positive_int, wrong_value

# Height and width of an aligned face, or one number for both.
FaceSize = int | tuple[int, int] | Sequence[int]
IMAGE_SIZE = 112
# Skin in RGB images has a higher logarithm of red over blue than this. The median of up to 64 faces
# is compared with it.
BLUE_SKIN, _COLOURS_LOOKED_AT = -0.1, 64
# Part of the reason that is given for each image of the wrong size.
NOT_ALIGNED = "not an aligned face of"


def face_size(size: FaceSize) -> tuple[int, int]:
    """Returns height and width, each at least 1, from one number or two."""
    if isinstance(size, str) or not isinstance(size, Sequence):
        size = (size, size)
    if len(size) != 2:
        raise wrong_value("size", "be one integer, or a height and a width", size)
    return positive_int("size", size[0]), positive_int("size", size[1])


def read_image(photo: Photo, size: FaceSize = IMAGE_SIZE, resize: bool = False) -> np.ndarray:
    """Reads one aligned face as RGB.

    It accepts the same forms as `read_photo`, and handles modes and EXIF orientation in the same
    way. An image of another size is not an aligned face and is rejected: a photo squeezed to
    the size gives a meaningless embedding. Use `FaceAligner` to find and align the face of a
    photo.

    Args:
        photo: a path, the bytes of a file, a PIL image, or an array (H, W, 3), RGB 0…255.
        size: height and width of the face, or one number for both.
        resize: accept an image of another size if it is cropped like an aligned face. It is scaled
            to fit with its proportions, centred, and its border pixels are repeated. A 92×112 image
            of the ORL database gets 10 columns on either side.

    Returns:
        uint8 array of shape (height, width, 3), values 0…255.

    Raises:
        ImageError: for another size (kind "not-aligned"), and for the reasons of `read_photo`. It
            is a ValueError.
        ValueError: for an object that is not an image.
    """
    pixels = read_photo(photo, "image")
    if pixels.shape[:2] == face_size(size):
        return pixels
    if resize:
        return _fit(pixels, *face_size(size))
    height, width = pixels.shape[:2]
    raise ImageError(photo_name(photo), not_aligned(width, height, size), "not-aligned")


def not_aligned(width: int, height: int, size: FaceSize) -> str:
    """Returns the reason for rejecting an image of another size, with advice."""
    rows, columns = face_size(size)
    order = "" if rows == columns else " (width x height)"
    return (
        f"{width}x{height} pixels, {NOT_ALIGNED} {columns}x{rows}{order}. Photos need "
        "alignment: use `gfkeras prepare --align`, --align (or leave out --aligned), or in Python "
        "`embed_photos` or `FaceAligner`. To scale faces that are all cropped alike, use `resize` "
        "or --resize"
    )


def _fit(pixels: np.ndarray, to_height: int, to_width: int) -> np.ndarray:
    """Scales (H, W, 3) pixels to fit another size, and repeats the border around them."""
    height, width = pixels.shape[:2]
    scale = min(to_height / height, to_width / width)
    new_height, new_width = max(1, round(height * scale)), max(1, round(width * scale))
    if (new_height, new_width) != (height, width):
        new_size, way = (new_width, new_height), Image.Resampling.BILINEAR
        # `reducing_gap` shrinks large images in two steps, which is faster.
        pixels = np.asarray(Image.fromarray(pixels).resize(new_size, way, reducing_gap=3.0))
    top, left = (to_height - new_height) // 2, (to_width - new_width) // 2
    below, right = to_height - new_height - top, to_width - new_width - left
    return np.pad(pixels, ((top, below), (left, right), (0, 0)), mode="edge")


def check_images(images: Any, size: FaceSize = IMAGE_SIZE, name: str = "images") -> np.ndarray:
    """Returns a batch of aligned faces as a contiguous array, or raises an error with advice.

    Args:
        images: (N, height, width, 3), RGB, integers or floats in 0…255. N can be 0. Other forms of
            aligned faces are accepted too: a path, the bytes of a file or a PIL image, or a list of
            these and of arrays.
        size: expected height and width, or one number for both.
        name: name of the argument, for messages.

    Returns:
        The images, `uint8` if integers or files were given, otherwise `float32`.

    Raises:
        ImageError: for a file that cannot be read or is not a face of this size.
        ValueError: with the argument, what was expected and what was received. Floats that are all
            in 0…1 are rejected too, because they would be almost black images.
    """
    height, width = size = face_size(size)
    expected = f"`{name}` must have shape (N, {height}, {width}, 3), RGB with values 0…255."
    given = _read(images, size, expected, name)
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise ValueError(f"{expected} Received images of different shapes: {error}") from error
    hint = _shape_hint(array.shape, size)
    if hint is not None:
        raise ValueError(f"{expected} Received: {name} of shape {array.shape}; {hint}")
    checked = np.ascontiguousarray(check_values(array, name, expected))
    warn_of_bgr(checked, name)
    return checked


def log_red_to_blue(faces: np.ndarray) -> np.ndarray:
    """Returns log(red/blue) in the middle of aligned faces (N, H, W, 3), as (N,)."""
    height, width = faces.shape[1:3]
    # The area from the eyebrows to the mouth, without hair and background.
    rows = slice(height * 40 // 112, height * 100 // 112)
    middle = faces[:, rows, width * 30 // 112 : width * 82 // 112]
    red, blue = (middle[..., channel].mean(axis=(1, 2)) + 1 for channel in (0, 2))
    return np.log(red / blue)


def warn_of_bgr(faces: np.ndarray, name: str) -> None:
    """Warns if aligned faces (N, S, S, 3) are more blue than red, most likely OpenCV's BGR.

    Skin of any colour reflects more red than blue. `benchmarks/channel_order.py` measures how
    reliable this test is.
    """
    if not len(faces):
        return
    # At most 64 faces, spread evenly over the batch.
    some = faces[:: -(-len(faces) // _COLOURS_LOOKED_AT)]
    if np.median(log_red_to_blue(some)) < BLUE_SKIN:
        warnings.warn(
            f"`{name}`: the skin is bluer than red, as if red and blue were exchanged. "
            "Images must be RGB. If they are BGR, as in OpenCV, pass image[..., ::-1].",
            stacklevel=3,
        )


def _read(images: Any, size: FaceSize, expected: str, name: str) -> Any:
    """Returns the images, with files, bytes and PIL images decoded."""
    files = (str, os.PathLike, bytes, bytearray, memoryview, Image.Image)
    images = plain_path(images)
    if isinstance(images, files):
        images = [images]
    is_array = hasattr(images, "__array__")
    if is_array and np.asarray(images).dtype.kind not in "OUS":
        return images
    if not is_array and (
        not isinstance(images, Iterable) or isinstance(images, Mapping | Set | io.IOBase)
    ):
        raise ValueError(f"{expected} Received: {shown(name, images)}")
    images, read = list(images), list[Any]()
    for position, image in enumerate(map(plain_path, images)):
        place = f"{name}[{position}]"
        if isinstance(image, files):
            read.append(read_image(image, size))
        elif hasattr(image, "__array__"):
            # Each image is checked alone: one scaled to 0…1 would not stand out in the whole batch.
            read.append(check_values(np.asarray(image), place, expected))
        elif isinstance(image, list | tuple):
            read.append(image)
        else:
            raise ValueError(f"{expected} Received: {shown(place, image)}")
    return read


def _shape_hint(shape: tuple[int, ...], size: tuple[int, int]) -> str | None:
    """Returns advice for a wrong shape, or None if the shape is right."""
    if len(shape) == 4 and shape[1:] == (*size, 3):
        return None
    if shape == (*size, 3):
        return "for a single image, use images[np.newaxis]"
    if len(shape) in (2, 3) and shape[-2:] == size:
        return "for grey images, repeat the channel: np.repeat(grey[..., np.newaxis], 3, axis=-1)"
    if len(shape) == 4 and shape[1] == 3 and shape[2:] == size:
        return "move the channels last: np.transpose(images, (0, 2, 3, 1))"
    if len(shape) == 4 and shape[1:3] == size:
        if shape[3] == 1:
            return "for grey images, repeat the channel: np.repeat(images, 3, axis=-1)"
        if shape[3] == 4:
            return "drop the alpha channel: images[..., :3]"
        return f"it has {shape[3]} channels"
    if len(shape) == 4 and shape[3] == 3:
        return (
            f"faces must be aligned and cropped to {size[0]}×{size[1]} first: "
            "`Embedder.embed_photos` finds and aligns the faces of photos"
        )
    return f"that is not a batch of {size[0]}×{size[1]} RGB images"


def decode_batch(
    sources: Sequence[Any] | np.ndarray,
    image_size: tuple[int, int],
    decode: Callable[[Any], np.ndarray],
    place: Callable[[Any], str],
) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
    """Decodes a batch of images.

    Returns (B, height, width, 3) uint8 images, a mask of the readable ones, and the reasons for the
    others by place. An unreadable image is black.
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
