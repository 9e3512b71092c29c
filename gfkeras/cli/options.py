"""Options and arguments that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gfkeras.evaluation import Similarity

# Results and progress.
JsonOption = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the results here as JSON.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", help="No progress.")]

# Models.
ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="A preset, a model folder, a SavedModel, a .tflite or a .onnx file."
    ),
]
ModelOption = Annotated[
    str, typer.Option(metavar="MODEL", help="A preset, a model folder or an artefact.")
]
ThreadsOption = Annotated[
    int | None, typer.Option(min=1, help="Threads of the runtime; its own choice by default.")
]
FlipOption = Annotated[
    bool, typer.Option("--flip", help="Add the embedding of the mirrored image.")
]
ModeOption = Annotated[str | None, typer.Option(help="soft or hard; as trained by default.")]

# Recipes.
SettingsOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe: training.epochs=3."),
]

# People.
IdentitiesOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Text file with the people to take, one name a line; all by default."
    ),
]

# Faces that are aligned already, unless --align.
AlignOption = Annotated[
    bool, typer.Option("--align", help="These are photos: find the face in each and align it.")
]
DetectorOption = Annotated[
    Path | None, typer.Option(help="With --align: the YuNet file; downloaded once by default.")
]
FaceOption = Annotated[
    str | None,
    typer.Option(help="With --align: largest (default) or central, of several faces in a photo."),
]

# Photos, unless --aligned.
AlignedOption = Annotated[
    bool,
    typer.Option("--aligned", help="Not photos: faces of 112x112, aligned by five points already."),
]
PhotoDetectorOption = Annotated[
    Path | None, typer.Option("--detector", help="The YuNet file; downloaded once by default.")
]
PhotoFaceOption = Annotated[
    str | None, typer.Option("--face", help="largest (default) or central, of several in a photo.")
]

# Decisions.
FarOption = Annotated[
    float | None,
    typer.Option(help="Decide at this FAR, such as 1e-3, by --thresholds or those of the model."),
]
ThresholdsOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="What `gfkeras evaluate --thresholds` wrote."),
]
ThresholdOption = Annotated[
    float | None, typer.Option(help="Decide by this similarity, chosen by hand.")
]

# Similarities.
GroupAwareOption = Annotated[
    bool, typer.Option("--group-aware", help="Score by the group-aware similarity.")
]
BetaOption = Annotated[
    float | None, typer.Option(help="With --group-aware: weight of the groups' distance (0.1).")
]
GammaOption = Annotated[
    float | None, typer.Option(help="With --group-aware: exponent of the distance (1/3).")
]
DistanceOption = Annotated[str, typer.Option(help="Distance of groups: l2, squared-l2 or cosine.")]

# Galleries.
GalleryArgument = Annotated[
    str,
    typer.Argument(
        metavar="GALLERY", help="A file; one ending in .db for Milvus Lite; or a Milvus URL."
    ),
]
TokenOption = Annotated[
    str | None, typer.Option(envvar="GFKERAS_MILVUS_TOKEN", help="Token of a Milvus cluster.")
]


def make_similarity(
    group_aware: bool, beta: float | None, gamma: float | None, distance: str = "l2"
) -> Similarity:
    """The similarity that the options ask for; the cosine without --group-aware.

    Raises:
        ValueError: for β or γ without --group-aware, and values out of range.
    """
    from gfkeras.evaluation.similarity import GROUP_AWARE, Similarity

    if not group_aware:
        for name, value in (("beta", beta), ("gamma", gamma)):
            if value is not None:
                raise ValueError(f"`{name}` needs --group-aware. Received: {name}={value}")
        return Similarity(beta=0.0, distance=distance)
    return Similarity(
        GROUP_AWARE.beta if beta is None else beta,
        GROUP_AWARE.gamma if gamma is None else gamma,
        distance,
    )


def chosen_similarity(
    group_aware: bool, beta: float | None, gamma: float | None
) -> Similarity | None:
    """The group-aware similarity; None where nothing asks for it, and the thresholds decide."""
    similarity = make_similarity(group_aware, beta, gamma)
    return similarity if group_aware else None
