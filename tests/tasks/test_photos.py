"""`gfkeras.tasks` on photos as Python users call them: compare, embed, enroll, search, cluster."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from data_sets import EACH, PEOPLE, write_people
from PIL import Image

from gfkeras.cli import main
from gfkeras.evaluation import GROUP_AWARE
from gfkeras.tasks.cluster import cluster
from gfkeras.tasks.compare import compare
from gfkeras.tasks.embed import embed
from gfkeras.tasks.enroll import enroll
from gfkeras.tasks.gallery import list_people, remove_people
from gfkeras.tasks.search import search


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Path:
    """Aligned faces, one folder per person, for the bundled model, which is the default."""
    return write_people(tmp_path_factory.mktemp("people"))


@pytest.fixture
def broken(tmp_path) -> Path:
    path = tmp_path / "broken.jpg"
    path.write_text("no image")
    return path


def json_of(tmp_path: Path, *arguments: object) -> dict:
    """Returns the content of a command's --json file."""
    file = tmp_path / "command.json"
    assert main([*map(str, arguments), "--aligned", "--json", str(file)]) == 0
    return json.loads(file.read_text())


def test_compare(people, tmp_path):
    first, second = sorted(people.glob("p0/*"))[:2]
    found = compare(first, second, aligned=True, far=1e-3)
    assert found.same is (found.similarity >= found.decision.threshold)
    assert found.decision.far == 1e-3
    assert found.verdict == ("Same person" if found.same else "Different people")
    assert found.similarity == found.cosine
    assert found.embeddings.embedding.shape == (2, 128)
    assert found.cosine == pytest.approx(
        float(found.embeddings.embedding[0] @ found.embeddings.embedding[1]), abs=1e-6
    )
    # Aligned images are not searched for faces.
    assert found.faces is None
    assert found.to_json() == json_of(tmp_path, "compare", first, second, "--far", "1e-3")
    with Image.open(found.draw(tmp_path / "both.png")) as drawn:
        assert drawn.width > 800
    with pytest.raises(ValueError, match=r"`path` must end in \.png or \.jpg"):
        found.draw(tmp_path / "both.gif")
    by_groups = compare(first, second, aligned=True, threshold=0.2, similarity=GROUP_AWARE)
    assert by_groups.similarity == by_groups.group_aware_similarity < by_groups.cosine
    assert by_groups.decision.origin == "given by the user"


def test_embed(people, broken, tmp_path):
    calls = []
    found = embed([people, broken], aligned=True, progress=lambda *call: calls.append(call))
    assert found.embedding.shape == (PEOPLE * EACH, 128)
    np.testing.assert_allclose(np.linalg.norm(found.embedding, axis=1), 1, rtol=1e-5)
    assert found.photos == sorted(people.glob("*/*"))
    assert [path for path, _ in found.skipped] == [broken]
    assert found.path is None
    assert calls[-1] == ("Embedding", PEOPLE * EACH + 1, PEOPLE * EACH + 1)
    out = tmp_path / "e.npz"
    written = embed(people, out, aligned=True)
    assert written.to_json() == json_of(tmp_path, "embed", people, "--out", out)
    with np.load(out) as stored:
        np.testing.assert_array_equal(stored["embedding"], found.embedding)
        assert stored["path"].tolist() == [str(path) for path in found.photos]


def test_a_gallery(people, broken, tmp_path):
    gallery, calls = tmp_path / "faces.gallery", []
    enrolment = enroll(
        people, gallery, aligned=True, storage="int8", progress=lambda *call: calls.append(call)
    )
    enrolment.require()
    assert (enrolment.enrolled, enrolment.photos) == (PEOPLE, PEOPLE * EACH)
    assert calls[-1] == ("Enrolling", PEOPLE * EACH, PEOPLE * EACH)
    again = enroll(people, gallery, aligned=True)
    assert again.already_there == [f"p{number}" for number in range(PEOPLE)]
    assert again.to_json() == json_of(tmp_path, "enroll", people, gallery, "--quiet")
    content = list_people(gallery)
    assert content.people == dict.fromkeys(again.already_there, EACH)
    assert (content.storage, content.widths[0]) == ("int8", 128)

    photo = people / "p3" / "p3_0001.jpg"
    found = search(photo, gallery, aligned=True, threshold=0.3, top=2)
    (face,) = found.faces
    assert (face.name, face.known, len(face.matches), face.box) == ("p3", True, 2, None)
    assert found.people == PEOPLE
    arguments = ("search", photo, gallery, "--threshold", "0.3", "--top", "2")
    assert found.to_json() == json_of(tmp_path, *arguments)
    (unknown,) = search(photo, gallery, aligned=True, threshold=0.999).faces
    assert (unknown.name, unknown.known) == (None, False)
    with pytest.raises(ValueError, match="Received: an aligned face"):
        found.draw(tmp_path / "found.png")

    done = remove_people(gallery, "p3")
    assert (done.removed, done.left) == (1, PEOPLE - 1)
    assert search(photo, gallery, aligned=True, threshold=0.3).faces[0].matches[0].name != "p3"

    nobody = tmp_path / "nobody"
    (nobody / "Ann").mkdir(parents=True)
    shutil.copy(broken, nobody / "Ann")
    useless = enroll(nobody, tmp_path / "empty.gallery", aligned=True)
    assert (useless.photos, len(useless.skipped)) == (0, 1)
    with pytest.raises(ValueError, match="None of the 1 files can be used"):
        useless.require()


