"""Lists as editors and spreadsheets save them, read by one shared reader."""

from __future__ import annotations

import codecs
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from recordio_writer import RecordWriter, pack

from gfkeras.data import FaceFolder
from gfkeras.data.folder import read_image_list, read_names, write_image_list
from gfkeras.data.sources import (
    ImageListSource,
    Item,
    LFWPairsSource,
    MXNetListSource,
    MXNetRecordsSource,
    Refused,
)
from gfkeras.evaluation import read_pairs
from gfkeras.text_lists import fields, label_name, lines
from gfkeras.toml_errors import toml_values

ENCODINGS = {
    "plain": lambda text: text.encode(),
    "mark": lambda text: codecs.BOM_UTF8 + text.encode(),
    "utf16": lambda text: text.encode("utf-16"),
    "utf16-be": lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
    "windows": lambda text: codecs.BOM_UTF8 + text.replace("\n", "\r\n").encode(),
    "old-mac": lambda text: text.replace("\n", "\r").encode(),
}


def write(folder, text: str, encoding: str = "plain", name: str = "list.txt"):
    path = folder / name
    path.write_bytes(ENCODINGS[encoding](text))
    return path


@pytest.fixture
def root(tmp_path):
    """Writes three people with two photos each. One name has a blank, another an accent."""
    for person in ("Ann Lee", "Bo", "Zoë"):
        for number in (1, 2):
            path = tmp_path / "faces" / person / f"{person}_{number:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (112, 112)).save(path)
    return tmp_path / "faces"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_reader_takes_every_encoding(root, tmp_path, encoding):
    names = write(tmp_path, "# who\nAnn Lee\n\n  Zoë  \n", encoding)
    assert read_names(names) == FaceFolder(root, names).identities == ["Ann Lee", "Zoë"]
    text = "# images\nAnn Lee/Ann Lee_0001.png\n\nZoë/Zoë_0001.png\tBo\n"
    images = write(tmp_path, text, encoding)
    assert list(read_image_list(images).values()) == ["Ann Lee", "Bo"]
    assert len(FaceFolder(root, images=images)) == 2
    text = '1\n# genuine\nZoë\t1\t2\n\n"Ann Lee"\t1\tZoë\t2\n'
    pairs = write(tmp_path, text, encoding, "pairs.txt")
    found = read_pairs(pairs, root)
    assert [path.name for path in found.second] == ["Zoë_0002.png", "Zoë_0002.png"]
    assert all(path.is_file() for path in found.files())
    assert len(list(LFWPairsSource(pairs, root).items())) == 3
    text = 'first,second,same\n"Ann Lee/Ann Lee_0001.png",Bo/Bo_0001.png,0\n'
    found = read_pairs(write(tmp_path, text, encoding, "pairs.csv"), root)
    assert found.first == [root / "Ann Lee" / "Ann Lee_0001.png"]
    text = '# made by hand\npath; "person"\nBo/Bo_0001.png; "Ann; Lee"\n\n'
    (item,) = ImageListSource(write(tmp_path, text, encoding, "list.csv"), root).items()
    assert item == Item("Bo/Bo_0001.png", "Ann; Lee", "Bo/Bo_0001.png")
    text = "0\t7.000000\tBo/Bo_0001.png\n1\t8\tZoë/Zoë_0002.png\n"
    items = MXNetListSource(write(tmp_path, text, encoding, "train.lst"), root).items()
    assert [item.identity for item in items] == ["7", "8"]
    text = "Ann Lee/Ann Lee_0001.png 1\nBo/Bo_0001.png 1\n"
    assert len(read_pairs(write(tmp_path, text, encoding, "calfw.txt"), root)) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"one\ntw\xff\n", "line 2: expected UTF-8 text.*xff"),
        ("one\ntwo\n".encode("utf-16-le"), "line 1: expected text without NUL"),
        (b"one\n" + b"x" * 70_000, "line 2: expected lines under 65536 bytes"),
        (b"\xff\xfeo", "line 1: expected UTF-8 or UTF-16"),
    ],
)
def test_binary_data_are_named_with_their_line(tmp_path, content, words):
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    for read in (lambda p: list(lines(p)), read_names, lambda p: read_pairs(p, tmp_path)):
        with pytest.raises(ValueError, match=rf"list\.txt, {words}"):
            read(path)


