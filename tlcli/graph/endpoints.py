"""Find the layers where images enter a frozen graph and its results leave, without TensorFlow."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy.typing as npt

from tlcli.errors import GraphError
from tlcli.graph.nodes import DataType, tensor_to_array
from tlcli.graph.shapes import placeholder_shape, static_input_size
from tlcli.graph.surgery import (
    PIXEL_PASSING,
    constant_behind,
    data_inputs,
    needed_nodes,
    nodes_by_name,
    spell_tensor,
    split_tensor,
)

PLACEHOLDERS = frozenset({"Placeholder", "PlaceholderV2"})
BOTTLENECK_INPUT = "BottleneckInputPlaceholder"
"""How the original tools named the input of the final layer."""
RESIZE = "ResizeBilinear"

DECODERS = frozenset({"DecodeJpeg", "DecodePng", "DecodeImage", "DecodeBmp", "DecodeGif"})
"""Operations that make pixels of encoded images."""
# No results: constants, side effects, and choices that are made of the scores.
_NO_RESULT = PLACEHOLDERS | {"Const", "NoOp", "Assert", "ArgMax", "TopK", "TopKV2"}
# What is fed while a network is trained: numbers that tools leave without a shape.
_SWITCHES = re.compile(r"keep_?prob|drop_?out|\brate\b|training|phase|learning")
_PIXEL_TYPES = (DataType.FLOAT, DataType.UINT8)
# Of Inception-v3, whose input the graphs of 2017 call Mul.
_INCEPTION_SIZE = 299
# Pixels a side; no image network takes more.
_LARGEST_SIDE = 8192


def data_type(node: Any) -> int:
    """Return the number of the data type of what ``node`` gives."""
    for key in ("dtype", "T", "DstT"):
        if key in node.attr:
            return int(node.attr[key].type)
    return DataType.FLOAT


def listed(names: Iterable[str]) -> str:
    """Return the first five ``names`` of a message in order, and how many more there are."""
    ordered = sorted(names)
    shown = ", ".join(repr(name) for name in ordered[:5])
    return shown + (f" and {len(ordered) - 5} more" if len(ordered) > 5 else "")


@dataclass(frozen=True)
class Layers:
    """The layers of a frozen graph, and how messages name the graph and the options for it.

    Attributes:
        graph: a ``GraphDef``.
        what: begins messages: its path, or "it".
        input_option: names the layer to feed.
        output_option: names the layer of the results.
    """

    graph: Any
    what: str
    input_option: str
    output_option: str
    _needed: dict[str, list[Any]] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def nodes(self) -> dict[str, Any]:
        """The nodes by name."""
        return nodes_by_name(self.graph)

    def node(self, tensor: str) -> Any:
        """Return the node that gives ``tensor``."""
        return self.nodes[split_tensor(tensor)[0]]

    def needed(self, output: str) -> list[Any]:
        """Return the nodes that ``output`` needs, each after all that it reads.

        Raises:
            GraphError: a node is absent, or the graph has a loop.
        """
        if output not in self._needed:
            self._needed[output] = needed_nodes(self.graph, [output])
        return self._needed[output]

    def constant(self, name: str) -> npt.NDArray[Any] | None:
        """Return the value of a constant, also behind identities; None where it is none."""
        found = constant_behind(self.nodes, name)
        return None if found is None else tensor_to_array(found.attr["value"].tensor)

    def existing(self, wanted: str, option: str) -> str:
        """Return the tensor that ``option`` names.

        Raises:
            GraphError: there is none; the message suggests similar names.
        """
        name, output = split_tensor(wanted.strip())
        # label_image.py read graphs into a scope "import"; its users kept the habit.
        if name not in self.nodes and name.startswith("import/"):
            name = name[len("import/") :]
        if name in self.nodes and output >= 0:
            return spell_tensor(name, output)
        close = ", ".join(map(repr, difflib.get_close_matches(name, self.nodes)))
        hint = f"did you mean {close}?" if close else "choose another, or leave it out"
        raise GraphError(f"{self.what} has no layer {wanted!r} for {option}; {hint}")

    def ends(self) -> list[str]:
        """Return the layers that could be results: nothing reads them."""
        read = {source for node in self.graph.node for source, _ in data_inputs(node)}
        return [
            node.name
            for node in self.graph.node
            if node.name not in read and node.op not in _NO_RESULT
        ]

    def find_input(self, output: str, wanted: str | None) -> str:
        """Return the tensor to feed with pixels, on which ``output`` depends.

        Where the graph decodes images itself, that is its own resize: the decoder is left out.

        Args:
            output: the tensor of the results.
            wanted: the layer that the user named.

        Raises:
            GraphError: there is no such layer, or none or several could be it.
        """
        needed = self.needed(output)
        if wanted is not None:
            tensor = self.existing(wanted, self.input_option)
            return self._own_resize(needed) if _is_encoded(self.node(tensor)) else tensor
        images = _image_inputs(needed)
        if any(node.op in DECODERS for node in needed):
            return self._own_resize(needed)
        if not images and any(_is_encoded(node) for node in needed):
            return self._own_resize(needed)
        if len(images) == 1:
            return images[0]
        inputs = images or [node.name for node in needed if node.op in PLACEHOLDERS]
        if not inputs:
            raise GraphError(
                f"{self.what} has no placeholder to feed; name the layer that takes pixels with "
                f"{self.input_option}"
            )
        if not images:
            shapes = ", ".join(f"{name!r} takes {self._declared(name)}" for name in inputs[:5])
            raise GraphError(
                f"{self.what} has no input that takes images [?, height, width, 3]: {shapes}; "
                "export the graph again with channels last, or give another"
            )
        raise GraphError(
            f"{self.what} has no single input that takes images (candidates are "
            f"{listed(inputs)}); name it with {self.input_option}"
        )

    def _declared(self, name: str) -> str:
        sizes = placeholder_shape(self.nodes[name])
        return "?" if sizes is None else f"[{', '.join(str(size or '?') for size in sizes)}]"

    def _own_resize(self, needed: list[Any]) -> str:
        """Return the first resize behind the graph's own image decoder."""
        behind: set[str] = set()
        for node in needed:  # each after all that it reads
            if (
                node.op in DECODERS
                or _is_encoded(node)
                or any(source in behind for source, _ in data_inputs(node))
            ):
                behind.add(node.name)
                if node.op == RESIZE:
                    return str(node.name)
        raise GraphError(
            f"{self.what} decodes images itself and has no {RESIZE} to feed instead; name the "
            f"layer that takes pixels with {self.input_option}"
        )

    def pixel_range(self, resize: str) -> float:
        """Return what pixels of 0..255 are divided by before the graph's own ``resize``.

        Raises:
            GraphError: they are changed in another way.
        """
        scale = 1.0
        node = self.nodes.get(data_inputs(self.node(resize))[0][0])
        while node is not None and node.op not in DECODERS | PLACEHOLDERS:
            sources = [source for source, _ in data_inputs(node)]
            constants = [self.constant(source) for source in sources] if node.op == "Mul" else []
            factors = [each for each in constants if each is not None and each.size == 1]
            if len(constants) == 2 and len(factors) == 1 and factors[0].any():
                scale *= float(factors[0].reshape(()))
                node = self.nodes.get(sources[0] if constants[0] is None else sources[1])
            elif node.op in PIXEL_PASSING and sources:
                node = self.nodes.get(sources[0])
            else:
                raise GraphError(
                    f"{self.what} changes pixels by {node.op} ({node.name!r}) before it resizes "
                    f"them; name the layer that takes pixels with {self.input_option}"
                )
        return 1.0 / scale

    def input_size(
        self, fed: str, output: str, height: int | None, width: int | None
    ) -> tuple[int, int]:
        """Return the height and width of the images that ``fed`` takes, in pixels.

        Args:
            fed: the tensor to feed.
            output: the tensor of the results.
            height: as the user gave it; None: as the graph has it.
            width: as the user gave it; None: as the graph has it.

        Raises:
            GraphError: the graph has no fixed size, or none that can be right.
        """
        if height is not None and width is not None:
            return height, width
        found = self._own_size(fed)
        if None in found:
            found = static_input_size(self.graph, fed, [output]) or (None, None)
        if None in found and split_tensor(fed)[0].rsplit("/", 1)[-1] == "Mul":
            found = (_INCEPTION_SIZE, _INCEPTION_SIZE)
        height = found[0] if height is None else height
        width = found[1] if width is None else width
        if height is None or width is None:
            raise GraphError(
                f"{self.what} has no fixed input size; give --input_height and --input_width"
            )
        if not all(1 <= side <= _LARGEST_SIDE for side in (height, width)):
            raise GraphError(
                f"{self.what} takes images of {height} x {width} pixels, which cannot be right; "
                "give --input_height and --input_width"
            )
        return height, width

    def _own_size(self, fed: str) -> tuple[int | None, int | None]:
        """Return the size that the placeholder declares, or that the graph resizes to."""
        node = self.node(fed)
        declared = placeholder_shape(node)
        if declared is not None and len(declared) in (3, 4):
            return declared[1], declared[2]
        if node.op in PLACEHOLDERS:
            return None, None
        resizes = [each for each in self.needed(fed) if each.op == RESIZE]
        sources = data_inputs(resizes[-1]) if resizes else []
        size = self.constant(sources[1][0]) if len(sources) > 1 else None
        if size is None or size.size != 2 or size.dtype.kind not in "iu":
            return None, None
        return int(size.ravel()[0]), int(size.ravel()[1])


