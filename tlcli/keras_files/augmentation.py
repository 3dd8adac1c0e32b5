"""Augmentation layers that Keras left in an exported graph, which change images at random.

``model.export()`` traces them although they are off at inference. With the seed as a constant
they would change each image by its position in the batch, so they are taken out.
"""

from __future__ import annotations

from typing import Any

from tlcli.graph.safety import every_node
from tlcli.graph.shapes import infer_shapes
from tlcli.graph.surgery import data_inputs, needed_nodes, redirect, spell_tensor, split_tensor

_RANDOM = ("StatelessRandomUniform", "StatelessRandomNormal", "StatelessTruncatedNormal")

Tensor = tuple[str, int]


def draws_random_numbers(model: Any) -> bool:
    """Return whether a graph of a SavedModel may change images at random.

    Args:
        model: a ``SavedModel`` message.
    """
    return any(
        node.op.startswith(_RANDOM)
        for meta_graph in model.meta_graphs
        for node in every_node(meta_graph.graph_def)
    )


def without_augmentation(graph: Any, input: str, output: str) -> tuple[Any, list[str]]:
    """Return a graph without the layers that change images at random, and their names.

    Such a layer is the smallest group of nodes with a common prefix that draws random numbers,
    reads one batch of images and gives one tensor.

    Args:
        graph: a ``GraphDef`` without functions.
        input: name of the placeholder of the images.
        output: name of the result.
    """
    removed: list[str] = []
    while True:
        found = _first_random_layer(graph, input, output)
        if found is None:
            return graph, removed
        name, given, result = found
        graph = redirect(graph, {result: spell_tensor(*given)})
        removed.append(name)


def _first_random_layer(graph: Any, input: str, output: str) -> tuple[str, Tensor, Tensor] | None:
    """Return the name of a layer, and the tensors that it reads and gives."""
    nodes = needed_nodes(graph, [output])  # each after all that it reads
    random = [node.name for node in nodes if node.op.startswith(_RANDOM)]
    if not random:
        return None
    shapes = infer_shapes(graph, input, outputs=[output])
    of_image: set[str] = {input}
    for node in nodes:
        if any(source in of_image for source, _ in data_inputs(node)):
            of_image.add(node.name)
    for name in random:
        parts = name.split("/")
        for length in range(len(parts) - 1, 0, -1):
            prefix = "/".join(parts[:length])
            inside = {node.name for node in nodes if node.name.startswith(f"{prefix}/")}
            given: set[Tensor] = set()
            results: set[Tensor] = {split_tensor(output)} if output in inside else set()
            for node in nodes:
                for tensor in data_inputs(node):
                    if node.name in inside and tensor[0] not in inside and tensor[0] in of_image:
                        given.add(tensor)
                    elif node.name not in inside and tensor[0] in inside:
                        results.add(tensor)
            if len(given) == len(results) == 1:
                (source,), (result,) = given, results
                if len(shapes.get(spell_tensor(*source)) or ()) == 4:
                    return parts[length - 1], source, result
    return None
