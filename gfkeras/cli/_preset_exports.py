"""The artefacts of a preset, for `gfkeras zoo export`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gfkeras.files import size_bytes

if TYPE_CHECKING:
    from gfkeras.zoo.registry import Preset

# Of the embeddings in golden.npz; float16 rounds weights that are float16 already.
_LEAST_COSINE = {"fp32": 0.9999, "fp16": 0.9999, "int8": 0.97}
# Faces that everybody has, none of whom is in golden.npz: int8 needs ranges.
_CALIBRATION = {"num_identities": 128, "images_per_identity": 2, "seed": 1}


def export_variants(preset: Preset, out: Path) -> list[dict[str, Any]]:
    """Writes each artefact with its card and thresholds, and checks its embeddings.

    Returns:
        For each: path, format, precision, size_bytes, min_cosine and max_abs_error.

    Raises:
        ValueError: for a preset without exports, or an artefact that gives other embeddings than
            the model did.
    """
    import gfkeras
    from gfkeras.cli._about import about_preset
    from gfkeras.data.synthetic import synthetic_faces
    from gfkeras.evaluation.thresholds import beside
    from gfkeras.export import export_model
    from gfkeras.zoo.golden import Golden
    from gfkeras.zoo.loading import load_preset
    from gfkeras.zoo.registry import GOLDEN_FILE

    if not preset.exports:
        raise ValueError(f"The preset {preset.name!r} lists no [[exports]] in its model.toml")
    golden = Golden.load(preset.folder / GOLDEN_FILE)
    model = load_preset(preset)
    known = about_preset(preset, model)
    rows = []
    for variant in preset.exports:
        path = out / variant.file_name(preset.name)
        export_model(
            model,
            path,
            format=variant.format,
            precision=variant.precision,
            calibration=(
                synthetic_faces(**_CALIBRATION)[0] if variant.precision == "int8" else None
            ),
            about=known,
        )
        embedder = gfkeras.Embedder(path)
        embedding = embedder(golden.images).embedding
        cosine = golden.least_cosine(embedding)
        least = _LEAST_COSINE[variant.precision]
        if not cosine >= least:
            raise ValueError(
                f"{path} gives other embeddings than {preset.name!r}: its least cosine to "
                f"{GOLDEN_FILE} is {cosine:.6f}, expected {least} or more"
            )
        if known.thresholds is not None:
            dataclasses.replace(known.thresholds, model=embedder.fingerprint).save(beside(path))
        rows.append(
            {
                "path": str(path),
                "format": variant.format,
                "precision": variant.precision,
                "size_bytes": size_bytes(path),
                "min_cosine": cosine,
                "max_abs_error": golden.largest_error(embedding),
            }
        )
    return rows
