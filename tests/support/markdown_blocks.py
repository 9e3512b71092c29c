"""Fenced code blocks of the documentation."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
SHELL = {"sh", "bash"}
# Languages that are not run: printed text, a container, and apps for phones.
SHOWN = {"text", "dockerfile", "kotlin", "swift"}


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: the file, from the root of the repository.
        line: the line of its fence.
        language: the language of the fence.
        text: the text between the fences.
        before: the paragraph before it.
    """

    page: str
    line: int
    language: str
    text: str
    before: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def saved_as(self) -> str | None:
        """The file to save it as: from "Save this as `mine.toml`" or a first line "# mine.toml"."""
        named = re.search(r"Save this as `([^`]+)`", self.before)
        named = named or re.match(r"# (\S+\.toml)\n", self.text)
        return named[1] if named else None


def anchors(page: str) -> set[str]:
    """Returns GitHub's anchors for the headings of a page."""
    tokens = MarkdownIt().parse((ROOT / page).read_text())
    titles = [
        "".join(child.content for child in after.children or ())
        for token, after in itertools.pairwise(tokens)
        if token.type == "heading_open"
    ]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(page: str) -> list[str]:
    """Returns the targets of all links and images of a page."""
    tokens = MarkdownIt().enable("table").parse((ROOT / page).read_text())
    inline = [child for token in tokens for child in token.children or ()]
    found = [child.attrGet("href") or child.attrGet("src") for child in inline]
    return [str(target) for target in found if target]


def blocks(page: str) -> list[Block]:
    """All fenced blocks of a page, in order."""
    found, before = [], ""
    for token in MarkdownIt().enable("table").parse((ROOT / page).read_text()):
        if token.type == "inline":
            before = token.content
        elif token.type == "fence":
            assert token.map is not None
            language = token.info.strip()
            found.append(Block(page, token.map[0] + 1, language, token.content, before))
    return found


def pages() -> list[str]:
    """Returns the pages whose blocks are run: README.md and docs/."""
    return ["README.md", *sorted(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]


def other_pages() -> list[str]:
    """Returns further pages of the site, whose commands are parsed but not run."""
    folders = ("export", "zoo", "tests/oracles")
    found = [page for folder in folders for page in (ROOT / folder).rglob("*.md")]
    kept = [page for page in found if "node_modules" not in page.parts]
    root = [path.name for path in ROOT.glob("*.md") if path.name != "README.md"]
    return [*sorted(root), *sorted(str(p.relative_to(ROOT)) for p in kept)]
