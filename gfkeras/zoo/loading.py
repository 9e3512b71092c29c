"""Loading of models by the name of a preset, from a folder or from a file."""

import copy
from pathlib import Path
from typing import Any

import keras

from gfkeras import backbones
from gfkeras.archives import open_archive, read_member
from gfkeras.errors import by_name, reading, wrong
from gfkeras.files import CONFIG_FILE, KERAS_FILES, PathLike, parsed_json
from gfkeras.hdf5 import open_hdf5
from gfkeras.models import GroupFace
from gfkeras.saving import check_weights, load_model, require_fitting
from gfkeras.zoo.foreign import import_weights
from gfkeras.zoo.preset_files import weights_path
from gfkeras.zoo.registry import (
    AS_IT_IS,
    OWN_FORMAT,
    Architecture,
    Preset,
    preset_names,
    read_preset,
)
from gfkeras.zoo.weights_file import load_half


def load(name_or_folder: PathLike) -> keras.Model:
    """Loads a model with its weights. The model is not compiled.

    Args:
        name_or_folder: the name of a preset (`gfkeras zoo list`), a folder that `model.save_to`
            wrote, or a `.keras` or `.h5` file that `model.save` wrote. Weights that are not bundled
            with gfkeras are downloaded once, into the cache.

    Returns:
        A `GroupFace`, a backbone, or another model that the `.keras` file describes.

    Raises:
        ValueError: if there is no such folder or preset, or if a file is damaged. The message
            suggests a similar name.
        DownloadError: if the weights cannot be downloaded.

    Example:
        >>> import gfkeras
        >>> model = gfkeras.load("h_groupface_mobilefacenet")
        >>> model.num_groups
        16
    """
    path = Path(name_or_folder)
    if path.is_dir():
        return load_model(path)
    if path.is_file() and path.suffix in KERAS_FILES:
        return _load_file(path)
    name = str(name_or_folder)
    if name not in preset_names() and Path(name).name != name:
        raise ValueError(
            "`name_or_folder` must be a folder that save_to wrote, such as runs/mine/last, a "
            ".keras or .h5 file that model.save wrote, or the name of a preset. Received: "
            f"{name!r}, which {'is not one of these' if path.exists() else 'does not exist'}"
        )
    return load_preset(read_preset(name, "model folder or preset"))


def _load_file(path: Path) -> keras.Model:
    check_weights(path)
    with reading(path, "a model of gfkeras that model.save wrote", anything=True):
        if path.suffix != ".keras":
            return _load_hdf5(path)
        with open_archive(path) as archive:
            config = parsed_json(read_member(archive, CONFIG_FILE))
        # Drop the loss and the optimizer of the training: they can be classes of the user.
        config.pop("compile_config", None)
        require_fitting(lambda: keras.saving.deserialize_keras_object(config), path)
        return keras.saving.load_model(path, compile=False)


def _load_hdf5(path: Path) -> keras.Model:
    # Keras' own reader of .h5 files mistakes arguments such as combine="add" for functions.
    with open_hdf5(path) as file:
        description = parsed_json(file.attrs["model_config"])
    classes: dict[str, Any] = {**backbones.BACKBONES, GroupFace.__name__: GroupFace}
    kind = by_name("model", description["class_name"], classes)
    require_fitting(lambda: kind.from_config(copy.deepcopy(description["config"])), path)
    model = kind.from_config(description["config"])
    model.load_weights(path)
    return model


def load_preset(preset: Preset) -> keras.Model:
    """Loads the model of a preset.

    Raises ValueError if the preset does not give embeddings or its files are damaged.
    """
    if preset.weights.format == AS_IT_IS:
        raise ValueError(
            f"The preset {preset.name!r} is a {preset.kind}, which gives no embeddings. "
            f"Download its file with `gfkeras zoo download {preset.name}`"
        )
    path = weights_path(preset)
    if preset.weights.format != OWN_FORMAT:
        return import_weights(path, preset.weights.format)
    model = build(preset.architecture)
    load_half(model, path)
    return model


def build(architecture: Architecture) -> keras.Model:
    """Builds the untrained network of an [architecture]. Raises ValueError if it is unknown."""
    arguments = architecture.arguments
    try:
        if architecture.name != GroupFace.__name__:
            return backbones.get(architecture.name, **arguments)
        inner = dict(arguments.pop("backbone", {}))
        # TOML has no null, so model.toml says "none".
        if arguments.get("shared_dim") == "none":
            arguments["shared_dim"] = None
        return GroupFace(backbones.get(inner.pop("name", ""), **inner), **arguments)
    except TypeError as error:
        raise ValueError(f"[architecture] does not fit {architecture.name}: {error}") from error


def architecture_of(model: keras.Model) -> dict[str, Any]:
    """Returns the [architecture] of a model: its class and its arguments."""
    if not isinstance(model, (GroupFace, backbones.Backbone)):
        raise wrong("model", "be a GroupFace or a backbone of gfkeras", type(model).__name__)
    config = model.get_config()
    if isinstance(model, GroupFace):
        config["backbone"] = architecture_of(model.backbone)
        config["shared_dim"] = "none" if model.shared_dim is None else model.shared_dim
    # Initializers do not matter, because the weights are loaded.
    left_out = ("kernel_initializer", "group_initializer", "name")
    kept = {k: v for k, v in config.items() if k not in left_out and v is not None}
    kept = {k: list(v) if isinstance(v, tuple) else v for k, v in kept.items()}
    return {"name": type(model).__name__, **kept}
