"""Cleaning on planted angles: the kept images, the written files and the errors."""

from __future__ import annotations

import csv
import json

import keras
import numpy as np
import pytest
from coloured_people import DROPPED, IMAGES, PEOPLE, colour
from PIL import Image

from gfkeras.data import FaceFolder, RecordSet
from gfkeras.data.prepare import prepare
from gfkeras.experiments.cleaning import clean
from gfkeras.experiments.cleaning.sub_centers import automatic_angle
from gfkeras.files import tree_sha256
from gfkeras.training import Recipe


def kept_names() -> set[str]:
    every = {f"{person}/{i}.png" for person, images in IMAGES.items() for i in range(len(images))}
    return every - set(DROPPED)


def test_the_kept_set_is_exact_and_the_photos_stay(photos, planted_run, tmp_path):
    before = tree_sha256(photos)
    result = clean(planted_run, FaceFolder(photos), tmp_path / "out")
    assert {image.image: image.looks_like for image in result.dropped} == DROPPED
    assert result.manifest.read_text().split() == sorted(kept_names())
    assert [image.angle for image in result.dropped] == pytest.approx([125, 118, 76], abs=0.5)
    assert [image.looks_like_angle for image in result.dropped] == pytest.approx(
        [5, 2, 44], abs=0.5
    )
    assert result.centers.dominant.tolist() == [1, 1, 1]
    assert result.centers.share.tolist() == pytest.approx([4 / 6, 4 / 5, 2 / 3])
    assert result.emptied == []
    assert tree_sha256(photos) == before


