"""Batches of several images of each of several people, for the losses that compare images."""

from __future__ import annotations

from typing import Any

import numpy as np

from gfkeras.data.faces import check_labels
from gfkeras.errors import positive_int


class IdentitySampler:
    """Images of each batch: P identities with K images each.

    A loss on pairs or triplets needs positives in its batch, and a shuffled batch of a large set
    has next to none; FaceNet (Schroff, Kalenichenko and Philbin, CVPR 2015) takes some 40 images of
    each identity in a batch. Pass the sampler to `FaceBatches`, or gather images by `order(epoch)`.

    - An identity is never twice in a batch. Over an epoch the counts of identities differ by at
      most 1.
    - The images of an identity are dealt like a deck of cards, shuffled anew when it is used up:
      over an epoch their counts differ by at most 1. An image comes twice in a batch only if its
      identity has fewer than K, and then all of them come as equally often as K allows. A lone
      image gives pairs at distance 0 only: `FaceFolder(min_images=2)` leaves such people out.
    - The order depends on the labels, `seed` and the epoch only, not on workers or replicas.
    - The K rows of an identity lie together, so that where the number of replicas divides P, the
      contiguous share of the batch that each gets holds whole identities.

    Args:
        labels: (N,) integers, the identity of each image; they need not be consecutive.
        identities_per_batch: P.
        images_per_identity: K.
        seed: of the order.
        batches_per_epoch: by default as many as the images would fill, N // (P·K), and at least 1.

    Raises:
        ValueError: for other labels, fewer than P identities, or an argument out of its range.

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

    With tf.data, many epochs (images and labels here are arrays; `map` may as well read files):

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
        # The images by identity; those of the i-th are _images[_first[i] : _first[i] + _sizes[i]].
        self._images = np.argsort(labels, kind="stable")
        changes = np.flatnonzero(np.diff(labels[self._images])) + 1
        self._first = np.concatenate([[0], changes]) if len(labels) else np.zeros(0, np.int64)
        self._sizes = np.diff(self._first, append=len(labels))
        if self.identities_per_batch > self.num_identities:
            raise ValueError(
                "`identities_per_batch` must be at most the number of identities in `labels`, "
                f"{self.num_identities}. Received: identities_per_batch={identities_per_batch}"
            )
        if batches_per_epoch is None:
            self._steps = max(1, len(labels) // self.batch_size)
        else:
            self._steps = positive_int("batches_per_epoch", batches_per_epoch)

    @property
    def batch_size(self) -> int:
        """Images in a batch, P·K."""
        return self.identities_per_batch * self.images_per_identity

    @property
    def num_identities(self) -> int:
        """The number of identities to draw from."""
        return len(self._sizes)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return self._steps

    def order(self, epoch: int) -> np.ndarray:
        """The images of every batch of an epoch, counted from 0.

        It is made in one go, in a second or two for millions of images: keep it for the epoch.
        Returns (batches, P·K) int64, indices into `labels`; each row is P runs of K images.
        """
        rng = np.random.default_rng((self.seed, _not_negative("epoch", epoch), 0))
        per_identity = self.images_per_identity
        one_deck = (self.num_identities, self.identities_per_batch, self._steps)
        sizes, hand, hands = np.array(one_deck)[:, None]
        identities = _deal(sizes, hand, hands, rng)
        # From here on by identity, and for each in the order of the batches.
        place = np.argsort(identities, kind="stable")
        drawn = identities[place]
        sizes = self._sizes[drawn, None]
        column = np.arange(per_identity)
        # K images out of fewer: all of them as often as they fit whole, the rest from the deck.
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
    """Deals from many decks of cards at once, hand after hand.

    A deck that is used up is shuffled anew. Where that happens within a hand, the cards which that
    hand already has are kept from its rest, so that no hand holds a card twice; among the orders
    which this allows, all are equally likely.

    `sizes`, `hand` and `hands` are (D,): cards in each deck, cards in a hand, at most `sizes`, and
    how many hands each deck deals. Returns (Σ hand·hands,) int64, the cards, 0 to size - 1, of the
    first deck's hands, then of the second's, and so on.
    """
    total = hand * hands
    first_dealt = np.cumsum(total) - total
    first_card = np.cumsum(sizes) - sizes
    dealt = np.empty(total.sum(), np.int64)
    held = np.zeros(sizes.sum(), bool)
    done = np.zeros_like(sizes)
    # One round deals every deck that has not dealt enough yet once through.
    while len(decks := np.flatnonzero(total > done)):
        size = sizes[decks]
        deck = np.repeat(np.arange(len(decks)), size)
        position = np.arange(len(deck)) - np.repeat(np.cumsum(size) - size, size)
        card = first_card[decks][deck] + position
        begun = done[decks] % hand[decks]
        last = np.zeros(len(deck), bool)
        if begun.any():
            # The rest of the begun hand is drawn first, from the cards that it does not hold.
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
    """By deck, in each deck those not `last` first, else at random."""
    # Stable, for ties must fall alike on machines that sort by different instructions.
    return np.argsort(2 * deck + last + rng.random(len(deck)), kind="stable")


def _not_negative(argument: str, value: Any) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__") or value.__index__() < 0:
        raise ValueError(
            f"`{argument}` must be an integer of at least 0. Received: {argument}={value!r}"
        )
    return value.__index__()
