"""TF_CONFIG and the devices of a recipe."""

from __future__ import annotations

import json

import keras
import pytest

from gfkeras.training import Recipe, train
from gfkeras.training.distribution import Cluster, open_distribution
from gfkeras.training.recipe_sections import TrainingSection

WORKERS = ["10.0.0.1:2222", "10.0.0.2:2222"]


def config(cluster=None, **task) -> str:
    return json.dumps({"cluster": cluster or {"worker": WORKERS}, "task": task})


def test_workers_and_a_chief_beside_them():
    cluster = Cluster.parse(config(type="worker", index=1))
    assert cluster == Cluster(tuple(WORKERS), 1)
    assert not cluster.is_chief
    jobs = {"chief": ["a:1"], "worker": ["b:2", "c:3"]}
    assert Cluster.parse(config(jobs, type="chief", index=0)) == Cluster(("a:1", "b:2", "c:3"), 0)
    last = Cluster.parse(config(jobs, type="worker", index=1))
    assert (last.index, last.is_chief) == (2, False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "needs the environment variable TF_CONFIG"),
        ("{worker", "TF_CONFIG is not JSON"),
        ("[]", "must be a JSON object"),
        (json.dumps({"cluster": {"worker": WORKERS}}), "task = None"),
        (config(index=2), r"`task.index` must be from 0 to 1.*Received: 2"),
        (config(index=-1), r"Received: -1"),
        (config(index="0"), r"Received: '0'"),
        (config(index=True), r"Received: True"),
        (config(type="chief", index=0), r"`task.type` must be one of \['worker'\]"),
        (config({"ps": ["a:1"]}, index=0), r"Received: \['ps'\]"),
        (config({"worker": []}, index=0), r"`cluster.worker` must be a list"),
        (config({"worker": ["no port"]}, index=0), r"Received: 'no port'"),
    ],
)
def test_a_tf_config_that_does_not_fit_is_named(text, message):
    with pytest.raises(ValueError, match=message) as error:
        Cluster.parse(text)
    assert "\n" not in str(error.value)


on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="strategies of TensorFlow"
)


@on_tensorflow
@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"strategy": "mirrored", "devices": 64},
            r"at most \d+, the number of devices.*Received: 64",
        ),
        ({"strategy": "mirrored", "devices": ["GPU:7"]}, r"CPU:0.*Received: 'GPU:7'"),
        ({"strategy": "mirrored", "model_parallel": 2}, "needs KERAS_BACKEND=jax"),
        ({"devices": 2}, r'`training.devices` needs training.strategy = "mirrored"'),
        ({"model_parallel": 2}, r'`training.model_parallel` needs training.strategy = "mirrored"'),
        ({"strategy": "multi-worker"}, "needs the environment variable TF_CONFIG"),
    ],
)
def test_devices_that_are_not_there(keys, message, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match=message):
        open_distribution(TrainingSection(**keys))


def test_workers_do_not_train_each_for_itself(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config(type="worker", index=0))
    for strategy in ("none", "mirrored"):
        with pytest.raises(ValueError, match=r"2 workers: expected training\.strategy"):
            open_distribution(TrainingSection(strategy=strategy))
    monkeypatch.setenv("TF_CONFIG", config({"worker": WORKERS[:1]}, type="worker", index=0))
    assert open_distribution(TrainingSection()).num_replicas == 1


def test_a_batch_that_the_replicas_cannot_share(tmp_path, tiny_faces, recipe_tables, monkeypatch):
    distribution = open_distribution(TrainingSection())
    distribution.num_replicas = 3
    monkeypatch.setattr("gfkeras.training.trainer.open_distribution", lambda section: distribution)
    with pytest.raises(ValueError, match=r"`training.batch_size` must be a multiple of the 3 repl"):
        train(Recipe.parse(recipe_tables), tiny_faces, tmp_path / "run", verbose=0)
    assert not (tmp_path / "run").exists()
