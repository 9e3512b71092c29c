"""The triplet loss with FaceNet's semi-hard and other mining inside the batch."""

import math
from typing import Any

import keras
from keras import ops

from gfkeras.errors import one_of
from gfkeras.layers import global_batch
from gfkeras.layers.angular import unit_rows
from gfkeras.layers.checks import check_embeddings, check_labels
from gfkeras.losses.embedding_loss import EmbeddingLoss
from gfkeras.losses.pairwise import DISTANCES, LARGEST
from gfkeras.losses.triplet_mining import mean_triplet_loss
from gfkeras.losses.triplet_rule import TripletRule

MININGS = ("semi-hard", "hard", "all")
POSITIVES = ("all", "hardest")
NO_SEMI_HARD = ("skip", "hardest", "easiest")


@keras.saving.register_keras_serializable("gfkeras")
class TripletLoss(EmbeddingLoss):
    """Mean of [d(a, p) − d(a, n) + margin]₊ over triplets mined in the (global) batch.

    FaceNet, arXiv 1503.03832, equation 2 and section 3.2: an image a shall be nearer to
    every image p of its identity than to any image n of another, by a margin. Batches must
    hold several images of an identity (`gfkeras.data` makes such ones).

    Which triplets count:

    - "semi-hard": every pair (a, p) with the nearest n that is farther than p. It costs
      something only where d(a, n) < d(a, p) + margin. `no_semi_hard` says what becomes of
      a pair without any n farther than p.
    - "hard": every pair (a, p) with the n nearest to a. With `positives="hardest"` this is
      "batch hard" of arXiv 1703.07737.
    - "all": every (a, p, n).

    The mean is over all pairs (for "all": triplets) whose anchor has a negative, costing or
    not; a batch without any gives 0 and no gradient. Of several equally near negatives one
    takes the gradient. No array is larger than the batch squared. Where the step is not
    compiled by XLA, mining is, once per batch size.

    tensorflow-addons' losses differ in the defaults and at the edges: the page "Migrating from
    tensorflow-addons" of the documentation gives the arguments that equal them.

    Args:
        margin: of the distance; ignored with `soft`. Not above the largest distance where
            embeddings are normalised: 4 for "squared-l2", 2 for "l2", π for "angular".
        mining: "semi-hard", "hard" or "all".
        distance: "squared-l2", "l2" or "angular" (radians), as of `pairwise_distance`.
        normalize: whether embeddings are divided by their norm.
        positives: "all", or "hardest" for only the farthest positive of each anchor.
        no_semi_hard: for semi-hard mining where no negative is farther than the positive:
            "skip" lets the pair cost nothing, "hardest" takes the nearest negative,
            "easiest" the farthest.
        soft: softplus(d(a, p) − d(a, n)) in place of the hinge; there is no margin then.
        weight, name: as of `EmbeddingLoss`.

    Call arguments:
        labels: (B,) int.
        embeddings: (B, D) float.

    Returns:
        Scalar float32, the same on every replica but for the division by their number that
        Keras expects.

    Raises:
        ValueError: as of `EmbeddingLoss`, and for arguments out of range.

    Example:
        >>> import gfkeras, numpy as np
        >>> rows = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> labels = np.array([0, 0, 1, 1])
        >>> round(float(gfkeras.losses.TripletLoss(margin=0.5)(labels, rows)), 4)
        0.1
        >>> round(float(gfkeras.losses.TripletLoss(margin=0.2, mining="hard")(labels, rows)), 4)
        0.26
    """

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
        self.mining = one_of("mining", mining, MININGS)
        self.distance = one_of("distance", distance, DISTANCES)
        self.normalize = bool(normalize)
        self.positives = one_of("positives", positives, POSITIVES)
        self.no_semi_hard = one_of("no_semi_hard", no_semi_hard, NO_SEMI_HARD)
        self.soft = bool(soft)
        bounded = self.normalize or self.distance == "angular"
        largest = LARGEST[self.distance] if bounded else math.inf
        if not (0 <= margin <= largest and margin < math.inf):
            limit = f"in [0, {largest:.6g}] for {distance!r}" if bounded else "finite, at least 0"
            raise ValueError(f"`margin` must be {limit}. Received: margin={margin!r}")
        self.margin = float(margin)

    def batch_loss(self, labels: Any, embeddings: Any) -> Any:
        embeddings = check_embeddings(embeddings, "embeddings")
        labels = check_labels(labels, embeddings=embeddings)
        rows = global_batch(self._rows(embeddings))
        products = ops.matmul(rows, ops.transpose(rows))
        return mean_triplet_loss(self._rule(), products, global_batch(labels))

    def _rows(self, embeddings: Any) -> Any:
        unit = self.normalize or self.distance == "angular"
        return unit_rows(embeddings) if unit else embeddings

    def _rule(self) -> TripletRule:
        return TripletRule(
            self.margin, self.mining, self.distance, self.positives, self.no_semi_hard, self.soft
        )
