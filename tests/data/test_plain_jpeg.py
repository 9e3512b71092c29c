"""The fast decoder for ordinary JPEGs gives Pillow's pixels, or nothing at all."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gfkeras.data.jpeg import decode_plain_jpeg
from gfkeras.data.photos import read_photo
from gfkeras.errors import ImageError

MANY = 10**6


def picture(height: int, width: int, seed: int, grain: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3))
    pixels = coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
    return np.clip(pixels + rng.integers(-grain, grain + 1, pixels.shape), 0, 255).astype(np.uint8)


def jpeg(pixels: np.ndarray, mode: str = "RGB", **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, "JPEG", **options)
    return stream.getvalue()


def by_pillow(content: bytes) -> np.ndarray | None:
    try:
        with Image.open(io.BytesIO(content)) as image:
            return np.array(image.convert("RGB"))
    # Pillow does not decode a damaged file, whichever exception it raises.
    except Exception:  # noqa: BLE001
        return None


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 130), st.integers(1, 130)),
    seed=st.integers(0, 99),
    grain=st.integers(0, 60),
    quality=st.integers(1, 100),
    subsampling=st.integers(0, 2),
    mode=st.sampled_from(["RGB", "L"]),
    optimize=st.booleans(),
)
def test_pixels_are_pillows(size, seed, grain, quality, subsampling, mode, optimize):
    content = jpeg(
        picture(*size, seed, grain), mode, quality=quality, subsampling=subsampling,
        optimize=optimize,
    )  # fmt: skip
    found = decode_plain_jpeg(content, MANY)
    assert found is not None
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, by_pillow(content))


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damage_is_never_better_than_with_pillow(data):
    content = bytearray(jpeg(picture(40, 56, 0, 20), quality=90, subsampling=2))
    for _ in range(data.draw(st.integers(1, 3))):
        if len(content) < 5:
            break
        at = data.draw(st.integers(2, len(content) - 3))
        change = data.draw(st.sampled_from(["byte", "cut", "put", "end"]))
        if change == "byte":
            content[at] = data.draw(st.integers(0, 255))
        elif change == "cut":
            del content[at : min(at + data.draw(st.integers(1, 99)), len(content) - 2)]
        elif change == "put":
            content[at:at] = data.draw(st.binary(min_size=1, max_size=20))
        else:
            content = content[: at + 1] + b"\xff\xd9"
    found = decode_plain_jpeg(bytes(content), MANY)
    if found is not None:
        np.testing.assert_array_equal(found, by_pillow(bytes(content)))


def test_files_left_to_pillow():
    pixels = picture(40, 56, 0, 20)
    plain = jpeg(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6
    others = {
        "orientation": jpeg(pixels, exif=exif),
        "progressive": jpeg(pixels, progressive=True),
        "four channels": jpeg(pixels, "CMYK"),
        "restarts": jpeg(pixels, restart_marker_blocks=2),
        "profile": jpeg(pixels, icc_profile=b"x" * 200),
        "something behind": plain + b"more",
        "truncated": plain[: len(plain) // 2],
        "truncated, with an end": plain[: len(plain) // 2] + b"\xff\xd9" * 2,
        "two starts": plain[:-2] + plain,
        "nothing": b"",
        "three bytes": b"\xff\xd8\xff",
        "no scan": plain[:30] + b"\xff\xd9",
        "PNG": b"\x89PNG" + plain[4:],
    }
    for name, content in others.items():
        assert decode_plain_jpeg(content, MANY) is None, name
    assert decode_plain_jpeg(plain, 40 * 56 - 1) is None
    assert decode_plain_jpeg(plain, 40 * 56) is not None
    turned = read_photo(others["orientation"])
    assert turned.shape == (56, 40, 3)


@pytest.mark.parametrize("side", [0, 60_000])
def test_impossible_sizes(side):
    content = bytearray(jpeg(picture(40, 56, 0, 20)))
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 7] = side.to_bytes(2)
    content[frame + 7 : frame + 9] = (60_000).to_bytes(2)
    assert decode_plain_jpeg(bytes(content), 64_000_000) is None
    with pytest.raises(ImageError):
        read_photo(bytes(content))
