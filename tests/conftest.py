"""Fixtures for the tests of all packages."""

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
    """Runs files with long tests first, so that they do not run alone at the end.

    With xdist this needs --no-loadscope-reorder. Otherwise files with few tests, such as long
    trainings, come last.
    """

    def place(item: pytest.Item) -> int:
        return next((i for i, name in enumerate(LONG) if name in item.nodeid.split("/")), len(LONG))

    items.sort(key=place)


def pytest_runtest_setup() -> None:
    # Import TensorFlow before the first test, because a test of JAX must not import it.
    if WITHOUT_GRAPPLER and "tensorflow" in sys.modules:
        switch_grappler_off()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data. The test is skipped if it is missing.

    GFKERAS_DATA names another folder. With GFKERAS_REQUIRE_SHARED=1, which `.ci/run` sets if the
    data is available, a missing folder is a failure.
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
    """Makes recipes train a pooled image as the embedding, without a slow backbone."""
    from pooled_network import Pooled

    from gfkeras.training import build

    monkeypatch.setattr(
        build, "build_model", lambda section, starts=None: Pooled(section.embedding_dim)
    )
