"""The table of contents, which is added to the landing page when the site is built.

It is not part of docs/index.md, because GitHub would show it as code there.
"""

from __future__ import annotations

from pathlib import Path

from sphinx.application import Sphinx

# The pages of each group, relative to docs/. Pages that do not exist are left out. Pages that exist
# but are not listed here go to the group `REST`.
GROUPS = {
    "Start": ["Overview <../README>", "guide", "python", "concepts"],
    "Data to model": ["data", "heads_and_losses", "training", "zoo", "architecture"],
    "Measure": ["evaluation", "results", "robustness", "training_speed"],
    "Deploy": ["export", "galleries", "../export/README", "privacy"],
    "The papers' experiments": [
        "ablations", "figures", "inversion", "cleaning", "compatible_embeddings",
    ],
    "Coming from elsewhere": [
        "migrating_from_tensorflow_addons", "migrating_from_keras_insightface",
    ],
    "Reference": ["reference/commands", "reference/api"],
    "Project": ["../CONTRIBUTING", "../CHANGELOG", "../tests/oracles/README"],
}  # fmt: skip
REST = "The papers' experiments"
# The pages of a folder are below the page that introduces the folder.
BELOW = {"export/README": "*/README", "zoo/README": "*/README", "docs/zoo": "../zoo/README"}


def _toctree(caption: str, pages: list[str]) -> str:
    return "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```", ""])


def _below(pattern: str) -> str:
    return "\n".join(["```{toctree}", ":hidden:", ":glob:", "", pattern, "```", ""])


def _exists(docs: Path, page: str) -> bool:
    """Returns whether a page exists. Pages in reference/ are generated during the build."""
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
