"""The range of each tensor of a network over some images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tlcli.arrays import Array
from tlcli.errors import GraphError
from tlcli.litert.quantized.network import FLOAT32, Network
from tlcli.runtime.native_stderr import quietly
from tlcli.runtime.watchdog import first_line
from tlcli.system.cpus import available_cpus

Extremes = tuple[Array | float, Array | float]
"""A black and a white pixel as a network takes them: one number, or one per channel."""
Ranges = dict[str, dict[str, Array]]
"""For each tensor's name "min" and "max", arrays of one value, as `ai_edge_quantizer` takes them.

Constants are absent: their ranges are found for each channel.
"""


def ranges(
    content: bytes, network: Network, batches: Iterable[Array], extremes: Extremes = (0, 1)
) -> Ranges:
    """Return the lowest and highest value of each computed tensor of float32.

    They are rounded to three digits, so that the last bits of a processor's sums do not change a
    quantised file. Pixels may be anything from black to white, whatever the images hold, so the
    tensors that are only scaled pixels get the ranges of these: pixels of 8 bits are then
    represented exactly.

    Args:
        content: of the float32 LiteRT file.
        network: what is in it.
        batches: float32 [n, height, width, 3] in the range that the network takes.
        extremes: a black and a white pixel in that range.

    Raises:
        GraphError: the network cannot be run on an image, there is none, or a value is not finite.
    """
    pixels = set(network.scaled_pixels())
    others = [
        index
        for index, tensor in enumerate(network.tensors)
        if tensor.kind == FLOAT32 and not tensor.constant and index not in pixels
    ]
    low: dict[int, float] = {}
    high: dict[int, float] = {}

    def widen(run: Any, indices: Iterable[int]) -> None:
        for index in indices:
            try:
                values = run.get_tensor(index)
            except ValueError:  # what LiteRT never computes: it is part of another operator
                continue
            if values.size:
                low[index] = min(low.get(index, np.inf), float(values.min()))
                high[index] = max(high.get(index, -np.inf), float(values.max()))

    count = 0
    try:
        interpreter = _interpreter(content)
        fed = interpreter.get_input_details()[0]
        for batch in batches:
            for image in batch:
                interpreter.set_tensor(fed["index"], image[np.newaxis])
                interpreter.invoke()
                widen(interpreter, others)
                count += 1
        for value in extremes:
            interpreter.set_tensor(fed["index"], np.full(fed["shape"], value, np.float32))
            interpreter.invoke()
            widen(interpreter, pixels)
    except (ValueError, RuntimeError) as error:
        raise GraphError(
            f"the network cannot be run on a calibration image: {first_line(error)}"
        ) from error
    if not count:
        raise GraphError("there is no image to calibrate the integers of 8 bits with; give some")
    return _by_name(network, low, high)


def _interpreter(content: bytes) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    # It warns that all tensors are kept, which is what is asked for.
    with quietly():
        interpreter = Interpreter(
            model_content=content,
            num_threads=available_cpus(),
            experimental_preserve_all_tensors=True,
        )
        interpreter.allocate_tensors()
    return interpreter


def _by_name(network: Network, low: dict[int, float], high: dict[int, float]) -> Ranges:
    found: Ranges = {}
    for index, lowest in low.items():
        name, highest = network.tensors[index].name, high[index]
        if not np.isfinite([lowest, highest]).all():
            raise GraphError(
                f"the network's tensor {name!r} is NaN or infinite for a calibration image, and "
                "integers of 8 bits represent neither; keep float32"
            )
        if name in found:  # names need not be unique
            lowest = min(lowest, float(found[name]["min"][0]))
            highest = max(highest, float(found[name]["max"][0]))
        found[name] = {"min": _rounded(lowest), "max": _rounded(highest)}
    return found


def _rounded(value: float) -> Array:
    return np.array([float(f"{value:.3g}")], np.float32)
