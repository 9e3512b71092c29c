"""JPEG encoding, and decoding of plain or already checked files."""

import cv2
import numpy as np

from gfkeras.errors import ImageError

# Start and end of an image, start of scan, baseline frame.
_SOI, _EOI, _SOS, _SOF0 = b"\xff\xd8\xff", b"\xff\xd9", 0xDA, 0xC0
# Segments that can come before the scan and do not affect decoding: JFIF, tables, restart interval,
# comment.
_PASSED = frozenset((0xE0, 0xDB, 0xC4, 0xDD, 0xFE))


def decode_jpeg(content: bytes) -> np.ndarray:
    """Returns the pixels (H, W, 3) uint8, RGB, of a JPEG that was checked before.

    A damaged JPEG can give wrong pixels. Use `read_image` for files of unknown origin. Raises
    ImageError for data that is not a JPEG.
    """
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise ImageError("<bytes>", f"cannot be decoded ({error})") from error
    if pixels is None:
        raise ImageError("<bytes>", "cannot be decoded")
    return pixels


def encode_jpeg(pixels: np.ndarray, quality: int = 95) -> bytes:
    """Returns (H, W, 3) uint8 RGB pixels as a JPEG. Equal pixels give equal bytes.

    Colour is stored at full resolution (4:4:4). Most encoders halve it by default, which blurs the
    lips and eyes of such small faces.
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
    """Returns the pixels (H, W, 3) uint8, RGB, of a plain baseline JPEG, and None for others.

    Most aligned faces are plain JPEGs. Everything else (an EXIF orientation, a colour profile,
    progressive scans, four channels, too many pixels, a missing end) is left to Pillow, which
    handles these cases and reports errors.
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
    """Returns height and width if the markers before the scan are those of a plain JPEG."""
    position, shape = 2, None
    while position + 10 <= len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        if marker == _SOS:
            # The only marker in the data must be the end. OpenCV silently skips a stray marker.
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
