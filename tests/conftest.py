"""Fixtures that the tests of every package share."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from blocking import WITHOUT_TENSORFLOW
from grappler import WITHOUT_GRAPPLER, switch_grappler_off

if os.environ.get("KERAS_BACKEND") == "jax":
    # Keras would import it, which takes seconds, and these tests must not need it.
    exec(WITHOUT_TENSORFLOW)

# Folders whose files take longest, the longest first.
LONG = (
    "training", "models", "export", "cli", "tasks", "losses", "zoo", "kits", "packaging", "prepare",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of long tests first, so that no worker is left alone with one at the end.

    With xdist that takes --no-loadscope-reorder: else files of few tests, such as those of long
    trainings, come last.
    """

    def place(item: pytest.Item) -> int:
        return next((i for i, name in enumerate(LONG) if name in item.nodeid.split("/")), len(LONG))

    items.sort(key=place)


def pytest_runtest_setup() -> None:
    # A test must not be what imports TensorFlow: it may be one of JAX.
    if WITHOUT_GRAPPLER and "tensorflow" in sys.modules:
        switch_grappler_off()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data; the test is skipped where it is absent.

    GFKERAS_DATA names another place. GFKERAS_REQUIRE_SHARED=1, which `.ci/run` sets
    where the data is at hand, makes an absence a failure: a skipped test hides a gap.
    """
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("GFKERAS_DATA", default))
    if not folder.is_dir():
        reason = f"needs ../shared: no real data at {folder}; GFKERAS_DATA names another folder"
        if os.environ.get("GFKERAS_REQUIRE_SHARED") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture
def dtype_policy():
    """Sets the global dtype policy for a test: call it with the policy's name."""
    import keras

    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


@pytest.fixture
def pooled(monkeypatch):
    """Recipes train a pooled image's embedding: no backbone to wait for."""
    from pooled_network import Pooled

    from gfkeras.training import build

    monkeypatch.setattr(build, "build_model", lambda section: Pooled(section.embedding_dim))
