"""A gallery in Milvus, for real: the same answers as in process, and nothing lost to kills.

Milvus Lite is there always. With GFKERAS_TEST_MILVUS=http://host:19530, and the token in
GFKERAS_TEST_MILVUS_TOKEN, the tests that need no folder run on that cluster, too, in which there
must be no gallery.
"""

import os
import signal
import sys
import time

import numpy as np
import pytest
from gallery_oracle import adversarial_faces, brute_force, random_faces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from milvus_enrolling import photos, photos_after
from processes import free_ports, start_python

from gfkeras.evaluation import COSINE, GROUP_AWARE, Similarity
from gfkeras.inference import Embeddings, Gallery
from gfkeras.inference.gallery import exact_search, milvus_block, milvus_index
from gfkeras.inference.gallery.templates import average

pytest.importorskip("milvus_lite", reason="Milvus Lite is not installed (gfkeras[milvus])")

NAMES = ["Ann", 'O\'Hara "x"', "日本 \\ % ' or key != '", "tab\tand\nline {a}", "é" * 30_000]
COLUMNS = ("embedding", "group_feature", "photos", "length", "group_length")
CLUSTER, TOKEN = (os.environ.get(f"GFKERAS_TEST_MILVUS{part}") for part in ("", "_TOKEN"))


def part(faces, rows):
    return Embeddings(faces.embedding[rows], faces.group_feature[rows])


@pytest.fixture(params=["lite", *(["cluster"] if CLUSTER else [])])
def opened(request, tmp_path):
    """Opens a gallery that is empty at first, and closes it at the end."""
    galleries = []
    location = str(tmp_path / "faces.milvus.db") if request.param == "lite" else CLUSTER
    token = None if request.param == "lite" else TOKEN

    def opening(**arguments):
        galleries.append(Gallery(location, token=token, **arguments))
        return galleries[-1]

    assert len(opening()) == 0
    yield opening
    client = galleries[-1]._index._client
    if request.param == "cluster":
        client.drop_collection(milvus_index.COLLECTION)
    galleries[-1].close()


@pytest.fixture
def small_steps(monkeypatch):
    # Small limits make a few hundred people fill many pages, and make lists grow.
    monkeypatch.setattr(milvus_index, "_NUMBERS", 24 * 70)
    monkeypatch.setattr(milvus_index, "_KEYS", 41)
    monkeypatch.setattr(milvus_index, "_HITS", 200)
    monkeypatch.setattr(milvus_block, "_FIRST", 16)
    monkeypatch.setattr(milvus_block, "_GROWTH", 2)
    monkeypatch.setattr(milvus_block, "_KEPT", 100)
    monkeypatch.setattr(milvus_block, "MOST_HITS", 150)
    monkeypatch.setattr(exact_search, "FIRST", 4)


@pytest.fixture(scope="module")
def order(tmp_path_factory):
    """Starts processes that enrol people, and prints what they do."""
    path = tmp_path_factory.mktemp("orders") / "order"
    code = "import milvus_enrolling; milvus_enrolling.serve()"
    # With little memory, Milvus Lite moves its log to its data files, and merges these, often.
    process = start_python(code, str(path), MILVUS_LITE_MEMTABLE_MEMORY_LIMIT_BYTES="20000")

    def give(location, first):
        path.with_suffix(".new").write_text(f"{location}\n{first}")
        path.with_suffix(".new").rename(path)

    yield give, process
    process.kill()


@pytest.fixture(scope="module", autouse=True)
def _starts_early(order):
    # The process is started early, because its imports take as long as the tests before it.
    pass


