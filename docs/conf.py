"""Configuration of the documentation site, which `make docs` builds.

The sources are the Markdown pages in their own folders (docs/, README.md, the cards in zoo/, the
kits in export/), so a link means the same on GitHub and on the site. The API and the commands are
generated in docs/reference/, which git ignores.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "_extensions"), str(HERE.parent)]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from gfkeras.version import __version__  # noqa: E402

project = "gfkeras"
author = "The gfkeras authors"
copyright = "the gfkeras authors; Apache-2.0"  # noqa: A001
release = version = __version__
language = "en"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "api_pages",
    "command_pages",
    "contents",
    "link_check",
    "mathml",
    "plain_docstrings",
]

# Paths are relative to the repository's root, which is the source folder of the build.
root_doc = "docs/index"
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "CODE_OF_CONDUCT.md",
    "CONTRIBUTING.md",
    "RELEASING.md",
    "SECURITY.md",
    "docs/**.md",
    "docs/reference/**.rst",
    "export/**.md",
    "tests/oracles/README.md",
    "zoo/**.md",
]
exclude_patterns = [".*", "build", "dist", "runs", "**/node_modules", "**/__pycache__"]

# Warn about every broken link. Names of Python objects are excepted: types of other packages have
# no pages here, and signatures often name our types by the module that defines them.
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r".*")]

myst_enable_extensions = ["dollarmath"]
myst_dmath_double_inline = True
# Links such as `export.md#int8` work down to this heading level, with the same slugs as on GitHub.
myst_heading_anchors = 4
myst_update_mathjax = False

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
# Keras' own documentation describes the methods that we override.
autodoc_inherit_docstrings = False
autodoc_class_signature = "mixed"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# "num_classes, scale: N and s." stays one entry. Otherwise both names get the whole text.
napoleon_use_param = False
# Lists with these headings. Attributes have no entries of their own.
napoleon_custom_sections = [("Attributes", "params_style"), ("Call arguments", "params_style")]
python_maximum_signature_line_length = 88
add_module_names = False
toc_object_entries_show_parents = "hide"
# Text in single backticks in a docstring is code.
default_role = "code"

# Prompts and printed results are not copied.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
# Blocks of language "text" are what a program prints.
copybutton_selector = "div.highlight:not(.highlight-text *) pre"


def _colours(brand: str) -> dict[str, str]:
    names = ("brand-primary", "brand-content", "brand-visited", "api-name", "api-pre-name")
    return {f"color-{name}": brand for name in names}


html_theme = "furo"
pygments_style = "a11y-light"
pygments_dark_style = "github-dark"
html_title = f"gfkeras {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    # Nothing is loaded from elsewhere.
    "light_css_variables": _colours("#0b6e4f"),
    "dark_css_variables": _colours("#5bc8a0"),
    "navigation_with_keys": True,
}
# The landing page is in docs/, so the root of the site leads there.
html_additional_pages = {"index": "redirect.html"}
templates_path = ["_templates"]
