"""LiteRT's interpreter for .tflite files, without its messages on standard error."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tlcli.arrays import Array
from tlcli.errors import GraphError
from tlcli.litert.safety import LARGEST_FILE, LARGEST_TENSOR, check_litert
from tlcli.runtime.native_stderr import quiet_stderr
from tlcli.runtime.watchdog import first_line
from tlcli.system.cpus import available_cpus
from tlcli.system.regular_files import read_regular

Scale = Callable[[Array, Array], Array]
"""Writes what a network takes for pixels into an array, and returns that."""


class LiteRTEngine:
    """A .tflite file in LiteRT's interpreter.

    Args:
        source: path of the file, or its content as `writer` made it: operators are
            checked in files only.
        threads: processors to use; None takes the available ones.
        mapped: leave a file's content in the file, for one that nobody will write into.
        name: what errors call the model; default: its path.
        trust: load a file whatever its operators are (see `safety`).

    Attributes:
        input_name: of the tensor that takes images.
        input_type: its type, by its NumPy name.
        input_shape: its sizes as the file gives them, None where free.
        outputs: name and sizes of each tensor that comes out, None where a size is free.
        output: index of the one that `run` returns.

    Raises:
        GraphError: the file cannot be read or is no LiteRT model with one input.
    """

    def __init__(
        self,
        source: Path | str | bytes,
        threads: int | None = None,
        mapped: bool = False,
        name: str | None = None,
        trust: bool = False,
    ) -> None:
        where = name or ("the LiteRT model" if isinstance(source, bytes) else str(source))
        given: dict[str, Any]
        if not isinstance(source, bytes) and mapped:
            if not trust:
                _check_mapped(Path(source))
            given = {"model_path": str(source)}
        else:
            given = {"model_content": litert_content(source, trust)}
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise GraphError(
                "a .tflite file needs LiteRT; get it with: pip install ai-edge-litert"
            ) from error
        try:
            with quiet_stderr():
                self._interpreter: Any = Interpreter(
                    **given, num_threads=threads or available_cpus()
                )
                self._interpreter.allocate_tensors()
            if not trust:
                _check_sizes(self._interpreter, where)
        except GraphError:
            raise
        except Exception as error:  # LiteRT raises whatever its binding makes of a failure
            raise GraphError(
                f"{where} is no LiteRT model that can be run: {first_line(error)}"
            ) from error
        inputs = self._interpreter.get_input_details()
        outputs = self._interpreter.get_output_details()
        if len(inputs) != 1 or not outputs:
            raise GraphError(f"{where} has {len(inputs)} inputs; exactly one is needed")
        self._input, self._outputs = inputs[0], outputs
        self.input_name = str(self._input["name"])
        self.input_type = str(np.dtype(self._input["dtype"]).name)
        self.input_shape = _free_sizes(self._input)
        self.outputs = [(str(each["name"]), _free_sizes(each)) for each in outputs]
        self.output = 0
        self._fed = tuple(int(size) for size in self._input["shape"])
        self._resizable: bool | None = None  # not tried yet

    def run(self, batch: Array, scale: Scale | None = None) -> Array:
        """Return the output for a batch, as float32 where the model is quantised.

        A model that takes one image only is fed one at a time.

        Args:
            batch: float32 [n, ...] in the range that the model takes; quantised by the
                model's own scale where its input is of integers. Integers of the input's
                own type are fed as they are.
            scale: what makes that of ``batch``; it writes into the interpreter's own memory
                where it can.

        Raises:
            GraphError: the model cannot be run on it.
        """
        try:
            if scale is not None:
                if self._scaled_in_place(batch, scale):
                    return self._output_of_run()
                batch = scale(batch, np.empty(batch.shape, np.float32))
            return self._run(self._to_input(batch))
        except Exception as error:
            raise GraphError(f"the LiteRT model cannot be run: {first_line(error)}") from error

    @property
    def output_name(self) -> str:
        """Name of the output that `run` returns."""
        return self.outputs[self.output][0]

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """Sizes of the output that `run` returns, None where free."""
        return self.outputs[self.output][1]

    def close(self) -> None:
        """Release the interpreter; `run` is not possible afterwards."""
        self._interpreter = None

    def _scaled_in_place(self, batch: Array, scale: Scale) -> bool:
        """Return whether the input holds the scaled batch now."""
        # When this returns no view of that memory is left, or the interpreter would not run.
        memory = self._interpreter.tensor(self._input["index"])()
        fits: bool = memory.dtype == np.float32 and memory.shape == batch.shape
        if fits:
            scale(batch, memory)
        return fits

    def _run(self, batch: Array) -> Array:
        if len(batch) == 0:
            return np.zeros((0, *self._outputs[self.output]["shape"][1:]), np.float32)
        if len(batch) > 1 and self._resizable is None:
            self._resizable = self._try_resize(batch[:2])
        if len(batch) > 1 and not self._resizable:
            return np.concatenate([self._invoke(image[np.newaxis]) for image in batch])
        return self._invoke(batch)

    def _try_resize(self, pair: Array) -> bool:
        """Return whether two images at once give what each gives alone."""
        alone = np.concatenate([self._invoke(pair[:1]), self._invoke(pair[1:])])
        try:
            together = self._invoke(pair)
        except (ValueError, RuntimeError):
            return False
        return together.shape == alone.shape and bool(
            np.allclose(together, alone, rtol=1e-3, atol=1e-4)
        )

    def _invoke(self, batch: Array) -> Array:
        interpreter, index = self._interpreter, self._input["index"]
        if self._fed != batch.shape and self._may_take(batch.shape):
            self._fed = ()  # unknown until the resize went well
            with quiet_stderr():
                interpreter.resize_tensor_input(index, list(batch.shape), strict=False)
                interpreter.allocate_tensors()
            self._fed = batch.shape
        interpreter.set_tensor(index, batch)
        return self._output_of_run()

    def _may_take(self, shape: tuple[int, ...]) -> bool:
        """Return whether a shape differs from the file's in its batch and its free sizes alone."""
        sizes = self.input_shape
        return len(shape) == len(sizes) and all(
            own in (None, given) for own, given in zip(sizes[1:], shape[1:], strict=True)
        )

    def _output_of_run(self) -> Array:
        self._interpreter.invoke()
        output = self._outputs[self.output]
        values = self._interpreter.get_tensor(output["index"])
        scale, zero = output["quantization"]
        if values.dtype.kind in "iu" and scale:
            values = (values.astype(np.float32) - zero) * np.float32(scale)
        return np.asarray(values)

    def _to_input(self, batch: Array) -> Array:
        wanted = np.dtype(self._input["dtype"])
        if batch.dtype == wanted:
            return batch
        if wanted.kind not in "iu":
            return batch.astype(wanted)
        scale, zero = self._input["quantization"]
        values = batch / scale + zero if scale else batch
        limits = np.iinfo(wanted)
        return np.clip(np.rint(values), limits.min, limits.max).astype(wanted)


