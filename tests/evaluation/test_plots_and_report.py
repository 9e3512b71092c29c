import re
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from gfkeras.evaluation import (
    ExportRow,
    FacePair,
    ReportContext,
    evaluate_pair_scores,
    write_report,
)

pytest.importorskip("matplotlib", reason="charts need the extra 'plots'")
pytest.importorskip("jinja2", reason="the report needs the extra 'plots'")

from PIL import Image

from gfkeras.evaluation import plots
from gfkeras.evaluation.report import format_bytes, format_duration

RNG = np.random.default_rng(0)
FACES = RNG.integers(0, 256, (5, 112, 112, 3), dtype=np.uint8)
LOG = [
    {"epoch": "0", "loss": "9.5", "accuracy": "0.1", "learning_rate": "0.1", "note": "x"},
    {"epoch": "1", "loss": "nan", "accuracy": "0.6", "learning_rate": "0.1", "note": "x"},
    {"epoch": "2", "loss": "2.5", "accuracy": "0.9", "learning_rate": "0.1", "note": "x"},
]


def made_up(separation, count=600):
    same = np.arange(count) % 3 == 0
    scores = np.random.default_rng(1).normal(size=count) + separation * same
    return evaluate_pair_scores(scores, same)


TRAINED, UNTRAINED = made_up(5.0), made_up(0.7)


def figures():
    return {
        "roc": plots.roc_figure({"Trained": TRAINED, "Untrained": UNTRAINED.curve}),
        "histogram": plots.score_histogram(TRAINED),
        "groups": plots.group_usage_chart([10, 0, 30, 5]),
        "training": plots.training_curves(LOG),
        "faces": plots.face_grid(FACES, [f"id {i}" for i in range(5)], columns=3),
    }


@pytest.mark.parametrize("name", ["roc", "histogram", "groups", "training", "faces"])
def test_charts_become_image_files(tmp_path, name):
    pyplot_before = "matplotlib.pyplot" in sys.modules
    figure = figures()[name]
    path = plots.save_figure(figure, tmp_path / "new folder" / f"{name}.png")
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        assert image.width == 1440
        assert len(image.convert("RGB").getcolors(1 << 22)) > 20
    svg = plots.save_figure(figure, tmp_path / f"{name}.svg")
    assert ET.parse(svg).getroot().tag.endswith("svg")
    assert {p.name for p in tmp_path.iterdir()} == {"new folder", f"{name}.svg"}
    assert ("matplotlib.pyplot" in sys.modules) == pyplot_before


def test_image_files_are_the_same_each_time(tmp_path):
    for suffix in (".png", ".svg"):
        a, b = (
            plots.save_figure(plots.score_histogram(TRAINED), tmp_path / f"{i}" / f"chart{suffix}")
            for i in range(2)
        )
        assert a.read_bytes() == b.read_bytes()
    svgs = [plots.figure_svg(plots.score_histogram(TRAINED), "Scores") for _ in range(2)]
    assert svgs[0] == svgs[1]


def test_roc_axis_begins_at_the_resolution_and_shows_the_measured_steps():
    figure = plots.roc_figure({"Trained": TRAINED})
    axes = figure.axes[0]
    assert axes.get_xscale() == "log"
    assert axes.get_xlim() == (1 / TRAINED.impostor, 1)
    far, tar = axes.lines[0].get_data()
    curve = TRAINED.curve
    for x, y in zip(far[::97], tar[::97], strict=True):
        assert y == max(t for f, t in zip(curve.far, curve.tar, strict=True) if f <= x)


def test_group_chart_names_the_effective_groups():
    figure = plots.group_usage_chart([1, 1, 1, 1], "Held out")
    assert figure.axes[0].get_title(loc="left") == "Held out: 4.0 effective groups of 4"
    shares = [bar.get_height() for bar in figure.axes[0].patches]
    assert shares == [0.25] * 4


def test_training_chart_leaves_out_invalid_numbers():
    figure = plots.training_curves(LOG)
    loss, accuracy = figure.axes
    assert loss.lines[0].get_xydata().tolist() == [[1, 9.5], [3, 2.5]]
    assert accuracy.lines[0].get_ydata().tolist() == [0.1, 0.6, 0.9]
    assert len(plots.training_curves([{"loss": 1.0}]).axes) == 1


def test_charts_refuse_invalid_input(tmp_path):
    with pytest.raises(ValueError, match="`results`"):
        plots.roc_figure({})
    with pytest.raises(ValueError, match=r"`rows`.*columns \['lr'\]"):
        plots.training_curves([{"lr": 1}])
    with pytest.raises(ValueError, match=r"`images`.*\(112, 112, 3\)"):
        plots.face_grid(FACES[0])
    with pytest.raises(ValueError, match="`titles`"):
        plots.face_grid(FACES, ["one"])
    with pytest.raises(ValueError, match=r"\.png or \.svg"):
        plots.save_figure(plots.group_usage_chart([1]), tmp_path / "chart.gif")


def test_a_missing_matplotlib_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"gfkeras\[plots\]"):
        plots.score_histogram(TRAINED)


