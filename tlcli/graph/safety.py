"""What a model file may do when it is run.

A graph is a program: it may read files, write them or call back into Python. Labelling
needs arithmetic on tensors and nothing else, so only operations known to be that are let
through; all others are refused by name before anything runs, unless the user trusts the file.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from tlcli.errors import GraphError
from tlcli.graph.limits import check_constants, check_messages
from tlcli.graph.messages import GraphDef, SavedModel
from tlcli.graph.nodes import DataType
from tlcli.system.regular_files import read_regular

MAXIMUM_BYTES = 2 << 30
"""Protobuf messages end here; TensorFlow writes none that are larger."""

_ARRAYS = """
    Const Placeholder PlaceholderV2 PlaceholderWithDefault Identity IdentityN Snapshot NoOp
    StopGradient PreventGradient CheckNumerics EnsureShape Reshape Squeeze ExpandDims Transpose
    ConjugateTranspose Pack Unpack Concat ConcatV2 ConcatOffset Split SplitV Slice StridedSlice
    Gather GatherV2 GatherNd Tile Fill Pad PadV2 MirrorPad Shape ShapeN Size Rank Range LinSpace
    ZerosLike OnesLike Empty OneHot Where Select SelectV2 Reverse ReverseV2 ReverseSequence
    ScatterNd TensorScatterUpdate TensorScatterAdd BroadcastTo BroadcastArgs SpaceToBatch
    SpaceToBatchND BatchToSpace BatchToSpaceND SpaceToDepth DepthToSpace ExtractImagePatches
    InvertPermutation Unique UniqueV2 Cast Bitcast Roll Diag DiagPart MatrixDiag MatrixDiagV2
    MatrixDiagV3 MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3 MatrixSetDiag MatrixBandPart
    Cumsum Cumprod DynamicPartition DynamicStitch ParallelDynamicStitch BroadcastGradientArgs
    RandomUniform RandomStandardNormal TruncatedNormal
"""
# What Keras leaves of augmentation layers in a SavedModel: numbers computed from a seed.
_RANDOM = """
    StatelessRandomGetAlg StatelessRandomGetKeyCounter StatelessRandomGetKeyCounterAlg
    StatelessRandomNormal StatelessRandomNormalV2 StatelessRandomUniform StatelessRandomUniformV2
    StatelessRandomUniformInt StatelessRandomUniformIntV2 StatelessRandomUniformFullInt
    StatelessRandomUniformFullIntV2 StatelessTruncatedNormal StatelessTruncatedNormalV2
    StatelessMultinomial StatelessRandomBinomial StatelessShuffle
"""
_MATHEMATICS = """
    Add AddV2 AddN AccumulateNV2 Sub Mul Div RealDiv FloorDiv TruncateDiv DivNoNan FloorMod Mod
    TruncateMod Neg Abs Sign Exp Expm1 Log Log1p Sqrt Rsqrt Square SquaredDifference Pow Inv
    Reciprocal Maximum Minimum Round Rint Floor Ceil Sin Cos Tan Asin Acos Atan Atan2 Sinh Cosh
    Tanh Asinh Acosh Atanh Sigmoid Erf Erfc Erfinv Lgamma Digamma Less LessEqual Greater
    GreaterEqual Equal NotEqual ApproximateEqual LogicalAnd LogicalOr LogicalNot All Any Sum Mean
    Prod Max Min EuclideanNorm ArgMax ArgMin MatMul BatchMatMul BatchMatMulV2 BatchMatMulV3
    SparseMatMul Einsum ClipByValue Softplus Softsign IsFinite IsNan IsInf Xdivy Xlogy Xlog1py
    MulNoNan L2Loss Cross TopK TopKV2 InTopK InTopKV2 SegmentSum SegmentMean SegmentMax
    UnsortedSegmentSum UnsortedSegmentMax UnsortedSegmentMin Bincount LeftShift RightShift
    BitwiseAnd BitwiseOr BitwiseXor Invert
"""
_NETWORKS = """
    Conv2D Conv3D Conv DepthwiseConv2dNative Conv2DBackpropInput Conv3DBackpropInputV2
    DepthwiseConv2dNativeBackpropInput BiasAdd BiasAddV1 Relu Relu6 LeakyRelu Elu Selu Softmax
    LogSoftmax AvgPool AvgPool3D MaxPool MaxPoolV2 MaxPool3D MaxPoolWithArgmax FusedBatchNorm
    FusedBatchNormV2 FusedBatchNormV3 BatchNormWithGlobalNormalization LRN Dilation2D
    FusedPadConv2D FusedResizeAndPadConv2D XlaSharding
