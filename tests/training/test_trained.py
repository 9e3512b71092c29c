"""The classifier of a run, loaded from its checkpoint."""

from __future__ import annotations

import numpy as np
import pytest
from kept_run import write_run

from gfkeras.training import Recipe, load_classifier

NAMES = [f"person {i}" for i in range(6)]


@pytest.fixture
def kept(tmp_path, tiny_recipe):
    """The folder of a run after its first epoch, and the centers of its head."""
    # CenterLoss also has centers of this shape, which must not be taken for the head's.
    tiny_recipe["loss"].append({"name": "CenterLoss"})
    run = tmp_path / "run"
    classifier = write_run(run, Recipe.parse(tiny_recipe), NAMES)
    return run, np.asarray(classifier.head.centers)


def test_the_head_is_as_it_was(kept):
    run, centers = kept
    classifier, identities = load_classifier(run)
    assert identities == NAMES
    np.testing.assert_array_equal(np.asarray(classifier.head.centers), centers)
    assert np.abs(centers).max() > 0


def test_folders_that_are_no_such_run_are_named(kept, tmp_path):
    run, _ = kept
    with pytest.raises(ValueError, match="`run` must be the folder of a run"):
        load_classifier(tmp_path)
    (run / "identities.txt").write_text("one fewer\n" * 5)
    with pytest.raises(ValueError, match="belongs to another model"):
        load_classifier(run)
    (run / "checkpoints").rename(run / "elsewhere")
    with pytest.raises(ValueError, match="`run` must hold a checkpoint"):
        load_classifier(run)
