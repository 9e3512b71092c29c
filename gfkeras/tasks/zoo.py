"""The zoo: its presets, their files and artefacts, and the import of foreign weights."""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gfkeras.backend import load_keras
from gfkeras.downloads import cache_folder
from gfkeras.files import PathLike, replacing, size_bytes
from gfkeras.tasks.reporting import Result
from gfkeras.zoo.registry import GOLDEN_FILE, ExportVariant, Preset, presets, read_preset
from gfkeras.zoo.table import write_into

if TYPE_CHECKING:
    from gfkeras.export import About
    from gfkeras.zoo.golden import Golden

# Of the embeddings in golden.npz; float16 rounds weights that are float16 already.
_LEAST_COSINE = {"fp32": 0.9999, "fp16": 0.9999, "int8": 0.99}
# Faces for the ranges of int8. Everybody can draw them again; nobody of golden.npz is among them.
_CALIBRATION = {"num_identities": 128, "images_per_identity": 2, "seed": 1}


@dataclass(frozen=True)
class ListedPreset:
    """A preset, and where its weights are: "in the box", "in the cache" or "to download"."""

    preset: Preset
    where: str

    @classmethod
    def of(cls, preset: Preset) -> ListedPreset:
        """A preset, with the place looked up."""
        if preset.in_the_box:
            return cls(preset, "in the box")
        there = (cache_folder() / preset.weights.file_name).is_file()
        return cls(preset, "in the cache" if there else "to download")

    def to_json(self) -> dict[str, Any]:
        """The content of `gfkeras zoo show --json`."""
        return {"name": self.preset.name, **self.preset.model_dump(mode="json")}


@dataclass(frozen=True)
class ZooList:
    """The presets that this version ships, in natural order."""

    presets: list[ListedPreset]

    def to_json(self) -> dict[str, Any]:
        """The content of `gfkeras zoo list --json`."""
        return {"presets": [each.to_json() for each in self.presets]}

    def write_markdown(self, path: PathLike) -> bool:
        """Writes the table into a Markdown file, between its marks; returns whether it changed."""
        return write_into(path, [each.preset for each in self.presets])


@dataclass(frozen=True)
class Download:
    """A preset's file on this machine, checked by its SHA-256."""

    preset: Preset
    path: Path

    def to_json(self) -> dict[str, Any]:
        """The content of `gfkeras zoo download --json`."""
        sha256 = self.preset.weights.sha256
        return {"name": self.preset.name, "path": str(self.path), "sha256": sha256}


@dataclass(frozen=True)
class ImportedModel(Result):
    """A model folder made of foreign weights: its class and variant, and its numbers."""

    path: Path
    network: str
    embedding_dim: int
    parameters: int


@dataclass(frozen=True)
class CheckedArtefact(Result):
    """An artefact of a preset; least cosine to its golden embeddings, and largest error."""

    path: Path
    format: str
    precision: str
    size_bytes: int
    min_cosine: float
    max_abs_error: float


@dataclass(frozen=True)
class PresetExports(Result):
    """The artefacts of a preset."""

    exports: list[CheckedArtefact]


def list_presets() -> ZooList:
    """Lists the presets that this version ships.

    Example:
        for each in list_presets().presets:
            print(each.preset.name, each.where)
    """
    return ZooList([ListedPreset.of(preset) for preset in presets()])


def show_preset(name: str) -> ListedPreset:
    """Returns a preset's licence, provenance and measured results.

    Raises:
        ValueError: for an unknown name, with the nearest one.
    """
    return ListedPreset.of(read_preset(name))


def download_preset(
    name: str, out: PathLike | None = None, progress: bool | None = False
) -> Download:
    """Downloads a preset's file and checks it by its SHA-256.

    A download that was cut continues where it stopped. GFKERAS_CACHE names another cache,
    GFKERAS_MIRROR another server, GFKERAS_OFFLINE=1 forbids downloads.

    Args:
        name: a preset.
        out: the folder to put it in; the cache by default.
        progress: whether to draw a bar on stderr; None draws one on a terminal.

    Raises:
        ValueError: for an unknown name, and a damaged file.
        DownloadError: if the file cannot be downloaded.
    """
    from gfkeras.zoo.preset_files import weights_path

    preset = read_preset(name)
    path = weights_path(preset, out, progress=progress)
    if preset.in_the_box and out is not None:
        with replacing(Path(out) / path.name) as temporary:
            shutil.copyfile(path, temporary)
        path = Path(out) / path.name
    return Download(preset, path)