"""
_QUANTISED = """
    Dequantize Quantize QuantizeV2 QuantizeDownAndShrinkRange Requantize RequantizationRange
    RequantizePerChannel RequantizationRangePerChannel QuantizedConv2D QuantizedDepthwiseConv2D
    QuantizedMatMul QuantizedRelu QuantizedRelu6 QuantizedReluX QuantizedMaxPool QuantizedAvgPool
    QuantizedBiasAdd QuantizedConcat QuantizedConcatV2 QuantizedReshape QuantizedAdd QuantizedMul
    QuantizedInstanceNorm QuantizedBatchNormWithGlobalNormalization QuantizedResizeBilinear
    FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel
    QuantizeAndDequantize QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4
"""
_IMAGES = """
    DecodeJpeg DecodeAndCropJpeg DecodePng DecodeGif DecodeBmp DecodeImage DecodeBase64 DecodeRaw
    ExtractJpegShape ResizeBilinear ResizeNearestNeighbor ResizeBicubic ResizeArea CropAndResize
    ScaleAndTranslate AdjustContrast AdjustContrastv2 AdjustHue AdjustSaturation RGBToHSV HSVToRGB
    ImageProjectiveTransformV2 ImageProjectiveTransformV3 NonMaxSuppression NonMaxSuppressionV2
    NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5
"""
# The bodies that these call are functions of the graph's own library, checked like the rest.
# Assert stops the run and does nothing else.
_CONTROL = """
    Switch Merge Enter Exit NextIteration LoopCond ControlTrigger If StatelessIf While
    StatelessWhile Case StatelessCase PartitionedCall StatefulPartitionedCall Assert
    _Arg _Retval _ListToArray _ArrayToList
    TensorListReserve TensorListSetItem TensorListGetItem TensorListStack TensorListFromTensor
    TensorListElementShape TensorListLength TensorListPushBack TensorListPopBack EmptyTensorList
    TensorArrayV3 TensorArrayReadV3 TensorArrayWriteV3 TensorArrayScatterV3 TensorArrayGatherV3
    TensorArraySizeV3 TensorArrayCloseV3 TensorArrayConcatV3 TensorArraySplitV3
"""
# Label tables inside a graph, filled from constants (never from a file).
_TABLES = """
    HashTable HashTableV2 LookupTableFind LookupTableFindV2 LookupTableImportV2
    InitializeTable InitializeTableV2 LookupTableSizeV2 AsString StringJoin Substr StringLength
"""
INFERENCE_OPERATIONS = frozenset(
    (
        _ARRAYS + _RANDOM + _MATHEMATICS + _NETWORKS + _QUANTISED + _IMAGES + _CONTROL + _TABLES
    ).split()
)
"""Operations that compute on tensors and touch nothing else."""

_VARIABLES = frozenset(
    ["Variable", "VariableV2", "VarHandleOp", "ReadVariableOp", "ResourceGather"]
)
# A SavedModel keeps its weights in variables, which its own restore operation fills.
_LOADING = """
    Assign AssignVariableOp VarIsInitializedOp IsVariableInitialized Restore RestoreSlice
    RestoreV2 DisableCopyOnRead ShardedFilename
"""
_WRITING = frozenset(["Assign", "AssignVariableOp"])
_COUNTERS = frozenset([DataType.INT32, DataType.INT64, DataType.UINT32, DataType.UINT64])
# The signature under which a SavedModel says how it is initialised.
_INITIALISING = "__saved_model_init_op"
_READING = frozenset(["Restore", "RestoreSlice", "RestoreV2"])
LOADING_OPERATIONS = _VARIABLES | frozenset(_LOADING.split())
"""Operations that read a SavedModel's own variables into memory."""


def read_graph(path: Path) -> Any:
    """Return the ``GraphDef`` of a frozen graph file.

    Raises:
        GraphError: absent, unreadable, larger than 2 GB, or no frozen graph.
    """
    graph = GraphDef()
    _parse(graph, _read(path), path, "a frozen graph")
    if not graph.node or any(not node.op for node in graph.node):
        if path.name == "saved_model.pb":
            raise GraphError(f"{path} is part of a SavedModel; give its folder, {path.parent}")
        raise GraphError(_not_a(path, "a frozen graph", "it holds no operations"))
    return graph


