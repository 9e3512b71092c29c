"""TensorFlow without Grappler, which optimises each graph for longer than a test runs it.

The Makefile asks for it by GFKERAS_TESTS_WITHOUT_GRAPPLER=1: in the tests' own processes and in
those forked for them (`forking`). What tests start otherwise, such as commands, is as users run it.
"""

from __future__ import annotations

import os

WITHOUT_GRAPPLER = os.environ.get("GFKERAS_TESTS_WITHOUT_GRAPPLER") == "1"


def switch_grappler_off() -> None:
    """Claims no device: that is left to what comes after."""
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
