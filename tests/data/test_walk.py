"""The walk over folders of photos: the photos, and the reason for everything else."""

from __future__ import annotations

import os
import socket
import unicodedata

import numpy as np
import pytest
from PIL import Image

from gfkeras.data import FaceFolder
from gfkeras.data.sources import FolderSource, Refused
from gfkeras.data.walk import (
    REASONS,
    is_image,
    people_in,
    photos_below,
    photos_in,
    photos_of,
    reason_counts,
)
from gfkeras.tasks.photo_files import photos_of_people

NFC, NFD = (unicodedata.normalize(form, "José") for form in ("NFC", "NFD"))


def write(path, content: bytes = b"image"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def encoded(format_: str, tmp_path, mode: str = "RGB") -> bytes:
    path = tmp_path / f"made.{format_}"
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).convert(mode).save(path, format_)
    content = path.read_bytes()
    path.unlink()
    return content


def below(root):
    """Returns the names of photos below a folder, and reasons by name."""
    found = photos_below(root)
    names = [path.relative_to(root).as_posix() for path in found.photos]
    return names, {path.relative_to(root).as_posix(): reason for path, reason in found.left_out}


def test_hidden_files_and_leftovers_of_systems_are_not_photos(tmp_path):
    write(tmp_path / "p1" / "1.jpg")
    for name in (
        ".thumbnails/x.jpg", "@eaDir/1.jpg/x.jpg", "__MACOSX/p1/x.jpg", "p1/.cache/x.jpg",
        "p1/._1.jpg", "p1/@eaDir/x.jpg", "$RECYCLE.BIN/x.jpg", "System Volume Information/x.jpg",
        "#recycle/x.jpg", "lost+found/x.jpg", ".AppleDouble/x.jpg", "p1/Thumbs.db",
        "p1/desktop.ini", "p1/Icon\r", "p1/.DS_Store",
    ):  # fmt: skip
        write(tmp_path / name)
    names, reasons = below(tmp_path)
    assert names == ["p1/1.jpg"]
    assert set(reasons.values()) == {REASONS["hidden"], REASONS["system"]}
    assert reasons["p1/._1.jpg"] == REASONS["hidden"]
    # The folder is listed once, without its contents.
    assert reasons["@eaDir"] == REASONS["system"]
    assert len(reasons) == 15
    assert list(people_in(tmp_path).folders) == ["p1"]
    assert FaceFolder(tmp_path).identities == ["p1"]
    assert len(FaceFolder(tmp_path)) == 1
    # A shell's photos/* gives such a list.
    assert photos_of([tmp_path / "@eaDir", tmp_path / "p1"]).photos == [tmp_path / "p1" / "1.jpg"]
    # A folder that the user names is always searched.
    assert len(photos_of(tmp_path / ".thumbnails").photos) == 1


@pytest.mark.parametrize("name", ["2.jfif", "3.jpe", "4.JPG", "5", "6.xyz", "7.dat", "J. Smith"])
def test_photos_by_suffix_or_else_by_content(tmp_path, name):
    write(tmp_path / "p1" / name, encoded("jpeg", tmp_path))
    write(tmp_path / "p1" / "notes.md", b"not a photo")
    write(tmp_path / "p1" / "nothing.bak", b"")
    found = photos_in(tmp_path / "p1")
    assert [path.name for path in found.photos] == [name]
    assert {path.name: reason for path, reason in found.left_out} == {
        "notes.md": "not an image of a known format",
        "nothing.bak": "the file is empty",
    }


def test_a_photo_right_in_the_folder_names_its_person(tmp_path):
    for name in ("Ana.JPG", "J. Smith", "Bo"):
        write(tmp_path / name, encoded("png", tmp_path))
    write(tmp_path / "Bo.d" / "1.jpg")
    people, left_out = photos_of_people(tmp_path)
    assert {name: len(files) for name, files in people.items()} == {
        "Bo.d": 1, "Ana": 1, "Bo": 1, "J. Smith": 1,
    }  # fmt: skip
    assert not left_out


@pytest.mark.parametrize("wrong", [["José"], None, np.zeros(3), "nowhere"])
def test_what_is_no_folder_of_people_is_named(wrong):
    with pytest.raises(ValueError, match=r"`photos` \(DIR\) must be a folder of photos"):
        photos_of_people(wrong)


@pytest.mark.parametrize("format_", ["jpeg", "png", "bmp", "webp", "tiff", "ppm", "gif"])
def test_contents_of_images(tmp_path, format_):
    assert is_image(encoded(format_, tmp_path)[:32])


