"""CosFace's bounds: the smallest scale and the largest margin that embeddings can satisfy."""

import math
from typing import Any

from gfkeras.errors import in_range, positive_int

# scale="auto" reaches this probability with the margin.
AUTO_PROBABILITY = 0.99
# Training warns if the scale cannot reach this probability even without a margin.
LEAST_PROBABILITY = 0.9


def cosface_scale_lower_bound(num_classes: int, probability: float, margin: float = 0.0) -> float:
    """Returns the smallest scale with which embeddings can reach a probability of their class.

    It is s = (C − 1)/C · ln((C − 1)·P/(1 − P)) (arXiv 1801.09414, section 3.3). The best
    embeddings are the C centers, whose cosines are all −1/(C − 1). Softmax gives them the
    probability P with this scale, and less with a smaller one. A loss below −ln P is then
    impossible.

    Args:
        num_classes: C, the number of identities, at least 2.
        probability: P in (0, 1). Below 1/C the bound is negative.
        margin: m, subtracted from the target's cosine before softmax, in [0, C/(C − 1)). The
            paper's bound is that of 0. With a margin, s = ln((C − 1)·P/(1 − P)) / (C/(C − 1) − m).

    Raises:
        ValueError: for an argument out of range.

    Example:
        >>> import gfkeras
        >>> round(gfkeras.heads.cosface_scale_lower_bound(10_000, 0.9), 3)
        11.406
        >>> round(gfkeras.heads.cosface_scale_lower_bound(10_000, 0.9, margin=0.35), 2)
        17.55
    """
    classes = _at_least_two(num_classes)
    # `in_range` includes its lower end, and a probability of 0 has no logarithm.
    if in_range("probability", probability, 0, 1) == 0:
        raise ValueError("`probability` must be in (0, 1). Received: probability=0")
    margin = in_range("margin", margin, 0, classes / (classes - 1))
    # A sum of logarithms also holds numbers beyond float64.
    log_odds = math.log(classes - 1) + math.log(probability) - math.log1p(-probability)
    return log_odds / (classes / (classes - 1) - margin)


def cosface_margin_upper_bound(num_classes: int, dimensions: int) -> float:
    """Returns the largest cosine margin that the centers of all classes leave to each other.

    An embedding on its center has cosine 1 with it, and 1 − m must still be at least its cosine
    with the nearest other center. So m ≤ 1 − max cos for the best arrangement of the centers
    (arXiv 1801.09414, section 3.4):

    - C ≤ K + 1: C/(C − 1), by a regular simplex.
    - K = 2: 1 − cos(2π/C), by a regular polygon.
    - C > K + 1 in general: the paper says only that the bound lies far below C/(C − 1). Two of so
      many centers are at most at a right angle (Rankin, 1955), which gives 1. For C > 2K, not even
      1 can be reached.

    Args:
        num_classes: C, the number of identities, at least 2.
        dimensions: K, the width of the embedding.

    Raises:
        ValueError: for an argument out of range.

    Example:
        >>> import gfkeras
        >>> round(gfkeras.heads.cosface_margin_upper_bound(8, 2), 4)
        0.2929
        >>> gfkeras.heads.cosface_margin_upper_bound(5, 512)
        1.25
    """
    classes = _at_least_two(num_classes)
    dimensions = positive_int("dimensions", dimensions)
    if classes <= dimensions + 1:
        return classes / (classes - 1)
    if dimensions == 1:
        return 0.0
    # 1 − cos 2x = 2 sin² x, which does not round to 0 for many classes.
    return 2.0 * math.sin(math.pi * (1 / classes)) ** 2 if dimensions == 2 else 1.0


def bound_warnings(head: Any) -> list[str]:
    """Returns a sentence for each bound that a built `MarginHead` breaks."""
    if not head.normalizes or head.samples < 2:
        return []
    name, dimensions, found = type(head).__name__, head.centers.shape[-1], []
    # A step of `PartialFC` has the logits of a sample, but the centers of all identities.
    least = cosface_scale_lower_bound(head.samples, LEAST_PROBABILITY)
    if head.scale < least:
        found.append(
            f"The scale {head.scale:.4g} of {name} is below CosFace's bound {least:.4g} for "
            f"{head.samples} identities. Even perfect embeddings do not reach the probability "
            f'{LEAST_PROBABILITY}. scale="auto" chooses a sufficient scale.'
        )
    most = cosface_margin_upper_bound(head.num_classes, dimensions)
    if head.margin_at_center > most:
        found.append(
            f"The margin of {name} takes {head.margin_at_center:.4g} from the cosine at the "
            f"center, more than CosFace's bound {most:.4g} for {head.num_classes} identities in "
            f"{dimensions} dimensions. Not all identities can keep this margin."
        )
    return found


def _at_least_two(num_classes: int) -> int:
    classes = positive_int("num_classes", num_classes)
    if classes < 2:
        raise ValueError(f"`num_classes` must be at least 2. Received: num_classes={classes}")
    return classes
