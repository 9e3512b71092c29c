"""The cost of a triplet and its derivatives, as functions of two distances."""

from dataclasses import dataclass
from typing import Any

from keras import ops

from gfkeras.layers.angular import MIN_SQUARED_SINE


@dataclass(frozen=True)
class TripletRule:
    """The arguments of `gfkeras.losses.TripletLoss` that decide the cost of a batch.

    Distances are stored as keys: ‖a − b‖², or 1 − cos θ. A key grows with its distance, so
    mining can compare keys and save the square root or the arccos.
    """

    margin: float
    mining: str
    distance: str
    positives: str
    no_semi_hard: str
    soft: bool

    def cost(self, difference: Any) -> Any:
        """Returns the cost for the difference d(a, p) − d(a, n)."""
        if self.soft:
            return ops.softplus(difference)
        return ops.maximum(difference + self.margin, 0.0)

    def slope(self, difference: Any) -> Any:
        """Returns the derivative of `cost`."""
        if self.soft:
            return ops.sigmoid(difference)
        return ops.cast(difference + self.margin > 0.0, "float32")

    def key(self, products: Any, squares: Any, other_squares: Any) -> Any:
        """Returns the keys for products of rows and the rows' squared norms."""
        if self.distance == "angular":
            key = 1.0 - products
        else:
            key = squares + other_squares - 2.0 * products
        # This also turns −0.0 into 0.0. The bits of keys then have the same order as their values.
        return ops.where(key > 0.0, key, 0.0)

    def distance_of(self, key: Any) -> Any:
        if self.distance == "squared-l2":
            return key
        if self.distance == "l2":
            return ops.sqrt(key)
        return ops.arccos(ops.maximum(1.0 - key, -1.0))

    def distance_slope(self, key: Any) -> Any:
        """Returns the derivative of `distance_of`.

        It is 0 for the l2 distance of equal rows. For angles, it is bounded in the same way as
        the derivative of `gfkeras.layers.angular.arccos`.
        """
        if self.distance == "squared-l2":
            return ops.ones_like(key)
        if self.distance == "l2":
            apart = key > 0.0
            return ops.where(apart, 0.5 * ops.rsqrt(ops.where(apart, key, 1.0)), 0.0)
        return ops.rsqrt(ops.maximum(key * (2.0 - key), MIN_SQUARED_SINE))
