"""Reading and checking images, especially bad ones."""

from __future__ import annotations

import io
import pickle
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from gfkeras.data import ImageError, check_images, read_image


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)


def encoded(image: Image.Image, form: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


@pytest.mark.parametrize("form", ["PNG", "BMP", "PPM", "TIFF"])
def test_an_aligned_image_keeps_its_pixels(pixels, form, tmp_path):
    path = tmp_path / "face.img"
    path.write_bytes(encoded(Image.fromarray(pixels), form))
    np.testing.assert_array_equal(read_image(path), pixels)
    np.testing.assert_array_equal(read_image(path.read_bytes()), pixels)


def test_jpeg_is_what_pillow_decodes(pixels):
    content = encoded(Image.fromarray(pixels), "JPEG", quality=95)
    np.testing.assert_array_equal(read_image(content), np.asarray(Image.open(io.BytesIO(content))))


def test_grey_becomes_rgb(pixels):
    grey = pixels[..., 0]
    result = read_image(encoded(Image.fromarray(grey)))
    np.testing.assert_array_equal(result, np.repeat(grey[..., None], 3, axis=-1))


def test_16_bits_keep_the_upper_8(pixels):
    deep = pixels[..., 0].astype(np.uint16) * 256 + 7
    for form in ("PNG", "TIFF"):
        result = read_image(encoded(Image.fromarray(deep), form))
        np.testing.assert_array_equal(result[..., 1], pixels[..., 0])


def test_transparent_parts_are_black(pixels):
    alpha = np.zeros((112, 112), np.uint8)
    alpha[:, :56] = 255
    result = read_image(encoded(Image.fromarray(np.dstack([pixels, alpha]))))
    np.testing.assert_array_equal(result[:, :56], pixels[:, :56])
    assert not result[:, 56:].any()


def test_palette_and_cmyk_become_rgb(pixels):
    image = Image.fromarray(pixels)
    palette = image.quantize(16)
    np.testing.assert_array_equal(read_image(encoded(palette)), np.asarray(palette.convert("RGB")))
    assert read_image(encoded(image.convert("CMYK"), "JPEG")).shape == (112, 112, 3)


def test_exif_orientation_is_applied(pixels):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(Image.fromarray(pixels), "PNG", exif=exif)
    np.testing.assert_array_equal(read_image(content), np.rot90(pixels, -1))


def test_other_proportions_are_centred_and_their_border_repeated(pixels):
    # The size of the ORL database, which needs no resampling.
    narrow = pixels[:, :92]
    result = read_image(encoded(Image.fromarray(narrow)), resize=True)
    np.testing.assert_array_equal(result[:, 10:102], narrow)
    np.testing.assert_array_equal(result[:, :10], np.repeat(narrow[:, :1], 10, axis=1))
    np.testing.assert_array_equal(result[:, 102:], np.repeat(narrow[:, -1:], 10, axis=1))


@pytest.mark.parametrize("shape", [(250, 250), (30, 20), (1, 1), (1, 500), (113, 112)])
def test_another_size_is_refused_unless_resizing_is_asked_for(shape):
    image = Image.fromarray(np.full((*shape, 3), 77, np.uint8))
    np.testing.assert_array_equal(read_image(encoded(image), resize=True), 77)
    said = f"{shape[1]}x{shape[0]} pixels, not an aligned face of 112x112"
    for photo in (encoded(image), image, np.asarray(image)):
        with pytest.raises(ImageError, match=said) as caught:
            read_image(photo)
        assert caught.value.kind == "not-aligned"
        assert "prepare --align" in str(caught.value)


def test_a_text_file_named_jpg(tmp_path):
    path = tmp_path / "face.jpg"
    path.write_text("not a face")
    with pytest.raises(ImageError, match=r"face\.jpg: not an image") as caught:
        read_image(path)
    assert caught.value.path == str(path)
    assert pickle.loads(pickle.dumps(caught.value)).reason == caught.value.reason


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "PPM", "WEBP", "TIFF"])
def test_truncated_files_are_refused(pixels, form):
    content = encoded(Image.fromarray(pixels), form)
    for part in (0.02, 0.5, 0.95):
        with pytest.raises(ImageError):
            read_image(content[: int(len(content) * part)])


def test_empty_missing_and_folder(tmp_path):
    (tmp_path / "empty.png").touch()
    with pytest.raises(ImageError, match="the file is empty"):
        read_image(tmp_path / "empty.png")
    with pytest.raises(ImageError, match="no such file"):
        read_image(tmp_path / "missing.png")
    with pytest.raises(ImageError, match="a folder, not an image"):
        read_image(tmp_path)


