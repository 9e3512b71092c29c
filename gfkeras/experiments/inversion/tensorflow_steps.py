"""Gradients and compiled steps on TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def value_and_gradient(function: Callable[..., Any], images: Any, *others: Any) -> Any:
    """The terms that `function` returns beside its loss, and the loss's gradient by `images`."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        loss, terms = function(images, *others)
    return terms, tape.gradient(loss, images)


def compiled(step: Callable[..., Any], variables: list[Any]) -> Callable[..., Any]:
    """The step as a graph, which holds its variables itself."""
    del variables
    graph = tf.function(step, autograph=False)
    return lambda *arguments: graph(*(tf.convert_to_tensor(value) for value in arguments))
