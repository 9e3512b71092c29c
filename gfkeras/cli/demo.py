"""`gfkeras demo`: the main job from end to end."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gfkeras.backend import load_keras
from gfkeras.cli._output import fit_verbosity, say, table, write_json
from gfkeras.files import size_bytes

if TYPE_CHECKING:
    from gfkeras.data import FaceFolder
    from gfkeras.evaluation.pairs import PairList
    from gfkeras.training import Recipe

# With more held-out pictures than this, pairs are drawn instead of taking all.
_MOST_FOR_ALL_PAIRS = 100
_DRAWN_PAIRS = 6000
_VERIFIED_IMAGES = 200
_TOLERANCES = {"fp32": "max error ≤ 1e-4", "fp16": "min cosine ≥ 0.9995"}
_EXPORTS = (
    ("SavedModel", "savedmodel", "fp32", "savedmodel"),
    ("TFLite fp32", "tflite", "fp32", "model.tflite"),
    ("TFLite fp16", "tflite", "fp16", "model-fp16.tflite"),
    ("ONNX", "onnx", "fp32", "model.onnx"),
)


def command(
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with one folder of faces per person; synthetic by default."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for everything it makes.")] = Path("runs/demo"),
    holdout: Annotated[
        int | None,
        typer.Option(min=2, help="How many people, the last in natural order, are held out."),
    ] = None,
    recipe: Annotated[str, typer.Option(help="A TOML file, or a built-in recipe.")] = "demo",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe.")
    ] = None,
    people: Annotated[int, typer.Option(min=4, help="Synthetic people.")] = 320,
    images: Annotated[int, typer.Option(min=2, help="Synthetic faces of each.")] = 8,
    strength: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="How much pose, light, occlusion and camera change synthetic faces."
        ),
    ] = 0.6,
) -> None:
    """Train, evaluate, export, verify and report in one go.

    With --data a quarter of the people is held out, and the epochs are chosen so that about as
    many images are seen as in the recipe on synthetic faces; --holdout, --set
    data.holdout_identities and --set training.epochs say otherwise.
    """
    started = time.perf_counter()
    load_keras()
    from gfkeras.training.recipe import Recipe

    checked = Recipe.read(recipe, settings or [])
    if holdout is not None:
        checked.data.holdout_identities = holdout
    folder = _faces(checked, data, out, people, images, strength)
    given = {setting.partition("=")[0].strip() for setting in settings or []}
    if data is not None and holdout is None and "data.holdout_identities" not in given:
        checked.data.holdout_identities = max(2, len(folder.identities) // 4)
    training, heldout = folder.split(checked.data.holdout_identities)
    if data is not None and "training.epochs" not in given:
        seen = checked.training.epochs * images * people
        checked.training.epochs = max(1, round(seen / len(training)))
        # Short epochs would be spent on verification.
        checked.evaluation.every_epochs = max(1, checked.training.epochs // 8)
    source = f"synthetic, variation {strength:g} of 1" if data is None else str(data)
    results = _run(checked, training, heldout, out, started, source)
    write_json(out / "report.json", results)
    table(
        [
            ("Verification accuracy, trained", f"{results['accuracy']:.2%}"),
            ("the same network, untrained", f"{results['untrained']['accuracy']:.2%}"),
            ("Balanced accuracy", f"{results['balanced_accuracy']:.2%}"),
            ("Pairs of people never trained on", f"{results['pairs']:,}"),
            *((f"Verified {e['name']}", e["summary"]) for e in results["exports"]),
            ("Seconds", f"{results['seconds']:.0f}"),
            ("Report", out / "report.html"),
            ("Figures", out / "report.json"),
        ]
    )
    broken = [export["name"] for export in results["exports"] if not export["passed"]]
    if broken:
        raise ValueError(f"Over the tolerance: {', '.join(broken)}")


def _faces(
    recipe: Recipe, data: Path | None, out: Path, people: int, images: int, strength: float
) -> FaceFolder:
    """The folder of all faces: the user's, or one rendered now."""
    from gfkeras.data.folder import FaceFolder

    if data is not None:
        return FaceFolder(data, min_images=recipe.data.min_images)
    from gfkeras.cli._rendering import render_people

    say(f"Rendering {people * images:,} faces of {people} synthetic people")
    # The numbers are in the name, since a folder of another population is not noticed.
    root = out / f"faces-{recipe.seed}-{people}x{images}-{strength:g}"
    return FaceFolder(render_people(root, people, images, recipe.seed, strength))


def _run(
    recipe: Recipe,
    training: FaceFolder,
    heldout: FaceFolder,
    out: Path,
    started: float,
    source: str,
) -> dict[str, Any]:
    import keras
    import numpy as np

    import gfkeras
    from gfkeras.cli._demo_report import write_demo_report
    from gfkeras.evaluation.pairs import evaluate_pairs
    from gfkeras.export import export_model, verify
    from gfkeras.inference import Embedder
    from gfkeras.training import train
    from gfkeras.training.build import build_model

    run = out / "training"
    if (run / "recipe.toml").is_file():
        shutil.rmtree(run)
    say(
        f"Training on {len(training):,} faces of {len(training.identities)} people, "
        f"{len(heldout.identities)} people held out"
    )
    result = train(recipe, training, run, heldout=heldout, verbose=fit_verbosity(quiet=False))

    say("Evaluating on the held-out people")
    # The last epoch's network: the best one was chosen by these very people.
    model = gfkeras.load(result.last)
    keras.utils.set_random_seed(recipe.seed)
    untrained = build_model(recipe.model)
    pairs = _pairs(heldout)
    embedder = Embedder(model)
    trained_result = evaluate_pairs(embedder.embed_files, pairs)
    untrained_result = evaluate_pairs(Embedder(untrained).embed_files, pairs)

    faces = heldout.load()
    chosen = np.linspace(0, len(faces) - 1, min(len(faces), _VERIFIED_IMAGES)).astype(int)
    exports = []
    for name, form, precision, file in _EXPORTS:
        say(f"Exporting and verifying {name}")
        path = export_model(model, out / file, format=form, precision=precision)
        parity = verify(embedder, Embedder(path), faces.images[chosen])
        exports.append(
            parity.to_json()
            | {
                "tolerance": _TOLERANCES[precision],
                "name": name,
                "path": str(path),
                "size_bytes": size_bytes(path),
                "summary": f"max error {parity.max_abs_error:.1e}, "
                f"min cosine {parity.min_cosine:.6f}",
            }
        )
    results = trained_result.to_json() | {
        "untrained": untrained_result.to_json(),
        "training": result.to_json(),
        "exports": exports,
        "seconds": time.perf_counter() - started,
    }
    say("Writing the report")
    write_demo_report(
        out / "report.html",
        command=" ".join(["gfkeras", *sys.argv[1:]]),
        results={"Trained": trained_result, "Untrained": untrained_result},
        training=result,
        recipe=recipe,
        source=source,
        faces=faces,
        groups=embedder(faces.images).group,
        exports=exports,
        seconds=results["seconds"],
    )
    return results


def _pairs(heldout: FaceFolder) -> PairList:
    """All pairs of few pictures; of many a balanced draw."""
    import numpy as np

    from gfkeras.evaluation.pairs import all_pairs, sample_pairs

    if len(heldout) <= _MOST_FOR_ALL_PAIRS:
        return all_pairs(heldout.paths, heldout.labels)
    sizes = np.bincount(heldout.labels).astype(np.int64)
    genuine = int((sizes * (sizes - 1) // 2).sum())
    return sample_pairs(heldout.paths, heldout.labels, min(_DRAWN_PAIRS, 2 * genuine))
