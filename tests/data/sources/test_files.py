"""Folders and lists of image files: order, names, refusals, and paths that leave the root."""

from __future__ import annotations

import os
import pickle
import tracemalloc

import pytest

from gfkeras.data import ImageError
from gfkeras.data.sources import FolderSource, ImageListSource, Item, LFWPairsSource, Refused


def write(path, content: bytes = b"image"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def refused(source) -> dict[str, str]:
    return {entry.name: entry.reason for entry in source.items() if isinstance(entry, Refused)}


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "people"
    for person in ("s10", "s2", "Ana", "ana"):
        for index in (10, 2):
            write(root / person / f"{index}.png", f"{person} {index}".encode())
    return root


def test_folders_in_natural_order(root):
    source = FolderSource(root)
    items = list(source.items())
    assert [item.name for item in items] == [
        "Ana/2.png",
        "Ana/10.png",
        "ana/2.png",
        "ana/10.png",
        "s2/2.png",
        "s2/10.png",
        "s10/2.png",
        "s10/10.png",
    ]
    assert [item.identity for item in items[::2]] == ["Ana", "ana", "s2", "s10"]
    assert source.read(items[5].locator) == b"s2 10"
    assert list(pickle.loads(pickle.dumps(source)).items()) == items
    assert source.describe() == {"format": "folder", "path": str(root)}
    assert source.pairs() is None


def test_refused_files_of_a_folder(root):
    write(root / "loose.jpg")
    write(root / "s2" / "notes.txt")
    write(root / "s2" / "deep" / "1.png")
    write(root / "s2" / ".hidden.png")
    write(root / ".git" / "1.png")
    (root / "empty").mkdir()
    (root / "s2" / "gone.png").symlink_to("nowhere")
    os.mkfifo(root / "s2" / "pipe.png")
    source = FolderSource(root)
    assert refused(source) == {
        "loose.jpg": "not in a person's folder",
        ".git": "hidden, because its name begins with a dot",
        "s2/notes.txt": "not an image of a known format",
        "s2/deep": "a folder inside a person's folder",
        "s2/.hidden.png": "hidden, because its name begins with a dot",
        "s2/gone.png": "a link to nothing",
        "s2/pipe.png": "not a regular file",
        "empty": "no images",
    }
    assert sum(isinstance(entry, Item) for entry in source.items()) == 8


def test_names_that_are_not_utf8_are_escaped(root):
    try:
        write(root / "s2" / os.fsdecode(b"\xff.png"), b"one")
        write(root / os.fsdecode(b"\xfe") / "1.png", b"other")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    source = FolderSource(root)
    odd = {item.name: item for item in source.items() if "\\" in item.name}
    assert list(odd) == ["s2/\\xff.png", "\\xfe/1.png"]
    assert odd["\\xfe/1.png"].identity == "\\xfe"
    # Databases need valid Unicode. The locator must find the file nevertheless.
    for item, content in zip(odd.values(), (b"one", b"other"), strict=True):
        assert source.read(item.locator.encode().decode()) == content
    with pytest.raises(ImageError, match="climbs"):
        source.read("//bytes:" + b"../\xff.png".hex())


def test_links_may_lead_out_of_the_folder(root, tmp_path):
    write(tmp_path / "elsewhere" / "1.jpg", b"outside")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    write(tmp_path / "2.jpg", b"outside too")
    (root / "s2" / "link.jpg").symlink_to(tmp_path / "2.jpg")
    source = FolderSource(root)
    assert source.read("linked/1.jpg") == b"outside"
    assert source.read("s2/link.jpg") == b"outside too"
    assert not refused(source)


@pytest.mark.parametrize(
    ("locator", "words"),
    [
        ("../secret.png", "climbs"),
        ("s2/../../secret.png", "climbs"),
        ("/etc/hostname", "absolute"),
        ("C:\\secret.png", "absolute"),
        ("", "empty"),
        ("s2/\0.png", "NUL"),
        ("s2/none.png", "no such file"),
        ("s2/empty.png", "empty"),
        ("s2", "a folder, not an image"),
        ("s2/pipe.png", "not a regular file"),
    ],
)
def test_reading_stays_under_the_root(root, tmp_path, locator, words):
    write(tmp_path / "secret.png", b"secret")
    write(root / "s2" / "empty.png", b"")
    os.mkfifo(root / "s2" / "pipe.png")
    with pytest.raises(ImageError, match=words):
        FolderSource(root).read(locator)


def test_a_missing_folder(tmp_path):
    with pytest.raises(ValueError, match=r"`root` must be a folder .* which does not exist"):
        FolderSource(tmp_path / "none")
    write(tmp_path / "file")
    with pytest.raises(ValueError, match="which is not a folder"):
        FolderSource(tmp_path / "file")


def test_lists(root):
    points = [str(value) for value in range(10)]
    header = ["Path", "extra", *(f"{axis}{point}" for point in range(1, 6) for axis in "xy")]
    file = root / "list.csv"
    file.write_text(
        "\ufeff"
        + ",".join([*header, "label"])
        + "\r\n"
        + ",".join(["s2/2.png", "x", *points, "7"])
        + "\r\n\r\n"
        + ",".join(["./s10//10.png", "", *[""] * 10, ""])
        + "\r\n"
    )
    source = ImageListSource(file)
    first, second = source.items()
    assert first == Item("s2/2.png", "7", "s2/2.png", ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9)))
    assert second == Item("s10/10.png", None, "s10/10.png", None)
    assert source.read(second.locator) == b"s10 10"
    copy = pickle.loads(pickle.dumps(source))
    assert list(copy.items()) == [first, second] == list(source.items())
    assert copy.describe() == source.describe()
    assert source.pairs() is None


