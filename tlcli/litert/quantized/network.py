"""The operators and tensors of a LiteRT file, as far as a quantisation depends on them."""

from __future__ import annotations

from dataclasses import dataclass

from tlcli.errors import GraphError
from tlcli.litert.safety_rules import OPERATORS
from tlcli.litert.tables import Bytes, DamagedError, Table

FLOAT32, INT32, UINT8, INT8 = 0, 2, 3, 9
"""Numbers of tensor types in LiteRT's schema."""

# What multiplies and sums; all before the last of these is the network, and the rest its end.
_HEAVY = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "BATCH_MATMUL"})
_POOLING = frozenset({"MEAN", "AVERAGE_POOL_2D", "MAX_POOL_2D", "SUM", "REDUCE_MAX"})
_AFFINE = frozenset({"ADD", "SUB", "MUL", "DIV"})


@dataclass(frozen=True)
class Tensor:
    """A tensor of a file.

    Attributes:
        name: as the file gives it.
        shape: sizes for one image.
        kind: number of its type in LiteRT's schema.
        constant: whether its values are in the file.
        free: whether its batch size may change.
    """

    name: str
    shape: tuple[int, ...]
    kind: int
    constant: bool
    free: bool


@dataclass(frozen=True)
class Operator:
    """An operator of a file.

    Attributes:
        name: as in LiteRT's schema, "CONV_2D".
        inputs: numbers of the tensors that it reads; -1 for one that is left out.
        outputs: numbers of the tensors that it gives.
        options: its settings, by the slots of the schema; None for none.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Table | None


@dataclass(frozen=True)
class Network:
    """A LiteRT file.

    Attributes:
        tensors: all, by number.
        operators: in the order in which they run.
        inputs: numbers of the tensors that are fed.
        outputs: numbers of those that come out.
    """

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def before_pooling(self) -> list[Operator]:
        """Return the operators up to the maps' averages; what is behind computes on vectors."""
        wanted: set[int] = set()
        found = []
        for operator in reversed(self.operators):
            pools = operator.name in _POOLING and self._has_map(operator.inputs[:1])
            if operator.name in _HEAVY or pools or wanted.intersection(operator.outputs):
                found.append(operator)
                wanted.update(operator.inputs)
        return found[::-1]

    def behind_narrow_maps(self) -> list[Operator]:
        """Return `before_pooling` without the first operators, whose maps are large and narrow.

        They are those before the second convolution with more channels going out than in. On
        processors of servers 8 bits make them slower: integers of 8 bits pay for channels, and
        converting results costs for pixels.
        """
        operators = self.before_pooling()
        widening = [number for number, each in enumerate(operators) if self._widens(each)]
        return operators[widening[1] :] if len(widening) > 1 else operators

    def scaled_pixels(self) -> list[int]:
        """Return the input and what is computed of it alone by constants, value by value."""
        found = list(self.inputs)
        for operator in self.operators:
            rest = [index for index in operator.inputs if index not in found]
            if (
                operator.name in _AFFINE
                and len(rest) == 1
                and self.tensors[rest[0]].constant
                and len(operator.outputs) == 1
            ):
                found.append(operator.outputs[0])
        return found

    def _widens(self, operator: Operator) -> bool:
        if operator.name != "CONV_2D":
            return False
        first, last = (self.tensors[each[0]] for each in (operator.inputs, operator.outputs))
        return last.shape[-1] > first.shape[-1]

    def _has_map(self, indices: tuple[int, ...]) -> bool:
        return any(index >= 0 and len(self.tensors[index].shape) == 4 for index in indices)


def read_network(content: bytes) -> Network:
    """Return the network in a LiteRT file that `tlcli.litert.safety` has checked, or that is ours.

    Raises:
        GraphError: the file is damaged.
    """
    try:
        return _read(Bytes(content).root())
    except (DamagedError, IndexError) as error:
        raise GraphError(f"this LiteRT file cannot be quantised: {error}") from error


def _read(model: Table) -> Network:
    codes = [max(entry.number(0, "<b"), entry.number(3, "<i")) for entry in model.tables(1)]
    lengths = [buffer.length(0) or 0 for buffer in model.tables(4)]
    graph = model.tables(2)[0]
    tensors = tuple(
        Tensor(
            each.content(3).decode("utf-8", "replace"),
            each.integers(0),
            each.number(1, "<b"),
            lengths[each.number(2, "<I")] > 0,
            -1 in each.integers(7),
        )
        for each in graph.tables(0)
    )
    operators = tuple(
        Operator(
            OPERATORS.get(codes[each.number(0, "<I")], "CUSTOM"),
            each.integers(1),
            each.integers(2),
            each.table(4),
        )
        for each in graph.tables(3)
    )
    return Network(tensors, operators, graph.integers(1), graph.integers(2))
