"""Training under `tf.distribute`, on several devices or several processes."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from gfkeras.data import FaceBatches
from gfkeras.data.dataset import tf_dataset
from gfkeras.training.distribution.cluster import Cluster
from gfkeras.training.distribution.distribution import Distribution

if TYPE_CHECKING:
    import tensorflow as tf

_DEVICE = re.compile(r"/?(?:device:)?(CPU|GPU):(\d+)", re.IGNORECASE)


class TensorFlowReplicas(Distribution):
    """Copies of the model that `tf.distribute` keeps alike.

    Use `mirrored` or `multi_worker` to make one.

    Args:
        strategy: a strategy of synchronous replicas.
        cluster: the processes, where there are several.
    """

    def __init__(self, strategy: tf.distribute.Strategy, cluster: Cluster | None = None):
        self.strategy = strategy
        self.cluster = cluster
        self.num_replicas = strategy.num_replicas_in_sync
        self.is_chief = cluster is None or cluster.is_chief

    @classmethod
    def mirrored(cls, devices: int | Sequence[str] | None = None) -> TensorFlowReplicas:
        """On several devices of this process, by `tf.distribute.MirroredStrategy`.

        Args:
            devices: how many, or their names such as "GPU:0"; all visible GPUs by default,
                or all CPU devices where there is no GPU.

        Raises:
            ValueError: for devices that are not there.
        """
        return cls(_mirrored_strategy(tuple(_chosen(devices))))

    @classmethod
    def multi_worker(cls) -> TensorFlowReplicas:
        """On the workers that TF_CONFIG names, by `tf.distribute.MultiWorkerMirroredStrategy`.

        Waits until all of them have started. Each uses all of its visible GPUs, or its CPU.

        Raises:
            ValueError: for a TF_CONFIG that does not describe them, or where TensorFlow has been
                used in this process already.
        """
        cluster = Cluster.parse(os.environ.get("TF_CONFIG"))
        try:
            strategy = _multi_worker_strategy()
        except RuntimeError as error:
            raise ValueError(
                "`training.strategy` multi-worker must be set up before TensorFlow is used in "
                f"the process: {str(error).splitlines()[0]}"
            ) from error
        return cls(strategy, cluster)

    def scope(self) -> AbstractContextManager[Any]:
        return self.strategy.scope()

    def dataset(self, batches: FaceBatches, epochs: int, first_step: int = 0) -> Any:
        return self.strategy.distribute_datasets_from_function(
            lambda context: tf_dataset(
                batches, epochs, first_step=first_step, input_context=context
            )
        )

    def require_equal(self, name: str, value: int) -> None:
        if self.cluster is None:
            return
        import tensorflow as tf

        mine = tf.constant([value], tf.int64)
        values = self.strategy.run(
            lambda: tf.distribute.get_replica_context().all_gather(mine, axis=0)
        )
        found = self.strategy.experimental_local_results(values)[0].numpy()
        if len(set(found.tolist())) > 1:
            raise ValueError(
                f"The workers have different {name}: {found.tolist()}. `out` must be one folder "
                "that all of them share, and data and recipe the same"
            )

    def lost_worker(self, error: Exception) -> str | None:
        import tensorflow as tf

        lost = (
            tf.errors.AbortedError,
            tf.errors.CancelledError,
            tf.errors.DeadlineExceededError,
            tf.errors.InternalError,
            tf.errors.UnavailableError,
            tf.errors.UnknownError,
        )
        if self.cluster is None or not isinstance(error, lost):
            return None
        # Above it stands where in the graph the exchange was, several screens of it.
        lines = [line.strip() for line in str(error).splitlines()]
        cause = next((line for line in lines if "Collective ops is aborted by" in line), lines[0])
        return cause.partition("Collective ops is aborted by:")[2].strip() or cause

    def describe(self) -> str:
        if self.cluster is None:
            return f"{self.num_replicas} replicas"
        return f"{self.num_replicas} replicas on {len(self.cluster.addresses)} workers"


# TensorFlow numbers the exchanges of each strategy from 1 and remembers for the life of the process
# what kind each number was: with a second strategy it would take one for another.


@functools.cache
def _mirrored_strategy(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(devices)


@functools.cache
def _multi_worker_strategy() -> tf.distribute.Strategy:
    import tensorflow as tf

    return tf.distribute.MultiWorkerMirroredStrategy()


def _chosen(devices: int | Sequence[str] | None) -> list[str]:
    import tensorflow as tf

    gpus = [device.name for device in tf.config.list_logical_devices("GPU")]
    cpus = [device.name for device in tf.config.list_logical_devices("CPU")]
    present = {_short(name): name for name in [*gpus, *cpus]}
    if devices is None:
        return gpus or cpus
    if isinstance(devices, int):
        known = gpus or cpus
        if devices > len(known):
            raise ValueError(
                f"`training.devices` must be at most the {len(known)} that are there "
                f"({', '.join(map(_short, known))}). Received: {devices}"
            )
        return known[:devices]
    chosen = []
    for name in devices:
        if _short(name) not in present:
            raise ValueError(
                f"`training.devices` must be devices that are there: {', '.join(present)}. "
                f"Received: {name!r}"
            )
        chosen.append(present[_short(name)])
    return chosen


def _short(name: str) -> str:
    """GPU:0 of /device:GPU:0."""
    match = _DEVICE.fullmatch(name)
    return f"{match[1].upper()}:{int(match[2])}" if match else name
