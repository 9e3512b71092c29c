"""gfkeras: face recognition with GroupFace in Keras 3.

Build, train, evaluate and export GroupFace (CVPR 2020, arXiv 2005.10497):

    model = gfkeras.GroupFace(gfkeras.backbones.MobileFaceNet(), num_groups=32)
    training = gfkeras.FaceClassifier(
        model, gfkeras.heads.ArcFace(num_classes=1000), gfkeras.losses.SelfGroupingLoss()
    )

Names are imported when first used, so that `import gfkeras` and the command
line answer at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import gfkeras.registration  # Saved models find our classes.
from gfkeras.version import __version__

_ROOMS = (
    "backbones", "data", "evaluation", "export", "heads",
    "inference", "layers", "losses", "models", "training", "zoo",
)  # fmt: skip
_NAMES = {
    "Embedder": "gfkeras.inference",
    "FaceClassifier": "gfkeras.models",
    "Gallery": "gfkeras.inference",
    "GroupFace": "gfkeras.models",
    "group_aware_similarity": "gfkeras.inference",
    "load": "gfkeras.zoo",
    "self_distributed_labels": "gfkeras.losses",
}

__all__ = ["__version__", *_ROOMS, *_NAMES]

if TYPE_CHECKING:
    from gfkeras import (
        backbones,
        data,
        evaluation,
        export,
        heads,
        inference,
        layers,
        losses,
        models,
        training,
        zoo,
    )
    from gfkeras.inference import Embedder, Gallery, group_aware_similarity
    from gfkeras.losses import self_distributed_labels
    from gfkeras.models import FaceClassifier, GroupFace
    from gfkeras.zoo import load


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"gfkeras.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'gfkeras' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
