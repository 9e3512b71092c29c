"""Draws the target's logit of every head over the angle to its center.

    python examples/margin_curves.py docs/images/margin_curves.png

What is drawn comes out of the heads themselves: embeddings at each angle from their own
center, at right angles to all the others.
"""

from __future__ import annotations

import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from keras import ops

from gfkeras import heads

ANGLES = np.linspace(0, np.pi, 361)
# Name on the picture: the head, and the norm of the embeddings.
LEFT = {
    "NormSoftmax": (heads.NormSoftmax(2), 1),
    "CosFace, m = 0.35": (heads.CosFace(2), 1),
    "ArcFace, m = 0.5": (heads.ArcFace(2), 1),
    "ArcFace, easy margin": (heads.ArcFace(2, easy_margin=True), 1),
    "CombinedMargin (0.9, 0.4, 0.15)": (heads.CombinedMargin(2, m1=0.9, m2=0.4, m3=0.15), 1),
    "SphereFaceR, m = 1.5": (heads.SphereFaceR(2), 1),
    "SphereFace, m = 4, λ = 5": (heads.SphereFace(2, lambda_start=0), 1),
}
RIGHT = {
    "AdaFace, low norm": (heads.AdaFace(2), 1),
    "AdaFace, mean norm": (heads.AdaFace(2), 20),
    "AdaFace, high norm": (heads.AdaFace(2), 39),
    "MagFace, ‖x‖ = 10": (heads.MagFace(2), 10),
    "MagFace, ‖x‖ = 110": (heads.MagFace(2), 110),
}


def curve(head: heads.MarginHead, norm: float) -> np.ndarray:
    """The target's logit over s (over ‖x‖ for SphereFace) at each angle."""
    head.build((None, 3))
    head.centers.assign([[1, 0, 0], [0, 0, 1]])
    if isinstance(head, heads.AdaFace):
        head.norm_std.assign(19 * 0.333)  # So that the three norms span its range.
    embedding = norm * np.stack([np.cos(ANGLES), np.sin(ANGLES), 0 * ANGLES], axis=1)
    logits = head(embedding.astype("float32"), np.zeros(len(ANGLES), "int32"))
    scale = norm if isinstance(head, heads.SphereFace) else head.scale
    return ops.convert_to_numpy(logits)[:, 0] / scale


def main(path: str) -> None:
    plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), sharey=True, constrained_layout=True)
    for axis, title, drawn in zip(
        axes,
        ("The same margin for every face", "A margin by the embedding's norm"),
        (LEFT, RIGHT),
        strict=True,
    ):
        axis.plot(np.degrees(ANGLES), np.cos(ANGLES), color="0.75", lw=4, label="cos θ")
        for name, (head, norm) in drawn.items():
            style = "--" if "easy" in name else "-"  # It lies on ArcFace's up to 90°.
            axis.plot(np.degrees(ANGLES), curve(head, norm), style, lw=1.6, label=name)
        axis.set(title=title, xlabel="θ, angle to the identity's center (degrees)")
        axis.set(xlim=(0, 180), ylim=(-2.3, 1.05), xticks=range(0, 181, 30))
        axis.grid(color="0.92")
        axis.legend(frameon=False, fontsize=8.5, loc="lower left")
    axes[0].set_ylabel("the target's logit / s")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "margin_curves.png")
