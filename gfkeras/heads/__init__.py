"""Margin heads: embeddings and labels in, logits out."""

from typing import Any

from gfkeras.errors import by_name
from gfkeras.heads.adaface import AdaFace
from gfkeras.heads.arcface import ArcFace
from gfkeras.heads.bounds import cosface_margin_upper_bound, cosface_scale_lower_bound
from gfkeras.heads.combined_margin import CombinedMargin
from gfkeras.heads.cosface import CosFace
from gfkeras.heads.curricularface import CurricularFace
from gfkeras.heads.magface import MagFace
from gfkeras.heads.margin_head import HEADS, MarginHead
from gfkeras.heads.norm_softmax import NormSoftmax
from gfkeras.heads.partial_fc import PartialFC
from gfkeras.heads.softmax import Softmax
from gfkeras.heads.sphereface import SphereFace
from gfkeras.heads.sphereface_r import SphereFaceR
from gfkeras.heads.subcenter_arcface import SubCenterArcFace

__all__ = [
    "HEADS", "AdaFace", "ArcFace", "CombinedMargin", "CosFace", "CurricularFace", "MagFace",
    "MarginHead", "NormSoftmax", "PartialFC", "Softmax", "SphereFace", "SphereFaceR",
    "SubCenterArcFace", "cosface_margin_upper_bound", "cosface_scale_lower_bound", "get",
]  # fmt: skip


def get(name: str, **arguments: Any) -> MarginHead:
    """Builds the head called `name`, such as "ArcFace".

    Raises:
        ValueError: for an unknown name. The message suggests the nearest one.
    """
    return by_name("head", name, HEADS)(**arguments)
