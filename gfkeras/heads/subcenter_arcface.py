"""Sub-center ArcFace: several centers per identity, for noisy labels."""

from typing import Any

from keras import ops

from gfkeras.errors import one_of, positive, positive_int
from gfkeras.heads.arcface import ArcFace
from gfkeras.heads.margin_head import registered
from gfkeras.layers.angular import project, unit_rows
from gfkeras.layers.checks import check_embeddings

POOLINGS = ("max", "softmax")


@registered
class SubCenterArcFace(ArcFace):
    """Sub-center ArcFace (ECCV 2020): cos θ_j is the cosine to the nearest of K centers.

    Mislabelled and hard images of an identity gather at centers of their own instead of
    pulling the main one. After training, the dominant center is the one that is nearest to
    most images. Images more than 75° away from it are dropped, and a head with one center is
    trained on the rest.

    Args:
        num_classes, scale: N, the number of identities, and s.
        margin: m in radians, in [0, π), as in `ArcFace`.
        sub_centers: K.
        pooling: "max" uses the nearest center, as the paper does. "softmax" uses the mean of
            the K cosines weighted by softmax(cos θ / temperature), so all centers learn from
            the first step (SoftTriple, arXiv 1909.05235, equation 6).
        temperature: the temperature of "softmax".
        threshold, easy_margin: as in `ArcFace`.

    Attributes:
        centers: (N, K, D).

    Call arguments, returns and errors are those of `MarginHead`.

    Example:
        >>> import gfkeras, numpy as np
        >>> head = gfkeras.heads.SubCenterArcFace(num_classes=10, sub_centers=3)
        >>> logits = head(np.ones((4, 512), "float32"), np.array([0, 3, 9, 3]))
        >>> tuple(logits.shape), tuple(head.centers.shape)
        ((4, 10), (10, 3, 512))
    """

    def __init__(
        self,
        num_classes: int,
        scale: float | str = 64.0,
        margin: float = 0.5,
        sub_centers: int = 3,
        pooling: str = "max",
        temperature: float = 0.1,
        threshold: bool = True,
        easy_margin: bool = False,
        **kwargs: Any,
    ):
        super().__init__(num_classes, scale, margin, threshold, easy_margin, **kwargs)
        self.sub_centers = positive_int("sub_centers", sub_centers)
        self.pooling = one_of("pooling", pooling, POOLINGS)
        self.temperature = positive("temperature", temperature)

    def centers_shape(self, dimensions: int) -> tuple[int, ...]:
        return (self.num_classes, self.sub_centers, dimensions)

    def logits(self, embedding: Any, centers: Any = None) -> Any:
        """Returns s times the pooled cosines, (B, N) float32."""
        cosine = self.sub_center_cosine(embedding, centers)
        if self.pooling == "max":
            return ops.max(cosine, axis=-1) * self.scale
        weights = ops.softmax(cosine / self.temperature, axis=-1)
        return ops.sum(weights * cosine, axis=-1) * self.scale

    def sub_center_cosine(self, embedding: Any, centers: Any = None) -> Any:
        """Returns cos θ of each embedding and each center of each identity, (B, N, K) float32."""
        embedding = unit_rows(check_embeddings(embedding))
        return project(embedding, self.centers if centers is None else centers)
