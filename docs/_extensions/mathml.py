"""Formulas as MathML, which browsers render themselves.

MathJax would be loaded from another server at each visit, and KaTeX needs Node.js for the build.
MathML needs neither. Chromium 109 and later, Firefox and Safari support it.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)


def mathml(latex: str, display: str) -> str:
    """Returns a formula as a `math` element.

    Args:
        latex: the formula without dollar signs.
        display: "inline" or "block".

    Raises:
        ValueError: for a command that latex2mathml does not know.
    """
    made = convert(latex, display=display)
    # latex2mathml leaves an unknown command in its output, with the backslash.
    if "\\" in made:
        raise ValueError(f"latex2mathml does not know all of {latex!r}: {made}")
    return made


def _element(node: Any, display: str) -> str:
    try:
        return mathml(node.astext(), display)
    except ValueError as error:
        logger.warning(str(error), location=node)
        return ""


def _inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(_element(node, "inline"))
    raise nodes.SkipNode


def _block(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(translator.starttag(node, "div", CLASS="math"))
    translator.body.append(_element(node, "block"))
    translator.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the renderer under the name "mathml"."""
    renderers = {"inline_renderers": (_inline, None), "block_renderers": (_block, None)}
    app.add_html_math_renderer("mathml", **renderers)
    app.config.html_math_renderer = "mathml"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
