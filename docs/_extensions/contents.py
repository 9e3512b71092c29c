"""The table of contents, which is added to the landing page when the site is built.

It is not in docs/index.md, because GitHub would show it as code.
"""

from __future__ import annotations

from pathlib import Path

from sphinx.application import Sphinx

# Pages by group, in order, from docs/. A page that does not exist is left out. A page that is not
# named here goes to the group REST, so no page is lost.
GROUPS = {
    "Start": [
        "Overview <../README>", "installation", "guide", "choosing_a_model", "thresholds",
        "troubleshooting", "faq",
    ],
    "Train": [
        "training_on_your_photos", "how_much_data", "data", "backbones", "heads_and_losses",
        "training", "zoo",
    ],
    "Measure": ["evaluation", "results", "robustness", "training_speed"],
    "Deploy": ["deployment", "export", "galleries", "../export/README", "privacy"],
    "Understand": ["concepts", "architecture"],
    "The papers' experiments": [
        "groups", "ablations", "figures", "inversion", "cleaning", "compatible_embeddings",
    ],
    "From another library": [
        "migrating", "migrating_from_keras_insightface", "migrating_from_tensorflow_addons",
    ],
    "Reference": ["python", "reference/commands", "reference/api"],
    "Project": [
        "../CONTRIBUTING", "../CHANGELOG", "../SECURITY", "../CODE_OF_CONDUCT", "../RELEASING",
        "../tests/oracles/README",
    ],
}  # fmt: skip
# Titles for the sidebar that are shorter than those of the pages.
TITLES = {
    "guide": "From photos to a phone",
    "faq": "Questions and answers",
    "how_much_data": "How much data",
    "zoo": "Zoo",
    "robustness": "Robustness",
    "training_speed": "Training speed",
    "figures": "Plots of the papers",
    "inversion": "Model inversion",
    "cleaning": "Cleaning",
    "compatible_embeddings": "Compatible embeddings",
    "privacy": "Privacy",
    "migrating": "Side by side",
    "migrating_from_keras_insightface": "Keras_insightface",
    "migrating_from_tensorflow_addons": "tensorflow-addons",
    "reference/commands": "Commands",
    "reference/api": "API",
    "../CHANGELOG": "Changelog",
    "../CONTRIBUTING": "Contributing",
}
REST = "The papers' experiments"
# The pages of a folder are below the page that introduces the folder.
BELOW = {"export/README": "*/README", "zoo/README": "*/README", "docs/zoo": "../zoo/README"}


def _toctree(caption: str, pages: list[str]) -> str:
    named = [f"{TITLES[page]} <{page}>" if page in TITLES else page for page in pages]
    return "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *named, "```", ""])


def _below(pattern: str) -> str:
    return "\n".join(["```{toctree}", ":hidden:", ":glob:", "", pattern, "```", ""])


def _exists(docs: Path, page: str) -> bool:
    """Whether a page is there. Those of the reference are made when the site is built."""
    place = page.partition("<")[2].rstrip(">") or page
    return place.startswith("reference/") or (docs / f"{place}.md").is_file()


def contents(docs: Path) -> dict[str, list[str]]:
    """Returns the existing pages by group."""
    named = {page for pages in GROUPS.values() for page in pages}
    found = {
        caption: [page for page in pages if _exists(docs, page)]
        for caption, pages in GROUPS.items()
    }
    found[REST] += sorted({page.stem for page in docs.glob("*.md")} - named - {"index"})
    return {caption: pages for caption, pages in found.items() if pages}


def _add_contents(app: Sphinx, name: str, source: list[str]) -> None:
    if name == app.config.root_doc:
        groups = contents(Path(app.srcdir) / "docs")
        source[0] += "\n" + "\n".join(_toctree(*group) for group in groups.items())
    elif name in BELOW:
        source[0] += "\n" + _below(BELOW[name])


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the adding of the contents, when Sphinx reads the landing page."""
    app.connect("source-read", _add_contents)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
