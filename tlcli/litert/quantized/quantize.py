"""Float32 LiteRT files with integers of 8 bits, or with weights of 16 bits, by ai-edge-quantizer.

It needs no TensorFlow, and the scores of what it makes are nearer to the float32 network's than
those of TensorFlow's own converter (docs/performance.md has the figures).
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterable
from typing import Any

from tlcli.arrays import Array
from tlcli.errors import GraphError, OutputError
from tlcli.litert.quantized.calibration import Extremes, ranges
from tlcli.litert.quantized.network import FLOAT32, Network, Operator, read_network
from tlcli.litert.quantized.rewriting import constants_inside, prepared
from tlcli.runtime.native_stderr import quietly
from tlcli.runtime.watchdog import first_line

MISSING = "a LiteRT file of 8 or 16 bits needs ai-edge-quantizer: pip install 'tlcli[int8]'"

# What ai-edge-quantizer casts to 16 bits.
_CAST = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
# Its names, where they are not LiteRT's.
_OTHER_NAMES = {"TRANSPOSE_CONV": "CONV_2D_TRANSPOSE"}


def quantize(
    content: bytes,
    batches: Iterable[Array],
    whole: bool = False,
    float_start: bool = False,
    extremes: Extremes = (0, 1),
) -> bytes:
    """Return a LiteRT file whose network computes with integers of 8 bits.

    Weights have one scale per channel, activations one per tensor. Input and output stay float32,
    so that clients need no change. The vectors behind the last averages of maps, the final layer
    and the scores stay float32 too: they are a thousandth of the work, and their values (signed
    square roots, scaled features, scores near 0 and 1) fit 256 steps badly. The same file and
    images give the same bytes.

    Args:
        content: a float32 LiteRT file with one input; signature and metadata stay, a zip at its
            end is lost.
        batches: images to calibrate with, float32 [n, height, width, 3] in the range that the
            network takes; some 100.
        whole: 8 bits for the rest, too, and a fixed batch of one image, as accelerators without
            floating point need; scores are then multiples of 1/256.
        float_start: leave the first large maps with few channels in float32, which is faster on
            processors of servers and more exact (`Network.behind_narrow_maps`).
        extremes: a black and a white pixel in the range that the network takes.

    Raises:
        OutputError: ai-edge-quantizer is not installed, or cannot do it.
        GraphError: the file is damaged, is no float32 network or cannot be run on an image.
    """
    quantizer = _import_quantizer()
    network = _float_network(content)
    if whole:
        operators = list(network.operators)
    else:
        operators = network.behind_narrow_maps() if float_start else network.before_pooling()
    if not network.before_pooling():
        raise GraphError(
            "this LiteRT file has no convolutions, which are what 8 bits make faster; keep float32"
        )
    found = ranges(content, network, batches, extremes)

    def configure(job: Any) -> None:
        for operator in operators:
            _configure(job, network, operator)

    return _made(quantizer, prepared(content, fixed_batch=whole), configure, found)


def half(content: bytes) -> bytes:
    """Return a LiteRT file with weights of 16 bits, half as large; it computes in float32.

    Args:
        content: as for `quantize`.

    Raises:
        OutputError: ai-edge-quantizer is not installed, or cannot do it.
        GraphError: the file is damaged or is no float32 network.
    """
    quantizer = _import_quantizer()
    _float_network(content)
    from ai_edge_quantizer import qtyping

    weights = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
    config = qtyping.OpQuantizationConfig(
        weight_tensor_config=weights,
        compute_precision=qtyping.ComputePrecision.FLOAT,
        explicit_dequantize=True,
    )

    def configure(job: Any) -> None:
        for name in _CAST:
            kind = qtyping.TFLOperationName[name]
            job.update_quantization_recipe(".*", kind, config, "float_casting")

    return _made(quantizer, content, configure, None)


def check_installed() -> None:
    """Raise `OutputError` where ai-edge-quantizer is not installed."""
    _import_quantizer()


def _import_quantizer() -> Any:
    try:
        with quietly():
            from ai_edge_quantizer import quantizer
    except ImportError as error:
        raise OutputError(MISSING) from error
    return quantizer


def _float_network(content: bytes) -> Network:
    network = read_network(content)
    if len(network.inputs) != 1:
        raise GraphError(
            f"this LiteRT file has {len(network.inputs)} inputs; exactly one is needed to "
            "quantise it"
        )
    ends = (*network.inputs, *network.outputs)
    quantised = any(each.name in ("QUANTIZE", "DEQUANTIZE") for each in network.operators)
    if quantised or any(network.tensors[index].kind != FLOAT32 for index in ends):
        raise GraphError("this LiteRT file is no float32 network; quantise the float32 one")
    return network


def _configure(job: Any, network: Network, operator: Operator) -> None:
    """Ask for 8 bits in an operator; one that ai-edge-quantizer does not know stays float32."""
    from ai_edge_quantizer import qtyping

    name = _OTHER_NAMES.get(operator.name, operator.name)
    if name not in qtyping.TFLOperationName.__members__:
        return
    # The scope of an operator is the names of its outputs, each followed by a semicolon.
    scope = ";".join(network.tensors[index].name for index in operator.outputs)
    try:
        job.add_static_config(f"^{re.escape(scope)};?$", qtyping.TFLOperationName[name], 8, 8)
    except ValueError:  # known, but not with these types
        return


def _made(quantizer: Any, content: bytes, configure: Any, found: Any) -> bytes:
    try:
        # It draws progress bars.
        with quietly(), contextlib.redirect_stderr(io.StringIO()):
            job = quantizer.Quantizer(bytearray(content))
            configure(job)
            result = job.quantize(found, enable_progress_bar=False, enable_progress_report=False)
            return constants_inside(bytes(result.quantized_model))
    except Exception as error:  # the package has no errors of its own
        raise OutputError(
            f"ai-edge-quantizer cannot quantise this network: {first_line(error)}; keep float32, "
            "or choose another backbone"
        ) from error
