"""Messy folders on the command line: files taken, files listed, and printed names."""

from __future__ import annotations

import csv
import json
import os

import numpy as np
import pytest
from PIL import Image

from gfkeras.cli import main
from gfkeras.data.statistics import contact_sheet
from gfkeras.data.walk import REASONS
from gfkeras.files import csv_file, write_json
from gfkeras.inference import Gallery
from gfkeras.inference.pictures import comparison_picture
from gfkeras.safe_text import printable, utf8

ODD = ["p1\x1b[31m\x1b]0;title\x07", "p2\u202egpj.", "p3\np9\t99"]


def write(path, seed: int = 0):
    """An image with the size of an aligned face."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (112, 112, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path, "png")
    return path


@pytest.fixture
def run(tmp_path, capfd):
    """Enrols, embeds and clusters a folder of aligned faces. Returns the output by command."""

    def run(faces):
        gallery, out = tmp_path / "g.gallery", tmp_path / "out"
        commands = {
            "enroll": ["enroll", faces, gallery, "--quiet"],
            "embed": ["embed", faces, "--out", tmp_path / "e.npz"],
            "cluster": ["cluster", faces, "--out", out, "--quiet"],
        }
        said = {}
        for name, arguments in commands.items():
            found = tmp_path / f"{name}.json"
            status = main([*map(str, arguments), "--aligned", "--json", str(found)])
            printed = capfd.readouterr()
            said[name] = status, printed.out + printed.err, found
        with (out / "clusters.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return said, Gallery.load(gallery).names, rows

    return run


def test_all_commands_take_and_list_the_same(tmp_path, run):
    faces = tmp_path / "faces"
    for number, name in enumerate(("p1/1.png", "p2/2.jfif", "p3/3", "p4/4.JPG")):
        write(faces / name, number)
    for name in (".thumbnails/x.png", "@eaDir/x.png", "__MACOSX/p1/x.png", "p1/@eaDir/x.png"):
        write(faces / name, 9)
    os.mkfifo(faces / "p1" / "x.jpg")
    (faces / "p1" / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (faces / "p2" / "text.jpg").write_bytes(b"no image")
    (faces / "p3" / "notes").write_bytes(b"no image")
    (faces / "p2" / "loop").symlink_to("..")
    said, names, rows = run(faces)
    assert names == ["p1", "p2", "p3", "p4"]
    assert len(rows) == 4
    expected = {
        ".thumbnails": REASONS["hidden"], "@eaDir": REASONS["system"],
        "__MACOSX": REASONS["system"], "p1/@eaDir": REASONS["system"],
        "p1/Thumbs.db": REASONS["system"], "p1/x.jpg": REASONS["special"],
        "p2/text.jpg": REASONS["not-an-image"], "p3/notes": REASONS["not-an-image"],
    }  # fmt: skip
    for name, (status, text, found) in said.items():
        assert status == 0, text
        results = json.loads(found.read_text("utf-8"))
        listed = {os.path.relpath(path, faces): why for path, why in results["skipped_files"]}
        link = REASONS["nested" if name == "enroll" else "repeated"]
        assert listed == {**expected, "p2/loop": link}, name
        assert results["skipped"] == sum(results["skipped_reasons"].values()) == 9
        # Important files are listed before those that every folder has.
        assert text.index("x.jpg: not a regular file") < text.index(REASONS["hidden"])


def test_groups_of_people_are_refused_in_one_line(tmp_path, capfd):
    for number, name in enumerate(("men/p1", "men/p2", "women/p3")):
        write(tmp_path / "faces" / name / "1.png", number)
    arguments = ["enroll", str(tmp_path / "faces"), str(tmp_path / "g.gallery"), "--aligned"]
    assert main(arguments) == 2
    error = capfd.readouterr().err
    assert "PERSON/PHOTO" in error
    assert "men/p1: a folder inside a person's folder" in error
    assert error.count("\n") == 1


def test_names_that_are_not_utf8_work(tmp_path, run):
    faces = tmp_path / "faces"
    write(faces / "p1" / "1.png")
    try:
        write(faces / os.fsdecode(b"p3\xe9") / os.fsdecode(b"\xff.png"), 1)
        (faces / "p1" / os.fsdecode(b"\xfe.png")).write_bytes(b"no image")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    said, names, rows = run(faces)
    assert names == ["p1", "p3\\xe9"]
    assert rows[1]["photo"].endswith("p3\\xe9/\\xff.png")
    for status, text, found in said.values():
        assert status == 0
        assert "\\xfe.png: not an image" in text
        assert "\\xfe.png" in str(json.loads(found.read_bytes())["skipped_files"])


def test_nothing_in_a_name_reaches_the_terminal_raw(tmp_path, run, capfd):
    faces = tmp_path / "faces"
    for number, name in enumerate(ODD):
        write(faces / name / "1.png", number)
        (faces / name / "broken\x1b[2J.jpg").write_bytes(b"no image")
    said, names, _ = run(faces)
    assert sorted(names) == sorted(ODD)
    photo, gallery = str(faces / ODD[0] / "1.png"), str(tmp_path / "g.gallery")
    texts = [text for _, text, _ in said.values()]
    for arguments in (
        ["enroll", str(faces), gallery, "--aligned", "--quiet"],
        ["gallery", "list", gallery],
        ["search", photo, gallery, "--aligned"],
        ["gallery", "remove", gallery, "p\x1b[31m"],
        ["compare", photo, photo + "\x1b]0;x\x07", "--aligned"],
        ["evaluate", "h_groupface_mobilefacenet", "--data", str(faces), "--pairs", "all"],
    ):
        main(arguments)
        printed = capfd.readouterr()
        texts.append(printed.out + printed.err)
    for text in texts:
        assert not set(text) & set("\x1b\x07\u202e"), text
        assert not [line for line in text.splitlines() if line.startswith("p9")], text
    assert "p3\\np9\\t99\t1" in texts[-5].splitlines()


def test_printable_and_utf8():
    assert printable("Zoë 山田\u3000太郎 \U0001f600 می\u200cخواهم") == (
        "Zoë 山田\u3000太郎 \U0001f600 می\u200cخواهم"
    )
    assert printable("a\tb\r\n\x00\x7f\x9b\u2028\u2066\ufeff") == (
        "a\\tb\\r\\n\\x00\\x7f\\x9b\\u2028\\u2066\\ufeff"
    )
    assert utf8("a\udce9\ud83d\n") == "a\\xe9\\ud83d\n"
    assert printable("\udce9") == "\\xe9"
    # The form that names have if the encoding of the system is not UTF-8.
    assert utf8(os.fsencode("José").decode("ascii", "surrogateescape")) == "José"


def test_cells_are_not_formulas_and_numbers_stay(tmp_path):
    path = tmp_path / "t.csv"
    cells = ["=1+1", "+cmd|' /C calc'!A0", "-1+2", "@SUM(A1)", "\t=1", "-1.5", "+2e-3", "a=b"]
    with csv_file(path, ("a", "b", "c")) as write_row:
        for cell in cells:
            write_row([cell, -1.5, None])
        write_row([tmp_path.relative_to(tmp_path) / "=x" / "p\udce9.png", 1, "p\udce9\n"])
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    assert [row[0] for row in rows] == [
        "'=1+1", "'+cmd|' /C calc'!A0", "'-1+2", "'@SUM(A1)", "'\t=1", "-1.5", "+2e-3", "a=b",
        "./=x/p\\xe9.png",
    ]  # fmt: skip
    assert rows[0][1:] == ["-1.5", ""]
    assert rows[-1][2] == "p\\xe9\n"


def test_json_holds_valid_unicode(tmp_path):
    write_json(tmp_path / "r.json", {"p\udce9": [tmp_path / "\udcff", "x\ud83d"]})
    (found,) = json.loads((tmp_path / "r.json").read_bytes()).items()
    assert found[0] == "p\\xe9"
    assert found[1][1] == "x\\ud83d"
    json.dumps(found, ensure_ascii=False).encode()


def test_pictures_draw_any_name():
    face = np.zeros((112, 112, 3), np.uint8)
    # Pillow cannot measure text with a line feed.
    contact_sheet([(name, 1, [face]) for name in ODD], ODD[2])
    comparison_picture([face, face], [None, None], ODD[2], ODD)


def test_plots_draw_dollars_and_underlines():
    pytest.importorskip("matplotlib")
    from gfkeras.evaluation.plots.faces import face_grid
    from gfkeras.evaluation.plots.style import figure_svg, plain

    names = ["$\\frac$ $x", "_hidden", ODD[0]]
    svg = figure_svg(face_grid(np.zeros((3, 8, 8, 3)), names), "t")
    assert "$\\frac$ $x" in svg
    assert not plain("_hidden").startswith("_")
    assert "\x1b" not in svg


def test_calibration_reports_skipped_files(tmp_path, monkeypatch):
    from gfkeras.tasks import export

    monkeypatch.setattr(export, "_check_faces", lambda *arguments: None)
    for number in range(32):
        write(tmp_path / f"p{number % 3}" / f"{number}", number)
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / "p1" / "notes").write_bytes(b"no image")
    faces, (note,) = export.calibration_faces(tmp_path, (112, 112, 3))
    assert len(faces) == 32
    assert "2 files and folders are left out: 1 × not an image" in note
    assert note.endswith("p1/notes")
