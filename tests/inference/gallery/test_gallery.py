"""Enrolling, updating and removing of people."""

import dataclasses

import numpy as np
import pytest
from gallery_oracle import brute_force, random_faces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gfkeras.evaluation import GROUP_AWARE
from gfkeras.evaluation.similarity import unit
from gfkeras.inference import Embeddings, Gallery


def part(faces, rows):
    group = None if faces.group_feature is None else faces.group_feature[rows]
    return Embeddings(faces.embedding[rows], group)


def means(rows):
    """Returns the direction of the mean of unit rows, in float64."""
    rows = rows.astype(np.float64)
    mean = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).mean(axis=0)
    return mean / np.linalg.norm(mean)


def test_a_template_is_the_mean_of_a_persons_photos():
    faces = random_faces(6, 0)
    gallery = Gallery()
    gallery.add("Ann", part(faces, [0, 2, 5]))
    gallery.add(["Bob", "Cleo", "Bob"], part(faces, [1, 3, 4]))
    assert gallery.names == ["Ann", "Bob", "Cleo"]
    assert len(gallery) == 3
    assert "Ann" in gallery
    assert "Dan" not in gallery
    kept = gallery.templates()
    assert kept.photos.tolist() == [3, 2, 1]
    for row, photos in enumerate(([0, 2, 5], [1, 4], [3])):
        np.testing.assert_allclose(kept.embedding[row], means(faces.embedding[photos]), atol=1e-6)
        expected = means(faces.group_feature[photos])
        np.testing.assert_allclose(kept.group_feature[row], expected, atol=1e-6)
    np.testing.assert_array_equal(gallery.template("Cleo").embedding[0], kept.embedding[2])


def test_photos_added_later_count_as_much_as_the_first():
    faces = random_faces(7, 1)
    at_once, later = Gallery(), Gallery()
    at_once.add("Ann", faces)
    later.add("Ann", part(faces, [0, 1]))
    later.update(["Ann", "Bob"], part(faces, [2, 3]))
    later.update("Ann", part(faces, [3, 4, 5, 6]))
    assert later.template("Ann").photos == [7]
    assert later.template("Bob").photos == [1]
    np.testing.assert_allclose(
        later.template("Ann").embedding, at_once.template("Ann").embedding, atol=1e-6
    )
    np.testing.assert_allclose(
        later.template("Ann").group_feature, at_once.template("Ann").group_feature, atol=1e-6
    )


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.sampled_from("auurs"), st.integers(0, 9)), max_size=40))
def test_any_order_of_changes_gives_the_templates_of_a_dictionary(tmp_path, changes):
    faces, gallery, photos = random_faces(10, 2), Gallery(), {}
    for step, number in changes:
        name = f"p{number}"
        if step == "s":
            # From here on, the rows come from a file.
            gallery = Gallery.load(gallery.save(tmp_path / "faces.gallery"))
        elif step == "a" and name not in photos:
            gallery.add(name, part(faces, [number]))
            photos[name] = [number]
        elif step == "u":
            gallery.update(name, part(faces, [(number + 1) % 10]))
            photos.setdefault(name, []).append((number + 1) % 10)
        elif name in photos:
            gallery.remove(name)
            del photos[name]
    assert gallery.names == sorted(photos)
    for name, rows in photos.items():
        kept = gallery.template(name)
        assert kept.photos == [len(rows)]
        np.testing.assert_allclose(kept.embedding[0], means(faces.embedding[rows]), atol=1e-5)
    if photos:
        probes = random_faces(2, 7)
        found = gallery.search(probes, 4, GROUP_AWARE)
        assert found == brute_force(gallery, probes, 4, GROUP_AWARE)


def test_one_byte_a_dimension_keeps_directions():
    faces = random_faces(200, 3, width=128)
    gallery = Gallery(storage="int8")
    gallery.add([str(i) for i in range(200)], faces)
    parts = gallery._index.columns["embedding"].parts
    assert sum(part.nbytes for part in parts) == 200 * 128
    kept = gallery.templates([str(i) for i in range(200)])
    cosine = np.einsum("nd,nd->n", unit(faces.embedding), kept.embedding)
    assert cosine.min() > 0.9999
    extreme = Gallery(storage="int8")
    extreme.add("one", Embeddings(np.eye(128, dtype=np.float32)[:1]))
    np.testing.assert_array_equal(extreme.template("one").embedding, np.eye(128)[:1])


