"""The parts of a `FaceClassifier`: the inputs of its losses, and their names in the logs."""

import re
import warnings
from typing import Any

import keras

from gfkeras.models.properties import symbolic_outputs

_WHO_GIVES = {
    "centers": "the centers of a `head`",
    "teacher_embedding": "a `teacher`",
    "group_logits": "a model with 'group_logits' among its outputs, such as GroupFace",
}


def samples_classes(head: Any) -> bool:
    """Returns whether a step trains only some of the head's centers, as with `PartialFC`."""
    return head is not None and head.samples < head.num_classes


def warn_of_bounds(head: Any) -> None:
    """Warns if the scale or the margin of a built head breaks a bound of CosFace."""
    for warning in [] if head is None else head.bound_warnings():
        warnings.warn(warning, stacklevel=3)


def count_classes(classifier: Any) -> int | None:
    """Returns the number of classes of the head and of each loss, or None if none has one."""
    losses = zip(classifier.extra_losses, classifier.loss_inputs, strict=True)
    parts = [classifier.head, *(loss for loss, inputs in losses if "labels" in inputs)]
    counts = [getattr(part, "num_classes", None) for part in parts]
    return min((count for count in counts if count is not None), default=None)


def set_directions(callbacks: Any, losses: list[str]) -> None:
    """Tells callbacks such as `EarlyStopping` whether a metric should grow or fall.

    Keras can infer this only for metrics that `compile` got. `losses` are names in the logs.
    """
    directions = {"identity_loss": "min", "accuracy": "max", **dict.fromkeys(losses, "min")}
    for callback in getattr(callbacks, "callbacks", keras.tree.flatten(callbacks)):
        if getattr(callback, "mode", None) == "auto":
            metric = callback.monitor.removeprefix("val_")
            callback.mode = directions.get(metric, "auto")


def build_parts(classifier: Any, outputs: dict[str, Any]) -> None:
    """Builds the head and the losses of a classifier.

    Args:
        classifier: a `FaceClassifier`.
        outputs: the symbolic outputs of its model by name.

    Raises:
        ValueError: if a loss needs an input that the classifier does not have, or if it does
            not fit the head or the teacher.
    """
    shapes = {key: tuple(value.shape) for key, value in outputs.items()}
    shapes["labels"] = (None,)
    if classifier.head is not None:
        if not classifier.head.built:
            classifier.head.build(shapes["embedding"])
        shapes["centers"] = tuple(classifier.head.centers.shape)
    if classifier.teacher is not None:
        taught = symbolic_outputs("teacher", classifier.teacher)["embedding"]
        shapes["teacher_embedding"] = tuple(taught.shape)
    head = type(classifier.head).__name__
    sampled = samples_classes(classifier.head)
    for loss, inputs in zip(classifier.extra_losses, classifier.loss_inputs, strict=True):
        name = type(loss).__name__
        for key in inputs:
            if key not in shapes:
                raise ValueError(
                    f"`extra_losses` {name} needs {_WHO_GIVES.get(key, key)}. "
                    f"Received: a classifier with {sorted(shapes)}"
                )
        if getattr(loss, "in_teacher_space", False):
            own, taught = (shapes[key][-1] for key in ("embedding", "teacher_embedding"))
            if own != taught:
                raise ValueError(
                    f"`teacher` must give embeddings with {own} numbers, as many as the model, "
                    f"for {name}. Received: a teacher with {taught}"
                )
        if "centers" in inputs and sampled:
            raise ValueError(
                f"`extra_losses` {name} takes all centers, but a training step of {head} has "
                f"only a sample. Received: {classifier.head.samples} of "
                f"{classifier.head.num_classes} classes"
            )
        if "centers" in inputs and len(shapes["centers"]) != 2:
            raise ValueError(
                f"`extra_losses` {name} needs a head with one center per identity. "
                f"Received: {head} with centers of shape {shapes['centers']}"
            )
        if isinstance(loss, keras.layers.Layer) and not loss.built:
            loss.build(*(shapes[key] for key in inputs))


def log_names(extra_losses: list[Any]) -> list[str]:
    """Returns the name of each loss in the logs.

    `TripletLoss` is called triplet_loss, and a second one triplet_loss_2.
    """
    names: list[str] = []
    for loss in extra_losses:
        base = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(loss).__name__).lower()
        earlier = sum(type(other) is type(loss) for other in extra_losses[: len(names)])
        names.append(f"{base}_{earlier + 1}" if earlier else base)
    return names
