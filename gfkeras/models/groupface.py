"""GroupFace: latent groups on top of any backbone."""

import math
from typing import Any, Self

import keras
import numpy as np
from keras import layers

from gfkeras.backbones import Backbone
from gfkeras.errors import in_range, one_of, positive_int
from gfkeras.layers import GroupDecisionNetwork, GroupEnsemble
from gfkeras.layers.group_ensemble import MODES
from gfkeras.saving import SavableModel, init_arguments

COMBINES = ("add", "concat")


@keras.saving.register_keras_serializable("gfkeras")
class GroupFace(SavableModel):
    """GroupFace (CVPR 2020, arXiv 2005.10497) on a backbone.

    The backbone's feature passes through one shared FC. The instance embedding v and K group
    representations v^{G_k} come from its output. The group decision network computes their
    weighted sum v^G (S-GroupFace, "soft") or chooses one (H-GroupFace, "hard"). The final
    embedding is v̄ = v + α·v^G, with α = 1 in the paper.

    You can change `mode` and `group_scale` on a trained model: train soft, and export hard.

    Args:
        backbone: a `keras.Model` from images (B, H, W, 3) to a flat feature (B, F).
        embedding_dim: D, the width of v and of each v^{G_k}.
        num_groups: K.
        shared_dim: width of the shared FC (4096 in the paper), which is followed by a batch
            normalisation. With None, the instance and group FCs get the backbone's feature.
        mode: "soft" or "hard".
        combine: "add" for v̄ = v + α·v^G, or "concat" for v̄ = [v, α·v^G] with width 2·D.
        hard_gradient: for training in hard mode. "straight-through" gives the group decision
            the gradient of the soft ensemble, and "stopped" (the paper's choice) gives none.
        dropout: dropout rate on the shared feature, in [0, 1).
        group_dim: width of v̂, the feature of the group decision network.
        group_activation: activation of the group decision network.
        group_initializer: initializer of the group FCs' kernels. With "zeros", v̄ = v at the
            start of training.
        group_scale: α, at least 0. With little data, groups overfit, and a small α does less harm
            (`gfkeras groups --calibrate`). With 0, v̄ = v.
        bn_momentum, bn_epsilon: momentum and ε of the batch normalisations in these layers.

    Call arguments:
        images: (B, H, W, 3), uint8 or float32, 0…255.

    Returns:
        A dictionary with float32 values under any dtype policy:
        embedding: v̄, (B, D) or (B, 2·D), not normalised.
        instance: v, (B, D).
        group_feature: v̂, (B, group_dim).
        group_logits: (B, K).

    Raises:
        ValueError: for arguments out of range, or a backbone that does not give a
            flat feature.

    Example:
        >>> import gfkeras, numpy as np
        >>> backbone = gfkeras.backbones.MobileFaceNet()
        >>> model = gfkeras.GroupFace(backbone, num_groups=32, shared_dim=None)
        >>> tuple(model(np.zeros((2, 112, 112, 3), "uint8"))["embedding"].shape)
        (2, 512)
        >>> model.mode = "hard"
    """

    def __init__(
        self,
        backbone: keras.Model,
        embedding_dim: int = 512,
        num_groups: int = 32,
        shared_dim: int | None = 4096,
        mode: str = "soft",
        combine: str = "add",
        hard_gradient: str = "straight-through",
        dropout: float = 0.0,
        group_dim: int = 256,
        group_activation: str = "prelu",
        group_initializer: Any = "glorot_uniform",
        group_scale: float = 1.0,
        bn_momentum: float = 0.9,
        bn_epsilon: float = 1e-5,
        name: str | None = None,
    ):
        if not isinstance(backbone, keras.Model):
            raise ValueError(
                "`backbone` must be a keras.Model from images to a feature. "
                f"Received: backbone={backbone!r}"
            )
        feature_shape = getattr(backbone, "output_shape", None)
        if not isinstance(feature_shape, tuple) or len(feature_shape) != 2:
            raise ValueError(
                "`backbone` must give a flat feature (B, F). "
                f"Received: a backbone with output shape {feature_shape}"
            )
        positive_int("embedding_dim", embedding_dim)
        if shared_dim is not None:
            positive_int("shared_dim", shared_dim)
        one_of("mode", mode, MODES)
        one_of("combine", combine, COMBINES)
        if not 0 <= dropout < 1:
            raise ValueError(f"`dropout` must be in [0, 1). Received: dropout={dropout!r}")

        def bn(name: str) -> keras.layers.Layer:
            return layers.BatchNormalization(momentum=bn_momentum, epsilon=bn_epsilon, name=name)

        images = keras.Input(backbone.input_shape[1:], name="images")
        feature = backbone(images)
        if shared_dim is not None:
            feature = layers.Dense(shared_dim, use_bias=False, name="shared_fc")(feature)
            feature = bn("shared_bn")(feature)
        if dropout:
            feature = layers.Dropout(dropout, name="shared_dropout")(feature)
        instance = layers.Dense(embedding_dim, use_bias=False, name="instance_fc")(feature)
        instance = bn("instance_bn")(instance)
        decide = GroupDecisionNetwork(
            num_groups, group_dim, group_activation, bn_momentum, bn_epsilon, name="group_decision"
        )
        group_feature, group_logits = decide(instance)
        settings = (mode, hard_gradient, group_initializer, group_scale)
        ensemble = GroupEnsemble(num_groups, embedding_dim, *settings, name="group_ensemble")
        group = ensemble(feature, group_logits)
        # This casts to float32 under mixed precision.
        instance = layers.Activation("linear", dtype="float32", name="instance")(instance)
        join = layers.Add if combine == "add" else layers.Concatenate
        embedding = join(dtype="float32", name="embedding")([instance, group])
        super().__init__(
            inputs=images,
            outputs={
                "embedding": embedding,
                "instance": instance,
                "group_feature": group_feature,
                "group_logits": group_logits,
            },
            name=name,
        )
        self.backbone = backbone
        self.ensemble = ensemble
        self.embedding_dim = embedding_dim
        self.num_groups = num_groups
        self.shared_dim = shared_dim
        self.combine = combine
        self.hard_gradient = hard_gradient
        self.dropout = float(dropout)
        self.group_dim = group_dim
        self.group_activation = group_activation
        self.group_initializer = ensemble.kernel_initializer
        self.bn_momentum = bn_momentum
        self.bn_epsilon = bn_epsilon

    @classmethod
    def from_backbone(cls, backbone: Backbone, **arguments: Any) -> Self:
        """Builds a GroupFace on a trained backbone that starts with the backbone's embedding.

        The backbone's embedding FC and its batch normalisation or bias become the instance layer,
        and the group FCs start at zero. So v̄ = v equals the backbone's embedding, and training
        continues from there. The paper also fine-tunes trained networks.

        Args:
            backbone: a backbone with an `embedding_dim`. Its weights are copied, and it does
                not change.
            arguments: arguments of `GroupFace`. `embedding_dim`, `shared_dim` and `bn_epsilon`
                come from the backbone.

        Raises:
            ValueError: for a backbone without an embedding, or arguments that do not fit it.
        """
        if not isinstance(backbone, Backbone) or backbone.embedding_dim is None:
            raise ValueError(
                "`backbone` must be a backbone of gfkeras with an embedding_dim. "
                f"Received: backbone={backbone!r}"
            )
        if arguments.get("shared_dim") is not None:
            raise ValueError(
                "`shared_dim` must be None on a trained backbone, because a new shared FC would "
                f"change its embedding. Received: shared_dim={arguments['shared_dim']}"
            )
        wanted = arguments.pop("embedding_dim", backbone.embedding_dim)
        if wanted != backbone.embedding_dim:
            raise ValueError(
                f"`embedding_dim` must be the trained backbone's, {backbone.embedding_dim}. "
                f"Received: embedding_dim={wanted}"
            )
        feature = type(backbone).from_config({**backbone.get_config(), "embedding_dim": None})
        # Without the embedding FC, the other layers have the same names as in the backbone.
        for layer in feature.layers:
            layer.set_weights(backbone.get_layer(layer.name).get_weights())
        kernel, *bias = backbone.get_layer("embedding_fc").get_weights()
        if bias:
            # A network without batch normalisation has a bias: one that changes nothing else.
            epsilon = arguments.get("bn_epsilon", 1e-5)
            ones = np.ones_like(bias[0])
            bn_weights = [np.sqrt(1 + epsilon) * ones, bias[0], 0 * ones, ones]
        else:
            embedding_bn = backbone.get_layer("embedding_bn")
            epsilon, bn_weights = embedding_bn.epsilon, embedding_bn.get_weights()
        arguments = {
            "group_initializer": "zeros",
            **arguments,
            "embedding_dim": backbone.embedding_dim,
            "shared_dim": None,
            "bn_epsilon": epsilon,
        }
        model = cls(feature, **arguments)
        model.get_layer("instance_fc").set_weights([kernel])
        model.get_layer("instance_bn").set_weights(bn_weights)
        return model

    @property
    def mode(self) -> str:
        """ "soft" or "hard". You can set it at any time, and the weights do not change."""
        return self.ensemble.mode

    @mode.setter
    def mode(self, mode: str) -> None:
        one_of("mode", mode, MODES)
        if mode != self.ensemble.mode:
            self.ensemble.mode = mode
            # The compiled functions still use the other mode.
            self.train_function = self.test_function = self.predict_function = None

    @property
    def group_scale(self) -> float:
        """α in v̄ = v + α·v^G. You can set it at any time, and the weights do not change."""
        return self.ensemble.scale

    @group_scale.setter
    def group_scale(self, scale: float) -> None:
        scale = in_range("group_scale", scale, 0, math.inf)
        if scale != self.ensemble.scale:
            self.ensemble.scale = scale
            self.train_function = self.test_function = self.predict_function = None

    def get_config(self) -> dict[str, Any]:
        return init_arguments(self)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        backbone = config["backbone"]
        if isinstance(backbone, dict):
            backbone = keras.saving.deserialize_keras_object(backbone, custom_objects)
        return cls(**{**config, "backbone": backbone})
