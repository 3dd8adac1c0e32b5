"""Change a LiteRT file's tables at random, check it, and run what passes in a child.

    python mutations.py FILE.tflite COUNT [FIRST_SEED]

Prints how many children died by a signal, how many ran or raised, how many were refused.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from tlcli.errors import GraphError
from tlcli.litert.safety import check_litert

_SIZES = (-1, -2, 0, 1, 2, 3, 7, 127, 65536, 100_000, 2**31 - 1, -(2**31))


def mutate(content: bytes, numbers: random.Random) -> bytes:
    """Return the file with one or two changes that leave it a well-formed flatbuffer."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    for _ in range(numbers.choice((1, 1, 2))):
        _change(model, numbers)
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _change(model: Any, numbers: random.Random) -> None:
    graph = model.subgraphs[0]
    tensor, operator = numbers.choice(graph.tensors), numbers.choice(graph.operators)
    other = numbers.randrange(len(graph.tensors))
    value = numbers.choice((*_SIZES, len(graph.tensors), other, other, other))
    kind = numbers.randrange(9)
    if kind == 0 and tensor.shape is not None and len(tensor.shape):
        shape = list(tensor.shape)
        shape[numbers.randrange(len(shape))] = value
        tensor.shape = shape if numbers.random() < 0.7 else shape[:-1]
    elif kind == 1:
        tensor.buffer = numbers.randrange(len(model.buffers))
    elif kind == 2:
        tensor.type = numbers.randrange(20)
    elif kind == 3:
        inputs = list(operator.inputs)
        inputs[numbers.randrange(len(inputs))] = value
        operator.inputs = inputs if numbers.random() < 0.6 else inputs[:-1]
    elif kind == 4:
        operator.outputs = [value]
    elif kind == 5:
        code = numbers.choice(model.operatorCodes)
        code.builtinCode = numbers.randrange(210)
        code.deprecatedBuiltinCode = min(127, code.builtinCode)
    elif kind == 6 and operator.builtinOptions is not None:
        for name, found in vars(operator.builtinOptions).items():
            if isinstance(found, int) and numbers.random() < 0.4:
                setattr(operator.builtinOptions, name, numbers.choice((0, 1, 2, 100, 127)))
    elif kind == 7:
        operator.opcodeIndex = numbers.choice((0, 1, 2, 99))
    else:
        buffer = numbers.choice(model.buffers)
        if buffer.data is not None and len(buffer.data):
            buffer.data = buffer.data[: numbers.randrange(len(buffer.data) + 1)]


def run(content: bytes) -> None:
    """Run the model once on zeros; whatever it raises is fine."""
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    details = interpreter.get_input_details()[0]
    interpreter.set_tensor(details["index"], np.zeros(details["shape"], details["dtype"]))
    interpreter.invoke()
    interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def dies(content: bytes) -> int:
    """Return the signal that ends a child which runs the model, 0 for none."""
    child = os.fork()
    if child == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        signal.alarm(30)
        try:
            run(content)
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def main(path: str, count: str, first: str = "0") -> None:
    """Try ``count`` changes, each told by its seed."""
    content = Path(path).read_bytes()
    died = ran = refused = 0
    for seed in range(int(first), int(first) + int(count)):
        try:
            changed = mutate(content, random.Random(seed))
        except (TypeError, ValueError, OverflowError):  # not to be written down
            continue
        try:
            check_litert(changed, "the file")
        except GraphError:
            refused += 1
            continue
        number = dies(changed)
        died, ran = died + (number > 0), ran + (number == 0)
        if number:
            print(f"seed {seed}: signal {number}", file=sys.stderr)
    print(died, ran, refused)


if __name__ == "__main__":
    main(*sys.argv[1:])
