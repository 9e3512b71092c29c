"""Photos in any form and format give the right pixels, or an error with advice."""

from __future__ import annotations

import base64
import builtins
import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gfkeras.data.photos import list_photos, photo_name, read_photo
from gfkeras.data.sources.listing import read_under
from gfkeras.errors import ImageError


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)


def encoded(image: Image.Image, form: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def test_every_form_gives_the_same_pixels(pixels, tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    content = path.read_bytes()
    forms = [
        path, str(path), content, bytearray(content), memoryview(content), Image.open(path),
        pixels, pixels.astype(np.int64), pixels.astype(np.float32), (pixels + 0.2).clip(0, 255),
    ]  # fmt: skip
    for form in forms:
        np.testing.assert_array_equal(read_photo(form), pixels)
    assert len(list_photos(forms)) == len(forms)
    for one in (path, str(path), content, Image.open(path), pixels):
        assert len(list_photos(one)) == 1
    assert len(list_photos(iter([path, path]))) == 2
    assert len(list_photos(np.stack([pixels] * 3))) == 3
    assert [photo_name(form) for form in (path, content, Image.open(path), pixels)] == [
        str(path), "<bytes>", str(path), "<array>",
    ]  # fmt: skip


class BytesPath:
    """A path that gives bytes, as `os.PathLike[bytes]` may."""

    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return os.fsencode(self.path)


def test_paths_as_numpy_and_os_have_them(pixels, tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    for form in (np.str_(path), np.array(str(path)), BytesPath(path), next(os.scandir(tmp_path))):
        np.testing.assert_array_equal(read_photo(form), pixels)
        np.testing.assert_array_equal(read_photo(list_photos(form)[0]), pixels)
        np.testing.assert_array_equal(read_photo(list_photos([form])[0]), pixels)
    assert list_photos(np.array([str(path)] * 2)) == [str(path)] * 2
    assert photo_name(BytesPath(path)) == str(path)
    with pytest.raises(ValueError, match="which is not a file"):
        list_photos("x" * 5000)


def test_an_open_file_is_not_taken_for_its_lines(pixels, tmp_path):
    path = tmp_path / "photos.txt"
    path.write_text("a.jpg\nb.jpg\n")
    with path.open() as lines, io.BytesIO(encoded(Image.fromarray(pixels))) as content:
        for file in (lines, content):
            for wrong in (file, [file]):
                with pytest.raises(ValueError, match=r"for an open file, pass its bytes"):
                    list_photos(wrong)
            with pytest.raises(ValueError, match=r"file\.read"):
                read_photo(file)


def test_an_image_without_pixels():
    with pytest.raises(ImageError, match="0x5 pixels: it is empty"):
        read_photo(Image.new("RGB", (0, 5)))


@pytest.mark.parametrize("wrong", [None, 5, 1.5, {"a": 1}, {"a.jpg"}, object(), True])
def test_anything_else_names_the_argument(wrong):
    with pytest.raises(ValueError, match=r"`picture` must be a photo: a path.*Received: picture="):
        read_photo(wrong, "picture")
    with pytest.raises(ValueError, match="`photos` must be a photo or a list of photos"):
        list_photos(wrong)
    with pytest.raises(ValueError, match=r"`photos` must be photos.*Received: photos\[1\]="):
        list_photos(["a.jpg", wrong])


def test_a_single_path_must_be_a_file(tmp_path):
    with pytest.raises(ValueError, match=r"Received: photos='none\.jpg', which is not a file"):
        list_photos("none.jpg")
    with pytest.raises(ValueError, match="which is a folder"):
        list_photos(tmp_path)
    with pytest.raises(ValueError, match="at least one photo"):
        list_photos([])


@pytest.mark.parametrize(
    ("array", "advice"),
    [
        (np.full((9, 9, 3), 0.5), "multiply by 255"),
        (np.full((9, 9, 3), -0.5), "normalised already"),
        (np.full((9, 9, 3), np.nan), "NaN"),
        (np.full((9, 9, 3), 300), "16-bit"),
        (np.full((9, 9, 3), -300), "values -300"),
        (np.zeros((9, 9, 3), bool), "type bool"),
        (np.zeros((3, 9, 9), np.uint8), r"np.transpose\(x, \(1, 2, 0\)\)"),
        (np.zeros((9, 9), np.uint8), "repeat the channel"),
        (np.zeros((9, 9, 1), np.uint8), "repeat the channel"),
        (np.zeros((9, 9, 4), np.uint8), "drop the alpha channel"),
        (np.zeros((2, 9, 9, 3), np.uint8), "one photo at a time"),
        (np.zeros((0, 9, 3), np.uint8), r"shape \(0, 9, 3\)"),
    ],
)
def test_arrays_of_another_kind_are_refused_with_advice(array, advice):
    with pytest.raises(ValueError, match=f"`photo` must be .*{advice}"):
        read_photo(array)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_an_animation_gives_its_first_frame(form):
    frames = [Image.new("RGB", (30, 40), colour) for colour in ("red", "green", "blue")]
    options = {"lossless": True} if form == "WEBP" else {}
    content = encoded(frames[0], form, save_all=True, append_images=frames[1:], **options)
    assert getattr(Image.open(io.BytesIO(content)), "n_frames", 1) == 3
    np.testing.assert_array_equal(read_photo(content), np.asarray(frames[0]))
    np.testing.assert_array_equal(
        read_photo(Image.open(io.BytesIO(content))), np.asarray(frames[0])
    )


def test_modes_of_pil_images_and_files_are_alike(pixels):
    image = Image.fromarray(pixels)
    for mode, form in (("L", "PNG"), ("RGBA", "PNG"), ("P", "PNG"), ("1", "PNG"), ("CMYK", "TIFF")):
        changed = image.convert(mode)
        np.testing.assert_array_equal(read_photo(encoded(changed, form)), read_photo(changed))
    # The colours of a CMYK JPEG are kept, although Adobe's programs write them inverted.
    red = Image.new("RGB", (30, 40), (200, 30, 30)).convert("CMYK")
    assert (
        np.abs(read_photo(encoded(red, "JPEG", quality=95)).mean((0, 1)) - [200, 30, 30]).max() < 8
    )


def test_exif_orientation_of_files_and_pil_images(pixels):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(Image.fromarray(pixels), "PNG", exif=exif)
    for photo in (content, Image.open(io.BytesIO(content))):
        np.testing.assert_array_equal(read_photo(photo), np.rot90(pixels, -1))


def test_heic_and_avif_say_what_to_do(monkeypatch, tmp_path):
    plain = builtins.__import__

    def without(name, *arguments):
        if name.startswith("pi_heif"):
            raise ImportError("No module named 'pi_heif'")
        return plain(name, *arguments)

    monkeypatch.setitem(__import__("sys").modules, "pi_heif", None)
    monkeypatch.setattr(builtins, "__import__", without)
    path = tmp_path / "photo.heic"
    for brand in (b"heic", b"mif1"):
        path.write_bytes(struct.pack(">I", 24) + b"ftyp" + brand + bytes(12))
        with pytest.raises(ImageError, match=r"HEIC photo.*pip install 'gfkeras\[heic\]'"):
            read_photo(path)
    with pytest.raises(ImageError, match="AVIF image, which is not supported: convert it"):
        read_photo(struct.pack(">I", 24) + b"ftypavif" + bytes(12))


# 24×16 pixels: white above red on the left, blue on the right. EXIF turns the image by 90°.
_HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWl4AAAAAG1pZjFoZWl4bWlhZgAAAcltZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAA"
    "AAAAAAAAADRpbG9jAAAAAERAAAIAAQAAAAAB7QABAAAAAAAAAJoAAgAAAAAChwABAAAAAAAAACQAAAA4aWluZgAAAAAA"
    "AgAAABVpbmZlAgAAAAABAABodmMxAAAAABVpbmZlAgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAABCGlwcnAAAADn"
    "aXBjbwAAAHdodmNDAQQIAAAAnjgAAAAAHvAA/P/4+AAADwNgAAEAF0ABDAH//wQIAAADAJ44AAADAAAeugJAYQABACpC"
    "AQEECAAAAwCeOAAAAwAAHpAEECCy3VXTXNwENBgQAAADAZAAAAMAEIBiAAEACEQBwXMYMBiQAAAAE2NvbHJuY2x4AAEA"
    "DQAGgAAAABRpc3BlAAAAAAAAAEAAAABAAAAAKGNsYXAAAAAYAAAAAQAAABAAAAAB////2AAAAAL////QAAAAAgAAABBw"
    "aXhpAAAAAAMICAgAAAAJaXJvdAMAAAAZaXBtYQAAAAAAAAABAAEGgQIDBYSGAAAAGmlyZWYAAAAAAAAADmNkc2MAAgAB"
    "AAEAAADGbWRhdAAAAJYoAa8GMh6JIxBescFxf/yo6gbnGXYutE8i35GMqN65/3J9OZSjab0wsmqGGfSKXRt6MsUK1+lX"
    "w9m6rcuCl6Xid//sNHH9kTk8I6MgEJuRsWf+w3IA+MuP76PoYP7mwHNaQnylNcnrLSF1yAoPQKLP7uQbxiB+mgKQZkGd"
    "9trN/jk1bLboyoBSnpO3xc6/LPFsipqWC4AAAAAGRXhpZgAATU0AKgAAAAgAAQESAAMAAAABAAYAAAAAAAA="
)


def test_heic_is_read_with_the_extra(tmp_path):
    pytest.importorskip("pi_heif")
    path = tmp_path / "photo.jpg"
    path.write_bytes(_HEIC)
    for photo in (path, _HEIC):
        found = read_photo(photo).astype(int)
        assert found.shape == (24, 16, 3)
        corners = [found[0, 0], found[-1, 0], found[-1, -1]]
        expected = [[200, 40, 40], [40, 60, 200], [240, 240, 240]]
        assert np.abs(np.array(corners) - expected).max() < 8


def test_a_damaged_heic_is_an_image_error():
    pytest.importorskip("pi_heif")
    with pytest.raises(ImageError, match="damaged or unreadable"):
        read_photo(struct.pack(">I", 24) + b"ftypheic" + bytes(200))


def test_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "photo.jpg")
    with pytest.raises(ImageError, match="not a regular file"):
        read_photo(tmp_path / "photo.jpg")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_files_of_the_system_without_a_size_are_not_opened(tmp_path):
    # Reading some of them, such as /proc/kmsg, waits for ever.
    (tmp_path / "photo.jpg").symlink_to("/proc/self/status")
    with pytest.raises(ImageError, match="the file is empty"):
        read_photo(tmp_path / "photo.jpg")
    with pytest.raises(ImageError, match="the file is empty"):
        read_under(tmp_path, "photo.jpg")
