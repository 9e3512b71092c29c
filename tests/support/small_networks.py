"""Networks for tests of training, which takes as long to trace as a network is deep."""

from __future__ import annotations

# Three bottlenecks where MobileFaceNet has fifteen; with 4 to 32 channels.
SMALL_BOTTLENECKS = [[128, 64, 1, 2], [256, 128, 1, 2], [256, 128, 1, 2]]
SMALL_BACKBONE = {"name": "MobileFaceNet", "width": 0.0625, "bottlenecks": SMALL_BOTTLENECKS}
