"""Registry of presets: their names and their descriptions (`model.toml`)."""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from gfkeras.errors import unknown_name
from gfkeras.files import natural_key
from gfkeras.toml_errors import read_toml

MODEL_FILE = "model.toml"
GOLDEN_FILE = "golden.npz"
RECIPE_FILE = "recipe.toml"
# Weights that this project wrote (`gfkeras.zoo.weights_file`).
OWN_FORMAT = "gfkeras"
# A file that is used unchanged, such as the network of a face detector.
AS_IT_IS = "file"
# Formats of weights from other projects (`gfkeras.zoo.foreign`).
FOREIGN_FORMATS = ("mxnet", "onnx", "torch", "safetensors", "keras")


def _digest(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", value):
        raise ValueError("expected 64 lower-case hexadecimal digits, a SHA-256")
    return value


def _url(value: str) -> str:
    if not value.startswith(("https://", "http://")):
        raise ValueError("expected a URL that begins with https:// or http://")
    return value


def _plain_name(value: str) -> str:
    if not value or Path(value).name != value:
        raise ValueError("expected the name of a file in the model's folder")
    return value


def _weights_format(value: str) -> str:
    known = (OWN_FORMAT, AS_IT_IS, *FOREIGN_FORMATS)
    if value not in known:
        raise ValueError(f"expected one of {', '.join(known)}")
    return value


class _Table(BaseModel):
    # A misspelt key is an error, and "1" is not a number.
    model_config = ConfigDict(extra="forbid", strict=True)


class Architecture(_Table):
    """[architecture]: a class of gfkeras.models or gfkeras.backbones, and its arguments."""

    # The other keys are arguments of the class, which checks them itself.
    model_config = ConfigDict(extra="allow", strict=True)

    name: str

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the class."""
        return dict(self.model_extra or {})


class InputContract(_Table):
    """[input]: the images that the model takes."""

    height: PositiveInt = 112
    width: PositiveInt = 112
    channels: Literal["RGB", "BGR"] = "RGB"
    range: tuple[float, float] = (0.0, 255.0)
    alignment: str = "five points, ArcFace's template"


class FurtherFile(_Table):
    """[[weights.also]]: a file at a URL that the weights need, such as MXNet's symbol file."""

    url: Annotated[str, AfterValidator(_url)]
    size_bytes: PositiveInt
    sha256: Annotated[str, AfterValidator(_digest)]
    saved_as: Annotated[str, AfterValidator(_plain_name)]


class Weights(_Table):
    """[weights]: one file, in the model's folder or at a URL."""

    file: Annotated[str, AfterValidator(_plain_name)] | None = None
    url: Annotated[str, AfterValidator(_url)] | None = None
    size_bytes: PositiveInt
    sha256: Annotated[str, AfterValidator(_digest)]
    format: Annotated[str, AfterValidator(_weights_format)]
    # Name in the cache. By default, the last part of the URL, which two publishers can share.
    saved_as: Annotated[str, AfterValidator(_plain_name)] | None = None
    also: list[FurtherFile] = Field(default_factory=list)

    @model_validator(mode="after")
    def _one_place(self) -> Weights:
        if (self.file is None) == (self.url is None):
            raise ValueError("expected either `file` or `url`")
        return self

    @property
    def file_name(self) -> str:
        """The name of the file, in the folder or in the cache."""
        return self.file or self.saved_as or str(self.url).rsplit("/", 1)[-1]


class Licence(_Table):
    """[licence]: the licence of the weights, not of the code."""

    name: str
    # "unclear" if the licence allows it, but not all rights behind the weights are known.
    commercial_use: bool | Literal["unclear"]
    url: str = ""
    note: str = ""


class Provenance(_Table):
    """[provenance]: the author and the origin of the weights."""

    by: str
    source: str = ""
    date: datetime.date | None = None
    note: str = ""


class TrainingData(_Table):
    """[training_data]: the data set that the model was trained on."""

    name: str
    images: PositiveInt | None = None
    identities: PositiveInt | None = None
    note: str = ""


class FolderSources(_Table):
    """`sources.toml` of a model folder: licence and origin of its weights."""

    licence: Licence | None = None
    provenance: Provenance | None = None
    training_data: TrainingData | None = None


class Result(_Table):
    """[[results]]: one measurement, with its command and date.

    `by` is empty if this project measured it. Otherwise it names the source of the number.
    """

    protocol: str
    metric: str
    value: float
    spread: float | None = None
    unit: str = "%"
    command: str = ""
    date: datetime.date | None = None
    by: str = ""

    @model_validator(mode="after")
    def _measured_or_claimed(self) -> Result:
        if not self.by and not (self.command and self.date):
            raise ValueError("expected `command` and `date`, or `by` for the result of others")
        return self


class ThresholdTable(_Table):
    """[thresholds]: thresholds of the similarity by FAR, such as "1e-3"."""

    similarity: Literal["cosine"] = "cosine"
    at_far: dict[str, float]
    impostor: PositiveInt
    origin: str


class ExportVariant(_Table):
    """[[exports]]: an artefact that `gfkeras zoo export` makes.

    A bundled artefact has `file`, in the preset's folder, with its size and SHA-256. It can have
    `latency_ms`, the median for one image on one thread, as measured by `latency_command`.
    """

    format: Literal["tflite", "onnx", "savedmodel"]
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    file: Annotated[str, AfterValidator(_plain_name)] | None = None
    size_bytes: PositiveInt | None = None
    sha256: Annotated[str, AfterValidator(_digest)] | None = None
    latency_ms: PositiveFloat | None = None
    latency_command: str = ""

    @model_validator(mode="after")
    def _whole(self) -> ExportVariant:
        if self.format == "savedmodel" and (self.precision != "fp32" or self.file):
            raise ValueError("expected a SavedModel in fp32 and without `file`")
        if len({self.file is None, self.size_bytes is None, self.sha256 is None}) > 1:
            raise ValueError("expected `file`, `size_bytes` and `sha256` together")
        if (self.latency_ms is None) != (not self.latency_command):
            raise ValueError("expected `latency_ms` and `latency_command` together")
        return self

    def file_name(self, preset: str) -> str:
        """Returns the file name of a preset's artefact, such as "mine_fp16.tflite"."""
        suffix = "_savedmodel" if self.format == "savedmodel" else f".{self.format}"
        precision = "" if self.precision == "fp32" else f"_{self.precision}"
        return f"{preset}{precision}{suffix}"


class Preset(_Table):
    """A model of the zoo, described by its `model.toml`."""

    summary: str
    kind: Literal["embedding", "detector"] = "embedding"
    architecture: Architecture
    input: InputContract = Field(default_factory=InputContract)
    weights: Weights
    licence: Licence
    provenance: Provenance
    training_data: TrainingData
    results: list[Result] = Field(default_factory=list)
    thresholds: ThresholdTable | None = None
    exports: list[ExportVariant] = Field(default_factory=list)

    _folder: Path = Path()

    @property
    def folder(self) -> Path:
        """The folder of `model.toml`."""
        return self._folder

    @property
    def name(self) -> str:
        """The name of the preset: the name of its folder."""
        return self.folder.name

    @property
    def in_the_box(self) -> bool:
        """Whether the weights are bundled with gfkeras."""
        return self.weights.file is not None

    @classmethod
    def read(cls, folder: Path) -> Preset:
        """Reads `model.toml` in a folder. Raises a ValueError that names the file and the key."""
        preset = read_toml(folder / MODEL_FILE, cls, "model file")
        preset._folder = folder
        return preset


def zoo_folder() -> Path:
    """Returns the folder with one folder per preset.

    In a wheel it is the package data `gfkeras/zoo_data`, in a checkout the folder `zoo/`.
    """
    package = Path(__file__).parents[1]
    installed = package / "zoo_data"
    return installed if installed.is_dir() else package.parent / "zoo"


def preset_names() -> list[str]:
    """Returns the names of all presets in natural order."""
    folder = zoo_folder()
    if not folder.is_dir():
        return []
    return sorted((entry.parent.name for entry in folder.glob(f"*/{MODEL_FILE}")), key=natural_key)


def read_preset(name: str, kind: str = "preset") -> Preset:
    """Reads the description of a preset.

    Raises ValueError if the name is unknown. `kind` is the word for it in the message.
    """
    names = preset_names()
    if name not in names:
        raise unknown_name(kind, name, names)
    return Preset.read(zoo_folder() / name)


def presets() -> list[Preset]:
    """Returns all presets in natural order."""
    return [read_preset(name) for name in preset_names()]
