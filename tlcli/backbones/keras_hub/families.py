"""Which of keras-hub's networks are backbones, and what of each is the bottleneck.

A network of maps is averaged over its area, as keras-hub's own ``ImageClassifier`` does. For
networks of tokens the rule is that of the network's authors or of keras-hub's classifier:

- DINOv2 and DINOv3: the class token beside the mean of the patches, which is what the linear
  classifiers of their authors read (``dinov2/hub/classifiers.py`` with one layer,
  ``dinov3/hub/classifiers.py``);
- ViT and DeiT: the class token, as ``ViTImageClassifier`` and ``DeiTImageClassifier`` with their
  default pooling;
- SigLIP: the output of the attention pooling that ends the image encoder (Zhai et al. 2023,
  arXiv:2303.15343), which is what is compared with texts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

NETWORKS = frozenset(
    """
    CSPNetBackbone DINOV2Backbone DINOV3Backbone DeiTBackbone DenseNetBackbone
    EfficientNetBackbone HGNetV2Backbone MiTBackbone MobileNetBackbone MobileNetV5Backbone
    ResNetBackbone SigLIPBackbone VGGBackbone ViTBackbone
    XceptionBackbone
    """.split()  # noqa: SIM905
)
"""Classes of ``keras_hub.models`` that may be loaded."""

PARTS = frozenset({"SigLIPVisionEncoder", "SigLIPTextEncoder"})
"""Further classes of keras-hub that a network's configuration may name."""

FAMILIES = "DINOv2, DINOv3, SigLIP, ViT, DeiT, ResNet, HGNetV2, CSPNet, MobileNet and others"
"""Some of them, for messages."""


def bottleneck(network: Any, class_name: str) -> Callable[[Any], Any]:
    """Return what gives a vector [?, D], or a map [?, h, w, D], for a tensor of images.

    Args:
        network: an instance of ``class_name``.
        class_name: of `NETWORKS`.
    """
    import tensorflow as tf

    if class_name == "SigLIPBackbone":
        return lambda images: network.vision_encoder(_input(network.vision_encoder, images))

    def call(images: Any) -> Any:
        output = network(_input(network, images), training=False)
        if isinstance(output, dict):  # one map for each stage
            output = output[network.stage_names[-1]]
        if isinstance(output, (list, tuple)):
            output = output[-1]
        if output.shape.rank != 3:
            return output
        if class_name in ("DINOV2Backbone", "DINOV3Backbone"):
            # Registers were added to be left out: Darcet et al. 2023, arXiv:2309.16588.
            patches = output[:, 1 + network.num_register_tokens :]
            return tf.concat([output[:, 0], tf.reduce_mean(patches, axis=1)], axis=-1)
        if class_name == "DeiTBackbone" or getattr(network, "use_class_token", False):
            return output[:, 0]
        return tf.reduce_mean(output, axis=1)

    return call


def _input(network: Any, images: Any) -> Any:
    """Return ``images`` as the network takes them: alone, or under the name of its input."""
    given = network.input
    return {next(iter(given)): images} if isinstance(given, dict) else images
