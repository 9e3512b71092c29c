"""Distribution of faces over groups: the numbers, by epoch, and the faces on the sheet."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="plots need the extra 'plots'")

from gfkeras.experiments.figures import (
    GroupDistribution,
    GroupLog,
    SheetRow,
    group_distribution_figure,
    group_sheet_figure,
    group_training_figure,
    sheet_rows,
)


def logits(groups, sure=2.0, count=4):
    """Each face's group has the logit `sure`, the others 0."""
    return sure * np.eye(count)[np.asarray(groups)]


def test_shares_entropy_and_effective_groups():
    sure, other = np.exp(2.0) / (np.exp(2.0) + 3), 1 / (np.exp(2.0) + 3)
    found = GroupDistribution.of(logits([1, 1, 1, 3]))
    assert found.faces.tolist() == [0, 3, 0, 1]
    assert found.share.tolist() == [0, 0.75, 0, 0.25]
    mean = [other, (3 * sure + other) / 4, other, (sure + 3 * other) / 4]
    np.testing.assert_allclose(found.probability, mean, rtol=1e-12)
    assert found.order.tolist() == [1, 3, 0, 2]
    told = found.to_json()
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert told["entropy"] == pytest.approx(entropy)
    assert told["effective_groups"] == pytest.approx(np.exp(entropy))
    assert told["entropy_soft"] == pytest.approx(-sum(p * np.log(p) for p in mean))
    assert told["effective_groups_soft"] == pytest.approx(np.exp(told["entropy_soft"]))
    assert (told["images"], told["num_groups"], told["unused_groups"]) == (4, 4, 2)
    json.dumps(told)


def test_large_logits_and_wrong_shapes():
    np.testing.assert_allclose(GroupDistribution.of([[1000.0, 0]]).probability, [1, 0])
    for wrong in (np.zeros(3), np.zeros((0, 3)), np.zeros((3, 0))):
        with pytest.raises(ValueError, match="`group_logits` must have the shape"):
            GroupDistribution.of(wrong)


def test_the_bars_are_sorted_and_the_dots_belong_to_them():
    found = GroupDistribution.of(logits([2, 2, 2, 0, 0, 1]))
    axes = group_distribution_figure(found).axes[0]
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([3 / 6, 2 / 6, 1 / 6, 0])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "0", "1", "3"]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), found.probability[[2, 0, 1, 3]])
    assert axes.lines[1].get_ydata()[0] == 0.25
    assert axes.get_title(loc="left") == "6 faces in 4 groups, 1 of them unused"


def run_folder(folder, rows, groups=8):
    (folder / "last").mkdir(parents=True)
    (folder / "log.csv").write_text("\n".join(rows) + "\n")
    config = {"model": {"config": {"num_groups": groups}}}
    (folder / "last" / "config.json").write_text(json.dumps(config))
    return folder


def test_evenness_by_epoch(tmp_path):
    rows = ["epoch,effective_groups,loss,effective_groups_soft", "1,2,9,4", "2,6.5,8,7.5"]
    log = GroupLog.read(run_folder(tmp_path / "even", rows))
    assert (log.num_groups, log.epochs.tolist()) == (8, [1, 2])
    assert log.to_json()["entropy"] == pytest.approx([np.log(2), np.log(6.5)])
    assert log.to_json()["effective_groups_soft"] == [4, 7.5]
    left, right = group_training_figure({"even": log, "other": log}).axes
    assert left.lines[0].get_xydata().tolist() == [[1, 2], [2, 6.5]]
    assert left.lines[1].get_ydata().tolist() == [4, 7.5]
    # The right axis is the logarithm of the left one.
    np.testing.assert_allclose(right.get_ylim(), np.log(left.get_ylim()))
    assert left.get_ylim()[1] > 8


def test_runs_without_groups(tmp_path):
    with pytest.raises(ValueError, match=r"`run` must be a folder that .*with log\.csv"):
        GroupLog.read(tmp_path)
    with pytest.raises(ValueError, match=r"column effective_groups\. .*with epoch, loss"):
        GroupLog.read(run_folder(tmp_path / "plain", ["epoch,loss", "1,2"]))
    damaged = ["epoch,effective_groups,effective_groups_soft", "1,2,3", "2,x,3"]
    with pytest.raises(ValueError, match=r"log\.csv is damaged"):
        GroupLog.read(run_folder(tmp_path / "damaged", damaged))
    with pytest.raises(ValueError, match="`runs` must be from 1 to 6"):
        group_training_figure({})


def test_a_sheet_shows_many_people_of_each_used_group():
    groups = [1] * 6 + [0] * 2
    people = [7, 7, 7, 7, 8, 9, 3, 3]
    scores = logits(groups, count=3) + np.arange(8)[:, None] * np.eye(3)[groups] / 10
    rows = sheet_rows(scores, people, columns=3, order="certain")
    assert [(row.group, row.faces, row.share) for row in rows] == [(1, 6, 0.75), (0, 2, 0.25)]
    # The surest face of person 7 comes first. A person's second image comes after other people.
    assert rows[0].shown == [5, 4, 3]
    assert rows[1].shown == [7, 6]
    drawn = sheet_rows(scores, people, columns=3, seed=1)
    assert drawn == sheet_rows(scores, people, columns=3, seed=1)
    assert {people[i] for i in drawn[0].shown} == {7, 8, 9}
    with pytest.raises(ValueError, match="'certain'"):
        sheet_rows(scores, people, order="certian")
    with pytest.raises(ValueError, match="`labels` must have one entry for each of the 8"):
        sheet_rows(scores, people[:7])


def test_the_sheet_reads_the_faces_it_shows(tmp_path):
    read = []

    def reader(path):
        read.append(path.name)
        return np.full((4, 4, 3), 50 * len(read), np.uint8)

    rows = [SheetRow(5, 0.75, 3, [2, 0]), SheetRow(1, 0.25, 1, [3])]
    figure = group_sheet_figure(rows, [tmp_path / name for name in "abcd"], reader, 8)
    assert read == ["c", "a", "d"]
    assert [int(axes.images[0].get_array()[0, 0, 0]) for axes in figure.axes] == [50, 100, 150]
    texts = [text.get_text() for text in figure.texts]
    assert texts == [
        "4 faces: 2 of 8 groups are used", "Group 5", "3 (75.0%)", "Group 1", "1 (25.0%)",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="`rows`"):
        group_sheet_figure([], [], reader, 8)
