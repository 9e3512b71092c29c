"""Networks for tests of training, which takes as long to trace as a network is deep."""

from __future__ import annotations

# One bottleneck where MobileFaceNet has fifteen, down to its 7×7 at once; with 4 to 32 channels.
SMALL_BOTTLENECKS = [[256, 128, 1, 8]]
SMALL_BACKBONE = {"name": "MobileFaceNet", "width": 0.0625, "bottlenecks": SMALL_BOTTLENECKS}