def test_stored_templates_equal_the_given_ones(opened):
    faces = random_faces(9, 0)
    faces.group_feature[0] = 0
    gallery = opened(metadata={"model": "abc é"})
    memory = Gallery()
    for kept in (gallery, memory):
        kept.add([*NAMES, NAMES[1]], part(faces, [0, 1, 2, 3, 4, 8]))
        kept.update(["Ann", "new"], part(faces, [5, 6]))
        kept.remove(NAMES[3])
    assert gallery.names == memory.names
    assert len(gallery) == 5
    assert NAMES[1] in gallery
    assert NAMES[3] not in gallery
    old = memory.templates()
    gallery.save()
    for again in (gallery, opened(metadata={"more": "x"})):
        new = again.templates()
        for column in COLUMNS:
            np.testing.assert_array_equal(getattr(old, column), getattr(new, column))
    # Opening a gallery does not overwrite its metadata.
    assert again.metadata == {"model": "abc é", "more": "x"}
    with pytest.raises(ValueError, match="not be in the gallery yet"):
        gallery.add("Ann", part(faces, [0]))
    with pytest.raises(ValueError, match="did you mean"):
        gallery.remove("Amn")
    with pytest.raises(ValueError, match="at most 65,535 bytes"):
        gallery.add(["Bob", "é" * 40_000], part(faces, [0, 1]))
    with pytest.raises(ValueError, match="`path`"):
        gallery.save("elsewhere")
    assert gallery.names == memory.names


def test_a_folder_that_is_closed_and_opened_again(tmp_path):
    location = str(tmp_path / "faces.milvus.db")
    with pytest.raises(ValueError, match="which does not exist"):
        Gallery.load(location)
    gallery = Gallery(location, metadata={"model": "abc"})
    gallery.add(NAMES, random_faces(5, 0))
    gallery.remove("Ann")
    assert str(gallery.save()) == location
    gallery.update(NAMES[1], random_faces(1, 1))
    gallery.remove(NAMES[2])
    kept = gallery.templates()
    gallery.close()
    again = Gallery.load(location)
    assert (again.names, again.metadata) == (kept.names, {"model": "abc"})
    for column in COLUMNS:
        np.testing.assert_array_equal(getattr(kept, column), getattr(again.templates(), column))
    # A removal without other changes is stored too.
    again.remove(NAMES[1])
    again.close()
    again = Gallery(location)
    assert len(again) == 2
    # An empty gallery accepts embeddings of other widths.
    again.remove(again.names)
    assert (len(again), again.widths, again.names) == (0, None, [])
    assert again.search(random_faces(2, 0)) == [[], []]
    again.add("Ann", random_faces(1, 0, width=5, groups=None))
    assert again.search(random_faces(1, 1, width=5, groups=None))[0][0].name == "Ann"
    assert again.widths == (5, None)
    again.close()


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("make", [random_faces, adversarial_faces])
def test_search_finds_what_the_index_in_process_finds(opened, make):
    names = [f"p{(i * 7919) % 1009}" for i in range(300)]
    memory, gallery = Gallery(), opened()
    for kept in (memory, gallery):
        kept.add(names[:200], part(make(300, 3), slice(0, 200)))
        kept.save() if kept is gallery else None
        kept.add(names[200:], part(make(300, 3), slice(200, 300)))
        kept.remove(names[150:160])
        kept.update(names[190:210], make(20, 5))
    probes = make(4, 4)
    for similarity, k in (
        (COSINE, 1), (COSINE, 200), (GROUP_AWARE, 10), (GROUP_AWARE, 1000),
        (Similarity(5.0, 0.25), 10), (Similarity(1e-3, 3.0), 1),
    ):  # fmt: skip
        found = gallery.search(probes, k, similarity)
        assert found == memory.search(probes, k, similarity), (k, similarity)
        assert found == brute_force(gallery, probes, k, similarity)
        assert len(found[0]) == min(k, 290)


@pytest.mark.slow
@pytest.mark.usefixtures("small_steps")
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 60),
    k=st.integers(1, 70),
    similarity=st.sampled_from([COSINE, GROUP_AWARE, Similarity(0.3, 2.0, "squared-l2")]),
)
def test_adversarial_faces(opened, seed, count, k, similarity):
    gallery, memory = opened(), Gallery()
    gallery.remove(gallery.names)
    for kept in (memory, gallery):
        kept.add([f"p{(i * 7919) % 1009}" for i in range(count)], adversarial_faces(count, seed))
    probes = adversarial_faces(3, seed + 1)
    assert gallery.search(probes, k, similarity) == memory.search(probes, k, similarity)