def read_saved_model(folder: Path) -> Any:
    """Return the ``SavedModel`` message of a SavedModel folder.

    Raises:
        GraphError: absent, unreadable, larger than 2 GB, or no SavedModel.
    """
    path = Path(folder) / "saved_model.pb"
    if not path.is_file():
        raise GraphError(
            f"{folder} is not a SavedModel: it holds no saved_model.pb; give the folder that does"
        )
    model = SavedModel()
    _parse(model, _read(path), path, "a SavedModel")
    # TensorFlow would wait for a pipe for ever.
    for found in (Path(folder) / "variables").glob("*"):
        if not (found.is_file() or found.is_dir()):
            raise GraphError(f"cannot read {found}: not a regular file; give another SavedModel")
    if not model.meta_graphs:
        raise GraphError(_not_a(path, "a SavedModel", "it holds no graph"))
    return model


def _read(path: Path) -> bytes:
    try:
        return read_regular(path, MAXIMUM_BYTES)
    except FileNotFoundError:
        raise GraphError(f"there is no graph at {path}; give its path with --graph") from None
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise GraphError(f"{path} is too large; a graph file holds 2 GB at most") from None
        raise GraphError(f"cannot read {path}: {error.strerror or error}") from error


def _parse(message: Any, data: bytes, path: Path, kind: str) -> None:
    if not data:
        raise GraphError(_not_a(path, kind, "it is empty"))
    check_messages(data, type(message), str(path))
    try:
        message.ParseFromString(data)
    except (DecodeError, RecursionError, ValueError):
        raise GraphError(_not_a(path, kind, "its content is of another kind or damaged")) from None


def _not_a(path: Path, kind: str, reason: str) -> str:
    return f"{path} is not {kind}: {reason}; give a .pb, a .tflite or a SavedModel folder"


def check_operations(graph: Any, name: str = "the graph") -> None:
    """Refuse a frozen graph with operations that inference does not need.

    Every node is checked, in the graph and in each function of its library, whether or
    not it would run.

    Args:
        graph: a ``GraphDef`` message.
        name: what the error calls it.

    Raises:
        GraphError: names the first operation outside the allow-list and ``--trust``.
    """
    functions = {function.signature.name for function in graph.library.function}
    for node in every_node(graph):
        if node.op in _VARIABLES:
            raise GraphError(
                f"{name} keeps its weights in variables ({node.name!r} is a {node.op}), so it is "
                "not frozen; freeze it first, or give the folder of its SavedModel"
            )
        _check(node, INFERENCE_OPERATIONS, functions, name)
    check_constants(every_node(graph), name)


def check_saved_model(folder: Path) -> None:
    """Refuse a SavedModel with operations that loading and inference do not need.

    Everything that may run is checked: what the signatures' outputs, the restore operation and
    the initialisers depend on, with every node of each function they reach. The operations
    that only save (each SavedModel has them) never run and are left out.

    Raises:
        GraphError: no SavedModel, or names the first operation outside the allow-list.
    """
    name = f"the SavedModel {folder}"
    _check_links(Path(folder))
    allowed = INFERENCE_OPERATIONS | LOADING_OPERATIONS
    for meta_graph in read_saved_model(folder).meta_graphs:
        functions = {
            function.signature.name: function for function in meta_graph.graph_def.library.function
        }
        for node in _reachable(meta_graph, functions, _roots(meta_graph)):
            _check(node, allowed, functions.keys(), name)
        # A model that changes its own weights answers otherwise from one batch to the next.
        for node in _reachable(meta_graph, functions, _signatures(meta_graph)):
            if node.op in _WRITING and not _counts(node):
                _check(node, allowed - _WRITING, (), name)
        _check_restoring(meta_graph, functions, name)
        check_constants(every_node(meta_graph.graph_def), name)


def _check_links(folder: Path) -> None:
    """Refuse links by which other files would be read as the model's variables."""
    inside = folder.resolve()
    variables = folder / "variables"
    for path in (variables, *variables.rglob("*")):
        if not path.resolve().is_relative_to(inside):
            raise GraphError(
                f"{path} is a link that leads out of the SavedModel, so it was not loaded; put "
                "the file itself there"
            )


def _counts(node: Any) -> bool:
    """Return whether a node writes whole numbers: those that augmentation layers count.

    Keras leaves these layers in a SavedModel; weights are no whole numbers.
    """
    return node.op == "AssignVariableOp" and node.attr["dtype"].type in _COUNTERS


def _check(node: Any, allowed: frozenset[str], functions: Iterable[str], name: str) -> None:
    if node.op in allowed or node.op in functions:
        return
    raise GraphError(
        f"{name} was not run: its node {node.name!r} is the operation {node.op}, which labelling "
        "images does not need and which may touch more than images; add --trust if you trust "
        "its maker"
    )