def test_a_call_that_fails_changes_nothing():
    faces = random_faces(3, 4)
    gallery = Gallery()
    gallery.add("Ann", part(faces, [0]))
    broken = random_faces(2, 5)
    broken.embedding[1, 3] = np.nan
    zero = Embeddings(np.zeros((1, 16), np.float32), np.ones((1, 8), np.float32))
    opposite = Embeddings(faces.embedding[:1] * [[1], [-1]], np.ones((2, 8), np.float32))
    for call, arguments, message in (
        (gallery.add, (["Bob", "Ann"], part(faces, [0, 1])), r"not be in the gallery yet.*'Ann'"),
        (gallery.add, (["Bob", "Cleo"], broken), "finite.*row 1"),
        (gallery.add, ("Bob", zero), "row 0 is all 0"),
        (gallery.add, ("Bob", opposite), "'Bob' cancel out"),
        (gallery.add, ("Bob", random_faces(1, 0, width=8)), "16 numbers and 8.*Received: 8 and 8"),
        (gallery.add, ("Bob", random_faces(1, 0, groups=None)), "Received: 16 and no"),
        (gallery.add, (["Bob"], faces), r"3 embeddings.*1 names"),
        (gallery.add, ({"Bob", "Cleo", "Dan"}, faces), "a name or a list of names. Received: set"),
        (gallery.add, (None, faces), "a name or a list of names. Received: NoneType"),
        (gallery.remove, (None,), "a name or a list of names. Received: NoneType"),
        (gallery.add, (["Bob", " "], part(faces, [0, 1])), "texts that are not empty"),
        (gallery.add, ("\ud800", part(faces, [0])), "valid Unicode"),
        (gallery.update, (["Bob", 7], part(faces, [0, 1])), "texts"),
        (gallery.update, ("Bob", broken), "finite"),
        (gallery.remove, (["Ann", "Amn"],), r"'Amn' \(did you mean 'Ann'\?\)"),
        (gallery.template, ("Bob",), "be in the gallery"),
        (gallery.templates, ([],), "at least one"),
        (gallery.save, (), "must name a file"),
    ):
        with pytest.raises(ValueError, match=message):
            call(*arguments)
    assert gallery.names == ["Ann"]
    assert gallery.template("Ann").photos == [1]


def test_an_empty_gallery_takes_other_widths_again():
    gallery = Gallery()
    gallery.add("Ann", random_faces(1, 0))
    gallery.remove("Ann")
    assert gallery.widths is None
    gallery.add("Bob", random_faces(1, 0, width=5, groups=None))
    assert gallery.widths == (5, None)


def test_arguments():
    with pytest.raises(ValueError, match="storage"):
        Gallery(storage="int4")
    with pytest.raises(ValueError, match="token"):
        Gallery("faces.gallery", token="secret")


def of_model(model, rows=2, seed=0):
    return dataclasses.replace(random_faces(rows, seed), model=model)


def test_a_gallery_refuses_embeddings_of_another_model(tmp_path):
    gallery = Gallery(metadata={"model": "a" * 64, "model_name": "mine"})
    gallery.add("Ann", of_model("a" * 64))
    message = r"made with, mine \(aaaaaaaaaaaa…\).*Received: bbbbbbbbbbbb…"
    again = Gallery.load(gallery.save(tmp_path / "faces.gallery"))
    for kept in (gallery, again):
        with pytest.raises(ValueError, match=message):
            kept.add("Bob", of_model("b" * 64))
        with pytest.raises(ValueError, match=message):
            kept.update("Ann", of_model("b" * 64))
        with pytest.raises(ValueError, match=message):
            kept.search(of_model("b" * 64))
        with pytest.raises(ValueError, match=message):
            kept.require_model("b" * 64)
        assert kept.template("Ann").photos == [2]
        # Embeddings without a model are accepted, like arrays.
        kept.update("Ann", of_model(None))
        assert kept.search(of_model(None))[0][0].name == "Ann"


def test_the_first_embeddings_set_the_model_of_a_gallery():
    gallery = Gallery()
    gallery.add("Ann", of_model("a" * 64))
    assert gallery.metadata == {"model": "a" * 64}
    with pytest.raises(ValueError, match="another model"):
        gallery.search(of_model("b" * 64))
    unknown = Gallery()
    unknown.add("Ann", of_model(None))
    unknown.add("Bob", of_model("a" * 64))
    assert unknown.metadata == {}
    unknown.search(of_model("b" * 64))


def test_rows_and_joined_batches_keep_the_model():
    faces = of_model("a" * 64, rows=4)
    assert faces.take([1, 2]).model == faces.model
    joined = Embeddings.joined([faces.take([0]), faces.take([1, 2, 3])])
    assert joined.model == faces.model
    np.testing.assert_array_equal(joined.embedding, faces.embedding)
    assert joined.group is None


def test_both_forms_of_an_accent_are_one_name():
    composed, decomposed = "Jos\u00e9", "Jose\u0301"
    faces, gallery = random_faces(3, 2), Gallery()
    gallery.add(decomposed, part(faces, [0]))
    assert gallery.names == [composed]
    assert composed in gallery
    assert decomposed in gallery
    with pytest.raises(ValueError, match="not be in the gallery"):
        gallery.add(composed, part(faces, [1]))
    gallery.update([composed, decomposed], part(faces, [1, 2]))
    assert gallery.template(decomposed).photos == [3]
    gallery.remove(decomposed)
    assert not gallery.names