class Page(HTMLParser):
    """Collects the text and every address, and notes unclosed elements."""

    VOID = frozenset(["meta", "img", "br", "link", "input", "hr"])

    def __init__(self, html):
        super().__init__()
        self.text, self.addresses, self.open, self.tags = [], [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self.addresses += [v for k, v in attributes if k in ("src", "href", "xlink:href")]

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [v for k, v in attributes if k in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text.append(data)


def context(**changes):
    values = {
        "title": "A run",
        "command": "gfkeras demo --data faces",
        "created": "2026-01-02 03:04",
        "results": {"Trained": TRAINED, "TFLite fp32": TRAINED, "Untrained": UNTRAINED},
        "baseline": "Untrained",
        "lead": "A short description.",
        "seconds": 185,
        "settings": {"Identities": 200},
        "versions": {"gfkeras": "1.2.3"},
        "group_counts": [10, 0, 30, 5],
        "training_log": LOG,
        "faces": [(face, "id_0000") for face in FACES],
        "genuine": [FacePair(FACES[0], FACES[1].astype(np.float32), 0.812, True, "id_0000")],
        "hardest": [FacePair(FACES[2], FACES[3], 0.456, False)],
        "exports": [
            ExportRow("TFLite fp16", 2_300_000, 8e-4, 0.999931, True, "cosine ≥ 0.9995", 256),
            ExportRow("ONNX fp32", 4_600_000, 3e-3, 0.99, False, "error ≤ 1e-4", 256, "m.onnx"),
        ],
        "notes": ["A note."],
    }
    return ReportContext(**(values | changes))


def test_report_shows_its_numbers(tmp_path):
    path = write_report(tmp_path / "runs" / "report.html", context())
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    assert page.open == []
    text = re.sub(r"\s+", " ", " ".join(page.text))
    for expected in (
        f"{TRAINED.accuracy:.2%}",
        f"{UNTRAINED.accuracy:.2%}",
        f"{TRAINED.auc:.4f}",
        "gfkeras demo --data faces",
        "took 3 min 5 s",
        "2.19 MiB",
        "0.999931",
        "✓ pass",
        "✗ fail",
        "m.onnx",
        "0.812",
        "two people",
        "Identities 200",
        "effective groups of 4",
        "A note.",
    ):
        assert expected in text, expected
    assert page.tags.count("svg") == 4
    # The page is self-contained: images are inside, and it loads nothing from the network.
    assert all(address.startswith(("data:image/", "#")) for address in page.addresses)
    assert page.tags.count("script") == 0
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_report_escapes_all_text(tmp_path):
    evil = "<script>alert('x')</script>&\"\u202e\x1b[31m$x$"
    nasty = evaluate_pair_scores(TRAINED.scores, TRAINED.same)
    object.__setattr__(nasty, "skipped_files", [(Path(evil), evil)])
    html = write_report(
        tmp_path / "report.html",
        context(
            title=evil,
            command=evil,
            lead=evil,
            created=evil,
            results={evil: nasty, "Untrained": UNTRAINED},
            settings={evil: evil},
            versions={evil: evil},
            faces=[(FACES[0], evil)],
            genuine=[FacePair(FACES[0], FACES[1], 0.5, True, evil)],
            exports=[ExportRow(evil, 1, 0.0, 1.0, True, evil, 1, evil)],
            training_log=[{f"{evil}loss": 1.0}],
            notes=[evil],
        ),
    ).read_text(encoding="utf-8")
    page = Page(html)
    assert page.tags.count("script") == 0
    assert page.open == []
    assert " ".join(page.text).count("alert('x')") > 10
    # Control characters cannot reverse the text, and dollar signs do not start a formula.
    assert not set(html) & set("\u202e\x1b")
    assert html.count("\\u202e\\x1b[31m$x$") > 10


def test_report_leaves_empty_sections_out(tmp_path):
    smallest = ReportContext("A run", "command", "today", {"Trained": TRAINED})
    html = write_report(tmp_path / "report.html", smallest).read_text(encoding="utf-8")
    page = Page(html)
    text = " ".join(page.text)
    for absent in ("Exports", "Sample faces", "Notes", "Settings", "None", "Hardest"):
        assert absent not in text, absent
    assert page.tags.count("svg") == 2


def test_report_says_what_was_skipped(tmp_path):
    skipped = evaluate_pair_scores(TRAINED.scores, TRAINED.same)
    object.__setattr__(skipped, "skipped", 18)
    object.__setattr__(skipped, "skipped_files", [(Path("s1/2.pgm"), "truncated")])
    html = write_report(
        tmp_path / "r.html", context(results={"Trained": skipped}, baseline=None)
    ).read_text(encoding="utf-8")
    assert "18 pairs were skipped: 1 file could not be read" in html
    assert "s1/2.pgm</code>: truncated" in html


def test_a_report_that_fails_leaves_the_old_one(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(ValueError, match="`images`"):
        write_report(path, context(faces=[(FACES[0][..., 0], "grey")]))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_report_context_is_checked():
    with pytest.raises(ValueError, match="`results`"):
        context(results={}, baseline=None)
    with pytest.raises(ValueError, match=r"`baseline`.*'Untained'"):
        context(baseline="Untained")
    with pytest.raises(ValueError, match="`baseline`"):
        context(baseline="Trained")


def test_units():
    assert [format_bytes(n) for n in (12, 2048, 5 << 20, 3 << 30)] == [
        "12 bytes",
        "2.00 KiB",
        "5.00 MiB",
        "3.00 GiB",
    ]
    assert [format_duration(s) for s in (1.25, 185, 3720)] == ["1.2 s", "3 min 5 s", "1 h 2 min"]