def litert_content(source: Path | str | bytes, trust: bool = False) -> bytes:
    """Return the content of a .tflite file; a file is checked first.

    Raises:
        GraphError: it cannot be read, or LiteRT may not survive it.
    """
    if isinstance(source, bytes):
        return source
    try:
        content = read_regular(Path(source), LARGEST_FILE)
    except OSError as error:
        raise GraphError(f"cannot read {source}: {error.strerror or error}") from error
    if not trust:
        # A damaged file would end this process, not raise.
        check_litert(content, str(source))
    return content


def _check_mapped(path: Path) -> None:
    """Check a .tflite file through a memory map; errors are those of `litert_content`."""
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            check_litert(content, str(path))
    except (OSError, ValueError) as error:
        raise GraphError(f"cannot read {path}: {error}") from error


def _check_sizes(interpreter: Any, where: str) -> None:
    """Refuse a model with a tensor that is larger than any network's.

    Its sizes are known by now, and memory is asked for, but only running would take it.
    """
    for details in interpreter.get_tensor_details():
        shape = [int(size) for size in details["shape"]]
        if math.prod(shape) * np.dtype(details["dtype"]).itemsize > LARGEST_TENSOR:
            raise GraphError(
                f"{where} was not run: it computes a tensor of the shape {shape}, which would take "
                "more than 1 GB; add --trust if you trust its maker"
            )


def _free_sizes(details: Any) -> tuple[int | None, ...]:
    signature = details.get("shape_signature")
    sizes = details["shape"] if signature is None or not len(signature) else signature
    return tuple(None if size < 0 else int(size) for size in sizes)
