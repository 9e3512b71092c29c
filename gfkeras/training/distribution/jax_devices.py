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
# Start of the names of class centers in heads and in `CenterLoss`, and of other variables that a
# head has for each center, such as its own momentum.
CENTERS = "centers"


class JaxDevices(Distribution):
    """Divides each batch, and optionally the class centers, among the JAX devices of a process.

    Every device has the model and gets an equal part of each batch. XLA works on whole arrays and
    adds the communication. Batch normalisation, losses and heads therefore see the global batch,
    and the results equal those of one device except for the order of sums.

    With `model_parallel` = M, the devices form a grid of (devices / M) × M. The centers, their
    momentum and the logits are split into M parts along the identities, and each row of the grid
    has one copy. No device holds all centers. The M devices of a row exchange embeddings instead.
    JAX can only split into equal parts. If M does not divide the number of identities, the centers
    are split along the embedding. The memory for centers and momentum is the same, but each device
    then holds its row's logits for all identities.

    One process must drive all devices. Several processes of `keras.distribution.initialize` are not
    supported: `fit` would need a different part of the data in each process, and a process could
    save only its own part of the centers.

    If the replicas do not divide a batch in `predict` or `evaluate`, Keras fails and leaves the
    model without weights. Call them with a batch size and a number of images that the replicas
    divide. `gfkeras.training` does this for you.

    Args:
        model_parallel: M, the number of devices that share one copy of the centers. With 1, every
            device has its own copy.
        devices: names from `keras.distribution.list_devices`, such as "gpu:0". The default is all
            devices of the default kind. XLA_FLAGS=--xla_force_host_platform_device_count=4 turns a
            CPU into four devices.

    Raises:
        ValueError: without JAX or in one of several processes. Also for devices that do not exist
            or are named twice, or if `model_parallel` does not divide their number. `dataset`
            raises it for batches, and building a head for centers, that cannot be split equally.

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
        """Sets this distribution in Keras inside the block and restores the earlier one after it.

        It applies to the thread that enters the block.
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
        # A sampler gives only full batches.
        rest = 0 if batches.sampler is not None else len(batches.labels) % size
        if not batches.drop_remainder and rest % self.num_replicas:
            raise ValueError(
                f"`drop_remainder` must be true if the {self.num_replicas} replicas cannot share "
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
    """Divides batches among all devices and splits class centers along the mesh's axis "model".

    The layouts of Keras would divide a batch only among the rows of the mesh. All devices of a row
    would then compute the same embeddings. XLA would also count the gradients of depthwise kernels
    once for each copy of the batch (seen with jax 0.10.2). A LayoutMap alone is not enough, because
    it selects variables by path and does not know their shapes. Optimizer slots have the layout of
    their variable.
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
        # Each device gets the embeddings of its row of the mesh. If the centers are split along the
        # embedding, it gets only the dimensions of its part. Sending (B, D) embeddings avoids
        # sending (N, D) centers.
        if path == BESIDE_CENTERS:
            axes = (BATCH_AXIS, MODEL_AXIS if self._along_embedding else None)
            return keras.distribution.TensorLayout(axes, self.device_mesh)
        return super().get_tensor_layout(path)


class _DataLayout(keras.distribution.TensorLayout):
    """A layout with the first axis split along all axes of the mesh.

    TensorLayout cannot express this.
    """

    @property
    def backend_layout(self) -> Any:
        from jax.sharding import NamedSharding, PartitionSpec

        return NamedSharding(self.device_mesh.backend_mesh, PartitionSpec(self.axes))


def _center_axes(shape: tuple[int, ...], parts: int) -> tuple[str | None, ...]:
    """Returns the mesh axis for each axis of centers, (N, D) or (N, K, D)."""
    for axis in (0, len(shape) - 1):
        if shape[axis] % parts == 0:
            return tuple(MODEL_AXIS if i == axis else None for i in range(len(shape)))
    below = shape[0] - shape[0] % parts
    works = [str(n) for n in (below, below + parts) if n]
    raise ValueError(
        f"`training.model_parallel` must divide the number of identities, num_classes={shape[0]}, "
        f"or the embedding's {shape[-1]} dimensions; num_classes {' or '.join(works)} would work. "
        f"Received: {parts}"
    )


def _checked_devices(devices: Sequence[str] | None) -> list[str]:
    """Returns the devices' names in Keras' spelling. Raises ValueError for unknown devices."""
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
        # JAX raises RuntimeError for a kind of device that it does not have or know.
        with contextlib.suppress(RuntimeError):
            present += keras.distribution.list_devices(kind)
    missing = [name for name in names if name not in present]
    if missing:
        raise ValueError(
            f"`devices` must be among {', '.join(present)}. Received: {', '.join(missing)}"
        )
    return names