@pytest.mark.parametrize("columns", ["identity\tname\tpath", "path\tidentity\tlabel"])
def test_tabs_quotes_and_the_first_identity_column(root, tmp_path, columns):
    file = tmp_path / "list.tsv"
    values = {"path": '"Ana/2.png"', "identity": "Ana, the first", "label": "1", "name": "no"}
    file.write_text(f"{columns}\n" + "\t".join(values[c] for c in columns.split("\t")) + "\n")
    assert list(ImageListSource(file, root).items()) == [
        Item("Ana/2.png", "Ana, the first", "Ana/2.png")
    ]


def test_lists_from_the_internet_stay_under_the_root(root, tmp_path):
    write(tmp_path / "secret.png")
    file = tmp_path / "list.csv"
    paths = ["../secret.png", "a/../../secret.png", "/secret.png", "C:/x.png", "..\\secret.png"]
    file.write_text("path\n" + "\n".join([*paths, "notes.txt", "s2\\2.png"]) + "\n")
    source = ImageListSource(file, root)
    *bad, good = source.items()
    # Reading shows that a file is not an image. Listing does not.
    assert [type(entry) for entry in bad] == [Refused] * 5 + [Item]
    assert good.name == "s2/2.png"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: expected a header with the column `path`"),
        ("file,identity\n", "line 1: .*'file,identity'"),
        ("path,path\n", "line 1: .*different names"),
        ("path,x1,y1\n", "line 1: .*no x2, y2"),
        ("path,label\n\na.png\n", "line 3: expected 2 values .*Received: 'a.png'"),
        ("path,label\na.png,1,2\n", "line 2: expected 2 values .*Received: 'a.png,1,2'"),
        ("path,label\n,1\n", "line 2: expected a path"),
        ('path,label\n"a.png"x,1\n', "line 2: expected comma-separated values"),
        ('path\n"a.png\n', "line 2: expected comma-separated values"),
        ("path\n" + "a" * 70_000 + "\n", "line 2: expected lines under 65536 bytes"),
    ],
)
def test_malformed_lists_name_the_line(tmp_path, text, words):
    file = tmp_path / "list.csv"
    file.write_text(text)
    with pytest.raises(ValueError, match=rf"list\.csv, {words}"):
        list(ImageListSource(file).items())


@pytest.mark.parametrize("value", ["x", "nan", "inf", ""])
def test_malformed_landmarks(tmp_path, value):
    header = ",".join(f"{axis}{point}" for point in range(1, 6) for axis in "xy")
    file = tmp_path / "list.csv"
    file.write_text(f"path,{header}\na.png,1,2,3,4,5,6,7,8,9,{value}\n")
    with pytest.raises(ValueError, match=r"list\.csv, line 2: expected ten finite numbers"):
        list(ImageListSource(file).items())


def test_a_list_that_is_not_utf8(tmp_path):
    (tmp_path / "list.csv").write_bytes(b"path\na\xff.png\n")
    with pytest.raises(ValueError, match=r"list\.csv, line 2: expected UTF-8"):
        list(ImageListSource(tmp_path / "list.csv").items())


