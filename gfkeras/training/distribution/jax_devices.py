"""Training on several devices of one process with JAX."""

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras

from gfkeras.data import FaceBatches
from gfkeras.errors import positive_int
from gfkeras.layers.replica import BESIDE_CENTERS
from gfkeras.training.distribution.distribution import Distribution

BATCH_AXIS, MODEL_AXIS = "batch", "model"
# How the last part of the path of class centers begins: those of heads and of `CenterLoss`,
# and what a head keeps for each of them, such as a momentum of its own.
CENTERS = "centers"


class JaxDevices(Distribution):
    """Shares each batch, and if wanted the class centers, among the JAX devices of a process.

    Every device holds the model and takes an equal part of each batch. XLA sees whole
    arrays and adds the communication, so that batch normalisation, losses and heads see
    the global batch, and results are those of one device but for the order of sums.

    With `model_parallel` = M the devices stand in a grid of (devices / M) × M. The centers,
    their momentum and the logits are cut into M parts along the identities, so that no device
    ever holds all of them; the M devices of a row exchange embeddings instead. Each row holds
    a copy. JAX cuts into equal parts only: where M does not divide the number of identities,
    centers are cut along the embedding instead. That takes as little memory for centers and
    momentum, but each device then holds its row's logits for all identities.

    One process drives all devices. In one of several processes, after
    `keras.distribution.initialize`, a ValueError says that this is not supported: `fit`
    would want each process's own part of the data, and a saver sees only its own part of
    the centers.

    Keras leaves a model without weights when `predict` or `evaluate` fails on a batch that
    the replicas do not divide: give them a `batch_size` and a number of images that do.
    Within `gfkeras.training` that is seen to.

    Args:
        model_parallel: M, how many devices share one copy of the centers; 1 gives every
            device a copy of its own.
        devices: names as of `keras.distribution.list_devices`, such as "gpu:0"; all devices
            of the default kind if left out. On a CPU
            XLA_FLAGS=--xla_force_host_platform_device_count=4 gives four.

    Raises:
        ValueError: without JAX, in one of several processes, for devices that are not there or
            named twice, for a `model_parallel` that does not divide their number; when a head is
            built, for centers, and in `dataset`, for batches that cannot be cut equally.

    Example:
        distribution = JaxDevices(model_parallel=2)
        with distribution.scope():
            classifier = FaceClassifier(GroupFace(MobileFaceNet()), ArcFace(num_classes=85742))
            classifier.compile(keras.optimizers.SGD(0.1, momentum=0.9))
            classifier.fit(distribution.dataset(batches, epochs=20, first_step=0), epochs=20)
    """

    def __init__(self, model_parallel: int = 1, devices: Sequence[str] | None = None):
        self.model_parallel = positive_int("training.model_parallel", model_parallel)
        if keras.backend.backend() != "jax":
            raise ValueError(
                "Training on several devices with keras.distribution needs KERAS_BACKEND=jax. "
                f"Received: the backend {keras.backend.backend()!r}"
            )
        self.devices = _checked_devices(devices)
        count = len(self.devices)
        if count % model_parallel:
            divisors = [str(m) for m in range(1, count + 1) if count % m == 0]
            raise ValueError(
                f"`training.model_parallel` must divide the number of devices, {count}: expected "
                f"{', '.join(divisors)}. Received: {model_parallel}"
            )
        self.num_replicas = count
        if model_parallel == 1:
            self._keras: Any = keras.distribution.DataParallel(devices=self.devices)
        else:
            grid = (count // model_parallel, model_parallel)
            mesh = keras.distribution.DeviceMesh(grid, (BATCH_AXIS, MODEL_AXIS), self.devices)
            self._keras = _CentersParallel(mesh)
        if self._keras.num_processes > 1:
            raise ValueError(
                "Training on JAX is supported in one process, which drives all its devices. "
                f"Received: {self._keras.num_processes} processes of keras.distribution.initialize"
            )

    def scope(self) -> AbstractContextManager[Any]:
        """Makes this the distribution of Keras; on leaving, the earlier one comes back.

        It holds in the thread that enters it.
        """
        return self._keras.scope()

    def dataset(self, batches: FaceBatches, epochs: int, first_step: int = 0) -> Any:
        size = batches.batch_size
        if size % self.num_replicas:
            below = size - size % self.num_replicas
            works = [str(n) for n in (below, below + self.num_replicas) if n]
            raise ValueError(
                f"`training.batch_size` must be a multiple of the {self.num_replicas} replicas, "
                f"such as {' or '.join(works)}. Received: {size}"
            )
        rest = 0 if batches.sampler is not None else len(batches.labels) % size
        if not batches.drop_remainder and rest % self.num_replicas:
            raise ValueError(
                f"`drop_remainder` must be set where the {self.num_replicas} replicas cannot share "
                f"the last batch. Received: a last batch of {rest} images"
            )
        return super().dataset(batches, epochs, first_step)

    def describe(self) -> str:
        count, kind = len(self.devices), self.devices[0].partition(":")[0].upper()
        text = f"{count} {kind} device{'' if count == 1 else 's'}"
        if self.model_parallel > 1:
            text += f", centers over {self.model_parallel} of them"
        return text


class _CentersParallel(keras.distribution.ModelParallel):
    """Shares batches among all devices and cuts class centers along the axis "model" of the mesh.

    Keras' own layouts would share a batch among the rows of the mesh only, and all devices of
    a row would compute the same embeddings; with batches copied so, XLA also counts the
    gradients of depthwise kernels once for each copy (seen with jax 0.10.2). A LayoutMap goes
    by the paths of variables and knows no shapes. Optimizer slots have the layout of the
    variable they belong to.
    """

    def __init__(self, mesh: keras.distribution.DeviceMesh):
        layout_map = keras.distribution.LayoutMap(mesh)
        super().__init__(layout_map=layout_map, batch_dim_name=BATCH_AXIS)
        self._along_embedding = False

    @property
    def num_model_replicas(self) -> int:
        return self.device_mesh.devices.size

    def get_data_layout(self, data_shape: Sequence[int]) -> Any:
        return _DataLayout((BATCH_AXIS, MODEL_AXIS), self.device_mesh)

    def get_variable_layout(self, variable: Any) -> Any:
        name, shape = variable.path.rpartition("/")[2], tuple(variable.shape)
        if len(shape) > 1 and (name == CENTERS or name.startswith(f"{CENTERS}_")):
            axes = _center_axes(shape, self.device_mesh.devices.shape[1])
            self._along_embedding |= axes[-1] is not None
            return keras.distribution.TensorLayout(axes, self.device_mesh)
        return super().get_variable_layout(variable)

    def get_tensor_layout(self, path: str) -> Any:
        # Each device of a row of the mesh gets the row's embeddings, or of all of them the part
        # that meets its part of the centers: (B, D) is sent instead of centers (N, D).
        if path == BESIDE_CENTERS:
            axes = (BATCH_AXIS, MODEL_AXIS if self._along_embedding else None)
            return keras.distribution.TensorLayout(axes, self.device_mesh)
        return super().get_tensor_layout(path)


class _DataLayout(keras.distribution.TensorLayout):
    """The first axis cut along all axes of the mesh at once, which TensorLayout cannot say."""

    @property
    def backend_layout(self) -> Any:
        from jax.sharding import NamedSharding, PartitionSpec

        return NamedSharding(self.device_mesh.backend_mesh, PartitionSpec(self.axes))


def _center_axes(shape: tuple[int, ...], parts: int) -> tuple[str | None, ...]:
    """The mesh axis that each axis of centers (N, D) or (N, K, D) is cut along."""
    for axis in (0, len(shape) - 1):
        if shape[axis] % parts == 0:
            return tuple(MODEL_AXIS if i == axis else None for i in range(len(shape)))
    below = shape[0] - shape[0] % parts
    works = [str(n) for n in (below, below + parts) if n]
    raise ValueError(
        f"`training.model_parallel` must divide the number of identities, num_classes={shape[0]}, "
        f"or the embedding's {shape[-1]} dimensions; num_classes {' or '.join(works)} would do. "
        f"Received: {parts}"
    )


def _checked_devices(devices: Sequence[str] | None) -> list[str]:
    """The names as Keras has them."""
    present = list(keras.distribution.list_devices())
    if devices is None:
        return present
    names = [str(name).lower() for name in devices]
    if not names or len(set(names)) < len(names):
        raise ValueError(
            "`devices` must name one device or more, each once. "
            f"Received: {[str(name) for name in devices]}"
        )
    kinds = {name.partition(":")[0] for name in names}
    if len(kinds) > 1:
        raise ValueError(f"`devices` must be of one kind. Received: {names}")
    for kind in sorted(kinds - {name.partition(":")[0] for name in present}):
        # JAX's answer for a kind of device that it does not have or know.
        with contextlib.suppress(RuntimeError):
            present += keras.distribution.list_devices(kind)
    missing = [name for name in names if name not in present]
    if missing:
        raise ValueError(
            f"`devices` must be among {', '.join(present)}. Received: {', '.join(missing)}"
        )
    return names