def test_a_line_ends_where_editors_end_it(tmp_path):
    # Python's own splitlines would find five names in these two.
    path = write(tmp_path, "a\x0bb\x1cc\x85d\nno comment #1\n#1\n# comment\n#\n## more\n")
    assert [text for _, text in lines(path)] == ["a\x0bb\x1cc\x85d", "no comment #1", "#1"]


def test_fields_in_quotes_tabs_and_blanks():
    assert fields(' a  "b c" 1 ') == ["a", "b c", "1"]
    assert fields('"say ""x"""\t b c \t') == ['say "x"', "b c", ""]
    assert fields('O"Neil 5"') == ['O"Neil', '5"']


def test_duplicate_and_contradicting_lines_name_both(root, tmp_path):
    with pytest.raises(ValueError, match=r"line 4: expected each name once.*'Bo'.*line 1"):
        read_names(write(tmp_path, "Bo\n\nZoë\nBo\n"))
    with pytest.raises(ValueError, match="line 2: expected each image once"):
        read_image_list(write(tmp_path, "Bo/1.png\n./Bo//1.png\n"))
    text = "first,second,same\na.png,b.png,1\na.png,c.png,0\nb.png,a.png,0\n"
    with pytest.raises(ValueError, match="line 4: expected the answer of line 2"):
        read_pairs(write(tmp_path, text, name="pairs.csv"), root)


@pytest.mark.parametrize(
    ("line", "same", "first"),
    [
        ("Ann Lee 1 2", True, "Ann Lee_0001"),
        ("Ann Lee 1 Bo 2", False, "Ann Lee_0001"),
        ('"Ann Lee" 1 "Bo" 2', False, "Ann Lee_0001"),
        ("Bo 2 Ann Lee 1", False, "Bo_0002"),
    ],
)
def test_blanks_in_names_of_pairs(root, tmp_path, line, same, first):
    other = "Bo 1 Zoë 1" if same else "Bo 1 2"
    pairs = read_pairs(
        write(tmp_path, "1\n" + "\n".join([line, other] if same else [other, line])), root
    )
    assert pairs.first[0 if same else 1].stem == first
    assert all(path.is_file() for path in pairs.files())


@pytest.mark.parametrize("line", ["Ann 2 1 Bo 3", "Ann 1 2 3 4", "1 Ann 1 Bo"])
def test_ambiguous_blanks_in_names_are_refused(root, tmp_path, line):
    with pytest.raises(ValueError, match="line 3: expected an impostor pair"):
        read_pairs(write(tmp_path, f"1\nBo 1 2\n{line}\n"), root)


def test_labels_are_never_rounded(tmp_path):
    assert [label_name(text) for text in ("7", "7.0", "7.", "007", "Ana", "1st")] == [
        "7", "7", "7", "007", "Ana", "1st",
    ]  # fmt: skip
    wrong = ("1.5", "-1", "1e3", "NaN", "nan", "inf", "-0.0", "1e-3", ".5")
    for text in wrong:
        assert label_name(text) is None
        table = write(tmp_path, f"path,label\na.png,1\nb.png,{text}\n", name="list.csv")
        with pytest.raises(ValueError, match=r"list\.csv, line 3: expected a label .*Received"):
            list(ImageListSource(table).items())
        listed = write(tmp_path, f"0\t1\ta.png\n1\t{text}\tb.png\n", name="train.lst")
        with pytest.raises(ValueError, match=r"train\.lst, line 2: expected a label .*Received"):
            list(MXNetListSource(listed).items())
    # A person's name can look like a number. The column `name` is always a name.
    table = write(tmp_path, "path,name\na.png,Nan\nb.png,1.5\n", name="list.csv")
    assert [item.identity for item in ImageListSource(table).items()] == ["Nan", "1.5"]


def test_labels_of_records_are_never_rounded(tmp_path):
    writer = RecordWriter(tmp_path)
    labels = (1.0, 1.5, -1.0, float("nan"), float("inf"), 2.0)
    for key, label in enumerate(labels):
        writer.write(key, pack(label, key, b"image"))
    writer.close(index=False)
    items = list(MXNetRecordsSource(tmp_path).items())
    assert [item.identity for item in items if isinstance(item, Item)] == ["1", "2"]
    reasons = [item.reason for item in items if isinstance(item, Refused)]
    assert reasons[0] == "a label that is not a whole number of at least 0 (1.5)"
    assert len(reasons) == 4