def every_node(graph: Any) -> Iterator[Any]:
    """Yield the nodes of a ``GraphDef`` and of the functions in its library."""
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def _check_restoring(meta_graph: Any, functions: dict[str, Any], name: str) -> None:
    """Let the restore operation alone read files, and only that which TensorFlow names to it."""
    saver = meta_graph.saver_def
    own = (saver.restore_op_name, saver.filename_tensor_name)
    others = (root for root in _roots(meta_graph) if root not in own)
    for node in _reachable(meta_graph, functions, others):
        if node.op in _READING:
            raise _reads(node, name)
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    restoring = list(_needed(nodes, [saver.restore_op_name]))
    _Restoring(functions, name).check(restoring, {_tensor(saver.filename_tensor_name)})


class _Restoring:
    """What restores variables: the name of the file has to come from the caller, unchanged.

    Args:
        functions: of the graph's library, by name.
        name: what errors call the model.
    """

    def __init__(self, functions: dict[str, Any], name: str) -> None:
        self._functions, self._name = functions, name
        self._checked: set[tuple[str, tuple[int, ...]]] = set()

    def check(self, nodes: Sequence[Any], named: set[tuple[str, str]]) -> None:
        """Check one body; ``named`` are its tensors that hold the name of the caller's file."""
        found = -1
        while len(named) != found:  # nodes are in any order
            found = len(named)
            for node in nodes:
                if node.op == "Identity" and node.input and _tensor(node.input[0]) in named:
                    named.add((node.name, "0"))
        for node in nodes:
            sources = [_tensor(source) for source in node.input if not source.startswith("^")]
            if node.op in _READING and (not sources or sources[0] not in named):
                raise _reads(node, self._name)
            for called in _called(node):
                if called in self._functions:
                    # Branches and loops number their arguments in another way: none may read.
                    plain = node.op in ("PartitionedCall", "StatefulPartitionedCall", called)
                    given = [at for at, source in enumerate(sources) if source in named]
                    self._enter(called, tuple(given) if plain else ())

    def _enter(self, called: str, given: tuple[int, ...]) -> None:
        if (called, given) in self._checked:
            return
        self._checked.add((called, given))
        function = self._functions[called]
        arguments = function.signature.input_arg
        if any(each.number_attr or each.type_list_attr for each in arguments):
            given = ()
        named = {(arguments[at].name, "0") for at in given if at < len(arguments)}
        self.check(list(function.node_def), named)


def _tensor(source: str) -> tuple[str, str]:
    """Return node and output number: "a", "a:0" and, within functions, "a:output:0" are one."""
    node, *rest = source.split(":")
    return node, rest[-1] if rest else "0"


def _reads(node: Any, name: str) -> GraphError:
    return GraphError(
        f"{name} was not run: its node {node.name!r} ({node.op}) reads a file other than the "
        "model's own variables; add --trust if you trust its maker"
    )


def _signatures(meta_graph: Any) -> Iterator[str]:
    """Yield what is computed for images."""
    for key, signature in sorted(meta_graph.signature_def.items()):
        if key != _INITIALISING:
            for tensor in signature.outputs.values():
                yield tensor.name


def _roots(meta_graph: Any) -> Iterator[str]:
    for signature in meta_graph.signature_def.values():
        for tensor in (*signature.inputs.values(), *signature.outputs.values()):
            yield tensor.name
    yield meta_graph.saver_def.restore_op_name
    yield meta_graph.saver_def.filename_tensor_name
    # Initialisers: names of nodes under keys that differ between generations.
    for key, collection in meta_graph.collection_def.items():
        if key.endswith(("init_op", "main_op", "initializer", "initializers")):
            yield from collection.node_list.value


def _reachable(meta_graph: Any, functions: dict[str, Any], roots: Iterable[str]) -> Iterator[Any]:
    called: list[str] = []
    for node in _needed({node.name: node for node in meta_graph.graph_def.node}, roots):
        yield node
        called.extend(_called(node))
    entered: set[str] = set()
    while called:
        name = called.pop()
        if name in entered or name not in functions:
            continue
        entered.add(name)
        for node in functions[name].node_def:
            yield node
            called.extend(_called(node))


def _needed(nodes: dict[str, Any], roots: Iterable[str]) -> Iterator[Any]:
    """Yield the nodes of a graph that some tensors depend on."""
    waiting = [_node_name(root) for root in roots]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in nodes:
            continue
        seen.add(name)
        yield nodes[name]
        waiting.extend(_node_name(source) for source in nodes[name].input)


def _node_name(tensor: str) -> str:
    return tensor.lstrip("^").split(":")[0]


def _called(node: Any) -> Iterator[str]:
    yield node.op  # a node may call a function by its type
    for value in node.attr.values():
        if value.WhichOneof("value") == "func":
            yield value.func.name
        for function in value.list.func:
            yield function.name
