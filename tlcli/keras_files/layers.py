"""The layers of a loaded model and of the models in it: their paths, and what flows through them.

The tensors of a layer are noted while the whole model is traced, so it does not matter how
models are nested: a model in a model passes the very tensors of its own layers on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tlcli.errors import GraphError, UsageError
from tlcli.graph.endpoints import listed

# Layers after the last Dense that only turn its scores into probabilities, or change no value.
_AFTER_SCORES = frozenset(
    {"Activation", "Softmax", "Dropout", "ReLU", "Reshape", "Flatten", "Identity"}
)
_TF_PASSING = frozenset({"Identity", "Cast", "StopGradient"})


@dataclass(frozen=True)
class LayerCall:
    """One layer that ran.

    Attributes:
        path: names from the outermost model inwards, "sequential_3/dense_2".
        kind: its class, such as "Dense".
        given: its first argument, a tensor.
        result: its tensor.
        layer: itself.
    """

    path: str
    kind: str
    given: Any
    result: Any
    layer: Any


class Calls:
    """Notes what the layers of a model take and give while the model runs.

    Args:
        model: of Keras 3 or 2; its layers are changed, so use it for nothing else.
    """

    def __init__(self, model: Any) -> None:
        self._found: list[LayerCall] = []
        self.paths: dict[str, Any] = {}
        for path, layer in _layers(model):
            if path not in self.paths:
                self.paths[path] = layer
                self._note(path, layer)

    def _note(self, path: str, layer: Any) -> None:
        inner: Callable[..., Any] = layer.call

        def call(*args: Any, **kwargs: Any) -> Any:
            result = inner(*args, **kwargs)
            given = args[0] if args else next(iter(kwargs.values()), None)
            self._found.append(LayerCall(path, type(layer).__name__, given, result, layer))
            return result

        layer.call = call

    def path_of(self, wanted: str, what: str) -> str:
        """Return the path of the layer that the user calls ``wanted``: a path, or its end.

        Raises:
            UsageError: no layer has that name, or several have.
        """
        if wanted in self.paths:
            return wanted
        ends = [path for path in self.paths if path.endswith(f"/{wanted}")]
        if len(ends) == 1:
            return ends[0]
        if ends:
            raise UsageError(
                f"{what} has {len(ends)} layers called {wanted!r}; name one of them: {listed(ends)}"
            )
        last = ", ".join(list(self.paths)[-8:])
        raise UsageError(f"{what} has no layer {wanted!r}; its last layers are {last}")

    def result_of(self, path: str, what: str) -> Any:
        """Return the tensor that a layer gave in its last call.

        Raises:
            GraphError: it did not run, or gives several tensors.
        """
        found = [each.result for each in self._found if each.path == path]
        if not found:
            raise GraphError(f"the layer {path!r} of {what} does not run; name another")
        return one_tensor(found[-1], f"the layer {path!r} of {what}")

    def before_scores(self, output: Any) -> Any | None:
        """Return what feeds the dense layer that gives the scores ``output``.

        A convolution of 1 x 1 on a map of 1 x 1 is a dense layer too.

        Returns:
            None where no dense layer comes last.
        """
        tensor = output
        for _ in range(len(self._found)):
            found = self._giving(tensor)
            if found is None:
                return None
            if found.kind == "Dense" or _is_dense(found):
                return found.given
            if found.kind not in _AFTER_SCORES:
                return None
            tensor = found.given
        return None

    def _giving(self, tensor: Any) -> LayerCall | None:
        """Return the innermost layer that gave a tensor."""
        while True:
            # An outer model is noted after the layer in it that gave the same tensor.
            for found in self._found:
                if found.result is tensor:
                    return found
            operation = getattr(tensor, "op", None)
            if operation is None or operation.type not in _TF_PASSING:
                return None
            tensor = operation.inputs[0]


def tensors_of(result: Any) -> list[Any]:
    """Return the tensors of a result."""
    if isinstance(result, dict):
        return list(result.values())
    return list(result) if isinstance(result, (list, tuple)) else [result]


def one_tensor(result: Any, what: str, option: str = "--module_output") -> Any:
    """Return the one tensor of a result.

    Raises:
        GraphError: there are several; the message names ``option``.
    """
    tensors = tensors_of(result)
    if len(tensors) != 1:
        raise GraphError(f"{what} has {len(tensors)} outputs; choose a layer with {option}")
    return tensors[0]


def _layers(model: Any, within: Sequence[Any] = ()) -> Iterator[tuple[str, Any]]:
    """Yield the paths and layers of a model, those of a model in it before itself."""
    # Arithmetic such as x / 127.5 is an operation, which is no layer.
    for layer in getattr(model, "operations", None) or model.layers:
        path = "/".join([*(each.name for each in within), layer.name])
        if hasattr(layer, "layers") and len(within) < 200:
            yield from _layers(layer, [*within, layer])
        yield path, layer


def _is_dense(found: LayerCall) -> bool:
    if found.kind != "Conv2D":
        return False
    shape = getattr(found.result, "shape", None)
    kernel = tuple(getattr(found.layer, "kernel_size", ()))
    return kernel == (1, 1) and shape is not None and len(shape) == 4 and shape[1:3] == [1, 1]
