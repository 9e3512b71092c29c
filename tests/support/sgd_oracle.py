"""Reference SGD for optimizers, and access to their variables."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

RATE, MOMENTUM, DECAY = 0.1, 0.9, 0.02


def values(variable: Any) -> np.ndarray:
    return ops.convert_to_numpy(variable)


def sgd_oracle(w, m, g, mode, decay, nesterov):
    """Returns the weights and momentum after one step of SGD with momentum."""
    if mode == "l2":
        g = g + decay * w
    if mode == "decoupled":
        w = w - RATE * decay * w
    m = MOMENTUM * m - RATE * g
    return (w + MOMENTUM * m - RATE * g if nesterov else w + m), m
