"""Tiny presets with random weights, made and saved by keras-hub itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# Per channel: pixels * SCALE + OFFSET.
SCALE = (1 / 58.395, 1 / 57.12, 1 / 57.375)
OFFSET = (-2.1179, -2.0357, -1.8044)


def _dinov2(models: Any) -> Any:
    return models.DINOV2Backbone(
        patch_size=14, num_layers=2, hidden_dim=16, num_heads=2, intermediate_dim=32,
        num_register_tokens=2, image_shape=(42, 42, 3), position_embedding_shape=(70, 70, 3),
    )  # fmt: skip


def _dinov3(models: Any) -> Any:
    return models.DINOV3Backbone(
        patch_size=16, num_layers=2, hidden_dim=16, num_heads=2, intermediate_dim=32,
        image_shape=(48, 48, 3),
    )  # fmt: skip


def _vit(models: Any) -> Any:
    return models.ViTBackbone(
        image_shape=(48, 48, 3), patch_size=16, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32
    )


def _deit(models: Any) -> Any:
    return models.DeiTBackbone(
        image_shape=(48, 48, 3), patch_size=16, num_layers=2, num_heads=2, hidden_dim=16,
        intermediate_dim=32,
    )  # fmt: skip


def _siglip(models: Any) -> Any:
    return models.SigLIPBackbone(
        vision_encoder=models.SigLIPVisionEncoder(
            patch_size=16, hidden_dim=16, num_layers=2, num_heads=2, intermediate_dim=32,
            image_shape=(48, 48, 3),
        ),
        text_encoder=models.SigLIPTextEncoder(
            vocabulary_size=32, embedding_dim=16, hidden_dim=16, num_layers=1, num_heads=2,
            intermediate_dim=32, max_sequence_length=8,
        ),
    )  # fmt: skip


def _mobilenet(models: Any) -> Any:
    return models.MobileNetBackbone(
        stackwise_expansion=[[40], [64, 48]], stackwise_num_blocks=[1, 2],
        stackwise_num_filters=[[16], [24, 24]], stackwise_kernel_size=[[3], [5, 5]],
        stackwise_num_strides=[[2], [2, 1]], stackwise_se_ratio=[[0.25], [None, None]],
        stackwise_activation=[["relu"], ["hard_swish", "hard_swish"]],
        stackwise_padding=[[1], [2, 2]], output_num_filters=32, input_num_filters=8,
        input_activation="hard_swish", output_activation="hard_swish", depthwise_filters=8,
        depthwise_stride=2, depthwise_residual=False, squeeze_and_excite=0.5,
        last_layer_filter=24, image_shape=(48, 48, 3),
    )  # fmt: skip


def _hgnetv2(models: Any) -> Any:
    return models.HGNetV2Backbone(
        depths=[1, 1], embedding_size=8, hidden_sizes=[8, 16], stem_channels=[3, 8, 8],
        hidden_act="relu", use_learnable_affine_block=False,
        stackwise_stage_filters=[[8, 8, 16, 1, 1, 3], [16, 8, 32, 1, 1, 3]],
        apply_downsample=[False, True], use_lightweight_conv_block=[False, False],
        image_shape=(48, 48, 3),
    )  # fmt: skip


def _resnet(models: Any) -> Any:
    return models.ResNetBackbone(
        input_conv_filters=[64], input_conv_kernel_sizes=[7], stackwise_num_filters=[64],
        stackwise_num_blocks=[1], stackwise_num_strides=[1], block_type="basic_block",
    )  # fmt: skip


def _csp(models: Any) -> Any:
    return models.CSPNetBackbone(
        stem_filters=8, stem_kernel_size=3, stem_strides=1, stackwise_depth=[1, 1],
        stackwise_strides=[2, 2], stackwise_num_filters=[8, 16], block_type="dark_block",
        stage_type="dark", image_shape=(48, 48, 3),
    )  # fmt: skip


NETWORKS: dict[str, Callable[[Any], Any]] = {
    "DINOV2": _dinov2,
    "DINOV3": _dinov3,
    "ViT": _vit,
    "DeiT": _deit,
    "SigLIP": _siglip,
    "MobileNet": _mobilenet,
    "HGNetV2": _hgnetv2,
    "ResNet": _resnet,
    "CSPNet": _csp,
}


def save(keras_hub: Any, family: str, folder: Path) -> None:
    """Write the preset of a family with random weights and its image converter."""
    network = NETWORKS[family](keras_hub.models)
    generator = np.random.default_rng(7)
    for variable in network.variables:
        values = generator.normal(0, 0.3, variable.shape)
        # Of these a network divides by the root.
        variable.assign(np.abs(values) + 0.5 if "variance" in variable.path else values)
    network.save_to_preset(str(folder))
    side = 42 if family == "DINOV2" else 48
    kind = getattr(keras_hub.layers, f"{family}ImageConverter")
    kind(image_size=(side, side), scale=SCALE, offset=OFFSET).save_to_preset(str(folder))