def test_memory_does_not_grow_with_the_list(tmp_path):
    def peak(count):
        file = tmp_path / f"{count}.csv"
        file.write_text("path,identity\n" + "".join(f"p/{i}.jpg,{i}\n" for i in range(count)))
        source = ImageListSource(file)
        tracemalloc.start()
        assert sum(1 for _ in source.items()) == count
        return tracemalloc.get_traced_memory()[1], tracemalloc.stop()

    assert peak(20_000)[0] < peak(500)[0] + 30_000


@pytest.fixture
def lfw(tmp_path):
    for name, numbers in {"Ana_A": (1, 2), "Bo B": (1,), "Cy": (1, 12)}.items():
        for number in numbers:
            write(tmp_path / "lfw" / name / f"{name}_{number:04d}.jpg", name.encode())
    write(tmp_path / "lfw" / "Cy" / "Cy_0003.png", b"png")
    (tmp_path / "pairs.txt").write_text(
        "2\t1\nAna_A\t1\t2\nAna_A\t1\tBo B\t1\nCy\t3\t12\nCy\t7\tAna_A\t2\n"
    )
    return tmp_path


def test_lfw_pairs(lfw):
    source = LFWPairsSource(lfw / "pairs.txt", lfw / "lfw")
    items = list(source.items())
    assert [entry.name for entry in items] == [
        "Ana_A/Ana_A_0001.jpg",
        "Ana_A/Ana_A_0002.jpg",
        "Bo B/Bo B_0001.jpg",
        "Cy/Cy_0003.png",
        "Cy/Cy_0012.jpg",
        "Cy/Cy_0007.jpg",
    ]
    assert items[-1] == Refused("Cy/Cy_0007.jpg", "no such file", "missing")
    assert items[2].identity == "Bo B"
    assert source.read(items[3].locator) == b"png"
    pairs = list(source.pairs())
    assert [(pair.first, pair.same, pair.fold) for pair in pairs] == [
        ("Ana_A/Ana_A_0001.jpg", True, 0),
        ("Ana_A/Ana_A_0001.jpg", False, 0),
        ("Cy/Cy_0003.png", True, 1),
        ("Cy/Cy_0007.jpg", False, 1),
    ]
    assert {name for pair in pairs for name in (pair.first, pair.second)} == {
        entry.name for entry in items
    }
    copy = pickle.loads(pickle.dumps(source))
    assert list(copy.items()) == items
    assert copy.describe() == source.describe()


def test_lfw_pairs_in_one_fold_and_out_of_the_root(lfw):
    (lfw / "pairs.txt").write_text("1\nAna_A 1 2\n../../x 1 Cy 12\n")
    source = LFWPairsSource(lfw / "pairs.txt", lfw / "lfw")
    assert [pair.fold for pair in source.pairs()] == [0, 0]
    assert "climbs" in refused(source)["../../x/../../x_0001.jpg"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: expected numbers of folds"),
        ("ten\n", "line 1: .*'ten'"),
        ("1 0\n", "line 1: "),
        ("1\nA 1 2\n", "line 2: expected 2 pairs.*Received: 1"),
        ("1\nA 1 2\nA 1 B 1\nA 1 2\n", "line 4: expected 2 pairs"),
        ("1\nA 1 B 2\nA 1 B 1\n", "line 2: expected a genuine pair"),
        ("1\nA 1 2\nA 1 2\n", "line 3: expected an impostor pair"),
        ("1\nA 0 2\nA 1 B 1\n", "line 2: .*numbers from 1"),
        ("1\nA 1 x\nA 1 B 1\n", "line 2: .*numbers from 1"),
        ("1\nA 1 2\nA 1 A 2\n", "line 3: .*two people"),
    ],
)
def test_malformed_lfw_pairs(lfw, text, words):
    (lfw / "pairs.txt").write_text(text)
    with pytest.raises(ValueError, match=rf"pairs\.txt, {words}"):
        list(LFWPairsSource(lfw / "pairs.txt", lfw / "lfw").items())


def test_the_real_lfw(shared_data):
    source = LFWPairsSource(shared_data / "lfw_lists/pairs.txt", shared_data / "lfw_aligned112")
    pairs = list(source.pairs())
    assert len(pairs) == 6000
    assert sum(pair.same for pair in pairs) == 3000
    assert {pair.fold for pair in pairs} == set(range(10))
    items = list(source.items())
    assert len(items) == 7701
    assert all(isinstance(item, Item) for item in items)