@pytest.mark.parametrize("side", [9000, 60000])
def test_decompression_bombs_are_refused_before_decoding(side):
    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    with pytest.raises(ImageError, match="pixels"):
        read_image(bomb)


def test_noise_never_raises_anything_else():
    rng = np.random.default_rng(1)
    good = encoded(Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8)), "JPEG")
    for _ in range(200):
        content = bytearray(good)
        for position in rng.integers(2, len(good), 5):
            content[position] = rng.integers(256)
        try:
            assert read_image(bytes(content)).shape == (112, 112, 3)
        except ImageError:
            continue


def test_check_images_accepts_the_contract():
    images = np.zeros((2, 112, 112, 3), np.uint8)
    assert check_images(images) is images
    assert check_images(images.astype(np.float64) + 7).dtype == np.float32
    assert check_images(images.astype(np.int64)).dtype == np.uint8
    assert check_images(images[:, :, ::-1]).flags.c_contiguous
    assert check_images(images[:0]).shape == (0, 112, 112, 3)
    assert check_images(list(images)).shape == (2, 112, 112, 3)


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        ((112, 112, 3), r"images\[np\.newaxis\]"),
        ((5, 112, 112), "grey"),
        ((112, 112), "grey"),
        ((5, 112, 112, 1), "grey"),
        ((5, 112, 112, 4), "alpha"),
        ((5, 112, 112, 2), "2 channels"),
        ((5, 3, 112, 112), "transpose"),
        ((5, 160, 160, 3), "aligned and cropped"),
        ((5,), "not a batch"),
    ],
)
def test_wrong_shapes_say_what_to_do(shape, hint):
    with pytest.raises(ValueError, match=hint) as caught:
        check_images(np.zeros(shape, np.uint8), name="faces")
    assert "`faces` must have shape (N, 112, 112, 3)" in str(caught.value)
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, "NaN"), (np.inf, "infinite"), (256.0, "256"), (-40.0, "-40"), (-1.0, "normalised")],
)
def test_wrong_values_are_named(value, message):
    images = np.ones((1, 112, 112, 3), np.float32)
    images[0, 3, 4, 1] = value
    with pytest.raises(ValueError, match=message):
        check_images(images)


def test_wrong_types_and_ragged_lists():
    with pytest.raises(ValueError, match="bool"):
        check_images(np.zeros((1, 112, 112, 3), bool))
    with pytest.raises(ValueError, match="different shapes"):
        check_images([np.zeros((112, 112, 3)), np.zeros((111, 112, 3))])
    with pytest.raises(ValueError, match="300"):
        check_images(np.full((1, 112, 112, 3), 300))


@pytest.mark.parametrize(
    ("images", "advice"),
    [
        (np.full((1, 112, 112, 3), 0.5, np.float32), r"scaled to 0…1: multiply by 255"),
        (np.full((1, 112, 112, 3), -0.5, np.float32), r"normalised already.*\(x \+ 1\) \* 127.5"),
        (np.full((1, 112, 112, 3), 9000, np.uint16), r"16-bit values, keep the upper 8 bits"),
        (np.zeros((1, 3, 112, 112), np.uint8), "move the channels last"),
        (np.zeros((1, 112, 112, 4), np.uint8), "drop the alpha channel"),
        (np.zeros((1, 250, 250, 3), np.uint8), "embed_photos"),
        (None, "images=None"),
        ([None], r"images\[0\]=None"),
        ({}, "images={}"),
    ],
)
def test_values_that_are_not_plain_pixels_are_refused_with_advice(images, advice):
    with pytest.raises(ValueError, match=f"`images` must have shape.*{advice}"):
        check_images(images)


def test_an_image_scaled_to_one_is_found_among_others():
    plain = np.full((112, 112, 3), 100, np.uint8)
    with pytest.raises(ValueError, match=r"images\[1\] with values .*multiply by 255"):
        check_images([plain, plain / 255])


def test_a_batch_of_files_bytes_and_images(pixels, tmp_path):
    path = tmp_path / "face.png"
    path.write_bytes(encoded(Image.fromarray(pixels)))
    forms = [path, str(path), path.read_bytes(), Image.fromarray(pixels), pixels]
    np.testing.assert_array_equal(check_images(forms), np.stack([pixels] * 5))
    np.testing.assert_array_equal(check_images(str(path)), pixels[None])
    for several in ((form for form in forms), np.array([str(path)] * 5), {"a": path}.values()):
        assert check_images(several).shape[1:] == pixels.shape
    with pytest.raises(ValueError, match=r"images=<_io.BytesIO.*file.read\(\)"):
        check_images(io.BytesIO(path.read_bytes()))
    with pytest.raises(ImageError, match="250x250 pixels, not an aligned face"):
        check_images([pixels, Image.new("RGB", (250, 250))])
