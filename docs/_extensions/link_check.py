"""A check of the built site: every internal link, anchor and image leads somewhere.

Sphinx checks the links that it resolves itself. This reads the HTML that readers get, so it also
sees raw HTML, generated pages and files that were not copied.
"""

from __future__ import annotations

from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sphinx.application import Sphinx
from sphinx.util import logging

_log = logging.getLogger(__name__)


class _Page(HTMLParser):
    """The targets and the anchors of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.targets: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.targets.add(value)
            elif name == "id" and value:
                self.anchors.add(value)


@cache
def _page(path: Path) -> _Page:
    return _Page(path.read_text(encoding="utf-8"))


def broken_links(site: Path) -> list[str]:
    """The internal links of a built site that lead nowhere, as "PAGE: TARGET"."""
    _page.cache_clear()
    found = []
    for path in sorted(site.rglob("*.html")):
        # Files of the theme, not pages.
        if "_static" in path.relative_to(site).parts:
            continue
        for target in sorted(_page(path).targets):
            if not _leads_somewhere(path, target):
                found.append(f"{path.relative_to(site)}: {target}")
    return found


def _leads_somewhere(page: Path, target: str) -> bool:
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return True
    file = page.parent / unquote(parts.path) if parts.path else page
    if not file.is_file():
        return False
    return not parts.fragment or file.suffix != ".html" or parts.fragment in _page(file).anchors


def _check(app: Sphinx, exception: Exception | None) -> None:
    if exception is None and app.builder.name == "html":
        for link in broken_links(Path(app.outdir)):
            _log.warning("broken link in the site: %s", link)


def setup(app: Sphinx) -> dict[str, bool]:
    """Checks the site after it was built."""
    app.connect("build-finished", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
