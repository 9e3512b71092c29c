"""The group decision network of GroupFace."""

from typing import Any

import keras
from keras import ops

from gfkeras.errors import positive_int
from gfkeras.saving import Configured


@keras.saving.register_keras_serializable("gfkeras")
class GroupDecisionNetwork(Configured, keras.layers.Layer):
    """Decides from the instance embedding which latent group a face belongs to.

    BN → FC → activation → BN → FC gives v̂, the intermediate feature. One more FC gives K
    logits, whose softmax is p(G_k | x) (arXiv 2005.10497, section 3.2). The paper asks for a
    non-linear network and does not name the activation.

    Args:
        num_groups: K.
        hidden_dim: width of both hidden FCs and of v̂.
        activation: "prelu", or any name that `keras.activations.get` knows.
        bn_momentum, bn_epsilon: momentum and epsilon of the batch normalisations.

    Call arguments:
        instance: (B, D), the instance embedding v.
        training: whether batch statistics are used.

    Returns:
        (group_feature, group_logits): v̂ (B, hidden_dim) and (B, K), both float32
        under any dtype policy.
    """

    def __init__(
        self,
        num_groups: int,
        hidden_dim: int = 256,
        activation: str = "prelu",
        bn_momentum: float = 0.9,
        bn_epsilon: float = 1e-5,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_groups = positive_int("num_groups", num_groups)
        self.hidden_dim = positive_int("hidden_dim", hidden_dim)
        self.activation = activation
        self.bn_momentum = bn_momentum
        self.bn_epsilon = bn_epsilon

        def normalization(name: str) -> keras.layers.Layer:
            return keras.layers.BatchNormalization(
                momentum=bn_momentum, epsilon=bn_epsilon, dtype=self.dtype_policy, name=name
            )

        def dense(units: int, name: str) -> keras.layers.Layer:
            return keras.layers.Dense(units, dtype=self.dtype_policy, name=name)

        self.bn1 = normalization("bn1")
        self.fc1 = dense(hidden_dim, "fc1")
        if activation == "prelu":
            quarter = keras.initializers.Constant(0.25)
            self.nonlinearity = keras.layers.PReLU(quarter, dtype=self.dtype_policy, name="prelu")
        else:
            self.nonlinearity = keras.layers.Activation(
                activation, dtype=self.dtype_policy, name="activation"
            )
        self.bn2 = normalization("bn2")
        self.fc2 = dense(hidden_dim, "fc2")
        self.classifier = dense(num_groups, "classifier")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        parts = (self.bn1, self.fc1, self.nonlinearity, self.bn2, self.fc2, self.classifier)
        for layer in parts:
            layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)

    def call(self, instance: Any, training: bool | None = None) -> tuple[Any, Any]:
        x = self.fc1(self.bn1(instance, training=training))
        x = self.bn2(self.nonlinearity(x), training=training)
        group_feature = self.fc2(x)
        group_logits = self.classifier(group_feature)
        return ops.cast(group_feature, "float32"), ops.cast(group_logits, "float32")

    def compute_output_spec(self, instance: Any, training: bool | None = None) -> Any:
        batch = instance.shape[0]
        return (
            keras.KerasTensor((batch, self.hidden_dim), dtype="float32"),
            keras.KerasTensor((batch, self.num_groups), dtype="float32"),
        )