def _is_encoded(node: Any) -> bool:
    return node.op in PLACEHOLDERS and data_type(node) == DataType.STRING


def _image_inputs(needed: list[Any]) -> list[str]:
    """Return the placeholders that could take images, without those that are less likely to."""
    found = [node for node in needed if takes_images(node)]
    found = [node for node in found if not _SWITCHES.search(node.name.lower())] or found
    found = [node for node in found if placeholder_shape(node) is not None] or found
    found = [node for node in found if data_type(node) in _PIXEL_TYPES] or found
    return [str(node.name) for node in found]


def takes_images(node: Any) -> bool:
    """Return whether a node may be the input of images: of one or three channels, or unknown."""
    if BOTTLENECK_INPUT in node.name or data_type(node) in (DataType.BOOL, DataType.STRING):
        return False
    shape = placeholder_shape(node)
    if node.op == "PlaceholderWithDefault":
        return shape is not None and len(shape) == 4 and shape[3] in (1, 3)
    return node.op in PLACEHOLDERS and (shape is None or is_image_shape(shape))


def image_size(shape: Sequence[int | None] | None) -> tuple[int | None, int | None]:
    """Return height and width of a shape of images, [n, h, w] or [n, h, w, channels].

    None where they are free, or the shape is another or unknown.
    """
    if shape is None or len(shape) not in (3, 4):
        return None, None
    return shape[1], shape[2]


def is_image_shape(shape: Sequence[int | None]) -> bool:
    """Return whether a shape is one of images: [n, h, w, 3], [n, h, w, 1] or grey [n, h, w]."""
    if len(shape) == 3:
        # [h, w, 3] has no batch.
        return shape[2] not in (1, 3) and shape[0] in (None, 1)
    return len(shape) == 4 and shape[3] in (1, 3, None)