def import_weights(
    file: PathLike,
    out: PathLike,
    format: str | None = None,  # noqa: A002
    *,
    symbol: PathLike | None = None,
    pixel_scale: float | None = None,
) -> ImportedModel:
    """Turns the weights of a public face network into a model folder.

    IResNet-18/34/50/100 and MobileFaceNet of InsightFace (ONNX, PyTorch, MXNet) and of
    Keras_insightface, where its layers are ours. Nothing in the file is run.

    Args:
        file: .onnx, .pt, .safetensors, .params (MXNet), .h5 or .keras.
        out: the model folder to write.
        format: "onnx", "torch", "safetensors", "mxnet" or "keras"; seen from the file by default.
        symbol: for MXNet the -symbol.json; the one beside `file` by default.
        pixel_scale: pixels x become (x − 127.5) times this; the format's usual by default.

    Raises:
        ValueError: for a file that is not such a network.
    """
    load_keras()
    from gfkeras.zoo import foreign
    from gfkeras.zoo.foreign.matching import describe

    model = foreign.import_weights(file, format, symbol=symbol, pixel_scale=pixel_scale)
    folder = model.save_to(out)
    width = int(model.output_shape[-1])
    return ImportedModel(Path(folder), describe(model), width, int(model.count_params()))


def export_preset(name: str, out: PathLike, ship: bool = False) -> PresetExports:
    """Writes all artefacts that a preset's model.toml lists, with cards and thresholds.

    Args:
        name: a preset.
        out: the folder to put them in.
        ship: also put the .tflite files in float32 and int8 beside the preset's weights, and
            describe them in its model.toml.

    Raises:
        ValueError: for a preset without exports, or an artefact whose embeddings are not those
            in golden.npz.
    """
    preset = read_preset(name)
    if not preset.exports:
        raise ValueError(f"The preset {preset.name!r} lists no [[exports]] in its model.toml")
    load_keras()
    from gfkeras.tasks.card_content import preset_facts
    from gfkeras.zoo.golden import Golden
    from gfkeras.zoo.loading import load_preset

    golden = Golden.load(preset.folder / GOLDEN_FILE)
    model = load_preset(preset)
    known = preset_facts(preset, model)
    done = [_export(preset, variant, Path(out), model, known, golden) for variant in preset.exports]
    if ship:
        from gfkeras.zoo.packing import ship_artefacts

        ship_artefacts(preset, out)
    return PresetExports(done)


def _export(
    preset: Preset, variant: ExportVariant, out: Path, model: Any, known: About, golden: Golden
) -> CheckedArtefact:
    from gfkeras.data.synthetic import synthetic_faces
    from gfkeras.evaluation.thresholds import beside
    from gfkeras.export import export_model
    from gfkeras.inference import Embedder

    path = out / variant.file_name(preset.name)
    faces = synthetic_faces(**_CALIBRATION)[0] if variant.precision == "int8" else None
    export_model(
        model, path, format=variant.format, precision=variant.precision, calibration=faces,
        about=known,
    )  # fmt: skip
    embedder = Embedder(path)
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
    error = golden.largest_error(embedding)
    return CheckedArtefact(path, variant.format, variant.precision, size_bytes(path), cosine, error)


def pack_model(model: PathLike, folder: PathLike, mode: str | None = None) -> ListedPreset:
    """Puts a trained model into the zoo.

    Writes weights in half precision, golden embeddings and model.toml. The tables of an earlier
    model.toml are kept, except [architecture] and [weights]: measure [[results]] and [thresholds]
    again.

    Args:
        model: a model folder.
        folder: zoo/NAME of a checkout.
        mode: "soft" or "hard"; as trained by default.
    """
    load_keras()
    from gfkeras.zoo.loading import load
    from gfkeras.zoo.packing import pack

    loaded = load(model)
    if mode is not None:
        loaded.mode = mode
    return ListedPreset.of(pack(loaded, folder))