def test_the_report_says_what_was_dropped(photos, planted_run, tmp_path):
    out = tmp_path / "out"
    result = clean(planted_run, FaceFolder(photos), out)
    with (out / "dropped.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["eve/2.png", "ann/4.png", "bob/3.png"]
    assert float(rows[0]["angle"]) == pytest.approx(125, abs=0.5)
    assert {row["image"]: row["looks_like"] for row in rows} == DROPPED
    with (out / "classes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["identity"], row["images"], row["dropped"]) for row in rows] == [
        ("ann", "6", "1"), ("bob", "5", "1"), ("eve", "3", "1")
    ]  # fmt: skip
    report = json.loads((out / "report.json").read_text())
    assert (report["images"], report["kept"], report["sub_centers"]) == (14, 11, 3)
    assert [row["dominant_share"] for row in report["classes"]] == pytest.approx(
        [4 / 6, 4 / 5, 2 / 3], abs=1e-4
    )
    assert Image.open(out / "angles.png").width > 1000
    (sheet,) = result.sheets
    page = np.asarray(Image.open(sheet)).astype(int)
    # The first row: eve's image that looks like ann, then images of eve, then of ann.
    height = page.shape[0] - 100
    tiles = [page[height // 3 - 20 + 40, 16 + 210 + 118 * i + 56] for i in range(7)]
    expected = [5, 240, 238, None, 0, 10, -20]
    for tile, degrees in zip(tiles, expected, strict=True):
        wanted = np.full(3, 255) if degrees is None else colour(degrees)[0, 0]
        np.testing.assert_allclose(tile, wanted, atol=6)


@pytest.mark.parametrize(("angle", "count"), [(73, 4), (77, 2), (130, 0)])
def test_the_angle_is_an_argument(photos, planted_run, tmp_path, angle, count):
    result = clean(planted_run, FaceFolder(photos), tmp_path / "out", angle=angle)
    assert len(result.dropped) == count
    assert len(FaceFolder(photos, images=result.manifest)) == 14 - count


def test_an_automatic_angle_cuts_between_the_heaps(photos, planted_run, tmp_path):
    result = clean(planted_run, FaceFolder(photos), tmp_path / "out", angle="auto")
    angles = result.centers.angles
    assert result.angle == automatic_angle(angles)[0]
    # Ten images are at up to 60 degrees, one is at 74, and three are beyond.
    assert {image.image for image in result.dropped} == {*DROPPED, "ann/5.png", "ann/3.png"}
    assert "two heaps" in result.notes[-1]


def turn_away(planted, first: int) -> None:
    """Turns the centers of identity `first` and later ones to a right angle with every image."""
    centers = keras.ops.convert_to_numpy(planted.head.centers).copy()
    centers[first:] = [0, 0, 1]
    planted.head.centers.assign(centers)


def test_an_identity_without_kept_images_is_reported(photos, planted_run, tmp_path, planted):
    turn_away(planted, 2)
    result = clean(planted_run, FaceFolder(photos), tmp_path / "out")
    assert result.emptied == ["eve"]
    assert result.to_json()["emptied"] == ["eve"]
    assert FaceFolder(photos, images=result.manifest).identities == ["ann", "bob"]


def test_an_angle_that_leaves_one_identity_is_refused(photos, planted_run, tmp_path, planted):
    turn_away(planted, 1)
    with pytest.raises(ValueError, match=r"at least two identities.*leaves 1 of 3"):
        clean(planted_run, FaceFolder(photos), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_photo_that_cannot_be_read_is_not_in_the_manifest(photos, planted_run, tmp_path):
    (photos / "bob" / "9.png").write_bytes(b"no picture")
    result = clean(planted_run, FaceFolder(photos), tmp_path / "out")
    assert set(result.manifest.read_text().split()) == kept_names()


def test_people_held_out_are_not_measured_and_stay(photos, planted_run, tmp_path, tables):
    Recipe.parse(tables, ["data.holdout_identities=1"]).write(planted_run / "recipe.toml")
    for number in range(3):
        (photos / "zoe").mkdir(exist_ok=True)
        (photos / "zoe" / f"{number}.png").write_bytes((photos / "ann" / "0.png").read_bytes())
    result = clean(planted_run, FaceFolder(photos), tmp_path / "out")
    assert result.identities == list(PEOPLE)
    names = set(result.manifest.read_text().split())
    assert names == kept_names() | {f"zoe/{number}.png" for number in range(3)}
    assert FaceFolder(photos, images=result.manifest).identities[-1] == "zoe"


def test_records_are_cleaned_without_copying_a_pixel(photos, planted_run, tmp_path):
    records = tmp_path / "records"
    prepare(photos, records, workers=1)
    before = tree_sha256(records)
    result = clean(planted_run, RecordSet(records), tmp_path / "out")
    kept = RecordSet(result.manifest)
    names = {kept.record(number).name for number in range(len(kept))}
    assert names == kept_names()
    assert {image.image: image.looks_like for image in result.dropped} == DROPPED
    assert tree_sha256(records) == before
    (shard,) = (split.file for split in kept.manifest.splits["train"].shards)
    assert (result.manifest / shard).samefile(records / shard)


def test_only_an_earlier_cleaning_is_replaced(photos, planted_run, tmp_path):
    records, out = tmp_path / "records", tmp_path / "out"
    prepare(photos, records, workers=1)
    (out / "cleaned").mkdir(parents=True)
    (out / "cleaned" / "notes.txt").write_text("by hand")
    with pytest.raises(ValueError, match="`out` must not hold a folder 'cleaned' that no"):
        clean(planted_run, RecordSet(records), out)
    prepare(photos, tmp_path / "other" / "cleaned", workers=1)
    with pytest.raises(ValueError, match="`out` must not hold a folder 'cleaned' that no"):
        clean(planted_run, RecordSet(records), tmp_path / "other")
    assert (out / "cleaned" / "notes.txt").read_text() == "by hand"
    (out / "cleaned" / "notes.txt").unlink()
    (out / "cleaned").rmdir()
    # An earlier cleaning is replaced completely, but not by a cleaning of its own records.
    for angle in (70, 75):
        result = clean(planted_run, RecordSet(records), out, angle=angle)
    assert RecordSet(result.manifest).manifest.options["selection"]["angle"] == 75
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    before = tree_sha256(out)
    with pytest.raises(ValueError, match="`out` must not be the folder that contains `data`"):
        clean(planted_run, RecordSet(result.manifest), out)
    assert tree_sha256(out) == before


def test_invalid_arguments_are_refused(photos, planted_run, tmp_path, tables):
    folder = FaceFolder(photos)

    def refused(match, source=planted_run, **arguments):
        with pytest.raises(ValueError, match=match):
            clean(source, folder, tmp_path / "out", **arguments)

    refused(r"`angle` must be in \[0, 180\) degrees.*angle=180", angle=180)
    refused("`angle` must be above 0", angle=0)
    refused("`angle` must be a number of degrees or 'auto'.*angle='best'", angle="best")
    refused("a run already has its own.*sub_centers=4", sub_centers=4)
    recipe = Recipe.parse(tables)
    refused("`sub_centers` must be at least 2.*sub_centers=1", recipe, sub_centers=1)
    cosface = Recipe.parse(tables | {"head": {"name": "CosFace"}})
    refused("CosFace, a head without them", cosface)
    one = Recipe.parse(tables | {"head": {"name": "SubCenterArcFace", "sub_centers": 1}})
    refused("`sub_centers` must be at least 2", one)
    Recipe.parse(tables | {"head": {"name": "ArcFace"}}).write(planted_run / "recipe.toml")
    refused("whose head ArcFace has no sub-centers")
    one.write(planted_run / "recipe.toml")
    refused("`sub_centers` must be at least 2")
    recipe.write(planted_run / "recipe.toml")
    folder = FaceFolder(photos, ["bob", "ann", "eve"])
    refused("`data` must hold the 3 people.*their order")
    assert not (tmp_path / "out").exists()
