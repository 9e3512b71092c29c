"""The triplet loss, with semi-hard, hard or no mining inside the batch."""

import math
from typing import Any, ClassVar

import keras
from keras import ops

from gfkeras.errors import in_range, one_of
from gfkeras.layers import global_batch
from gfkeras.layers.angular import unit_rows
from gfkeras.layers.checks import check_embeddings, check_labels
from gfkeras.losses.embedding_loss import EmbeddingLoss
from gfkeras.losses.pairwise import DISTANCES, LARGEST, row_distance
from gfkeras.losses.triplet_mining import mean_triplet_loss
from gfkeras.losses.triplet_rule import TripletRule

# The triplets of a batch are mined in the batch, except for "listed".
LISTED = "listed"
MININGS = ("semi-hard", "hard", "all", LISTED)
POSITIVES = ("all", "hardest")
NO_SEMI_HARD = ("skip", "hardest", "easiest")


@keras.saving.register_keras_serializable("gfkeras")
class TripletLoss(EmbeddingLoss):
    """Mean of [d(a, p) − d(a, n) + margin]₊ over triplets mined in the global batch.

    FaceNet (arXiv 1503.03832, equation 2 and section 3.2). An image a must be nearer to every
    image p of its identity than to any image n of another identity, by a margin. Batches must
    contain several images of each identity. `gfkeras.data` makes such batches.

    `mining` chooses the triplets:

    - "semi-hard": every pair (a, p) with the nearest n that is farther than p. The cost is
      positive only if d(a, n) < d(a, p) + margin. `no_semi_hard` applies to a pair without an
      n that is farther than p.
    - "hard": every pair (a, p) with the n nearest to a. With `positives="hardest"`, this is
      "batch hard" of arXiv 1703.07737.
    - "all": every (a, p, n).
    - "listed": rows 3i, 3i + 1 and 3i + 2 of the batch are a, p and n. Offline mining gives such
      batches ([mining] in a recipe). `positives` and `no_semi_hard` have no effect.

    The mean is over all pairs (with "all", over all triplets) whose anchor has a negative,
    also over those without a cost. A batch without such pairs gives 0 and no gradient. If
    several negatives are equally near, one gets the gradient. No array has more than B²
    entries. If XLA does not compile your training step, it compiles the mining alone, once
    per batch size.

    The losses of tensorflow-addons have other defaults and differ in edge cases. The page
    "Migrating from tensorflow-addons" of the documentation gives the equivalent arguments.

    Args:
        margin: margin in units of the distance, ignored with `soft`. With normalised
            embeddings, at most the largest distance: 4 for "squared-l2", 2 for "l2", π for
            "angular".
        mining: "semi-hard", "hard", "all" or "listed".
        distance: "squared-l2", "l2" or "angular" (in radians), see `pairwise_distance`.
        normalize: whether embeddings are divided by their norm.
        positives: "all", or "hardest" for only the farthest positive of each anchor.
        no_semi_hard: for semi-hard mining if no negative is farther than the positive.
            "skip" gives the pair no cost, "hardest" takes the nearest negative, and
            "easiest" takes the farthest.
        soft: use softplus(d(a, p) − d(a, n)) instead of the hinge, without a margin.
        weight, name: see `EmbeddingLoss`.

    Call arguments:
        labels: (B,) int.
        embeddings: (B, D) float.

    Returns:
        Scalar float32. All replicas compute the loss of the global batch, and each returns it
        divided by the number of replicas, as Keras expects.

    Raises:
        ValueError: see `EmbeddingLoss`. Also for arguments out of range.

    Example:
        >>> import gfkeras, numpy as np
        >>> rows = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> labels = np.array([0, 0, 1, 1])
        >>> round(float(gfkeras.losses.TripletLoss(margin=0.5)(labels, rows)), 4)
        0.1
        >>> round(float(gfkeras.losses.TripletLoss(margin=0.2, mining="hard")(labels, rows)), 4)
        0.26
    """

    minings: ClassVar[tuple[str, ...]] = MININGS

    def __init__(
        self,
        margin: float = 0.2,
        mining: str = "semi-hard",
        distance: str = "squared-l2",
        normalize: bool = True,
        positives: str = "all",
        no_semi_hard: str = "skip",
        soft: bool = False,
        weight: float = 1.0,
        name: str | None = None,
    ):
        super().__init__(weight=weight, name=name)
        self.mining = one_of("mining", mining, self.minings)
        self.distance = one_of("distance", distance, DISTANCES)
        self.normalize = bool(normalize)
        self.positives = one_of("positives", positives, POSITIVES)
        self.no_semi_hard = one_of("no_semi_hard", no_semi_hard, NO_SEMI_HARD)
        self.soft = bool(soft)
        bounded = self.normalize or self.distance == "angular"
        largest = LARGEST[self.distance] if bounded else math.inf
        self.margin = in_range("margin", margin, 0, math.inf)
        if self.margin > largest:
            raise ValueError(
                f"`margin` must be in [0, {largest:.6g}] for {distance!r}. "
                f"Received: margin={margin!r}"
            )

    def batch_loss(self, labels: Any, embeddings: Any) -> Any:
        embeddings = check_embeddings(embeddings, "embeddings")
        labels = check_labels(labels, embeddings=embeddings)
        rows = global_batch(self._rows(embeddings))
        if self.mining == LISTED:
            return self._mean_of_listed(rows, global_batch(labels))
        products = ops.matmul(rows, ops.transpose(rows))
        return mean_triplet_loss(self._rule(), products, global_batch(labels))

    def _mean_of_listed(self, rows: Any, labels: Any) -> Any:
        if rows.shape[0] is not None and rows.shape[0] % 3:
            raise ValueError(
                'With mining="listed", `embeddings` must be triplets of rows. '
                f"Received: {rows.shape[0]} rows"
            )
        anchors, positives, negatives = (rows[i::3] for i in range(3))
        near = row_distance(anchors, positives, self.distance)
        cost = self._rule().cost(near - row_distance(anchors, negatives, self.distance))
        # An unreadable image is replaced by another one of the batch, which can break a triplet.
        whole = ops.logical_and(labels[0::3] == labels[1::3], labels[0::3] != labels[2::3])
        count = ops.sum(ops.cast(whole, "float32"))
        return ops.sum(ops.where(whole, cost, 0.0)) / ops.maximum(count, 1.0)

    def _rows(self, embeddings: Any) -> Any:
        unit = self.normalize or self.distance == "angular"
        return unit_rows(embeddings) if unit else embeddings

    def _rule(self) -> TripletRule:
        return TripletRule(
            self.margin, self.mining, self.distance, self.positives, self.no_semi_hard, self.soft
        )
