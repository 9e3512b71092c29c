"""Optimizers of Keras with L2 decay, excluded weights and updates of single rows."""

from gfkeras.training.optimizers.adam import Adam, AdamW
from gfkeras.training.optimizers.face_optimizer import FaceOptimizer
from gfkeras.training.optimizers.sgd import SGD

OPTIMIZERS = {cls.__name__: cls for cls in (SGD, Adam, AdamW)}

__all__ = ["SGD", "Adam", "AdamW", "FaceOptimizer"]
