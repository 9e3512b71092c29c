"""The example in CONTRIBUTING.md, which adds a head."""

from __future__ import annotations

import math
import re

import head_oracles
import numpy as np
import pytest
from keras import ops
from markdown_blocks import ROOT, blocks

from gfkeras import heads


@pytest.fixture(scope="module")
def code():
    """The Python of the example: the head and its oracle."""
    texts = [block.text for block in blocks("CONTRIBUTING.md") if block.language == "text"]
    (head,) = [text for text in texts if "@registered" in text]
    (oracle,) = [text for text in texts if text.startswith("def li_arcface")]
    return head, oracle


def test_the_head_is_its_oracle(code, monkeypatch):
    # Removes the head from the registry after the test.
    monkeypatch.setitem(heads.HEADS, "LiArcFace", None)
    added, names = {}, vars(head_oracles).copy()
    exec(code[0], added)
    exec(code[1], names)
    head = heads.get("LiArcFace", num_classes=5)
    assert type(head) is added["LiArcFace"]
    rng = np.random.default_rng(0)
    embedding, labels = rng.normal(size=(4, 8)).astype("float32"), np.array([0, 4, 2, 4])
    logits = ops.convert_to_numpy(head(embedding, labels))
    centers = ops.convert_to_numpy(head.centers).astype("float64")
    expected = names["li_arcface"](embedding.astype("float64"), centers, labels)
    np.testing.assert_allclose(logits, expected, atol=2e-3)
    with pytest.raises(ValueError, match="`margin` must"):
        added["LiArcFace"](5, margin=math.pi / 2 + 0.1)


def test_the_places_that_it_names_exist():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    example = page.partition("## Example: add a head")[2].partition("\n## ")[0]
    named = re.findall(r"`(\w+)` of `((?:gfkeras|tests)/[\w/]+\.py)`", example)
    named += re.findall(r"`(\w+)` in `((?:gfkeras|tests)/[\w/]+\.py)`", example)
    assert len(named) >= 4
    for name, path in named:
        assert re.search(rf"\b{name}\b", (ROOT / path).read_text(encoding="utf-8")), name
