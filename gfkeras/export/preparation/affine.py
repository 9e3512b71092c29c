"""Affine maps y = x·W + b that compose into one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops


@dataclass(frozen=True, slots=True)
class Affine:
    """y = x·kernel + bias in float64, so that folding rounds once, at the end.

    Attributes:
        kernel: (inputs, outputs).
        bias: (outputs,).
    """

    kernel: np.ndarray
    bias: np.ndarray

    @classmethod
    def of_dense(cls, layer: Any) -> Affine:
        """A linear `keras.layers.Dense`."""
        kernel = _float64(layer.kernel)
        bias = _float64(layer.bias) if layer.use_bias else np.zeros(kernel.shape[1])
        return cls(kernel, bias)

    def then(self, following: Affine) -> Affine:
        """This map followed by another: x·(W₁W₂) + (b₁W₂ + b₂)."""
        return Affine(self.kernel @ following.kernel, self.bias @ following.kernel + following.bias)

    def then_normalized(self, layer: Any) -> Affine:
        """This map followed by a `keras.layers.BatchNormalization` at inference."""
        scale, shift = normalization(layer)
        return Affine(self.kernel * scale, self.bias * scale + shift)

    def normalized_first(self, layer: Any) -> Affine:
        """This map after a `keras.layers.BatchNormalization` at inference."""
        scale, shift = normalization(layer)
        return Affine(self.kernel * scale[:, None], self.bias + shift @ self.kernel)


def normalization(layer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Batch normalisation at inference as x·scale + shift."""
    mean = _float64(layer.moving_mean)
    scale = 1.0 / np.sqrt(_float64(layer.moving_variance) + layer.epsilon)
    if layer.scale:
        scale = scale * _float64(layer.gamma)
    shift = -mean * scale
    if layer.center:
        shift = shift + _float64(layer.beta)
    return scale, shift


def _float64(variable: Any) -> np.ndarray:
    return ops.convert_to_numpy(variable.value).astype(np.float64)
