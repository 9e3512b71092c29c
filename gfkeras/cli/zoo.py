"""`gfkeras zoo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from gfkeras.cli import options
from gfkeras.cli.output import mib, say, show, table, write_json

if TYPE_CHECKING:
    from gfkeras.tasks.zoo import ListedPreset

app = typer.Typer(
    help="List, download and import pretrained models.",
    no_args_is_help=False,
)
_COMMERCIAL_USE = {True: "allowed", False: "not allowed", "unclear": "unclear"}
NameArgument = Annotated[str, Argument(metavar="NAME", help="Name of a preset.")]


@app.command("list")
def list_command(
    markdown: Annotated[
        Path | None,
        Option(metavar="FILE", help="Markdown file to update: replaces the table in its marks."),
    ] = None,
    json: options.Json = None,
) -> None:
    """List the presets of this version."""
    from gfkeras.tasks.zoo import list_presets

    found = list_presets()
    if markdown is not None:
        changed = found.write_markdown(markdown)
        say(f"{markdown}: {'updated' if changed else 'unchanged'}")
    else:
        _print_list(found.presets)
    write_json(json, found.to_json())


@app.command("show")
def show_command(name: NameArgument, json: options.Json = None) -> None:
    """Show a preset's licence, origin and measured results."""
    from gfkeras.tasks.zoo import show_preset

    found = show_preset(name)
    table(_rows(found))
    write_json(json, found.to_json())


@app.command("download")
def download_command(
    name: NameArgument,
    out: Annotated[
        Path | None,
        Option(
            metavar="FOLDER",
            callback=options.writable,
            help="Folder for the file. By default, the cache.",
        ),
    ] = None,
    quiet: options.Quiet = False,
    json: options.Json = None,
) -> None:
    """Download a preset's file and check its SHA-256.

    An interrupted download continues where it stopped. GFKERAS_CACHE names another cache folder,
    GFKERAS_MIRROR another server. GFKERAS_OFFLINE=1 forbids downloads.
    """
    from gfkeras.tasks.zoo import download_preset

    done = download_preset(name, out, progress=False if quiet else None)
    say(str(done.path))
    if done.preset.kind == "detector":
        say(f"To use this file: export GFKERAS_YUNET={done.path}")
    write_json(json, done.to_json())


@app.command("import")
def import_command(
    file: Annotated[
        Path,
        Argument(metavar="FILE", help=".onnx, .pt, .safetensors, .params (MXNet), .h5 or .keras."),
    ],
    out: Annotated[
        Path, Option(metavar="FOLDER", callback=options.writable, help="The model folder to write.")
    ],
    format: str | None = Option(  # noqa: A002
        None,
        help="onnx, torch, safetensors, mxnet or keras. By default, recognised from the file.",
    ),
    symbol: Annotated[
        Path | None,
        Option(help="mxnet: the -symbol.json file. By default, the one next to FILE."),
    ] = None,
    pixel_scale: float | None = Option(
        None,
        help="Factor s in (pixel - 127.5) · s, the network's input. By default, the usual value "
        "of the format.",
    ),
    json: options.Json = None,
) -> None:
    """Turn the weights of a public face network into a model folder.

    Supports IResNet-18/34/50/100 and MobileFaceNet from InsightFace (ONNX, PyTorch, MXNet),
    the models of Keras_insightface with the same layers, and InceptionResnetV1 from
    facenet-pytorch. No code in the file is run.
    """
    from gfkeras.tasks.zoo import import_weights

    model = import_weights(file, out, format, symbol=symbol, pixel_scale=pixel_scale)
    table(list(model.to_json().items()))
    write_json(json, model.to_json())


@app.command("export")
def export_command(
    name: NameArgument,
    out: Annotated[
        Path, Option(metavar="FOLDER", callback=options.writable, help="Folder for the artefacts.")
    ],
    ship: bool = Option(
        False,
        "--ship",
        help="Also copy the fp32 and int8 .tflite files next to the preset's weights.",
    ),
    json: options.Json = None,
) -> None:
    """Export a preset in all its variants, and check them.

    model.toml lists the variants. Writes cards with thresholds too. The check compares the
    embeddings with those in golden.npz.
    """
    from gfkeras.tasks.zoo import export_preset

    done = export_preset(name, out, ship)
    for each in done.exports:
        say(
            f"{each.path}: {mib(each.size_bytes)}, "
            f"smallest cosine to golden.npz {each.min_cosine:.6f}"
        )
    write_json(json, done.to_json())


@app.command("pack")
def pack_command(
    model: Annotated[str, Argument(metavar="MODEL", help="A model folder.")],
    folder: Annotated[
        Path, Argument(metavar="FOLDER", help="Folder zoo/NAME of a checkout of gfkeras.")
    ],
    mode: options.Mode = None,
    json: options.Json = None,
) -> None:
    """Make a preset from a trained model.

    Writes weights in half precision, golden embeddings and model.toml. If model.toml exists, only
    its tables [architecture] and [weights] are replaced: measure [[results]] and [thresholds]
    again.
    """
    from gfkeras.tasks.zoo import pack_model

    packed = pack_model(model, folder, mode)
    weights = packed.preset.weights
    table([("Preset", packed.preset.name), ("Weights", mib(weights.size_bytes)),
           ("SHA-256", weights.sha256)])  # fmt: skip
    write_json(json, packed.to_json())


def _print_list(presets: list[ListedPreset]) -> None:
    from rich.table import Table

    from gfkeras.zoo.table import network, size_text

    grid = Table(box=None, pad_edge=False)
    for heading, width in (("Preset", 0), ("Network", 16), ("Weights", 9), ("Licence", 14)):
        grid.add_column(heading, no_wrap=heading == "Preset", min_width=width or None)
    for each in presets:
        weights = f"{size_text(each.preset.weights.size_bytes)}, {each.where}"
        licence = each.preset.licence.name
        grid.add_row(each.preset.name, network(each.preset), weights, licence)
    show(grid)


def _rows(found: ListedPreset) -> list[tuple[str, Any]]:
    from gfkeras.zoo.table import network, result_text, size_text

    preset = found.preset
    data, licence = preset.training_data, preset.licence
    rows: list[tuple[str, Any]] = [
        ("Preset", preset.name),
        ("", preset.summary),
        ("Network", network(preset)),
        ("Weights", f"{size_text(preset.weights.size_bytes)}, {found.where}"),
        ("SHA-256", preset.weights.sha256),
        ("Licence of the weights", f"{licence.name}. {licence.note}".strip()),
        ("Commercial use", _COMMERCIAL_USE[licence.commercial_use]),
        ("Made by", f"{preset.provenance.by} {preset.provenance.source}".strip()),
        ("Trained on", f"{data.name}. {data.note}".strip()),
    ]
    if preset.weights.url:
        rows.append(("URL", preset.weights.url))
    for result in preset.results:
        rows.append(("Measured" if not result.by else "Claimed", result_text(result)))
    if preset.thresholds is not None:
        at = ", ".join(f"{far}: {value:.4f}" for far, value in preset.thresholds.at_far.items())
        rows.append(("Thresholds at FAR", f"{at} ({preset.thresholds.origin})"))
    rows.append(("Model card", preset.folder / "README.md"))
    return rows
