"""From a trained model to the one that an artefact holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras

from gfkeras.export.preparation.channel_folding import fold_channels
from gfkeras.export.preparation.denormals import flush_denormals
from gfkeras.export.preparation.flat import fix_flattening
from gfkeras.export.preparation.flattening import flattened
from gfkeras.export.preparation.float32 import float32_model
from gfkeras.export.preparation.network import Network
from gfkeras.export.preparation.opening import open_batch_norms, open_input_normalization
from gfkeras.export.preparation.pointwise import pointwise_as_dense
from gfkeras.export.preparation.prelu import rewrite_prelus
from gfkeras.export.preparation.training_layers import drop_training_layers

Step = Callable[[Network], None]

# What every artefact gets.
STEPS: tuple[Step, ...] = (
    drop_training_layers, fix_flattening, open_batch_norms, open_input_normalization,
    fold_channels, flush_denormals,
)  # fmt: skip
# For processors that know nothing but integers: without PReLU.
INTEGER_STEPS: tuple[Step, ...] = (rewrite_prelus, *STEPS)
# For integer weights times float pixels.
DENSE_STEPS: tuple[Step, ...] = (*STEPS, pointwise_as_dense)


def prepare(
    model: keras.Model, mode: str | None = None, steps: Sequence[Step] = STEPS
) -> keras.Model:
    """A model of plain layers that computes the same with less; the one given is not changed.

    Each step is exact but for rounding: embeddings stay within 1e-5 once normalised. A step on
    its own is `prepare(model, steps=[fold_channels])`.

    Args:
        model: a `GroupFace`, or a functional model from images to an embedding.
        mode: "soft" or "hard" for a GroupFace; its own by default.
        steps: what is done, in order.

    Returns:
        A functional float32 model from images to the dictionary of `embedding` and, of a
        GroupFace, `group_feature` and `group_logits`.

    Raises:
        NotRewritable: for a model that is not functional, or calls layers with more than tensors.
    """
    network = flattened(float32_model(model), mode)
    for step in steps:
        step(network)
    return network.model()
