"""Search in a gallery: the result is always the same as after a comparison with everybody."""

import sys

import numpy as np
import pytest
from gallery_oracle import adversarial_faces, brute_force, random_faces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gfkeras.evaluation import COSINE, GROUP_AWARE, Similarity
from gfkeras.inference import Embeddings, Gallery
from gfkeras.inference.gallery import exact_search, row_block, row_index

SIMILARITIES = (
    COSINE, GROUP_AWARE, Similarity(5.0, 0.25), Similarity(0.3, 2.0, "squared-l2"),
 Similarity(0.5, 0.5, "cosine"),
    Similarity(1e6, 1e-3), Similarity(1e-3, 3.0), Similarity(1e37, 1.0, "squared-l2"),
)  # fmt: skip


@pytest.fixture(autouse=True, params=["numpy", "faiss"])
def small_blocks(request, monkeypatch):
    if request.param == "numpy":
        monkeypatch.setitem(sys.modules, "faiss", None)
    else:
        pytest.importorskip("faiss")
    # Small limits make a few hundred people fill several blocks, and make lists grow.
    monkeypatch.setattr(row_block, "PROBES", 2)
    monkeypatch.setattr(row_index, "BLOCK", 64)
    monkeypatch.setattr(exact_search, "FIRST", 4)
    monkeypatch.setattr(exact_search, "CHUNK", 37)
    monkeypatch.setattr(exact_search, "PROBES", 3)
    monkeypatch.setattr(exact_search, "LISTED", 8)


def gallery_of(faces, storage="float32"):
    gallery = Gallery(storage=storage)
    gallery.add([f"p{(i * 7919) % 1009}" for i in range(len(faces))], faces)
    return gallery


@pytest.mark.parametrize("storage", ["float32", "float16", "int8"])
@pytest.mark.parametrize("similarity", SIMILARITIES, ids=str)
def test_random_faces(storage, similarity):
    gallery, probes = gallery_of(random_faces(300, 0), storage), random_faces(5, 1)
    for k in (1, 10, 299, 1000):
        assert gallery.search(probes, k, similarity) == brute_force(gallery, probes, k, similarity)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 200),
    k=st.integers(1, 40),
    similarity=st.sampled_from(SIMILARITIES),
    storage=st.sampled_from(["float32", "int8"]),
)
def test_adversarial_faces(seed, count, k, similarity, storage):
    gallery = gallery_of(adversarial_faces(count, seed), storage)
    probes = adversarial_faces(4, seed + 1)
    assert gallery.search(probes, k, similarity) == brute_force(gallery, probes, k, similarity)


def test_everybody_alike_is_ordered_by_name():
    faces = Embeddings(np.ones((200, 8), np.float32), np.ones((200, 4), np.float32))
    gallery = gallery_of(faces)
    (found,) = gallery.search(Embeddings(faces.embedding[:1], faces.group_feature[:1]), 7,
                              GROUP_AWARE)  # fmt: skip
    assert [match.name for match in found] == gallery.names[:7]
    assert {match.similarity for match in found} == {found[0].similarity}


def test_few_people_are_looked_at_where_the_cosine_decides():
    # If all groups agree, their penalty is 0. The short lists are then enough.
    faces = random_faces(300, 0, width=32)
    faces = Embeddings(faces.embedding, np.ones((300, 8), np.float32))
    gallery, seen = gallery_of(faces), []
    above = row_block.RowBlock.above

    def counted(block, probes, least):
        seen.append(len(probes))
        return above(block, probes, least)

    probes = Embeddings(faces.embedding[:5] + 0.1, faces.group_feature[:5])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_block.RowBlock, "above", counted)
        found = gallery.search(probes, 1, GROUP_AWARE)
    assert found == brute_force(gallery, probes, 1, GROUP_AWARE)
    assert sum(seen) < 5


def test_a_block_finds_all_that_reach_a_cosine():
    gallery = gallery_of(random_faces(60, 3))
    (block,) = list(gallery._index.blocks())
    probes = random_faces(3, 4).embedding
    probes /= np.linalg.norm(probes, axis=1, keepdims=True)
    least = np.array([0.5, -2, 0.1], np.float32)
    found = [np.concatenate(column) for column in zip(*block.above(probes, least), strict=True)]
    kept = found[2] >= least[found[0]]
    pairs = set(zip(found[0][kept].tolist(), found[1][kept].tolist(), strict=True))
    cosine = probes @ block.embedding(np.arange(60)).T
    expected = zip(*np.nonzero(cosine >= least[:, None]), strict=True)
    assert pairs == {(int(probe), int(row)) for probe, row in expected}
    assert len(pairs) > 60


@pytest.mark.parametrize("storage", ["float32", "float16", "int8"])
def test_a_gallery_in_a_file_and_in_memory(storage, tmp_path):
    first = gallery_of(random_faces(150, 0), storage)
    gallery = Gallery.load(first.save(tmp_path / "faces.gallery"))
    gallery.update(["new", "p0"], random_faces(2, 1))
    probes = random_faces(3, 2)
    found = gallery.search(probes, 7, GROUP_AWARE)
    assert found == brute_force(gallery, probes, 7, GROUP_AWARE)


def test_the_largest_products_are_found_among_equal_ones():
    rng = np.random.default_rng(0)
    rows = rng.integers(-1, 2, (501, 4)).astype(np.float32)
    probes = rng.integers(-1, 2, (5, 4)).astype(np.float32)
    expected = np.sort(probes @ rows.T, axis=1)[:, ::-1]
    for count in (1, 20, 500, 501):
        products, numbers = row_block.nearest_by_numpy(probes, rows, count)
        np.testing.assert_array_equal(products, expected[:, :count])
        np.testing.assert_array_equal(np.take_along_axis(probes @ rows.T, numbers, 1), products)
        assert all(len(set(row)) == count for row in numbers.tolist())


def test_probes_that_cannot_be_searched():
    gallery = gallery_of(random_faces(5, 0))
    plain = gallery_of(random_faces(5, 0, groups=None))
    assert plain.search(random_faces(1, 1), 2) == brute_force(plain, random_faces(1, 1), 2, COSINE)
    with pytest.raises(ValueError, match=r"16 numbers and 8.*Received: 12 and 8"):
        gallery.search(random_faces(1, 1, width=12))
    with pytest.raises(ValueError, match=r"16 numbers and 8.*Received: 16 and no"):
        gallery.search(random_faces(1, 1, groups=None), similarity=GROUP_AWARE)
    with pytest.raises(ValueError, match="needs group features"):
        plain.search(random_faces(1, 1, groups=None), similarity=GROUP_AWARE)
    with pytest.raises(ValueError, match="`k`"):
        gallery.search(random_faces(1, 1), k=0)
    with pytest.raises(ValueError, match="row 0 is all 0"):
        gallery.search(Embeddings(np.zeros((1, 16), np.float32)))
    assert Gallery().search(random_faces(2, 0)) == [[], []]
