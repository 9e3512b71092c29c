"""Presets of the zoo: their files and artefacts, and the import of other weights."""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gfkeras.backend import load_keras
from gfkeras.downloads import cache_folder
from gfkeras.errors import wrong
from gfkeras.files import PathLike, replacing, size_bytes
from gfkeras.tasks.reporting import Result
from gfkeras.zoo.registry import GOLDEN_FILE, ExportVariant, Preset, presets, read_preset
from gfkeras.zoo.table import write_into

if TYPE_CHECKING:
    from gfkeras.export import About
    from gfkeras.zoo.golden import Golden

# Smallest cosine to the embeddings in golden.npz. fp16 is as exact as fp32, because a preset's
# weights are float16 already.
_LEAST_COSINE = {"fp32": 0.9999, "fp16": 0.9999, "int8": 0.99}
# Synthetic faces for the value ranges of int8. Anyone can render them again, and golden.npz has
# other people (another seed).
_CALIBRATION = {"num_identities": 128, "images_per_identity": 2, "seed": 1}


@dataclass(frozen=True)
class ListedPreset:
    """A preset, and where its weights are: "bundled", "in the cache" or "to download"."""

    preset: Preset
    where: str

    @classmethod
    def of(cls, preset: Preset) -> ListedPreset:
        """Returns a preset with the place of its weights on this machine."""
        if preset.in_the_box:
            return cls(preset, "bundled")
        there = (cache_folder() / preset.weights.file_name).is_file()
        return cls(preset, "in the cache" if there else "to download")

    def to_json(self) -> dict[str, Any]:
        """The content of `gfkeras zoo show --json`."""
        return {"name": self.preset.name, **self.preset.model_dump(mode="json")}


@dataclass(frozen=True)
class ZooList:
    """The presets of this version in natural order."""

    presets: list[ListedPreset]

    def to_json(self) -> dict[str, Any]:
        """The content of `gfkeras zoo list --json`."""
        return {"presets": [each.to_json() for each in self.presets]}

    def write_markdown(self, path: PathLike) -> bool:
        """Replaces the table between the marks of a Markdown file. Returns whether it changed."""
        return write_into(path, [each.preset for each in self.presets])


@dataclass(frozen=True)
class Download:
    """A preset's file on this machine, checked against its SHA-256."""

    preset: Preset
    path: Path

    def to_json(self) -> dict[str, Any]:
        """The content of `gfkeras zoo download --json`."""
        sha256 = self.preset.weights.sha256
        return {"name": self.preset.name, "path": str(self.path), "sha256": sha256}


@dataclass(frozen=True)
class ImportedModel(Result):
    """A model folder made from other weights, with its network, dimensions and parameters."""

    path: Path
    network: str
    embedding_dim: int
    parameters: int


@dataclass(frozen=True)
class CheckedArtefact(Result):
    """An artefact of a preset, with smallest cosine and largest error to golden.npz."""

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
    """Lists the presets of this version.

    Example:
        for each in list_presets().presets:
            print(each.preset.name, each.where)
    """
    return ZooList([ListedPreset.of(preset) for preset in presets()])


def show_preset(name: str) -> ListedPreset:
    """Returns a preset with its licence, origin and measured results.

    Raises:
        ValueError: if the name is unknown. The message suggests a similar name.
    """
    return ListedPreset.of(read_preset(name))


def download_preset(
    name: str, out: PathLike | None = None, progress: bool | None = False
) -> Download:
    """Downloads a preset's file and checks its SHA-256.

    An interrupted download continues where it stopped. GFKERAS_CACHE names another cache folder,
    GFKERAS_MIRROR another server. GFKERAS_OFFLINE=1 forbids downloads.

    Args:
        name: name of a preset.
        out: folder for the file. By default, the cache.
        progress: whether to draw a progress bar on stderr. None draws one on a terminal.

    Raises:
        ValueError: if the name is unknown or the file is damaged.
        DownloadError: if the file cannot be downloaded.
    """
    from gfkeras.zoo.preset_files import weights_path

    preset = read_preset(name)
    path = weights_path(preset, out, progress=progress)
    # A bundled file is not downloaded. Copy it if the user asks for a folder.
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

    Supports IResNet-18/34/50/100 and MobileFaceNet from InsightFace (ONNX, PyTorch, MXNet),
    the models of Keras_insightface with the same layers, and InceptionResnetV1 from
    facenet-pytorch. No code in the file is run.

    Args:
        file: .onnx, .pt, .safetensors, .params (MXNet), .h5 or .keras.
        out: model folder to write.
        format: "onnx", "torch", "safetensors", "mxnet" or "keras". By default, recognised from the
            file.
        symbol: for MXNet: the -symbol.json file. By default, the one next to `file`.
        pixel_scale: factor s in (pixel − 127.5) · s, the network's input. By default, the usual
            value of the format.

    Raises:
        ValueError: if the file is not one of these networks.
    """
    load_keras()
    from gfkeras.zoo import foreign
    from gfkeras.zoo.foreign.matching import describe

    model = foreign.import_weights(file, format, symbol=symbol, pixel_scale=pixel_scale)
    folder = model.save_to(out)
    width = int(model.output_shape[-1])
    return ImportedModel(Path(folder), describe(model), width, int(model.count_params()))


def export_preset(name: str, out: PathLike, ship: bool = False) -> PresetExports:
    """Exports a preset in all variants that its model.toml lists, with cards and thresholds.

    Args:
        name: name of a preset.
        out: folder for the artefacts.
        ship: also copy the fp32 and int8 .tflite files next to the preset's weights, and describe
            them in its model.toml.

    Raises:
        ValueError: if the preset lists no exports, or if the embeddings of an artefact differ from
            those in golden.npz.
    """
    preset = read_preset(name)
    if not preset.exports:
        raise wrong("name", "be a preset with [[exports]] in its model.toml", repr(name))
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
    # `not … >=` instead of `<` also catches NaN.
    if not cosine >= least:
        raise ValueError(
            f"{path} gives other embeddings than {preset.name!r}: its smallest cosine to "
            f"{GOLDEN_FILE} is {cosine:.6f}, but must be at least {least}"
        )
    if known.thresholds is not None:
        # Write the thresholds for this artefact, whose fingerprint differs from the Keras model's.
        dataclasses.replace(known.thresholds, model=embedder.fingerprint).save(beside(path))
    error = golden.largest_error(embedding)
    return CheckedArtefact(path, variant.format, variant.precision, size_bytes(path), cosine, error)


def pack_model(model: PathLike, folder: PathLike, mode: str | None = None) -> ListedPreset:
    """Makes a preset from a trained model.

    Writes weights in half precision, golden embeddings and model.toml. If model.toml exists, only
    its tables [architecture] and [weights] are replaced: measure [[results]] and [thresholds]
    again.

    Args:
        model: a model folder.
        folder: folder zoo/NAME of a checkout of gfkeras.
        mode: assignment to groups, "soft" or "hard". By default, as trained.
    """
    load_keras()
    from gfkeras.zoo.loading import load
    from gfkeras.zoo.packing import pack

    loaded = load(model)
    if mode is not None:
        loaded.mode = mode
    return ListedPreset.of(pack(loaded, folder))
