"""Counts, the contact sheet, and suspicious images."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gfkeras.data.prepare import PrepareOptions, prepare
from gfkeras.data.records import RecordSet
from gfkeras.data.sources import open_source
from gfkeras.data.statistics import DataStatistics, contact_sheet, find_suspects
from gfkeras.data.statistics.contact_sheet import drawn_from_records, drawn_from_source


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Writes three people with 1, 2 and 9 images. One file is text."""
    root = tmp_path_factory.mktemp("photos")
    for name, count in (("a", 1), ("b", 2), ("c", 9)):
        (root / name).mkdir()
        for number in range(count):
            pixels = np.full((112, 112, 3), 15 * number + ord(name), np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.jpg")
    (root / "a" / "text.jpg").write_text("text")
    return root


@pytest.fixture(scope="module")
def records(photos, tmp_path_factory) -> RecordSet:
    out = tmp_path_factory.mktemp("records") / "out"
    prepare(photos, out, PrepareOptions(keep_duplicates=True), workers=1)
    return RecordSet(out)


def test_counts_of_a_folder_and_of_its_records_agree(photos, records):
    of_folder = DataStatistics.of_source(open_source(photos))
    of_records = DataStatistics.of_records(records)
    for found in (of_folder, of_records):
        assert (found.images, found.identities, found.unlabelled) == (12, 3, 0)
        assert found.per_identity == {"a": 1, "b": 2, "c": 9}
        assert found.histogram() == [(1, 1, 1), (2, 2, 1), (3, 4, 0), (5, 8, 0), (9, 16, 1)]
        assert found.sizes == {(112, 112): 12}
    assert of_folder.total_bytes == of_records.total_bytes
    assert of_folder.unreadable == {"a/text.jpg": "not an image of a known format"}
    assert of_folder.to_json()["images_per_identity"]["median"] == 2


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text(min_size=1), st.integers(1, 300), max_size=20))
def test_the_histogram_counts_everybody_once(counts):
    statistics = DataStatistics(0, len(counts), counts, 0, {}, 0.0, 0, {})
    rows = statistics.histogram()
    assert sum(count for _, _, count in rows) == len(counts)
    assert all(high + 1 == low for (_, high, _), (low, _, _) in itertools.pairwise(rows))


def test_the_contact_sheet_shows_the_images(photos, records):
    for rows in (
        drawn_from_records(records, 2, seed=0),
        drawn_from_source(open_source(photos), 2, seed=0),
    ):
        assert len(rows) == 2
        for name, count, images in rows:
            assert len(images) == min(count, 8)
            assert count == {"a": 1, "b": 2, "c": 9}[name]
        page = np.asarray(contact_sheet(rows, "a title"))
        shown = rows[-1][2][0]
        # The image is on the page, pixel by pixel.
        found = (page == shown[0, 0]).all(axis=-1)
        assert found.sum() >= 112 * 112
    with pytest.raises(ValueError, match="at least one person"):
        contact_sheet([], "empty")


def brute_force(embedding, names, identities, least, lead):
    unit = embedding.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    pairs, wrong = set(), set()
    for i in range(len(unit)):
        for j in range(i + 1, len(unit)):
            if unit[i] @ unit[j] >= least:
                pairs.add((names[i], names[j]))
        own = [k for k in range(len(unit)) if identities[k] == identities[i] and k != i]
        if not own:
            continue
        means = {}
        for person in set(identities):
            rows = [k for k in range(len(unit)) if identities[k] == person and k != i]
            if rows:
                mean = unit[rows].sum(axis=0)
                means[person] = unit[i] @ mean / np.linalg.norm(mean)
        nearest = max((p for p in means if p != identities[i]), key=means.get)
        if means[nearest] > means[identities[i]] + lead:
            wrong.add((names[i], nearest))
    return pairs, wrong


@pytest.mark.parametrize("count", [40, 700])
def test_suspects_equal_those_of_a_plain_loop(count):
    rng = np.random.default_rng(count)
    people = 6
    centers = rng.normal(size=(people, 16))
    person = rng.integers(0, people, count)
    embedding = (centers[person] + rng.normal(size=(count, 16))).astype(np.float32)
    embedding[7] = embedding[3] * 2
    identities = [f"p{label}" for label in person]
    identities[5] = f"p{(person[5] + 1) % people}"
    names = [f"{identity}/{i}" for i, identity in enumerate(identities)]
    found = find_suspects(embedding, names, identities, 0.9, 0.05)
    pairs, wrong = brute_force(embedding, names, identities, 0.9, 0.05)
    assert {(pair.first, pair.second) for pair in found.near_duplicates} == pairs
    assert (names[3], names[7]) in pairs
    assert {(image.name, image.looks_like) for image in found.mislabelled} == wrong
    assert names[5] in {name for name, _ in wrong}
    assert found.near_duplicates[0].cosine == pytest.approx(1, abs=1e-5)


def test_suspects_of_wrong_input():
    with pytest.raises(ValueError, match="equally long"):
        find_suspects(np.zeros((2, 3)), ["a"], ["b", "c"])
    with pytest.raises(ValueError, match="must be finite"):
        find_suspects(np.full((1, 3), np.nan), ["a"], ["b"])
    assert find_suspects(np.ones((1, 3)), ["a"], ["b"]).mislabelled == []
