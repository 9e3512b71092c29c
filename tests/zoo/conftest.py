"""Real files of PyTorch, written by PyTorch."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from own_environments import TORCH, interpreter


@pytest.fixture(scope="session")
def torch_python() -> Path:
    """PyTorch's interpreter, installed on first use.

    The test is skipped if the installation fails. With GFKERAS_REQUIRE_TORCH=1, which `.ci/run`
    sets, it fails.
    """
    try:
        return interpreter(TORCH)
    except (subprocess.CalledProcessError, LookupError, OSError) as error:
        reason = f"needs PyTorch in an environment of its own, which cannot be made: {error}"
        if os.environ.get("GFKERAS_REQUIRE_TORCH") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def write_torch_files(torch_python, tmp_path_factory):
    """Writes the files of networks of `torch_networks.py` and gives their folder."""

    def write(*names: str) -> Path:
        folder = tmp_path_factory.mktemp("torch")
        script = Path(__file__).parents[1] / "support" / "torch_networks.py"
        # -I ignores PYTHONPATH and the user's packages.
        command = [torch_python, "-I", "-W", "ignore", script, folder, *names]
        subprocess.run(command, check=True, capture_output=True, timeout=600)
        return folder

    return write
