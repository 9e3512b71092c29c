"""Every head has an example in its docstring, and the example runs."""

from __future__ import annotations

import docstrings
import pytest
from eager_and_compiled import slow_on_jax

from gfkeras import heads

EXAMPLES = docstrings.examples(heads)


def test_every_class_has_an_example():
    assert set(heads.HEADS) <= set(EXAMPLES)


@slow_on_jax
@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name):
    assert docstrings.run(EXAMPLES[name]) == ""
