"""Batches with several images of each of several people, for losses that compare images."""

from typing import Any

import numpy as np

from gfkeras.data.faces import check_labels
from gfkeras.errors import positive_int, wrong_value


class IdentitySampler:
    """Chooses the images of each batch: P identities with K images each.

    A loss on pairs or triplets needs several images of the same person in a batch. A shuffled batch
    of a large data set has almost none. FaceNet (Schroff, Kalenichenko and Philbin, CVPR 2015) uses
    about 40 images of each identity per batch. Pass the sampler to `FaceBatches`, or gather images
    with `order(epoch)`.

    - An identity is never twice in a batch. Over an epoch, the counts of identities differ by at
      most 1.
    - The images of an identity are dealt like a deck of cards, which is shuffled again when it is
      empty: over an epoch, their counts differ by at most 1. An image is twice in a batch only if
      its identity has fewer than K images. Their counts in the batch then differ by at most 1. A
      single image gives pairs at distance 0 only. `FaceFolder(min_images=2)` leaves such people
      out.
    - The order depends only on the labels, `seed` and the epoch, not on workers or replicas.
    - The K rows of an identity are contiguous. If the number of replicas divides P, each replica
      gets a contiguous part of the batch with whole identities.

    Args:
        labels: (N,) integers, the identity of each image. They need not be consecutive.
        identities_per_batch: P.
        images_per_identity: K.
        seed: random seed of the order.
        batches_per_epoch: the default is as many as the images fill, N // (P·K), and at least 1.

    Raises:
        ValueError: for invalid labels, fewer than P identities, or an argument out of range.

    Example:
        >>> import numpy as np
        >>> from gfkeras.data import IdentitySampler
        >>> labels = np.array([7, 7, 7, 2, 2, 5, 5, 5])
        >>> sampler = IdentitySampler(labels, identities_per_batch=2, images_per_identity=2)
        >>> order = sampler.order(epoch=0)
        >>> order.shape
        (2, 4)
        >>> batch = labels[order[0]]
        >>> bool(batch[0] == batch[1]), bool(batch[1] == batch[2]), bool(batch[2] == batch[3])
        (True, False, True)

    With tf.data and many epochs (images and labels are arrays here, but `map` can read files too):

        def rows_of(number):
            rows = tf.numpy_function(sampler.order, [number], tf.int64)
            return tf.data.Dataset.from_tensor_slices(rows)

        epochs = tf.data.Dataset.range(20).flat_map(rows_of)
        batches = epochs.map(lambda rows: (tf.gather(images, rows), tf.gather(labels, rows)))
    """

    def __init__(
        self,
        labels: Any,
        identities_per_batch: int,
        images_per_identity: int,
        *,
        seed: int = 0,
        batches_per_epoch: int | None = None,
    ):
        self.labels = labels = check_labels(labels)
        self.identities_per_batch = positive_int("identities_per_batch", identities_per_batch)
        self.images_per_identity = positive_int("images_per_identity", images_per_identity)
        self.seed = _not_negative("seed", seed)
        self.batches_per_epoch = batches_per_epoch
        # Images sorted by identity. Identity i has _images[_first[i] : _first[i] + _sizes[i]].
        self._images = np.argsort(labels, kind="stable")
        changes = np.flatnonzero(np.diff(labels[self._images])) + 1
        self._first = np.concatenate([[0], changes]) if len(labels) else np.zeros(0, np.int64)
        self._sizes = np.diff(self._first, append=len(labels))
        if self.identities_per_batch > self.num_identities:
            expected = f"be at most the number of identities in `labels`, {self.num_identities}"
            raise wrong_value("identities_per_batch", expected, identities_per_batch)
        if batches_per_epoch is None:
            self._steps = max(1, len(labels) // self.batch_size)
        else:
            self._steps = positive_int("batches_per_epoch", batches_per_epoch)

    @property
    def batch_size(self) -> int:
        """Number of images in a batch, P·K."""
        return self.identities_per_batch * self.images_per_identity

    @property
    def num_identities(self) -> int:
        """Number of identities to draw from."""
        return len(self._sizes)

    def __len__(self) -> int:
        """Returns the number of batches in an epoch."""
        return self._steps

    def order(self, epoch: int) -> np.ndarray:
        """Returns the images of all batches of an epoch, counted from 0.

        Millions of images take a second or two, so keep the result during the epoch. Returns
        (batches, P·K) int64, indices into `labels`. Each row consists of P runs of K images.
        """
        rng = np.random.default_rng((self.seed, _not_negative("epoch", epoch), 0))
        per_identity = self.images_per_identity
        one_deck = (self.num_identities, self.identities_per_batch, self._steps)
        # A single deck holds the identities. Each batch is a hand of P of them.
        sizes, hand, hands = np.array(one_deck)[:, None]
        identities = _deal(sizes, hand, hands, rng)
        # From here on, rows are sorted by identity, then by batch.
        place = np.argsort(identities, kind="stable")
        drawn = identities[place]
        sizes = self._sizes[drawn, None]
        column = np.arange(per_identity)
        # Fewer than K images: take all of them as often as they fit, and deal the rest.
        local = column % sizes
        hands = np.bincount(identities, minlength=self.num_identities)
        dealt = _deal(self._sizes, per_identity % self._sizes, hands, rng)
        local[column >= per_identity // sizes * sizes] = dealt
        order = np.empty(local.shape, np.int64)
        order[place] = self._images[self._first[drawn, None] + local]
        return order.reshape(self._steps, self.batch_size)


def _deal(
    sizes: np.ndarray, hand: np.ndarray, hands: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Deals from many decks of cards, hand after hand.

    A deck that is empty is shuffled again. If this happens in the middle of a hand, the cards that
    the hand already has are not dealt for the rest of it, so no hand has a card twice. All orders
    that obey this rule are equally likely.

    `sizes`, `hand` and `hands` are (D,): the number of cards in each deck, the number of cards in a
    hand (at most `sizes`), and the number of hands that each deck deals. Returns (Σ hand·hands,)
    int64: the cards, 0 to size − 1, of the first deck's hands, then of the second's, and so on.
    """
    total = hand * hands
    first_dealt = np.cumsum(total) - total
    first_card = np.cumsum(sizes) - sizes
    dealt = np.empty(total.sum(), np.int64)
    held = np.zeros(sizes.sum(), bool)
    done = np.zeros_like(sizes)
    # Each round deals all cards once, from every deck that has not dealt enough yet.
    while len(decks := np.flatnonzero(total > done)):
        size = sizes[decks]
        deck = np.repeat(np.arange(len(decks)), size)
        position = np.arange(len(deck)) - np.repeat(np.cumsum(size) - size, size)
        card = first_card[decks][deck] + position
        begun = done[decks] % hand[decks]
        last = np.zeros(len(deck), bool)
        if begun.any():
            # Finish the begun hand first, with cards that it does not have.
            shuffled = _argsort(deck, held[card], rng)
            rest = np.where(begun > 0, hand[decks] - begun, 0)
            last[shuffled] = position >= rest[deck]
        shuffled = _argsort(deck, last, rng)
        wanted = position < (total - done)[decks][deck]
        target = (first_dealt + done)[decks][deck] + position
        dealt[target[wanted]] = position[shuffled[wanted]]
        done[decks] += size
        begun = done[decks] % hand[decks]
        held[card[shuffled]] = position >= (size - begun)[deck]
    return dealt


def _argsort(deck: np.ndarray, last: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sorts by deck. In each deck, cards not marked `last` come first, otherwise at random."""
    # A stable sort, because unstable ones order equal numbers differently on other processors.
    return np.argsort(2 * deck + last + rng.random(len(deck)), kind="stable")


def _not_negative(argument: str, value: Any) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__") or value.__index__() < 0:
        raise ValueError(
            f"`{argument}` must be an integer of at least 0. Received: {argument}={value!r}"
        )
    return value.__index__()