def test_contents_of_other_files():
    for head in (b"BM, or so he said, and more of that", b"P5", b"P7 is a party", b"RIFF....WAVE",
                 b"\0\0\0\x18ftypmp42", b"%PDF-1.7", b"\xff\xd8", b"MZ", b"PK\3\4"):  # fmt: skip
        assert not is_image(head), head
    assert is_image(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    assert is_image(b"\0\0\0\x18ftypmsf1\0\0\0\0msf1hevx")


def test_a_folder_of_groups_is_not_merged(tmp_path):
    for name in ("men/p1/1.jpg", "men/p2/1.jpg", "women/p3/1.jpg"):
        write(tmp_path / name)
    for read in (FaceFolder, photos_of_people):
        with pytest.raises(ValueError, match="men/p1: a folder inside a person's folder"):
            read(tmp_path)
    write(tmp_path / "p4" / "1.jpg")
    write(tmp_path / "p4" / "2019" / "2.jpg")
    people, left_out = photos_of_people(tmp_path)
    assert list(people) == FaceFolder(tmp_path).identities == ["p4"]
    assert [len(files) for files in people.values()] == [1]
    nested = {path.name for path, reason in left_out if reason == REASONS["nested"]}
    assert nested == {"p1", "p2", "p3", "2019"}
    assert {path.name for path, reason in left_out if reason == "no images"} == {"men", "women"}


def test_links_are_followed_once(tmp_path):
    root = tmp_path / "root"
    for name in ("root/p1/1.jpg", "root/p2/1.jpg", "elsewhere/p3/1.jpg"):
        write(tmp_path / name)
    (root / "p3").symlink_to(tmp_path / "elsewhere" / "p3")
    (root / "a").symlink_to(root / "p2")
    (root / "p1" / "loop").symlink_to("..")
    (root / "p1" / "2.jpg").symlink_to("1.jpg")
    (root / "self").symlink_to("self")
    (root / "up").symlink_to("/")
    (root / "p2" / "up").symlink_to(tmp_path)
    (root / "gone").symlink_to("nowhere")
    (tmp_path / "elsewhere" / "p3" / "back").symlink_to(root)
    names, reasons = below(root)
    assert names == ["p1/1.jpg", "p1/2.jpg", "p2/1.jpg", "p3/1.jpg"]
    assert {name: reasons[name] for name in ("a", "p1/loop", "p3/back")} == dict.fromkeys(
        ("a", "p1/loop", "p3/back"), REASONS["repeated"]
    )
    assert reasons["gone"] == "a link to nothing"
    assert reasons["up"] == reasons["p2/up"] == "a link to a folder that contains it"
    assert reasons["self"] in (
        "a link to nothing",
        "cannot be read (Too many levels of symbolic links)",
    )
    # A shell's root/* gives such a list.
    found = photos_of(sorted(root.iterdir()))
    assert [path.relative_to(root).as_posix() for path in found.photos if path.exists()] == names
    assert len(photos_of([root / "p1", root, str(root / "p2")]).photos) == 4
    people = people_in(root)
    assert list(people.folders) == ["p1", "p2", "p3"]
    assert {left.path.name for left in people.left_out} == {"a", "self", "gone", "up"}


def test_pipes_sockets_and_devices_are_never_opened(tmp_path):
    write(tmp_path / "p1" / "1.jpg")
    os.mkfifo(tmp_path / "p1" / "x.jpg")
    os.mkfifo(tmp_path / "p1" / "x")
    (tmp_path / "p1" / "zero.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "p1" / "s.jpg"))
        found = photos_in(tmp_path / "p1")
        assert len(list(FolderSource(tmp_path).items())) == 5
    assert [path.name for path in found.photos] == ["1.jpg"]
    assert {left.reason for left in found.left_out} == {"not a regular file"}
    assert len(found.left_out) == 4
    given = photos_of([tmp_path / "p1" / "x.jpg", tmp_path / "p1" / "1.jpg"])
    assert [path.name for path in given.photos] == ["1.jpg"]
    assert given.left_out[0].reason == "not a regular file"


def test_unreadable_folders_and_files_are_listed(tmp_path, monkeypatch):
    write(tmp_path / "p1" / "1.jpg")
    write(tmp_path / "p2" / "1.jpg")
    write(tmp_path / "p1" / "closed", b"\xff\xd8\xff")
    scan, opened = os.scandir, os.open

    def scandir(path):
        if str(path).endswith("p2"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    def open_(path, *arguments, **options):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(os, "open", open_)
    expected = "cannot be read (Permission denied)"
    names, reasons = below(tmp_path)
    assert (names, reasons) == (["p1/1.jpg"], {"p1/closed": expected, "p2": expected})
    folder = FaceFolder(tmp_path)
    assert {path.name: reason for path, reason in folder.skipped} == {
        "closed": expected, "p2": expected,
    }  # fmt: skip
    assert reason_counts(folder.skipped) == {"cannot be read": 2}


def test_natural_order_has_no_ties(tmp_path):
    names = ["a1.jpg", "a01.jpg", "A1.jpg", "a001.jpg", "a10.jpg", "a2.jpg", "a.jpg"]
    for name in names:
        write(tmp_path / "p" / name)
    expected = ["A1.jpg", "a001.jpg", "a01.jpg", "a1.jpg", "a2.jpg", "a10.jpg", "a.jpg"]
    assert [path.name for path in photos_in(tmp_path / "p").photos] == expected
    assert [path.name for path in photos_below(tmp_path).photos] == expected


def test_one_name_in_two_forms_of_unicode(tmp_path):
    write(tmp_path / NFD / "1.jpg")
    (tmp_path / "names.txt").write_text(f"{NFC}\n")
    folder = FaceFolder(tmp_path, tmp_path / "names.txt")
    assert folder.identities == [NFC]
    assert folder.paths == [tmp_path / NFD / "1.jpg"]
    # Lists and folders can come from different machines.
    assert len(FaceFolder(tmp_path, images={f"{NFC}/1.jpg": NFD})) == 1
    write(tmp_path / NFC / "2.jpg")
    people = people_in(tmp_path)
    assert list(people.folders) == [NFC]
    assert [left.reason for left in people.left_out] == [REASONS["same-name"]]
    refused = [item for item in FolderSource(tmp_path).items() if isinstance(item, Refused)]
    assert [item.kind for item in refused] == ["loose", "same-name"]


def test_names_that_are_not_utf8(tmp_path):
    try:
        write(tmp_path / os.fsdecode(b"p3\xe9") / os.fsdecode(b"\xff.jpg"))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    write(tmp_path / "p1" / "1.jpg")
    folder = FaceFolder(tmp_path)
    assert folder.identities == ["p1", "p3\\xe9"]
    assert all(path.read_bytes() == b"image" for path in folder.paths)
    assert FaceFolder(tmp_path, ["p3\\xe9"]).paths == folder.paths[1:]
    assert len(below(tmp_path)[0]) == 2
