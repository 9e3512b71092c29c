"""A check whether Keras still needs `gfkeras.models.replicas`."""

from __future__ import annotations

import keras
import pytest
from processes import start_workers

CODE = """
import numpy as np, keras, tensorflow as tf

strategy = tf.distribute.MultiWorkerMirroredStrategy()
with strategy.scope():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", "mse")
rows = np.ones((8, 2), "float32")
data = tf.data.Dataset.from_tensor_slices((rows, rows[:, :1])).batch(4, drop_remainder=True)
try:
    model.fit(strategy.experimental_distribute_dataset(data), epochs=1, verbose=0)
    print(["trained", keras.__version__])
except (TypeError, ValueError) as error:
    print([type(error).__name__, keras.__version__])
"""


@pytest.mark.slow  # This tests Keras, not gfkeras.
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="once is enough")
def test_fit_of_keras_still_fails_on_several_workers():
    processes = start_workers(CODE, KERAS_BACKEND="tensorflow")
    for process in processes:
        _, out, error = process.wait(timeout=120)
        assert "Error" in out, (
            "This Keras trains on several workers by itself: delete gfkeras/models/replicas.py "
            f"and FaceClassifier.distribute_strategy. It printed {out!r} and {error[-500:]!r}"
        )
