"""TensorFlow without Grappler, whose optimisation takes longer than the tests.

The Makefile sets GFKERAS_TESTS_WITHOUT_GRAPPLER=1 for this. It applies to the processes of tests
and to those forked from them (`forking`). Other processes, such as commands, use Grappler.
"""

from __future__ import annotations

import os

WITHOUT_GRAPPLER = os.environ.get("GFKERAS_TESTS_WITHOUT_GRAPPLER") == "1"


def switch_grappler_off() -> None:
    """Turns Grappler off without claiming a device, because tests may configure devices later."""
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
