"""The parts of the site: contents, formulas, docstrings and commands."""

from __future__ import annotations

import re

import api_pages
import command_pages
import contents
import link_check
import pytest
import typer
from markdown_blocks import ROOT, anchors, links, other_pages, pages
from mathml import mathml
from plain_docstrings import plain

from gfkeras.cli.app import app


def test_the_landing_page_links_every_page():
    index = (ROOT / "docs" / "index.md").read_text()
    linked = set(re.findall(r"\]\(([\w/.]+\.md)\)", index))
    wanted = {page.removeprefix("docs/") for page in pages() if page.startswith("docs/")}
    assert wanted - linked - {"index.md"} == set()


@pytest.mark.parametrize("page", [*pages(), *other_pages()])
def test_links_hold_on_github_too(page):
    for link in links(page):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(str(target.resolve().relative_to(ROOT))), link


def test_images_have_a_text():
    for page in [*pages(), *other_pages()]:
        assert not re.search(r"!\[\s*\]\(", (ROOT / page).read_text()), page


def test_contents_leave_out_what_is_missing_and_lose_nothing(tmp_path):
    for name in ("guide", "data", "of_a_new_topic", "index"):
        (tmp_path / f"{name}.md").write_text("# Page\n")
    found = contents.contents(tmp_path)
    assert found["Start"] == ["guide"]
    assert found["Train"] == ["data"]
    assert found[contents.REST] == ["of_a_new_topic"]
    assert not any("index" in named for named in found.values())


def test_the_built_site_is_checked_for_links_that_lead_nowhere(tmp_path):
    (tmp_path / "a.html").write_text(
        '<h1 id="top">A</h1><a href="b.html#part">b</a><a href="#top">up</a>'
        '<a href="https://example.org/">far</a><img src="plot.png">'
    )
    (tmp_path / "b.html").write_text('<p id="other"></p><a href="gone.html">c</a>')
    assert link_check.broken_links(tmp_path) == [
        "a.html: b.html#part", "a.html: plot.png", "b.html: gone.html",
    ]  # fmt: skip
    (tmp_path / "plot.png").touch()
    (tmp_path / "b.html").write_text('<p id="part"></p>')
    assert link_check.broken_links(tmp_path) == []


def test_formulas():
    assert "<mfrac>" in mathml(r"\frac{1}{K}", "block")
    with pytest.raises(ValueError, match="does not know"):
        mathml(r"\arg\unknown x", "inline")


def test_docstrings_become_markup_that_shows_them():
    text = """Returns x_ and *args and |x|, and `code_`.

    s = a_b

Args:
    scale: s.

Returns:
    A dictionary: of two.

Example:
    call(x)
"""
    lines = "\n".join(plain(text.splitlines()))
    assert r"Returns x\_ and \*args and \|x\|, and ``code_``." in lines
    assert "::\n\n    s = a_b" in lines
    assert r"scale: s\." in lines
    assert "    : A dictionary: of two." in lines
    assert ".. code-block:: python\n\n        call(x)" in lines


@pytest.mark.slow  # Imports all packages, as `make docs` does.
def test_every_public_name_is_described_once():
    packages = api_pages.public_packages()
    home = api_pages.homes(packages)
    text = "\n".join(api_pages._page(package, home) for package in packages)
    described = re.findall(r"^\.\. (?:autoclass|autofunction|py:data):: (\S+)$", text, re.M)
    assert len(described) == len(set(described))
    for name in ("models.GroupFace", "heads.ArcFace", "evaluation.COSINE", "data.FaceAligner"):
        assert f"gfkeras.{name}" in described
    # The root package only exports names that other packages describe.
    assert not [name for name in described if name.count(".") == 1]


def test_every_option_of_every_command_is_described():
    root = typer.main.get_command(app)
    context = type(root).context_class(root, info_name="gfkeras")
    text = "\n".join(
        "\n".join(command_pages._section(*pair)) for pair in command_pages.commands(root, context)
    )
    for command, of_command in command_pages.commands(root, context):
        assert f"``{of_command.command_path}``\n" in text
        for parameter in command.params:
            assert parameter.hidden or parameter.opts[0] in text or parameter.metavar in text
