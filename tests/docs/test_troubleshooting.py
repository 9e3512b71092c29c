"""The messages that docs/troubleshooting.md quotes are those of the code."""

from __future__ import annotations

import re

import pytest
from markdown_blocks import ROOT
from quoted_messages import PAGE, is_given, quotations, stale, templates


@pytest.fixture(scope="module")
def known() -> list[str]:
    return templates()


def test_each_message_is_in_the_code(known):
    changed = [
        f"the page quotes: {quoted}\nnearest in code: {nearest}"
        for quoted, nearest in stale(quotations(), known).items()
    ]
    assert not changed, "\n\n".join(["docs/troubleshooting.md must follow the code.", *changed])


def test_each_section_quotes_one_message():
    sections = re.split(r"^### ", (ROOT / PAGE).read_text(), flags=re.M)[1:]
    assert len(sections) >= 20
    assert [s.partition("\n")[0] for s in sections if s.count("```text") != 1] == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("no face found", "there is no face"),
        ("requires `calibration`", "needs `calibration`"),
        ("already holds a run", "has a run already"),
        ("truncated or damaged", "cut short or damaged"),
        ("embeddings of two models", "the embeddings of two networks"),
    ],
)
def test_a_change_of_words_is_seen(known, old, new):
    message = next(quoted for quoted in quotations() if old in quoted)
    assert is_given(message, known)
    assert not is_given(message.replace(old, new), known)


def test_values_may_be_any(known):
    assert is_given("holiday/beach 7.png: no face found", known)
    assert not is_given("holiday/beach 7.png", known)
