"""Training with `tf.distribute` on several devices or in several processes."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from gfkeras.data import FaceBatches
from gfkeras.data.tf_dataset import tf_dataset
from gfkeras.training.distribution.distribution import Distribution

if TYPE_CHECKING:
    import tensorflow as tf

_ADDRESS = re.compile(r"\S+:\d{1,5}")


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Processes that train together.

    Attributes:
        addresses: host:port of each process, the chief first.
        index: index of this process.
    """

    addresses: tuple[str, ...]
    index: int

    @classmethod
    def parse(cls, text: str | None) -> Cluster:
        """Reads the value of the environment variable TF_CONFIG.

        Args:
            text: JSON, `{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task":
                {"type": "worker", "index": 0}}`. Only the index differs between the processes. A
                "chief" in addition to the workers also trains.

        Raises:
            ValueError: in one line, if a part is missing, not JSON or out of range.
        """
        if not text:
            raise ValueError(
                "`training.strategy` multi-worker needs the environment variable TF_CONFIG with "
                "the addresses of the workers and the index of this one. Received: none"
            )
        try:
            config = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"TF_CONFIG is not JSON: {error}. Received: {text!r}") from None
        jobs = _part(config, "cluster")
        unknown = sorted(set(jobs) - {"chief", "worker"})
        if unknown or not jobs:
            raise ValueError(
                "TF_CONFIG: `cluster` must name workers, as a list of host:port under 'worker'. "
                f"Received: {unknown or 'no job'}"
            )
        for job, addresses in jobs.items():
            if not isinstance(addresses, list) or not addresses:
                raise ValueError(
                    f"TF_CONFIG: `cluster.{job}` must be a list of host:port. "
                    f"Received: {addresses!r}"
                )
            for address in addresses:
                if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
                    raise ValueError(
                        f"TF_CONFIG: `cluster.{job}` must hold addresses such as "
                        f"'10.0.0.1:2222'. Received: {address!r}"
                    )
        task = _part(config, "task")
        job, index = task.get("type", "worker"), task.get("index")
        if job not in jobs:
            raise ValueError(
                f"TF_CONFIG: `task.type` must be one of {sorted(jobs)}. Received: {job!r}"
            )
        count = len(jobs[job])
        # In Python, True and False are integers too.
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < count:
            raise ValueError(
                f"TF_CONFIG: `task.index` must be from 0 to {count - 1}, the {count} of "
                f"`cluster.{job}`. Received: {index!r}"
            )
        # TensorFlow numbers the chief first and then the workers.
        chiefs = jobs.get("chief", [])
        before = len(chiefs) if job == "worker" else 0
        return cls((*chiefs, *jobs.get("worker", [])), before + index)

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the files of the run."""
        return self.index == 0


def _part(config: Any, key: str) -> dict[str, Any]:
    part = config.get(key) if isinstance(config, dict) else None
    if not isinstance(part, dict):
        raise ValueError(
            f"TF_CONFIG must be a JSON object with the objects `cluster` and `task`. "
            f"Received: {key} = {part!r}"
        )
    return part


_DEVICE = re.compile(r"/?(?:device:)?(CPU|GPU):(\d+)", re.IGNORECASE)


class TensorFlowReplicas(Distribution):
    """Copies of the model that `tf.distribute` keeps equal.

    Use `mirrored` or `multi_worker` to create one.

    Args:
        strategy: a strategy with synchronous replicas.
        cluster: the processes, or None for a single process.
    """

    def __init__(self, strategy: tf.distribute.Strategy, cluster: Cluster | None = None):
        self.strategy = strategy
        self.cluster = cluster
        self.num_replicas = strategy.num_replicas_in_sync
        self.is_chief = cluster is None or cluster.is_chief

    @classmethod
    def mirrored(cls, devices: int | Sequence[str] | None = None) -> TensorFlowReplicas:
        """Uses several devices of this process with `tf.distribute.MirroredStrategy`.

        Args:
            devices: the number of devices, or their names such as "GPU:0". The default is all
                visible GPUs, or all CPU devices without a GPU.

        Raises:
            ValueError: if the devices do not exist.
        """
        return cls(_mirrored_strategy(tuple(_chosen(devices))))

    @classmethod
    def multi_worker(cls) -> TensorFlowReplicas:
        """Uses the workers in TF_CONFIG with `tf.distribute.MultiWorkerMirroredStrategy`.

        It waits until all workers have started. Each uses all of its visible GPUs, or its CPU.

        Raises:
            ValueError: if TF_CONFIG is invalid, or if this process has already used TensorFlow.
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
        def of_worker(context: Any) -> Any:
            return tf_dataset(batches, epochs, first_step=first_step, input_context=context)

        return self.strategy.distribute_datasets_from_function(of_worker)

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
                f"The workers have different {name}: {found.tolist()}. All workers must share one "
                "folder `out` and use the same data and recipe"
            )

    def lost_worker(self, error: Exception) -> str | None:
        import tensorflow as tf

        # Depending on the moment, losing a worker ends in one of these errors.
        lost = (
            tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.DeadlineExceededError,
            tf.errors.InternalError, tf.errors.UnavailableError, tf.errors.UnknownError,
        )  # fmt: skip
        if self.cluster is None or not isinstance(error, lost):
            return None
        # The cause is below several screens of text about the place in the graph.
        lines = [line.strip() for line in str(error).splitlines()]
        cause = next((line for line in lines if "Collective ops is aborted by" in line), lines[0])
        return cause.partition("Collective ops is aborted by:")[2].strip() or cause

    def describe(self) -> str:
        if self.cluster is None:
            return f"{self.num_replicas} replicas"
        return f"{self.num_replicas} replicas on {len(self.cluster.addresses)} workers"


# The strategies are cached, because a process must not create a second one. TensorFlow numbers the
# exchanges of each strategy from 1 and remembers the kind of each number until the process ends. It
# would confuse the exchanges of a second strategy with those of the first.


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
                f"`training.devices` must be at most {len(known)}, the number of devices "
                f"({', '.join(map(_short, known))}). Received: {devices}"
            )
        return known[:devices]
    chosen = []
    for name in devices:
        if _short(name) not in present:
            raise ValueError(
                f"`training.devices` must be existing devices: {', '.join(present)}. "
                f"Received: {name!r}"
            )
        chosen.append(present[_short(name)])
    return chosen


def _short(name: str) -> str:
    """Returns the short name of a device, such as GPU:0 for /device:GPU:0."""
    match = _DEVICE.fullmatch(name)
    return f"{match[1].upper()}:{int(match[2])}" if match else name
