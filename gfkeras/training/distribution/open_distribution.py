"""Selection of the distribution that a recipe asks for."""

import json
import os

import keras

from gfkeras.training.distribution.distribution import Distribution
from gfkeras.training.distribution.jax_devices import JaxDevices
from gfkeras.training.distribution.tensorflow_replicas import TensorFlowReplicas
from gfkeras.training.recipe_sections import TrainingSection


def open_distribution(section: TrainingSection) -> Distribution:
    """Returns the distribution for `strategy`, `devices` and `model_parallel` of [training].

    Raises:
        ValueError: if devices or workers do not exist, if TF_CONFIG does not fit, or if the backend
            does not have the strategy.
    """
    backend = keras.backend.backend()
    if section.strategy == "none":
        _require_no_cluster()
        if section.devices is not None or section.model_parallel > 1:
            key = "devices" if section.devices is not None else "model_parallel"
            raise ValueError(
                f'`training.{key}` needs training.strategy = "mirrored". '
                f'Received: {getattr(section, key)!r} with strategy = "none"'
            )
        return Distribution()
    if backend == "tensorflow":
        if section.model_parallel > 1:
            raise ValueError(
                "`training.model_parallel` needs KERAS_BACKEND=jax. On TensorFlow, every replica "
                f"holds all centers. Received: {section.model_parallel}"
            )
        if section.strategy == "multi-worker":
            return TensorFlowReplicas.multi_worker()
        _require_no_cluster()
        return TensorFlowReplicas.mirrored(section.devices)
    if backend == "jax" and section.strategy == "mirrored":
        return JaxDevices(section.model_parallel, _jax_devices(section.devices))
    raise ValueError(
        f'`training.strategy` "{section.strategy}" needs KERAS_BACKEND=tensorflow'
        + (' or, for "mirrored", jax' if section.strategy == "mirrored" else "")
        + f". Received: {backend}"
    )


def _jax_devices(devices: int | list[str] | None) -> list[str] | None:
    if not isinstance(devices, int):
        return devices
    present = list(keras.distribution.list_devices())
    if devices > len(present):
        raise ValueError(
            f"`training.devices` must be at most {len(present)}, the number of devices "
            f"({', '.join(present)}). Received: {devices}"
        )
    return present[:devices]


def _require_no_cluster() -> None:
    """Raises ValueError if TF_CONFIG names several workers.

    Without the strategy "multi-worker", each of them would train alone and overwrite the others'
    run.
    """
    try:
        workers = json.loads(os.environ.get("TF_CONFIG") or "{}")["cluster"]["worker"]
    except (ValueError, KeyError, TypeError):
        return
    if isinstance(workers, list) and len(workers) > 1:
        raise ValueError(
            f'TF_CONFIG names {len(workers)} workers: expected training.strategy = "multi-worker"'
        )