@pytest.mark.parametrize(
    ("line", "item"),
    [
        ("5\t3\ta b/1.jpg", Item("a b/1.jpg", "3", "a b/1.jpg")),
        ("5\t3.0\t1.0\t2.0\ta/1.jpg", Item("a/1.jpg", "3", "a/1.jpg")),
        ("1\t./a/1.jpg\t3", Item("a/1.jpg", "3", "a/1.jpg")),
        ("1\ta/1.jpg\t3\t10\t20\t30\t40", Item("a/1.jpg", "3", "a/1.jpg")),
        ("5\t3\t../1.jpg", "climbs"),
        ("1\t/data/1.jpg\t3", "absolute"),
        ("x\t3\ta.jpg", ValueError),
        ("3\ta.jpg", ValueError),
        ("5\t3\t4", ValueError),
    ],
)
def test_lines_of_mxnet_lists(tmp_path, line, item):
    path = write(tmp_path, f"{line}\n", name="train.lst")
    if item is ValueError:
        with pytest.raises(ValueError, match=r"train\.lst, line 1: expected number, label, path"):
            MXNetListSource(path)
        return
    (found,) = MXNetListSource(path).items()
    assert found == item if isinstance(item, Item) else item in found.reason


def test_image_lists_keep_every_name(tmp_path):
    images = {"#1/# a.png": "#1", '"x".png': "# who", "p\udce9/1.png": "p", " b.png ": " c"}
    path = tmp_path / "list.txt"
    write_image_list(path, images.items())
    assert read_image_list(path) == {**images, " b.png ": " c"}
    with pytest.raises(ValueError, match="without tabs and line breaks"):
        write_image_list(path, [("a\n.png", "a")])


def test_a_run_keeps_its_identities_line_by_line(tmp_path):
    pytest.importorskip("keras")
    from gfkeras.training.run_folder import _write_lines

    names = ["Ana", "# 1", '"B"', " c ", "d\x0be\x85f", "g\nh\ti", "p\udce9"]
    _write_lines(tmp_path / "identities.txt", names)
    kept = ["Ana", "# 1", '"B"', " c ", "d\x0be\x85f", "g\\nh\\ti", "p\\xe9"]
    assert read_names(tmp_path / "identities.txt") == kept


def test_lists_and_recipes_of_windows(root, tmp_path):
    images = write(tmp_path, "Bo\\Bo_0001.png\nZoë\\Zoë_0002.png\n", "windows")
    assert FaceFolder(root, images=images).identities == ["Bo", "Zoë"]
    text = "first,second,same\nBo\\Bo_0001.png,Bo\\Bo_0002.png,1\n"
    pairs = read_pairs(write(tmp_path, text, "windows", "pairs.csv"), root)
    assert all(path.is_file() for path in pairs.files())
    with pytest.raises(ValueError, match="line 1: expected a path below"):
        read_image_list(write(tmp_path, "Bo\\..\\..\\secret.png\n"))
    recipe = write(tmp_path, "[training]\nepochs = 3\n", "windows", "recipe.toml")
    assert toml_values(recipe) == {"training": {"epochs": 3}}


def test_a_list_may_come_from_a_pipe(tmp_path):
    reading, writing = os.pipe()
    os.write(writing, codecs.BOM_UTF8 + b"Bo\nAnn\n")
    os.close(writing)
    assert read_names(f"/dev/fd/{reading}") == ["Bo", "Ann"]
    os.close(reading)


_PIECES = st.sampled_from(
    [b"a/1.png", b"\t", b" ", b"\n", b"\r", b"1", b"10", b"-1", b"nan", b'"', b"#", b",", b";",
     b"\0", b"path", b"label", b"first,second,same", b"\xff\xfe", b"\xef\xbb\xbf", b"\xe9", b"..",
     b"/", b"\\", b"a.jpg", b"Ann", b"9" * 30, "é".encode(), b"\x85"]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(_PIECES, max_size=30).map(b"".join))
def test_any_bytes_are_read_or_refused_with_the_path(tmp_path_factory, content):
    root = tmp_path_factory.getbasetemp()
    readers = {
        "list.txt": (read_names, read_image_list, lambda path: read_pairs(path, root),
                     lambda path: list(LFWPairsSource(path, root).items())),
        "list.csv": (lambda path: list(ImageListSource(path, root).items()),
                     lambda path: read_pairs(path, root)),
        "list.lst": (lambda path: list(MXNetListSource(path, root).items()),),
    }  # fmt: skip
    for name, reads in readers.items():
        path = root / name
        path.write_bytes(content)
        for read in reads:
            try:
                read(path)
            except ValueError as error:
                if name not in str(error):
                    raise
