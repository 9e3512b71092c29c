"""Import of weights from other projects into a backbone of gfkeras."""

import zipfile
from collections.abc import Callable
from pathlib import Path

from gfkeras.backbones import Backbone
from gfkeras.errors import one_of, positive, reading, wrong
from gfkeras.files import PathLike
from gfkeras.zoo.foreign.arcface_torch import arcface_torch_network, without_prefix
from gfkeras.zoo.foreign.facenet_torch import facenet_backbone, is_facenet
from gfkeras.zoo.foreign.keras_file import HDF5_MARK, is_keras_archive, read_keras_network
from gfkeras.zoo.foreign.matching import assign, backbone_for
from gfkeras.zoo.foreign.mxnet import is_mxnet, read_mxnet_network
from gfkeras.zoo.foreign.network import ForeignNetwork, first_bytes
from gfkeras.zoo.foreign.onnx_file import is_onnx, read_onnx_network
from gfkeras.zoo.foreign.torch_state import is_torch, read_torch_state
from gfkeras.zoo.registry import FOREIGN_FORMATS
from gfkeras.zoo.weights_file import read_safetensors


def _torch(path: Path) -> ForeignNetwork:
    return arcface_torch_network(path, read_torch_state(path))


def _safetensors(path: Path) -> ForeignNetwork:
    return arcface_torch_network(path, read_safetensors(path))


# Readers of state dicts, which have names but no graph.
_STATES = {"torch": read_torch_state, "safetensors": read_safetensors}
_READERS = (read_mxnet_network, read_onnx_network, _torch, _safetensors, read_keras_network)
FORMATS: dict[str, Callable[[Path], ForeignNetwork]] = dict(
    zip(FOREIGN_FORMATS, _READERS, strict=True)
)


def import_weights(
    path: PathLike,
    format: str | None = None,  # noqa: A002 the word for it on the command line
    *,
    symbol: PathLike | None = None,
    pixel_scale: float | None = None,
) -> Backbone:
    """Returns a backbone of gfkeras with the weights of a public face network.

    Files are read without the framework that wrote them:

    - "onnx": exports of InsightFace (IResNet, MobileFaceNet). Needs the package `onnx`.
    - "torch", "safetensors": state dicts of arcface_torch, IResNet-18/34/50/100 and `mbf`. Only
      tensors are read from a pickle. Anything else is refused, and no code in it is run. Also
      those of facenet-pytorch, `InceptionResnetV1`, whose classifier is left out.
    - "mxnet": a `.params` file with its `-symbol.json`.
    - "keras": complete models of Keras_insightface with the same layers, `.h5` or `.keras`.

    The embeddings are equal up to the rounding of float32. The import handles folded batch
    normalisations, other epsilons, `fix_gamma` and channels-first features.

    Args:
        path: the file.
        format: one of `FORMATS`. By default, recognised from the file.
        symbol: for "mxnet": the `-symbol.json` file. By default, the one next to the file.
        pixel_scale: factor s in (pixel − 127.5) · s, the network's input. By default, the usual
            value of the format: 1/127.5, or 1/128 for "keras" and facenet-pytorch. Not used if the
            graph normalises pixels itself.

    Raises:
        ValueError: if the file is missing, damaged, refused or of an unknown kind, or if the
            network is not supported. The message names the first layer that differs.
        ImportError: if the package `onnx` is missing.

    Example:
        model = gfkeras.zoo.import_weights("w600k_r50.onnx")
        model.save_to("runs/w600k_r50")
    """
    path = Path(path)
    if not path.is_file():
        # "Does not exist" would confuse users who give a folder.
        reason = "a folder" if path.is_dir() else "which does not exist"
        raise wrong("path", "be a file of weights", f"path={str(path)!r}, {reason}")
    found = one_of("format", format, FORMATS) if format is not None else format_of(path)
    if symbol is not None and found != "mxnet":
        raise ValueError(f"`symbol` requires a file of MXNet. Received: a file of format {found!r}")
    if pixel_scale is not None:
        pixel_scale = positive("pixel_scale", pixel_scale)
    if found in _STATES:
        with reading(path, f"a file of {found}"):
            arrays = without_prefix(_STATES[found](path))
            if is_facenet(arrays):
                return facenet_backbone(path, arrays, pixel_scale)
            network = arcface_torch_network(path, arrays)
    else:
        network = read_network(path, found, symbol)
    network.pixel_scale = pixel_scale or network.pixel_scale
    model = backbone_for(network)
    assign(network, model)
    return model


def read_network(
    path: Path,
    format: str,  # noqa: A002
    symbol: PathLike | None = None,
) -> ForeignNetwork:
    """Reads the network in a file of a known format. Errors name the file."""
    with reading(path, f"a file of {format}"):
        if format == "mxnet":
            return read_mxnet_network(path, symbol)
        return FORMATS[format](path)


def format_of(path: Path) -> str:
    """Returns the format of a file from its first bytes.

    Raises ValueError for another kind of file, with a hint about the cause.
    """
    data = first_bytes(path)
    if is_mxnet(data):
        return "mxnet"
    if data.startswith(HDF5_MARK) or (zipfile.is_zipfile(path) and is_keras_archive(path)):
        return "keras"
    # A safetensors file begins with the length of its JSON header (8 bytes), then the header.
    if data[8:9] == b"{" and path.suffix.lower() != ".onnx":
        return "safetensors"
    text = data.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise ValueError(f"{path} is a web page, not weights: the download link leads to a page")
    if text.startswith(b"version https://git-lfs"):
        raise ValueError(f"{path} is a Git LFS pointer, not weights: fetch the file with git lfs")
    if is_torch(data):
        return "torch"
    if is_onnx(path, data):
        return "onnx"
    raise ValueError(
        f"{path} has an unknown format: expected one of {', '.join(FORMATS)}. Received: "
        f"{path.stat().st_size} bytes that begin with {bytes(data[:8])!r}"
    )
