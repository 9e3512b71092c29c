"""Mining of triplets in a batch, their loss and its gradient.

No array of all triplets exists. Anchors are always on the last axis. Each step of a loop takes
the next few positives of all anchors, so the largest arrays have B² entries. The code is written
for XLA, which reads the distances once per step. If the caller does not compile,
`mean_triplet_loss` compiles the mining itself.

The rank of a positive is its number among the rows with the anchor's label.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from gfkeras.losses.triplet_rule import TripletRule

# The negatives are split into this many equal segments, which are combined elementwise. XLA fuses
# elementwise operations, but not a reduction with the computation of its input. With twice as many
# segments, XLA no longer vectorises the code on CPUs.
SEGMENTS = 32
# For batches up to this size, one segment and the smaller blocks of ranks are enough. Compiling
# with XLA would take longer than it saves.
SMALL_BATCH = 64
# Ranks of positives per pass over the distances: large blocks first, then smaller ones for the
# remaining ranks.
RANKS = (32, 8)
# Keys are not negative, so their bits as integers are below 2**31. A difference of two of them is
# below 2**31 too, unless it was negative and wrapped around.
NOT_ABOVE = 2**31
INFINITY = float("inf")


def mean_triplet_loss(
    rule: TripletRule,
    products: Any,
    labels: Any,
    sides: Any = None,
    passes: tuple[tuple[Any, Any], ...] = ((None, None),),
) -> Any:
    """Returns the mean cost of the triplets that `rule` selects.

    Args:
        rule: selects the triplets and defines their cost.
        products: (N, N) float32, products of all pairs of rows, or cosines for "angular".
        labels: (N,) int.
        sides: (N,) int32, one bit for the set that each row belongs to, or None for one set.
        passes: pairs of (N,) int32 bit masks. The first mask gives the sets that each anchor's
            positives come from, and the second the sets of its negatives. The triplets of
            all passes count.

    Returns:
        Scalar float32, 0 without triplets, NaN if the squared norm of a row is not finite.
    """
    order = ops.cast(ops.argsort(labels), "int32")
    ordered = ops.take(labels, order)
    # From here on, the first position of a label among the sorted labels represents the label.
    first = ops.cast(ops.searchsorted(ordered, labels, side="left"), "int32")
    size = ops.cast(ops.searchsorted(ordered, labels, side="right"), "int32") - first
    value_kernel, gradient_kernel = _kernels(rule, _is_small(ops.shape(products)[0]))

    @ops.custom_gradient
    def loss(products: Any) -> Any:
        # Otherwise TensorFlow in eager mode would also differentiate the kernels, and XLA cannot
        # compile that.
        products = ops.stop_gradient(products)
        batch = (products, order, first, size, sides)
        total, pairs = value_kernel(passes, *batch)
        pairs = ops.maximum(pairs, 1.0)
        return total / pairs, lambda upstream: gradient_kernel(upstream / pairs, passes, *batch)

    # Comparisons with NaN are false. Mining would leave out the triplets of a NaN row.
    finite = ops.all(ops.isfinite(ops.diagonal(products)))
    return loss(products) * ops.where(finite, 1.0, float("nan"))


# Equal rules share their kernels, so each is compiled once.
@functools.cache
def _kernels(rule: TripletRule, small: bool) -> list[Callable[..., Any]]:
    """Returns `_value` and `_gradient` for the rule, compiled."""
    return [_compiled(functools.partial(kernel, rule), small) for kernel in (_value, _gradient)]


def _is_small(count: Any) -> bool:
    """Returns whether a batch is known to be small. A traced step may not know its batch size."""
    return isinstance(count, int) and count <= SMALL_BATCH


def _compiled(function: Callable[..., Any], small: bool) -> Callable[..., Any]:
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # None instead of False lets a caller that XLA compiles include this function.
        return tf.function(function, jit_compile=None if small else True, autograph=False)
    import jax

    return jax.jit(function)


def _value(rule: TripletRule, passes: Any, *batch: Any) -> tuple[Any, Any]:
    """Returns the sum of the costs and the number of triplets. `_Mining` takes the `batch`."""
    total = pairs = ops.zeros((), "float32")
    for bits in passes:
        mining = _Mining(rule, *bits, *batch)

        def add(positives: _Positives, state: Any, mining: _Mining = mining) -> Any:
            cost, count = mining.cost_of(positives)
            return state[0] + cost, state[1] + count

        total, pairs = mining.over_positives(add, (total, pairs))
    return total, pairs


def _gradient(rule: TripletRule, scale: Any, passes: Any, *batch: Any) -> Any:
    """Returns the gradient of scale · Σ costs with respect to the products, `batch[0]`."""
    by_key = ops.zeros_like(batch[0])
    for bits in passes:
        mining = _Mining(rule, *bits, *batch)

        def add(positives: _Positives, state: Any, mining: _Mining = mining) -> Any:
            return (mining.add_gradient(positives, state[0], scale),)

        (by_key,) = mining.over_positives(add, (by_key,))
    if rule.distance == "angular":
        return -by_key
    # The key ‖a‖² + ‖b‖² − 2a·b depends on the squared norms, the diagonal of the products.
    by_squares = ops.sum(by_key, axis=0) + ops.sum(by_key, axis=1)
    rows = ops.arange(ops.shape(by_key)[0], dtype="int32")
    return ops.where(rows[:, None] == rows[None], by_squares[None], 0.0) - 2.0 * by_key


@dataclass
class _Positives:
    """Some positives of every anchor: row indices, keys and validity, (ranks, N) each."""

    index: Any
    key: Any
    valid: Any


class _Mining:
    """The triplets of one pass. Anchors are columns, positives and negatives are rows."""

    def __init__(
        self,
        rule: TripletRule,
        positive_sides: Any,
        negative_sides: Any,
        products: Any,
        order: Any,
        first: Any,
        size: Any,
        sides: Any,
    ):
        self.rule = rule
        self.products = products
        self.order, self.first, self.size = order, first, size
        self.sides, self.positive_sides = sides, positive_sides
        self.count = ops.shape(products)[0]
        small = _is_small(self.count)
        self.num_segments = 1 if small else SEGMENTS
        self.blocks = RANKS[-1:] if small else RANKS
        self.rows = ops.arange(self.count, dtype="int32")
        self.squares = ops.diagonal(products)
        negative = first[:, None] != first[None]
        if sides is not None:
            negative = ops.logical_and(
                negative, ops.bitwise_and(sides[:, None], negative_sides[None]) != 0
            )
        self.negative = negative
        self.keys = key = rule.key(products, self.squares[:, None], self.squares[None])
        if rule.mining == "all":
            distances = ops.where(negative, rule.distance_of(key), INFINITY)
            self.segments = self._segments(distances, INFINITY)
            self.negatives = ops.sum(ops.cast(negative, "float32"), axis=0)
        elif rule.mining == "semi-hard":
            bits = ops.where(negative, _same_bits(key, "uint32"), ops.zeros((), "uint32"))
            self.segments = self._segments(bits, 0)

    def _segments(self, values: Any, neutral: float) -> Any:
        """Returns the rows split into equal segments, (segments, S, N).

        `neutral` fills up the last segment.
        """
        number = self.num_segments
        per_segment = (self.count + number - 1) // number
        padded = ops.pad(values, ((0, number - 1), (0, 0)), constant_values=neutral)
        return ops.reshape(padded[: per_segment * number], (number, per_segment, self.count))

    def _fold(self, combine: Callable[..., Any], term: Callable[..., Any]) -> Any:
        """Combines `term(negatives)` over all segments with `combine`, (S, ranks, N)."""
        folded = term(self.segments[0][:, None])
        for number in range(1, self.num_segments):
            folded = combine(folded, term(self.segments[number][:, None]))
        return folded

    def over_positives(self, function: Callable[..., Any], state: tuple[Any, ...]) -> Any:
        """Calls `function(positives, state)` for all positives of all anchors, in blocks of ranks.

        Returns the last state.
        """
        if self.rule.positives == "hardest":
            return function(self._farthest(), state)
        last = ops.max(self.size)
        carried = (ops.zeros((), "int32"), *state)
        for ranks in self.blocks:
            # Only the smallest blocks may extend past the last rank.
            reach = 1 if ranks == RANKS[-1] else ranks

            def more(rank: Any, *_: Any, reach: int = reach) -> Any:
                return rank + reach <= last

            def step(rank: Any, *state: Any, ranks: int = ranks) -> Any:
                return (rank + ranks, *function(self._ranked(rank, ranks), state))

            carried = ops.while_loop(more, step, carried)
        return tuple(carried[1:])

    def _allowed(self, index: Any) -> Any:
        """Returns which of these rows can be positives of the anchors, apart from their labels.

        An anchor whose label fills the batch has no negative, and therefore no pairs.
        """
        allowed = ops.logical_and(index != self.rows, self.size < self.count)
        if self.sides is not None:
            bits = ops.bitwise_and(ops.take(self.sides, index), self.positive_sides)
            allowed = ops.logical_and(allowed, bits != 0)
        return allowed

    def _ranked(self, rank: Any, ranks: int) -> _Positives:
        """Returns `ranks` positives of every anchor, from number `rank`."""
        rank = rank + ops.arange(ranks, dtype="int32")[:, None]
        index = ops.take(self.order, ops.minimum(self.first + rank, self.count - 1))
        valid = ops.logical_and(rank < self.size, self._allowed(index))
        return _Positives(index, self._key_at(index), valid)

    def _farthest(self) -> _Positives:
        same = self.first[:, None] == self.first[None]
        same = ops.logical_and(same, self._allowed(self.rows[:, None]))
        index = ops.argmax(ops.where(same, self.keys, -1.0), axis=0)
        index = ops.cast(index, "int32")[None]
        return _Positives(index, self._key_at(index), ops.any(same, axis=0)[None])

    def _key_at(self, index: Any) -> Any:
        products = ops.take_along_axis(self.products, index, axis=0)
        return self.rule.key(products, ops.take(self.squares, index), self.squares)

    def _next_farther(self, key: Any) -> tuple[Any, Any]:
        """Returns the smallest key of a negative above `key`, and whether there is one."""
        # Differences of unsigned integers wrap around. A key that is not above `key` gets a large
        # difference, so one subtraction and one minimum per negative are enough.
        above = _same_bits(key, "uint32") + ops.ones((), "uint32")
        least = ops.min(self._fold(ops.minimum, lambda negatives: negatives - above), axis=0)
        found = least < ops.cast(NOT_ABOVE, "uint32")
        bits = ops.where(found, least + above, ops.zeros((), "uint32"))
        return _same_bits(bits, "float32"), found

    def _row_of(self, key: Any) -> Any:
        """Returns the row of the negative with this `key`, one of them if there are several."""
        bits = _same_bits(key, "uint32")
        segment = ops.full_like(bits, -1, dtype="int32")[None]
        for number in range(self.num_segments):
            segment = ops.where(self.segments[number][:, None] == bits, number, segment)
        per_segment = ops.shape(segment)[0]
        row = segment * per_segment + ops.arange(per_segment, dtype="int32")[:, None, None]
        return ops.min(ops.where(segment < 0, self.count, row), axis=0)

    def _selected(self, positives: _Positives, with_index: bool) -> tuple[Any, Any, Any]:
        """Returns the key of each pair's negative, which pairs have one, and its row."""
        rule = self.rule
        index = None
        if rule.mining == "semi-hard":
            key, found = self._next_farther(positives.key)
            if with_index:
                index = self._row_of(key)
            if rule.no_semi_hard == "skip":
                return key, ops.logical_and(positives.valid, found), index
            key_without, index_without = self._extreme(rule.no_semi_hard == "hardest")
            key = ops.where(found, key, key_without)
            if with_index:
                index = ops.where(found, index, index_without)
            return key, positives.valid, index
        key, index = self._extreme(nearest=True)
        return key, positives.valid, index + ops.zeros_like(positives.index)

    def _extreme(self, nearest: bool) -> tuple[Any, Any]:
        """Returns the key and the row of each anchor's nearest or farthest negative."""
        if nearest:
            keys = ops.where(self.negative, self.keys, INFINITY)
            return ops.min(keys, axis=0), ops.cast(ops.argmin(keys, axis=0), "int32")
        keys = ops.where(self.negative, self.keys, -1.0)
        return ops.max(keys, axis=0), ops.cast(ops.argmax(keys, axis=0), "int32")

    def cost_of(self, positives: _Positives) -> tuple[Any, Any]:
        """Returns the sum of the costs of these positives, and the number of their triplets."""
        rule = self.rule
        distances = rule.distance_of(positives.key)
        if rule.mining == "all":
            costs = self._fold(ops.add, lambda negatives: rule.cost(distances - negatives))
            each = ops.sum(costs, axis=0)
            counts = ops.where(positives.valid, self.negatives, 0.0)
            return ops.sum(ops.where(positives.valid, each, 0.0)), ops.sum(counts)
        key, active, _ = self._selected(positives, with_index=False)
        cost = rule.cost(distances - rule.distance_of(key))
        count = ops.sum(ops.cast(positives.valid, "float32"))
        return ops.sum(ops.where(active, cost, 0.0)), count

    def add_gradient(self, positives: _Positives, by_key: Any, scale: Any) -> Any:
        """Adds the gradient of scale · cost of these pairs with respect to the keys to `by_key`."""
        rule = self.rule
        distances = rule.distance_of(positives.key)
        if rule.mining == "all":
            return self._add_gradient_of_all(positives, distances, by_key, scale)
        key, active, index = self._selected(positives, with_index=True)
        slope = scale * rule.slope(distances - rule.distance_of(key))
        slope = ops.where(active, slope, 0.0)
        rows = ops.concatenate([positives.index, index], axis=0)
        values = ops.concatenate(
            [slope * rule.distance_slope(positives.key), -slope * rule.distance_slope(key)], axis=0
        )
        # A pair without a negative has the slope 0, so its index only has to be valid.
        return _scatter_add(by_key, ops.minimum(rows, self.count - 1), values)

    def _add_gradient_of_all(
        self, positives: _Positives, distances: Any, by_key: Any, scale: Any
    ) -> Any:
        rule = self.rule
        slopes = self._fold(ops.add, lambda negatives: rule.slope(distances - negatives))
        slopes = ops.where(positives.valid, scale * ops.sum(slopes, axis=0), 0.0)
        by_key = _scatter_add(by_key, positives.index, slopes * rule.distance_slope(positives.key))
        # The distance −∞ of an invalid pair gives the slope 0 with every negative.
        distances = ops.where(positives.valid, distances, -INFINITY)
        negatives = ops.where(self.negative, rule.distance_of(self.keys), INFINITY)
        by_distance = rule.slope(distances[0] - negatives)
        for rank in range(1, distances.shape[0]):
            by_distance = by_distance + rule.slope(distances[rank] - negatives)
        return by_key - scale * by_distance * rule.distance_slope(self.keys)


def _same_bits(values: Any, dtype: str) -> Any:
    """Returns the bits of floats as unsigned integers, or of unsigned integers as floats."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # `ops.view` fails if the shape is unknown.
        return tf.bitcast(values, dtype)
    return ops.view(values, dtype)


def _scatter_add(matrix: Any, rows: Any, values: Any) -> Any:
    """Returns the matrix after matrix[rows[k, a], a] += values[k, a] for all k and a."""
    columns = ops.arange(ops.shape(matrix)[1], dtype="int32") + ops.zeros_like(rows)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.tensor_scatter_nd_add(matrix, tf.stack([rows, columns], axis=-1), values)
    return matrix.at[rows, columns].add(values)
