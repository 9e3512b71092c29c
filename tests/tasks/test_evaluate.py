"""`gfkeras.tasks.evaluate` in Python, and the protocols without Keras."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="needs the extra 'export'")

from blocking import WITHOUT_KERAS
from data_sets import EACH, PEOPLE, write_ijb, write_megaface, write_people, write_youtube_faces
from pixel_network import write_pixel_network

from gfkeras.evaluation import GROUP_AWARE, Thresholds
from gfkeras.tasks.evaluate import evaluate


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return write_pixel_network(tmp_path_factory.mktemp("model") / "pixels.onnx")


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Path:
    return write_people(tmp_path_factory.mktemp("people"))


def test_pairs(model, people, tmp_path):
    calls = []
    found = evaluate(
        model, people, pairs="all", bootstrap=20, progress=lambda *call: calls.append(call)
    )
    results = found.to_json()
    genuine = PEOPLE * EACH * (EACH - 1) // 2
    assert (results["pairs"], results["genuine"], results["skipped"]) == (496, genuine, 0)
    assert (results["protocol"], results["similarity"]["beta"]) == ("pairs", 0.0)
    assert results["accuracy"] == found.measured.results[""].accuracy
    # One threshold for each of ten folds.
    assert calls[-1] == ("Embedding", PEOPLE * EACH, PEOPLE * EACH)
    found.thresholds().save(tmp_path / "t.json")
    assert Thresholds.load(tmp_path / "t.json").model == found.embedder.fingerprint
    drawn = evaluate(model, people, pairs=60, bootstrap=0, seed=3)
    assert drawn.to_json()["pairs"] == 60


def test_a_study_and_an_older_model(model, people, tmp_path):
    found = evaluate(model, people, pairs="all", bootstrap=0, study="size", at=[16, 112])
    points = found.to_json()["study"]["points"]
    assert [point["value"] for point in points] == [16, 112]
    assert points[1]["accuracy"] == found.to_json()["accuracy"]
    pytest.importorskip("matplotlib", reason="needs the extra 'plots'")
    assert "study_size.png" in {path.name for path in found.draw(tmp_path)}
    across = evaluate(model, people, pairs="all", bootstrap=0, gallery_model=model).to_json()
    assert across["new/old"]["accuracy"] == across["old/old"]["accuracy"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"`pairs` \(--pairs\) must be"),
        ({"pairs": "none.txt"}, "none.txt"),
        ({"pairs": "all", "protocol": "bin"}, "`pairs` requires"),
        ({"pairs": "all", "data": "missing"}, "does not exist"),
        ({"protocol": "ijb", "task": "1:M"}, "`task` must be"),
        ({"protocol": "ytf", "data": "missing"}, "missing"),
        ({"protocol": "megaface", "thresholds": True}, "`thresholds` requires"),
        ({"pairs": "all", "similarity": GROUP_AWARE, "tune": "p.txt"}, "`tune` chooses"),
        ({"pairs": "all", "align": True, "detector": Path("none.onnx")}, "none.onnx"),
        ({"pairs": "all", "study": "dimension", "fit_data": Path("missing")}, "missing"),
        ({"pairs": "all", "record": True}, "none.tflite"),
    ],
)
def test_wrong_arguments_are_found_before_the_model_is_opened(people, arguments, message):
    data = arguments.pop("data", people)
    with pytest.raises(ValueError, match=message) as caught:
        evaluate("none.tflite", data, **arguments)
    assert "`model_or_path`" not in str(caught.value)


def test_every_protocol_without_keras(model, people, tmp_path):
    """The base install evaluates artefacts: no protocol imports Keras or a backend."""
    images = [path.read_bytes() for path in sorted(people.glob("*/*"))]
    same = [i % 2 == 0 for i in range(20)]
    # The next image shows the same person. The image nine places on shows another person.
    firsts = [i % PEOPLE * EACH for i in range(20)]
    pairs = [
        (i, (i + (1 if one else 9)) % len(images)) for i, one in zip(firsts, same, strict=True)
    ]
    chosen = [images[i] for pair in pairs for i in pair]
    (tmp_path / "some.bin").write_bytes(pickle.dumps((chosen, same)))
    write_youtube_faces(tmp_path / "ytf", images)
    write_ijb(tmp_path / "IJBC", images)
    write_megaface(tmp_path / "pack", images)
    script = WITHOUT_KERAS + (
        "from gfkeras.tasks.evaluate import evaluate\n"
        "model, people, root = sys.argv[1:]\n"
        "def accuracy(name, protocol, **options):\n"
        "    data = people if name is None else f'{root}/{name}'\n"
        "    return evaluate(model, data, protocol=protocol, bootstrap=0, **options).to_json()\n"
        "assert accuracy(None, 'pairs', pairs='all')['pairs'] == 496\n"
        "assert accuracy(None, 'pairs', pairs='all', study='jpeg', at=[50])['study']\n"
        "assert accuracy(None, 'facenet', pairs='all')['validation_rate']\n"
        "assert accuracy('some.bin', 'bin')['pairs'] == 20\n"
        "assert accuracy('ytf', 'ytf')['pairs'] == 16\n"
        "assert accuracy('IJBC', 'ijb')['identification']\n"
        "assert accuracy('pack', 'megaface')['probes'] == 12\n"
        "assert 'keras' not in sys.modules\n"
    )
    arguments = [model, str(people), str(tmp_path)]
    subprocess.run([sys.executable, "-c", script, *arguments], check=True, timeout=120)
