"""Small networks for tests of training, because tracing a deep network is slow."""

from __future__ import annotations

# One bottleneck instead of the fifteen of MobileFaceNet, with 4 to 32 channels.
SMALL_BOTTLENECKS = [[256, 128, 1, 8]]
SMALL_BACKBONE = {"name": "MobileFaceNet", "width": 0.0625, "bottlenecks": SMALL_BOTTLENECKS}
