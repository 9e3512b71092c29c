"""A triplet loss that keeps the embeddings of a new network comparable with an old network's."""

from typing import Any, ClassVar

import keras
from keras import ops

from gfkeras.layers import global_batch
from gfkeras.layers.checks import check_embeddings, check_labels, same_where_known
from gfkeras.losses.triplet import LISTED, MININGS, TripletLoss
from gfkeras.losses.triplet_mining import mean_triplet_loss

NEW, OLD = 1, 2
EITHER = NEW | OLD


@keras.saving.register_keras_serializable("gfkeras")
class HarmonicTripletLoss(TripletLoss):
    """`TripletLoss` over the embeddings of a new network and a frozen old network together.

    The harmonic embedding of FaceNet (arXiv 1503.03832, appendix and figure 8). It lets you
    compare new faces with a gallery that the old network embedded. The batch contains all 2B
    embeddings, old and new, and `TripletLoss` mines its triplets there. Triplets of three old
    embeddings are left out, since the new network cannot learn from them. So an old pair
    (a, p) has only new negatives, and the old embedding of an image is a positive of its new
    embedding.

    Args: see `TripletLoss`.

    Call arguments:
        labels: (B,) int.
        embeddings: (B, D) float, embeddings by the network that learns.
        teacher_embeddings: (B, D) float, embeddings of the same images by the old network.
            They get no gradient.

    Returns:
        Scalar float32, see `TripletLoss`.

    Raises:
        ValueError: see `TripletLoss`. Also for embeddings and teacher embeddings of different
            shapes.

    Example:
        >>> import gfkeras, numpy as np
        >>> old = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = gfkeras.losses.HarmonicTripletLoss(margin=0.2, mining="hard")
        >>> labels = np.array([0, 0, 1, 1])
        >>> round(float(loss(labels, old, old)), 4), round(float(loss(labels, -old, old)), 4)
        (0.1933, 2.4167)
    """

    inputs: ClassVar[tuple[str, ...]] = ("labels", "embedding", "teacher_embedding")
    # Listed triplets have no place for the old embeddings.
    minings = tuple(mining for mining in MININGS if mining != LISTED)
    in_teacher_space = True

    # `TripletLoss` has the same constructor arguments, but other call arguments.
    def batch_loss(  # type: ignore[override]
        self, labels: Any, embeddings: Any, teacher_embeddings: Any
    ) -> Any:
        embeddings = check_embeddings(embeddings, "embeddings")
        teacher = check_embeddings(teacher_embeddings, "teacher_embeddings")
        labels = check_labels(labels, embeddings=embeddings)
        if not same_where_known(teacher.shape, embeddings.shape):
            raise ValueError(
                "`teacher_embeddings` must have the shape of the embeddings, "
                f"{tuple(embeddings.shape)}. Received: a shape of {tuple(teacher.shape)}"
            )
        new = global_batch(self._rows(embeddings))
        old = ops.stop_gradient(global_batch(self._rows(teacher)))
        labels = global_batch(labels)
        labels = ops.concatenate([labels, labels], axis=0)
        rows = ops.concatenate([new, old], axis=0)
        products = ops.matmul(rows, ops.transpose(rows))
        is_new = ops.arange(ops.shape(labels)[0], dtype="int32") < ops.shape(new)[0]
        sides = ops.where(is_new, NEW, OLD)
        passes: tuple[tuple[Any, Any], ...]
        if self.positives == "all":
            either = ops.full_like(sides, EITHER)
            # The first pass takes all triplets but those of an old pair (a, p). The second takes
            # the old pairs, which may only have new negatives.
            passes = (
                (ops.where(is_new, EITHER, NEW), either),
                (ops.where(is_new, 0, OLD), ops.full_like(sides, NEW)),
            )
        else:
            chosen = self._side_of_farthest(products, labels, is_new)
            # If the farthest positive of an old embedding is old too, negatives must be new.
            old_pair = ops.logical_and(ops.logical_not(is_new), chosen == OLD)
            passes = ((chosen, ops.where(old_pair, NEW, EITHER)),)
        return mean_triplet_loss(self._rule(), products, labels, sides, passes)

    def _side_of_farthest(self, products: Any, labels: Any, is_new: Any) -> Any:
        """Returns NEW or OLD for each embedding, the side of its farthest positive."""
        squares = ops.diagonal(products)
        keys = self._rule().key(products, squares[:, None], squares[None])
        rows = ops.arange(ops.shape(labels)[0], dtype="int32")
        positive = ops.logical_and(labels[:, None] == labels[None], rows[:, None] != rows[None])
        keys = ops.where(positive, keys, -1.0)
        farthest_new = ops.max(ops.where(is_new[:, None], keys, -1.0), axis=0)
        farthest_old = ops.max(ops.where(is_new[:, None], -1.0, keys), axis=0)
        return ops.where(farthest_new >= farthest_old, NEW, OLD)
