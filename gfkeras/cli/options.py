"""Options and arguments that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from gfkeras.tasks import photo_files

if TYPE_CHECKING:
    from gfkeras.evaluation import Similarity
    from gfkeras.inference.foreign_artefacts import ModelFile

# Results and progress.
Json = Annotated[
    Path | None, Option("--json", metavar="FILE", help="Write the results here as JSON.")
]
Quiet = Annotated[bool, Option("--quiet", help="No progress.")]

# Models.
ModelArgument = Annotated[
    str,
    Argument(
        metavar="MODEL", help="A preset, a model folder, a SavedModel, a .tflite or a .onnx file."
    ),
]
Model = Annotated[str, Option(metavar="MODEL", help="A preset, a model folder or an artefact.")]
InputRange = Annotated[
    str | None,
    Option(
        metavar="LOW,HIGH",
        help="Of an artefact without a card: the numbers that it takes for 0 and 255, as in -1,1.",
    ),
]
Trust = Annotated[
    bool, Option("--trust", help="Open a SavedModel whose graph can read and write files.")
]
Threads = Annotated[
    int | None, Option(min=1, help="Threads of the runtime; its own choice by default.")
]
Flip = Annotated[bool, Option("--flip", help="Add the embedding of the mirrored image.")]
Mode = Annotated[str | None, Option(help="soft or hard; as trained by default.")]

# Recipes.
Settings = Annotated[
    list[str] | None,
    Option("--set", metavar="KEY=VALUE", help="Change the recipe: training.epochs=3."),
]

# People.
Identities = Annotated[
    Path | None,
    Option(
        metavar="FILE", help="Text file with the people to take, one name a line; all by default."
    ),
]
PairPeople = Annotated[
    Path | None, Option(help="With --pairs all or a number: text file with the people to take.")
]

# Faces that are aligned already, unless --align.
Align = Annotated[
    bool, Option("--align", help="These are photos: find the face in each and align it.")
]
Detector = Annotated[
    Path | None, Option(help="With --align: the YuNet file; downloaded once by default.")
]
Face = Annotated[
    str | None,
    Option(help="With --align: largest (default) or central, of several faces in a photo."),
]

Resize = Annotated[
    bool,
    Option(
        "--resize",
        help="Not photos, but faces of another size that are cropped alike, such as ORL's: scale "
        "them to fit. By default they are left out and listed.",
    ),
]

# Photos, unless --aligned.
Aligned = Annotated[
    bool, Option("--aligned", help="Not photos: faces of 112x112, aligned by five points already.")
]
PhotoDetector = Annotated[
    Path | None, Option("--detector", help="The YuNet file; downloaded once by default.")
]
PhotoFace = Annotated[
    str | None, Option("--face", help="largest (default) or central, of several in a photo.")
]

# Decisions.
Far = Annotated[
    float | None,
    Option(help="Decide at this FAR, such as 1e-3, by --thresholds or those of the model."),
]
Thresholds = Annotated[
    Path | None, Option(metavar="FILE", help="What `gfkeras evaluate --thresholds` wrote.")
]
Threshold = Annotated[float | None, Option(help="Decide by this similarity, chosen by hand.")]
Force = Annotated[
    bool,
    Option("--force", help="Take thresholds that rest on fewer than ten expected false accepts."),
]

# Similarities.
GroupAware = Annotated[bool, Option("--group-aware", help="Score by the group-aware similarity.")]
Beta = Annotated[
    float | None, Option(help="With --group-aware: weight of the groups' distance (0.1).")
]
Gamma = Annotated[float | None, Option(help="With --group-aware: exponent of the distance (1/3).")]
Distance = Annotated[str, Option(help="Distance of groups: l2, squared-l2 or cosine.")]

# Galleries.
_PLACE = "A file; one ending in .db for Milvus Lite; or a Milvus URL."
Gallery = Annotated[str, Argument(metavar="GALLERY", help=_PLACE)]
ExistingGallery = Annotated[
    str, Argument(metavar="GALLERY", callback=photo_files.require_gallery, help=_PLACE)
]
Token = Annotated[
    str | None, Option(envvar="GFKERAS_MILVUS_TOKEN", help="Token of a Milvus cluster.")
]


def _drawn(picture: Path | None) -> Path | None:
    photo_files.check_drawn(picture)
    return picture


# Files, looked for before a task imports what it needs.
Photos = Annotated[
    list[Path],
    Argument(
        metavar="PHOTO…", callback=photo_files.require_sources, help="Photos, or folders of them."
    ),
]
Picture = Annotated[
    Path | None,
    Option(metavar="FILE", callback=_drawn, help="Draw photo, faces and result here (.png, .jpg)."),
]


def numbers(name: str, text: str | None, least: int = 1) -> list[int] | None:
    """The whole numbers of an option such as `--threads 1,2,4`; None where it is not given."""
    if text is None:
        return None
    parts = text.replace(",", " ").split()
    if not parts or not all(part.isdecimal() and int(part) >= least for part in parts):
        raise ValueError(
            f"`{name}` must be whole numbers of at least {least} with commas between, such as "
            f"1,2,4. Received: {name}={text!r}"
        )
    return [int(part) for part in parts]


def model_file(model: str, input_range: str | None, trust: bool) -> str | ModelFile:
    """A model as tasks take it, with what --input-range and --trust say of it.

    Raises:
        ValueError: for a range that is not two numbers with a comma between.
    """
    if input_range is None and not trust:
        return model
    from gfkeras.inference.foreign_artefacts import ModelFile, check_range

    if input_range is None:
        return ModelFile(model, trust=trust)
    parts = [part for part in input_range.replace(",", " ").split() if part]
    return ModelFile(model, check_range(parts), trust)


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