def test_only_the_deciding_score_is_shown(people, capsys):
    pair = [str(path) for path in sorted(people.glob("p0/*"))[:2]]
    assert main(["compare", *pair, "--aligned"]) == 0
    said = capsys.readouterr().out
    assert "Cosine" in said
    assert "Group-aware" not in said
    # The measurement behind the threshold.
    assert "6,848,158 impostor pairs: FAR 9.8e-04 to 1.0e-03 (95 %)" in " ".join(said.split())
    assert main(["compare", *pair, "--aligned", "--group-aware", "--threshold", "0.2"]) == 0
    said = capsys.readouterr().out
    assert "Group-aware similarity" in said
    assert "Cosine" not in said
    # At this FAR, 6.8 of the 6,848,158 pairs are expected to be accepted: fewer than ten.
    assert main(["compare", *pair, "--aligned", "--far", "1e-6"]) == 2
    assert "--force" in capsys.readouterr().err
    found = compare(*pair, aligned=True, far=1e-6, force=True)
    assert found.decision.to_json()["impostor_pairs"] == 6_848_158


def test_cluster(people, tmp_path):
    # The model's threshold at the smallest FAR with enough pairs.
    own = cluster(people, aligned=True)
    assert own.threshold == pytest.approx(0.6067, abs=1e-4)
    assert "1e-05" in own.origin
    calls = []
    found = cluster(people, aligned=True, threshold=0.4, progress=lambda *c: calls.append(c))
    assert (len(found.labels), len(found.photos)) == (PEOPLE * EACH, PEOPLE * EACH)
    assert calls[-1] == ("Embedding", PEOPLE * EACH, PEOPLE * EACH)
    assert found.count == found.labels.max() + 1
    assert found.in_none == (found.labels == -1).sum()
    assert (found.table, found.sheets) == (None, [])
    written = cluster(people, tmp_path / "a", aligned=True, threshold=0.4)
    arguments = ("cluster", people, "--out", tmp_path / "a", "--threshold", "0.4", "--quiet")
    assert written.to_json() == json_of(tmp_path, *arguments)
    assert written.table.is_file()
    assert len(written.sheets) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: compare(p, "none.jpg", "none"), "none.jpg: no such file"),
        (lambda p: compare(p, p, "none", thresholds="none.json"), "none.json must be thresholds"),
        (lambda p: compare(p, p, "none", threshold=0.4, far=0.1), "`threshold` cannot be combined"),
        (lambda p: compare(p, p, "none", threshold=np.nan), "`threshold` must be a finite"),
        (lambda p: compare(p, p, "none", far=np.inf), "`far` must be a rate"),
        (lambda p: cluster(p, "out", "none", threshold=np.nan), "`threshold` must be a finite"),
        (lambda p: compare(p, p, "none", detector="none.onnx"), "none.onnx"),
        (
            lambda p: compare(p, p, "none", aligned=True, face="central"),
            "`face` is only for photos",
        ),
        (lambda p: embed("none.jpg", model="none"), "none.jpg: no such file"),
        (lambda p: embed([], model="none"), "`sources` must name at least one image"),
        (lambda p: embed(p, "e.csv", "none"), "must end in .npz"),
        (lambda p: enroll("none", "faces.gallery", "none"), "must be a folder of photos"),
        (lambda p: enroll(p.parent, "g", "none", storage="int7"), "`storage` must be one of"),
        (lambda p: search("none.jpg", "faces.gallery", "none"), "none.jpg: no such file"),
        (lambda p: search(p, "none.gallery", "none"), "`gallery` must exist"),
        (lambda p: cluster("none.jpg", "out", "none"), "none.jpg: no such file"),
        (lambda p: cluster(p, "out", "none", method="kmeans"), "`method` must be one of"),
    ],
)
def test_wrong_arguments_are_found_before_the_model_is_opened(people, call, message):
    with pytest.raises(ValueError, match=message):
        call(people / "p0" / "p0_0001.jpg")
