"""Content of an artefact's card."""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import keras

from gfkeras.cards import CARD_FORMAT, FLOAT_PRECISIONS
from gfkeras.errors import wrong
from gfkeras.evaluation import Thresholds
from gfkeras.layers import InputNormalization
from gfkeras.version import __version__


def describe(
    form: Any,
    model: keras.Model,
    settings: dict[str, Any],
    ends: tuple[str, str],
    fingerprint: str,
    about: dict[str, Any],
) -> dict[str, Any]:
    """Returns the card to embed in an artefact.

    The card next to the artefact also contains `gfkeras.cards.file_facts`. `form` is the result of
    `export_form` for `model`, `settings` are format, precision, mode and batch_size, and `ends` are
    the dtypes of inputs and outputs.
    """
    signature = form.serve.input_signature[0]
    outputs = form.serve.get_concrete_function().structured_outputs
    return {
        "card": CARD_FORMAT,
        "gfkeras": __version__,
        "keras": keras.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **settings,
        "inputs": [
            {
                "name": signature.name,
                "shape": signature.shape.as_list(),
                "dtype": ends[0],
                "values": "RGB, 0…255"
                + (", less 128" if ends[0] == "int8" else "")
                + "; normalised inside",
            }
        ],
        "normalisation": _normalisation(model),
        "outputs": [
            {"name": name, "shape": tensor.shape.as_list(), "dtype": ends[1]}
            for name, tensor in outputs.items()
        ],
        "model": _summary(model),
        "fingerprint": fingerprint,
        **about,
    }


def _normalisation(model: keras.Model) -> dict[str, Any]:
    """Returns the normalisation of pixels 0…255 before the first convolution: x·scale + offset.

    Scale and offset are unknown for a model that does not use `InputNormalization`.
    """
    for layer in model._flatten_layers(include_self=False, recursive=True):
        if isinstance(layer, InputNormalization):
            return {"inside": True, "scale": layer.scale, "offset": -layer.mean * layer.scale}
    return {"inside": True}


def _summary(model: keras.Model) -> dict[str, Any]:
    """Returns the architecture's arguments, without weights or nested configurations."""
    kind, parameters = type(model).__name__, model.count_params()
    summary: dict[str, Any] = {"class": kind, "parameters": parameters, "name": model.name}
    # The configuration of a functional model lists each of its layers.
    if hasattr(model, "save_to"):
        plain = (str, int, float, bool, type(None), list, tuple)
        for key, value in model.get_config().items():
            # The artefact's mode is a key of the card itself and can differ from the model's.
            if key != "mode" and isinstance(value, plain):
                summary[key] = value
    backbone = getattr(model, "backbone", None)
    if isinstance(backbone, keras.Model):
        summary["backbone"] = _summary(backbone)
    return summary


@dataclasses.dataclass(frozen=True, slots=True)
class About:
    """Known facts about a model, for `export_model`.

    Attributes:
        thresholds: thresholds by FAR, measured on this model in the exported mode.
        sources: origin of the weights, as JSON: preset or folder, licence, provenance, data.
        reference_results: results measured on the model, not on the artefact.
    """

    thresholds: Thresholds | None = None
    sources: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    reference_results: Sequence[Mapping[str, Any]] = ()

    def to_json(self, fingerprint: str, precision: str) -> dict[str, Any]:
        """Returns the known facts as keys of the card.

        `fingerprint` identifies the model in the exported mode. Raises ValueError if the thresholds
        belong to another model or mode.
        """
        card: dict[str, Any] = {}
        if self.thresholds is not None:
            card["thresholds"] = _of(self.thresholds, fingerprint, precision).to_json()
        if self.sources:
            card["sources"] = dict(self.sources)
        if self.reference_results:
            card["reference_results"] = [dict(result) for result in self.reference_results]
        return card


def _of(thresholds: Thresholds, fingerprint: str, precision: str) -> Thresholds:
    if thresholds.model and thresholds.model != fingerprint:
        expected = f"be measured on the exported model and mode, fingerprint {fingerprint[:12]}…"
        received = f"{thresholds.origin} with fingerprint {thresholds.model[:12]}…"
        raise wrong("thresholds", expected, received)
    origin = thresholds.origin
    # Integers change the embeddings a little, so the card says where the thresholds come from.
    if precision not in FLOAT_PRECISIONS:
        origin += f"; measured on the float model, not in {precision}"
    return dataclasses.replace(thresholds, model=fingerprint, origin=origin)
