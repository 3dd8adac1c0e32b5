"""A small graph for every operation that the LiteRT writer knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tlcli.graph.nodes import const, new_graph, node, placeholder

F = np.float32
IMAGE = [None, 9, 10, 3]


def random(*shape: int, seed: int = 1) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(F)


def graph(nodes: Sequence[Any], shape: Sequence[int | None] = IMAGE) -> Any:
    return new_graph([placeholder("x", F, shape), *nodes])


def window(op: str, source: str, weights: str | None, stride: int = 1, **attrs: Any) -> Any:
    settings = {"strides": [1, stride, stride, 1], "padding": "SAME", **attrs}
    inputs = [source] if weights is None else [source, weights]
    return node("window", op, inputs, T=F, data_format="NHWC", **settings)


def conv(stride: int = 1, **attrs: Any) -> list[Any]:
    return [const("w", random(3, 3, 3, 4)), window("Conv2D", "x", "w", stride, **attrs)]


def depthwise(stride: int = 1, **attrs: Any) -> list[Any]:
    weights = const("w", random(3, 3, 3, 2))
    return [weights, window("DepthwiseConv2dNative", "x", "w", stride, **attrs)]


def integers(name: str, values: Any) -> Any:
    return const(name, np.array(values, np.int32))


def unary(op: str, positive: bool = False, **attrs: Any) -> list[Any]:
    if not positive:
        return [node("out", op, ["x"], T=F, **attrs)]
    return [
        node("square", "Square", ["x"], T=F),
        const("one", F(0.1)),
        node("positive", "AddV2", ["square", "one"], T=F),
        node("out", op, ["positive"], T=F, **attrs),
    ]


def binary(op: str, value: Any, turned: bool = False) -> list[Any]:
    inputs = ["c", "x"] if turned else ["x", "c"]
    return [const("c", np.asarray(value, F)), node("out", op, inputs, T=F)]


def both(op: str) -> list[Any]:
    return [
        node("tanh", "Tanh", ["x"], T=F),
        node("sum", op, ["tanh", "x"], T=F),
        node("out", "Relu", ["sum"], T=F),
    ]


def reduced(op: str, axes: Any, keep: bool) -> list[Any]:
    return [integers("axes", axes), node("out", op, ["x", "axes"], T=F, keep_dims=keep)]


def reshaped(*sizes: int) -> list[Any]:
    return [integers("sizes", sizes), node("out", "Reshape", ["x", "sizes"], T=F)]


def flat() -> list[Any]:
    return [integers("sizes", [-1, 270]), node("flat", "Reshape", ["x", "sizes"], T=F)]


def dense(turned: bool = False) -> list[Any]:
    weights = random(5, 270) if turned else random(270, 5)
    return [
        *flat(),
        const("w", weights),
        node("product", "MatMul", ["flat", "w"], T=F, transpose_a=False, transpose_b=turned),
    ]


def padded(pads: Any, following: list[Any]) -> list[Any]:
    for each in following:
        for number, source in enumerate(each.input):
            if source == "x":
                each.input[number] = "pad"
    return [integers("pads", pads), node("pad", "Pad", ["x", "pads"], T=F), *following]


def sliced(
    begin: list[int], end: list[int], step: Sequence[int] = (1, 1, 1, 1), **masks: int
) -> list[Any]:
    bounds = {"begin": begin, "end": end, "step": step}
    masks = {"ellipsis_mask": 0, "new_axis_mask": 0, "shrink_axis_mask": 0, **masks}
    return [
        *(integers(name, values) for name, values in bounds.items()),
        node("out", "StridedSlice", ["x", *bounds], T=F, Index=np.int32, **masks),
    ]


AROUND = [[0, 0], [1, 1], [1, 1], [0, 0]]


def gelu(half: float = 0.5) -> list[Any]:
    return [
        const("root", F(np.sqrt(0.5))), const("half", F(half)),
        node("negative", "Neg", ["x"], T=F),
        node("scaled", "Mul", ["negative", "root"], T=F),
        node("error", "Erfc", ["scaled"], T=F),
        node("part", "Mul", ["half", "x"], T=F),
        node("out", "Mul", ["part", "error"], T=F),
    ]  # fmt: skip


CASES: dict[str, list[Any]] = {
    "conv same": conv(),
    "conv stride": conv(2),
    "conv valid": conv(2, padding="VALID"),
    "conv dilated": conv(dilations=[1, 2, 2, 1]),
    "conv explicit": conv(2, padding="EXPLICIT", explicit_paddings=[0, 0, 2, 1, 0, 3, 0, 0]),
    "conv explicit as same": conv(padding="EXPLICIT", explicit_paddings=[0, 0, 1, 1, 1, 1, 0, 0]),
    "conv bias": [*conv(), const("b", random(4)), node("out", "BiasAdd", ["window", "b"], T=F)],
    "conv bias of four dimensions": [
        *conv(), const("b", random(1, 1, 1, 4)), node("out", "Add", ["b", "window"], T=F),
    ],
    "conv bias of one number": [
        *conv(), const("b", F(0.5)), node("out", "AddV2", ["window", "b"], T=F),
    ],
    "conv and an image": [
        *conv(), const("b", random(9, 10, 4)), node("out", "AddV2", ["window", "b"], T=F),
    ],
    "conv bias relu6": [
        *conv(), const("b", random(4)), node("bias", "BiasAdd", ["window", "b"], T=F),
        node("out", "Relu6", ["bias"], T=F),
    ],
    "conv relu read twice": [
        *conv(), node("relu", "Relu", ["window"], T=F),
        node("out", "Sub", ["window", "relu"], T=F),
    ],
    "conv added to itself": [*conv(), node("out", "AddV2", ["window", "window"], T=F)],
    "depthwise": depthwise(),
    "depthwise stride": depthwise(2, padding="VALID"),
    "depthwise bias relu": [
        *depthwise(), const("b", random(6)), node("bias", "BiasAdd", ["window", "b"], T=F),
        node("out", "Relu", ["bias"], T=F),
    ],
    "pad": [integers("pads", [[0, 0], [1, 2], [3, 0], [0, 1]]),
            node("out", "Pad", ["x", "pads"], T=F)],
    "pad value": [integers("pads", AROUND), const("v", F(2.5)),
                  node("out", "PadV2", ["x", "pads", "v"], T=F)],
    "mirror pad": [integers("pads", AROUND),
                   node("out", "MirrorPad", ["x", "pads"], T=F, mode="REFLECT")],
    "symmetric pad": [integers("pads", AROUND),
                      node("out", "MirrorPad", ["x", "pads"], T=F, mode="SYMMETRIC")],
    "pad as same": padded(AROUND, conv(padding="VALID")),
    "pad as same with a stride": padded(
        [[0, 0], [1, 1], [0, 1], [0, 0]], conv(2, padding="VALID")
    ),
    "pad unlike same": padded(AROUND, conv(2, padding="VALID")),
    "pad the channels": padded(
        [[0, 0], [1, 1], [1, 1], [0, 1]],
        [const("w", random(3, 3, 4, 4)), window("Conv2D", "x", "w", padding="VALID")],
    ),
    "pad before a pool": padded(
        AROUND, [window("MaxPool", "x", None, 2, ksize=[1, 3, 3, 1], padding="VALID")]
    ),
    "max pool": [window("MaxPool", "x", None, 2, ksize=[1, 3, 2, 1])],
    "average pool": [window("AvgPool", "x", None, 2, ksize=[1, 3, 2, 1])],
    "average pool valid": [window("AvgPool", "x", None, ksize=[1, 9, 10, 1], padding="VALID")],
    "average pool relu": [
        window("AvgPool", "x", None, ksize=[1, 2, 2, 1]), node("out", "Relu", ["window"], T=F),
    ],
    "dense": dense(),
    "dense turned": dense(True),
    "dense bias relu": [
        *dense(), const("b", random(5)), node("sum", "Add", ["product", "b"], T=F),
        node("out", "Relu", ["sum"], T=F),
    ],
    "dense softmax": [
        *dense(), const("b", random(5)), node("sum", "AddV2", ["product", "b"], T=F),
        node("out", "Softmax", ["sum"], T=F),
    ],
    "matrices": [
        const("w", random(1, 1, 3, 5)), node("out", "BatchMatMulV2", ["x", "w"], T=F),
    ],
    "matrices turned": [
        const("w", random(1, 1, 5, 3)), node("out", "BatchMatMulV2", ["x", "w"], T=F, adj_y=True),
    ],
    "matrices of the image": [node("out", "BatchMatMul", ["x", "x"], T=F, adj_x=True)],
    "gelu": gelu(),
    "softmax over channels": unary("Softmax"),
    "relu": unary("Relu"),
    "relu6": unary("Relu6"),
    "elu": unary("Elu"),
    "sigmoid": unary("Sigmoid"),
    "tanh": unary("Tanh"),
    "exp": unary("Exp"),
    "square": unary("Square"),
    "abs": unary("Abs"),
    "neg": unary("Neg"),
    "floor": unary("Floor"),
    "log softmax": [*flat(), node("out", "LogSoftmax", ["flat"], T=F)],
    "leaky relu": unary("LeakyRelu", alpha=0.3),
    "rsqrt": unary("Rsqrt", True),
    "sqrt": unary("Sqrt", True),
    "log": unary("Log", True),
    "lrn": unary("LRN", depth_radius=1, bias=1.0, alpha=0.5, beta=0.75),
    **{
        f"{op} {name}": binary(op, value)
        for op in ("Add", "AddV2", "Sub", "Mul", "RealDiv", "Div", "Maximum", "Minimum",
                   "SquaredDifference")
        for name, value in (("number", 0.7), ("channels", random(3)))
    },
    "from a constant": binary("Sub", random(3), turned=True),
    "bias alone": binary("BiasAdd", random(3)),
    "pow": [node("square", "Square", ["x"], T=F), const("c", F(1.5)),
            node("out", "Pow", ["square", "c"], T=F)],
    **{f"{op} of two": both(op) for op in ("AddV2", "Mul", "Sub", "Maximum", "Minimum")},
    **{
        f"{op} {'keeping' if keep else 'dropping'}": reduced(op, [1, 2], keep)
        for op in ("Mean", "Sum", "Max", "Min")
        for keep in (False, True)
    },
    "mean of negative axes": reduced("Mean", [-2, -3], False),
    "mean of one axis": reduced("Mean", -1, True),
    "reshape": reshaped(-1, 30, 9),
    "reshape with a free size elsewhere": reshaped(-1, 9, 30),
    "squeeze": [*reduced("Mean", [1, 2], True),
                node("thin", "Squeeze", ["out"], T=F, squeeze_dims=[1, 2])],
    "squeeze and widen": [
        *reduced("Mean", [1, 2], False), integers("axis", 1),
        node("wide", "ExpandDims", ["out", "axis"], T=F),
    ],
    "concat": [node("tanh", "Tanh", ["x"], T=F), integers("axis", -1), const("c", random(1)),
               node("out", "ConcatV2", ["x", "tanh", "axis"], T=F, N=2)],
    "old concat": [node("tanh", "Tanh", ["x"], T=F), integers("axis", 2),
                   node("out", "Concat", ["axis", "x", "tanh"], T=F, N=2)],
    "transpose": [integers("order", [0, 3, 1, 2]), node("out", "Transpose", ["x", "order"], T=F)],
    "slice": sliced([0, 1, 2, 0], [0, 8, 0, 2], begin_mask=1, end_mask=5),
    "slice of every second": sliced([0, 0, 1, 0], [0, 9, 10, 3], [1, 2, 2, 1], begin_mask=1,
                                    end_mask=1),
    "resize": [integers("size", [20, 7]),
               node("out", "ResizeBilinear", ["x", "size"], T=F, align_corners=False)],
    "resize corners": [integers("size", [20, 7]),
                       node("out", "ResizeBilinear", ["x", "size"], T=F, align_corners=True)],
    "resize centres": [integers("size", [20, 7]),
                       node("out", "ResizeBilinear", ["x", "size"], T=F, half_pixel_centers=True)],
    "identity": [node("same", "Identity", ["x"], T=F), node("tanh", "Tanh", ["same"], T=F),
                 node("out", "Identity", ["tanh"], T=F)],
    "swish": [node("sigmoid", "Sigmoid", ["x"], T=F), node("out", "Mul", ["x", "sigmoid"], T=F)],
}  # fmt: skip
