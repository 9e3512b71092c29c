"""`gfkeras zoo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gfkeras.backend import load_keras
from gfkeras.cli._output import JsonOption, say, table, write_json

if TYPE_CHECKING:
    from gfkeras.zoo.registry import Preset

app = typer.Typer(
    help="Models with weights, and the import of foreign ones.", no_args_is_help=False
)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A preset.")]


@app.command("list")
def list_command(
    markdown: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the table into this file, between its marks."),
    ] = None,
    json: JsonOption = None,
) -> None:
    """List the presets that this version ships."""
    load_keras()
    from rich.console import Console
    from rich.table import Table

    from gfkeras.zoo.registry import presets
    from gfkeras.zoo.table import network, size_text, write_into

    found = presets()
    if markdown is not None:
        changed = write_into(markdown, found)
        say(f"{markdown}: {'written' if changed else 'as before'}")
    else:
        grid = Table(box=None, pad_edge=False)
        for heading, width in (("Preset", 0), ("Network", 16), ("Weights", 9), ("Licence", 14)):
            grid.add_column(heading, no_wrap=heading == "Preset", min_width=width or None)
        for preset in found:
            size = size_text(preset.weights.size_bytes)
            weights = f"{size}, {_where(preset)}"
            grid.add_row(preset.name, network(preset), weights, preset.licence.name)
        Console(highlight=False, markup=False).print(grid)
    write_json(json, {"presets": [_described(preset) for preset in found]})


@app.command("show")
def show_command(name: NameArgument, json: JsonOption = None) -> None:
    """Show a preset: licence, provenance, measured figures."""
    load_keras()
    from gfkeras.zoo.registry import read_preset
    from gfkeras.zoo.table import network, result_text, size_text

    preset = read_preset(name)
    data, licence = preset.training_data, preset.licence
    rows: list[tuple[str, Any]] = [
        ("Preset", preset.name),
        ("", preset.summary),
        ("Network", network(preset)),
        ("Weights", f"{size_text(preset.weights.size_bytes)}, {_where(preset)}"),
        ("SHA-256", preset.weights.sha256),
        ("Licence of the weights", f"{licence.name}. {licence.note}".strip()),
        ("Commercial use", "allowed" if licence.commercial_use else "not allowed"),
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
    table(rows)
    write_json(json, _described(preset))


@app.command("download")
def download_command(
    name: NameArgument,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where to put it; the cache by default.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    json: JsonOption = None,
) -> None:
    """Download a preset's file, checked by its SHA-256.

    What is cut goes on where it stopped. GFKERAS_CACHE names another cache, GFKERAS_MIRROR another
    server, GFKERAS_OFFLINE=1 forbids downloads.
    """
    load_keras()
    import shutil

    from gfkeras.files import replacing
    from gfkeras.zoo.preset_files import weights_path
    from gfkeras.zoo.registry import read_preset

    preset = read_preset(name)
    path = weights_path(preset, out, progress=False if quiet else None)
    if preset.in_the_box and out is not None:
        with replacing(out / path.name) as temporary:
            shutil.copyfile(path, temporary)
        path = out / path.name
    say(str(path))
    if preset.kind == "detector":
        say(f"To use this file: export GFKERAS_YUNET={path}")
    write_json(json, {"name": preset.name, "path": path, "sha256": preset.weights.sha256})


@app.command("import")
def import_command(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help=".onnx, .pt, .safetensors, .params (MXNet), .h5 or .keras."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="The model folder to write.")],
    format: Annotated[  # noqa: A002
        str | None,
        typer.Option(
            help="onnx, torch, safetensors, mxnet or keras; seen from the file by default."
        ),
    ] = None,
    symbol: Annotated[
        Path | None, typer.Option(help="mxnet: the -symbol.json; the one beside FILE by default.")
    ] = None,
    pixel_scale: Annotated[
        float | None,
        typer.Option(help="Pixels x become (x - 127.5) times this; the format's usual by default."),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Turn the weights of a public face network into a model folder.

    IResNet-18/34/50/100 and MobileFaceNet of InsightFace (ONNX, PyTorch, MXNet) and of
    Keras_insightface, where its layers are ours. Nothing in the file is run.
    """
    load_keras()
    from gfkeras.zoo import import_weights
    from gfkeras.zoo.foreign.matching import describe

    model = import_weights(file, format, symbol=symbol, pixel_scale=pixel_scale)
    model.save_to(out)
    results = {
        "path": str(out),
        "network": describe(model),
        "embedding_dim": int(model.output_shape[-1]),
        "parameters": int(model.count_params()),
    }
    table(list(results.items()))
    write_json(json, results)


@app.command("export")
def export_command(
    name: NameArgument,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where to put the artefacts.")],
    json: JsonOption = None,
) -> None:
    """Export a preset's artefacts, each checked.

    All variants that its model.toml lists, with cards and thresholds; their embeddings are compared
    with golden.npz.
    """
    load_keras()
    from gfkeras.cli._preset_exports import export_variants
    from gfkeras.zoo.registry import read_preset

    rows = export_variants(read_preset(name), out)
    for row in rows:
        say(
            f"{row['path']}: {row['size_bytes'] / 2**20:.2f} MiB, "
            f"least cosine to golden.npz {row['min_cosine']:.6f}"
        )
    write_json(json, {"exports": rows})


@app.command("pack")
def pack_command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model folder.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="zoo/NAME of a checkout.")],
    mode: Annotated[str | None, typer.Option(help="soft or hard; as trained by default.")] = None,
    json: JsonOption = None,
) -> None:
    """Put a trained model into the zoo.

    Writes weights in half precision, golden embeddings and model.toml. Tables of a model.toml that
    is there are kept, but for [architecture] and [weights]: measure [[results]] and [thresholds]
    anew.
    """
    load_keras()
    import gfkeras
    from gfkeras.zoo.packing import pack

    loaded = gfkeras.load(model)
    if mode is not None:
        loaded.mode = mode
    preset = pack(loaded, folder)
    table([("Preset", preset.name), ("Weights", f"{preset.weights.size_bytes / 2**20:.2f} MiB"),
           ("SHA-256", preset.weights.sha256)])  # fmt: skip
    write_json(json, _described(preset))


def _where(preset: Preset) -> str:
    if preset.in_the_box:
        return "in the box"
    from gfkeras.downloads import cache_folder

    there = (cache_folder() / preset.weights.file_name).is_file()
    return "in the cache" if there else "to download"


def _described(preset: Preset) -> dict[str, Any]:
    return {"name": preset.name, **preset.model_dump(mode="json")}
