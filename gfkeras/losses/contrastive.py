"""The contrastive loss."""

import math
from typing import Any

import keras
from keras import ops

from gfkeras.errors import in_range
from gfkeras.layers import global_batch
from gfkeras.layers.checks import check_embeddings, check_labels
from gfkeras.losses.embedding_loss import EmbeddingLoss
from gfkeras.losses.pairwise import LARGEST, pairwise_distance


@keras.saving.register_keras_serializable("gfkeras")
class ContrastiveLoss(EmbeddingLoss):
    """Mean over all pairs of the batch of d² for one identity, and [margin − d]₊² for two.

    d is the Euclidean distance of the two embeddings (Hadsell et al., "Dimensionality reduction by
    learning an invariant mapping", CVPR 2006, equation 4 without its factor ½). It pulls images
    of an identity together, and pushes two identities apart until they are `margin` apart. It
    equals tensorflow-addons' `ContrastiveLoss` of the distances of all pairs.

    Each unordered pair of the global batch counts once. Batches must contain several images of
    each identity. `gfkeras.data` makes such batches. The paper does not normalise embeddings. Face
    models are compared by angles, so they are normalised by default, as in `TripletLoss`.

    Args:
        margin: the distance beyond which two identities cost nothing. With normalised embeddings,
            at most 2, the largest distance.
        normalize: whether embeddings are divided by their norm.
        weight, name: see `EmbeddingLoss`.

    Call arguments:
        labels: (B,) int.
        embeddings: (B, D) float.

    Returns:
        Scalar float32, 0 for fewer than two embeddings. Equal embeddings of two identities get no
        gradient from each other, since they have no direction to part in.

    Raises:
        ValueError: see `EmbeddingLoss`. Also for a margin out of range.

    Example:
        >>> import gfkeras, numpy as np
        >>> rows = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
        >>> loss = gfkeras.losses.ContrastiveLoss(margin=1.0)
        >>> round(float(loss(np.array([0, 0, 1]), rows)), 4)  # (0.4 + 0 + (1 − √0.8)²) / 3
        0.137
    """

    def __init__(
        self,
        margin: float = 1.0,
        normalize: bool = True,
        weight: float = 1.0,
        name: str | None = None,
    ):
        super().__init__(weight=weight, name=name)
        self.normalize = bool(normalize)
        self.margin = in_range("margin", margin, 0, math.inf)
        if self.normalize and self.margin > LARGEST["l2"]:
            raise ValueError(
                f"`margin` must be in [0, {LARGEST['l2']:g}] for normalised embeddings. "
                f"Received: margin={margin!r}"
            )

    def batch_loss(self, labels: Any, embeddings: Any) -> Any:
        embeddings = check_embeddings(embeddings, "embeddings")
        labels = global_batch(check_labels(labels, embeddings=embeddings))
        distance = pairwise_distance(global_batch(embeddings), "l2", self.normalize)
        same = labels[:, None] == labels[None]
        cost = ops.square(ops.where(same, distance, ops.maximum(self.margin - distance, 0.0)))
        # A row and itself are at distance 0, so the diagonal adds nothing, except a row's NaN.
        count = ops.cast(ops.shape(labels)[0], "float32")
        return ops.sum(cost) / ops.maximum(count * (count - 1.0), 1.0)