@pytest.mark.usefixtures("small_steps")
def test_a_block_finds_all_that_reach_a_cosine(opened):
    gallery = opened()
    gallery.add([str(i) for i in range(240)], adversarial_faces(240, 5))
    kept = gallery.templates()
    (block,) = gallery._index.blocks()
    probes = np.eye(6, dtype=np.float32)[:3]
    least = np.array([0.999, 0.3, -2], np.float32)
    found = [np.concatenate(column) for column in zip(*block.above(probes, least), strict=True)]
    reach = found[2] >= least[found[0]]
    pairs = set(zip(found[0][reach].tolist(), block.names(found[1][reach]), strict=True))
    who, where = np.nonzero(probes @ kept.embedding.T >= least[:, None])
    assert pairs == {(p, kept.names[i]) for p, i in zip(who.tolist(), where, strict=True)}
    for count in (100, 200):
        cosine, rows = block.nearest(probes, count)
        best = -np.sort(-(probes @ kept.embedding.T), axis=1)[:, :count]
        np.testing.assert_allclose(cosine, best, atol=1e-6)
        at = [[int(name) for name in block.names(row)] for row in rows]
        mine = [gallery.templates([str(i) for i in row]).embedding for row in at]
        np.testing.assert_allclose(np.einsum("pnd,pd->pn", mine, probes), best, atol=1e-6)
        assert all(len(set(row)) == count for row in at)


def test_people_removed_during_a_search_are_not_found(opened):
    gallery, other = opened(), opened()
    gallery.add([f"p{i}" for i in range(50)], random_faces(50, 0))
    probes = photos(["x", "y"])
    (block,) = gallery._index.blocks()
    block.nearest(probes.embedding, 50)
    other.remove([f"p{i}" for i in range(40)])

    class Index:
        """An index with the block of a search that began before the change."""

        def blocks(self):
            yield block

    for similarity in (COSINE, GROUP_AWARE):
        found = exact_search.exact_search(
            Index(), probes.embedding, probes.group_feature, 45, similarity
        )
        assert [{match.name for match in matches} for matches in found] == [
            {f"p{i}" for i in range(40, 50)}
        ] * 2


def test_a_collection_of_a_killed_process(opened, tmp_path):
    gallery = opened()
    gallery.add("Ann", random_faces(1, 0))
    client = gallery._index._client
    client.release_collection(milvus_index.COLLECTION)
    client.drop_index(milvus_index.COLLECTION, "embedding")
    assert opened().search(random_faces(1, 0))[0][0].name == "Ann"
    # The collection looks like that of another version.
    client.alter_collection_properties(milvus_index.COLLECTION, {"gfkeras": '{"format": 2}'})
    with pytest.raises(ValueError, match=r"not a gallery of this gfkeras: format 2, expected 1"):
        opened()
    # The folder looks as if Milvus Lite was killed between writing two files.
    location = tmp_path / "other.db"
    (location / "collections" / milvus_index.COLLECTION / "wal").mkdir(parents=True)
    broken = Gallery(location)
    broken.add("Ann", random_faces(1, 0))
    assert broken.names == ["Ann"]
    broken.close()


