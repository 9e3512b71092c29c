"""`gfkeras zoo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gfkeras.cli._backend import load_keras
from gfkeras.cli._output import JsonOption, say, table, write_json

app = typer.Typer(
    help="Models with weights, and the import of foreign ones.", no_args_is_help=False
)
import_app = typer.Typer(help="Turn foreign weights into a model folder.")
app.add_typer(import_app, name="import")


@app.command("list")
def list_command(json: JsonOption = None) -> None:
    """List the presets that this version ships."""
    load_keras()
    from gfkeras.zoo.registry import preset_names

    names = preset_names()
    for name in names:
        say(name)
    if not names:
        say("This version ships no presets; bring your own with `gfkeras zoo import`.")
    write_json(json, {"presets": names})


@import_app.command("mxnet")
def mxnet_command(
    params: Annotated[Path, typer.Argument(metavar="PARAMS", help="The .params file.")],
    out: Annotated[Path, typer.Option(help="The model folder to write.")],
    symbol: Annotated[
        Path | None, typer.Option(help="The -symbol.json; the one beside PARAMS by default.")
    ] = None,
    json: JsonOption = None,
) -> None:
    """Import an InsightFace MobileFaceNet of MXNet."""
    load_keras()
    from gfkeras.zoo.mxnet import import_mxnet

    model = import_mxnet(params, symbol)
    model.save_to(out)
    results = {
        "path": str(out),
        "embedding_dim": int(model.output_shape[-1]),
        "parameters": int(model.count_params()),
    }
    table(list(results.items()))
    write_json(json, results)
