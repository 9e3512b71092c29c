"""Options and arguments that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from gfkeras.files import require_writable
from gfkeras.tasks import photo_files

if TYPE_CHECKING:
    from gfkeras.evaluation import Similarity
    from gfkeras.inference.foreign_artefacts import ModelFile


def writable(path: Any) -> Any:
    """Raises OSError for an output that cannot be written. A callback of options and arguments."""
    if path is not None and "://" not in str(path):
        require_writable(path)
    return path


# Results and progress.
Json = Annotated[
    Path | None,
    Option(
        "--json",
        metavar="FILE",
        callback=writable,
        help="Write the results to this file as JSON.",
    ),
]
Quiet = Annotated[bool, Option("--quiet", help="Show no progress.")]

# Models.
ModelArgument = Annotated[
    str,
    Argument(
        metavar="MODEL", help="A preset, a model folder, a SavedModel, a .tflite or .onnx file."
    ),
]
Model = Annotated[
    str, Option(metavar="MODEL", help="A preset, a model folder or an exported file.")
]
InputRange = Annotated[
    str | None,
    Option(
        metavar="LOW,HIGH",
        help="For a model file without a card: its input for pixels 0 and 255, such as -1,1.",
    ),
]
Trust = Annotated[
    bool,
    Option("--trust", help="Open a SavedModel even if its graph can read or write files."),
]
Threads = Annotated[
    int | None, Option(min=1, help="Threads of the runtime. By default, the runtime chooses.")
]
Flip = Annotated[
    bool, Option("--flip", help="Also embed the mirror image, and add the two embeddings.")
]
Mode = Annotated[
    str | None, Option(help="Assignment to groups: soft or hard. By default, as trained.")
]

# Recipes.
Settings = Annotated[
    list[str] | None,
    Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a setting of the recipe, such as training.epochs=3. Repeatable.",
    ),
]

# People.
Identities = Annotated[
    Path | None,
    Option(
        metavar="FILE",
        help="Text file with the people to use, one name per line. By default, all people.",
    ),
]
PairPeople = Annotated[
    Path | None,
    Option(help="With --pairs all or a number: text file with the people to use."),
]

# Commands that expect aligned faces, unless --align is given.
Align = Annotated[
    bool, Option("--align", help="The images are photos: find and align the face in each.")
]
Detector = Annotated[
    Path | None, Option(help="With --align: YuNet file. By default, it is downloaded once.")
]
Face = Annotated[
    str | None,
    Option(help="With --align: face to take from a photo, largest (default) or central."),
]

Resize = Annotated[
    bool,
    Option(
        "--resize",
        help="Scale cropped faces of another size, such as those of ORL, to fit. By default, they "
        "are left out and listed. For photos, use --align.",
    ),
]

# Commands that expect photos, unless --aligned is given.
Aligned = Annotated[
    bool,
    Option("--aligned", help="The images are faces of 112x112, aligned by five points already."),
]
PhotoDetector = Annotated[
    Path | None,
    Option("--detector", help="YuNet file. By default, it is downloaded once."),
]
PhotoFace = Annotated[
    str | None,
    Option("--face", help="Face to take from a photo: largest (default) or central."),
]

# Decisions.
Far = Annotated[
    float | None,
    Option(
        help="Decide at this false accept rate, such as 1e-3. Needs --thresholds, or a model that "
        "has thresholds."
    ),
]
Thresholds = Annotated[
    Path | None,
    Option(metavar="FILE", help="Thresholds file from `gfkeras evaluate --thresholds`."),
]
Threshold = Annotated[
    float | None, Option(help="Decide at this similarity instead of a measured threshold.")
]
Force = Annotated[
    bool,
    Option("--force", help="Use thresholds with fewer than ten expected false accepts."),
]

# Similarities.
GroupAware = Annotated[bool, Option("--group-aware", help="Score with the group-aware similarity.")]
Beta = Annotated[
    float | None,
    Option(help="With --group-aware: weight of the group distance. By default, 0.1."),
]
Gamma = Annotated[
    float | None,
    Option(help="With --group-aware: exponent of the group distance. By default, 1/3."),
]
Distance = Annotated[str, Option(help="Group distance: l2, squared-l2 or cosine.")]

# Galleries.
_PLACE = "A gallery file, a .db file for Milvus Lite, or the URL of a Milvus server."
Gallery = Annotated[str, Argument(metavar="GALLERY", callback=writable, help=_PLACE)]
ExistingGallery = Annotated[
    str, Argument(metavar="GALLERY", callback=photo_files.require_gallery, help=_PLACE)
]
Token = Annotated[
    str | None, Option(envvar="GFKERAS_MILVUS_TOKEN", help="Access token of the Milvus server.")
]


def _drawn(picture: Path | None) -> Path | None:
    photo_files.check_drawn(picture)
    return writable(picture)


# The callbacks report a missing file before the slow imports of a task.
Photos = Annotated[
    list[Path],
    Argument(
        metavar="PHOTO…", callback=photo_files.require_sources, help="Photos, or folders of them."
    ),
]
Picture = Annotated[
    Path | None,
    Option(
        metavar="FILE",
        callback=_drawn,
        help="Image to write, with photo, faces and result (.png or .jpg).",
    ),
]


def numbers(name: str, text: str | None, least: int = 1) -> list[int] | None:
    """Returns the whole numbers of an option such as `--threads 1,2,4`, or None without it."""
    if text is None:
        return None
    parts = text.replace(",", " ").split()
    if not parts or not all(part.isdecimal() and int(part) >= least for part in parts):
        raise ValueError(
            f"`{name}` must be whole numbers of at least {least}, separated by commas, such as "
            f"1,2,4. Received: {name}={text!r}"
        )
    return [int(part) for part in parts]


def model_file(model: str, input_range: str | None, trust: bool) -> str | ModelFile:
    """Returns the model for a task, with --input-range and --trust if they are given.

    Raises:
        ValueError: if the range is not two numbers separated by a comma.
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
    """Returns the group-aware similarity, or the cosine without --group-aware.

    Raises:
        ValueError: if β or γ is given without --group-aware or is out of range.
    """
    from gfkeras.evaluation.similarity import GROUP_AWARE, Similarity

    if not group_aware:
        for name, value in (("beta", beta), ("gamma", gamma)):
            if value is not None:
                raise ValueError(f"`{name}` requires --group-aware. Received: {name}={value}")
        return Similarity(beta=0.0, distance=distance)
    return Similarity(
        GROUP_AWARE.beta if beta is None else beta,
        GROUP_AWARE.gamma if gamma is None else gamma,
        distance,
    )


def chosen_similarity(
    group_aware: bool, beta: float | None, gamma: float | None
) -> Similarity | None:
    """Returns the group-aware similarity.

    Without --group-aware returns None: the thresholds then say which similarity they are for.
    """
    similarity = make_similarity(group_aware, beta, gamma)
    return similarity if group_aware else None