def test_locations_that_cannot_be_opened(tmp_path, monkeypatch, caplog):
    location = tmp_path / "faces.milvus.db"
    for storage in ("int8", "float16"):
        with pytest.raises(ValueError, match="`storage` must be 'float32'"):
            Gallery(location, storage=storage)
    with pytest.raises(ValueError, match="`token` goes with"):
        Gallery(location, token="x")
    with pytest.raises(ValueError, match=r"^http://127\.0\.0\.1:9 could not be opened: the server"):
        Gallery("http://me:secret@127.0.0.1:9")
    with pytest.raises(ValueError, match=r"could not be opened: .*not exists$"):
        Gallery(tmp_path / "nowhere" / "faces.db")
    location.write_text("SQLite format 3")
    with pytest.raises(ValueError, match=r"milvus\.db could not be opened: it is a file"):
        Gallery(location)
    location.unlink()
    location.mkdir()
    (location / "collections").write_text("in the way")
    with pytest.raises(ValueError, match=r"milvus\.db could not be opened: .*File exists"):
        Gallery(location)
    for module in ("milvus_lite", "pymilvus"):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(ImportError, match=r"gfkeras\[milvus\]"):
            Gallery(tmp_path / "faces.db")
    # Milvus logs nothing in addition to the errors.
    assert not caplog.records


SERVER = """
import sys
from milvus_lite.adapter.grpc.server import run_server
run_server(sys.argv[1], "127.0.0.1", int(sys.argv[2]))
"""


def test_a_server_by_its_url(tmp_path, monkeypatch):
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    server = start_python(SERVER, str(tmp_path / "served"), str(port))
    try:
        end = time.monotonic() + 60
        while True:
            try:
                one = Gallery(url, token="root:Milvus", metadata={"model": "abc"})
                break
            except ValueError:
                assert time.monotonic() < end
                time.sleep(0.1)
        two = Gallery.load(url, token="root:Milvus")
        assert (one.widths, two.widths) == (None, None)
        one.add(["Ann", "Bob"], random_faces(2, 0))
        # One process finds people that another one has just enrolled.
        assert two.search(random_faces(1, 0), 1)[0][0].name == "Ann"
        assert two.metadata == {"model": "abc"}
        two.remove(["Ann", "Bob"])
        assert (len(one), one.names, one.search(random_faces(1, 0))) == (0, [], [[]])
        two.add("Cleo", random_faces(1, 1, width=5, groups=None))
        # A process that found the gallery empty before must not create it again with other widths.
        with pytest.raises(ValueError, match="now has embeddings of other widths"):
            one._index.put(average("Ann", random_faces(1, 0)))
        assert Gallery(url).widths == (5, None)
        assert two.names == ["Cleo"]
        server.kill()
        monkeypatch.setattr(milvus_index, "TIMEOUT", 0.5)
        for call in (lambda: two.names, lambda: len(two), lambda: two.remove("Cleo")):
            with pytest.raises(ValueError, match="could not be"):
                call()
    finally:
        server.kill()


@pytest.mark.skipif(os.name != "posix", reason="kills processes")
@pytest.mark.parametrize("kills", [1, pytest.param(30, marks=pytest.mark.slow)])
def test_a_killed_process_loses_nothing_that_was_acknowledged(order, tmp_path, kills):
    location, rng, first = str(tmp_path / "faces.milvus.db"), np.random.default_rng(kills), 0
    give, processes = order
    for kill in range(kills):
        give(location, first)
        pid, *numbers = processes.lines_until(lambda lines: len(lines) > 3)
        if not kill:
            with pytest.raises(ValueError, match=r"db could not be opened: another process has it"):
                Gallery(location)
        time.sleep(rng.uniform(0, 0.4))
        os.kill(int(pid), signal.SIGKILL)
        numbers += processes.lines_until(lambda lines: lines[-1:] == ["dead"])[:-1]
        steps = int(numbers[-1]) + 1
        gallery = Gallery(location)
        kept = gallery.templates()
        found = dict(zip(kept.names, kept.photos.tolist(), strict=True))
        # A change that was not acknowledged is either done or not.
        assert found in (photos_after(steps), photos_after(steps + 1))
        again = Gallery()
        again.add(kept.names, photos(kept.names))
        expected = again.templates()
        np.testing.assert_allclose(kept.embedding, expected.embedding, atol=1e-6)
        np.testing.assert_allclose(kept.group_feature, expected.group_feature, atol=1e-6)
        first = steps if found == photos_after(steps) else steps + 1
        gallery.close()
