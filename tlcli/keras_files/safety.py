"""What a Keras file may ask Keras to make: layers, their parts, and arithmetic on tensors.

A configuration names classes and functions, and Keras imports and calls them. Only parts of
networks are let through; everything else is refused by name before Keras is imported.
"""

from __future__ import annotations

import zipfile
from typing import Any

from tlcli.errors import GraphError
from tlcli.keras_files.config import KerasFile, inner_config, serialised_objects
from tlcli.keras_files.weights import check_weights
from tlcli.runtime.watchdog import first_line

# Modules of Keras that hold parts of networks. What else is in Keras fetches files, writes them
# or sets things for the whole process.
_PARTS = frozenset(
    """
    layers models activations initializers regularizers constraints optimizers losses
    metrics dtype_policies quantizers
    """.split()  # noqa: SIM905
)
# Keras 2 files models under keras.engine or keras.src.engine, next to functions that act.
_ENGINE = "engine"
_MODELS = frozenset({"Functional", "Model", "Sequential"})
# Arithmetic as a layer: keras.src.ops.numpy.TrueDivide for x / 127.5. Those of "core" that take
# functions are missing here.
_OPERATION_MODULES = frozenset({"numpy", "nn", "math", "image", "linalg", "core"})
_CALLING_OPERATIONS = frozenset(
    """
    Map Scan AssociativeScan WhileLoop ForiLoop Cond Switch VectorizedMap Vectorize JVP
    CustomGradient
    """.split()  # noqa: SIM905
)
# "builtins" is where Keras files functions and dtypes by name; its classes are refused.
_BUILTINS = ("function", "__tuple__", "slice")
# Values that configurations spell as objects.
_VALUES = frozenset(
    """
    __keras_tensor__ __tensor__ __numpy__ __bytes__ __ellipsis__ __slice__ __tuple__ TensorShape
    """.split()  # noqa: SIM905
)
_ARRAYS = ("__tensor__", "__numpy__")
# Layers that hold Python code, name a function to be called, or load other files.
_ACTING = frozenset(
    """
    Lambda __lambda__ function_lambda ClassMethod InstanceMethod InstanceProperty
    TensorFlowOpLayer TFSMLayer TorchModuleWrapper JaxLayer FlaxLayer StringLookup
    IntegerLookup IndexLookup TextVectorization
    """.split()  # noqa: SIM905
)
# How Keras 2 saved arithmetic on tensors: layers that name a function of TensorFlow.
_FUNCTION_LAYERS = frozenset({"TFOpLambda", "SlicingOpLambda"})
_FUNCTIONS = frozenset(
    """
    __operators__.getitem __operators__.add cast clip_by_value concat expand_dims
    identity ones_like pad reshape reverse shape slice split squeeze stack stop_gradient tile
    transpose unstack where zeros_like compat.v1.shape compat.v1.transpose
    math.abs math.add math.divide math.exp math.l2_normalize math.log math.maximum math.minimum
    math.multiply math.negative math.pow math.reciprocal math.reduce_max math.reduce_mean
    math.reduce_min math.reduce_std math.reduce_sum math.reduce_variance math.rsqrt math.sigmoid
    math.softplus math.sqrt math.square math.subtract math.tanh math.truediv
    linalg.l2_normalize linalg.matmul nn.avg_pool nn.bias_add nn.conv2d nn.convolution
    nn.depth_to_space nn.depthwise_conv2d nn.elu nn.gelu nn.l2_normalize nn.leaky_relu
    nn.log_softmax nn.max_pool nn.moments nn.relu nn.relu6 nn.selu nn.sigmoid nn.silu nn.softmax
    nn.space_to_depth nn.swish image.grayscale_to_rgb image.per_image_standardization
    image.resize image.rgb_to_grayscale
    """.split()  # noqa: SIM905
)
_ARRAY_TYPES = ("float", "bfloat", "int", "uint", "bool")
# Where Keras 2 defines the parts of networks. The other classes that it can load call functions.
_OLD_MODULES = (
    "layers",
    "initializers",
    "regularizers",
    "constraints",
    "activations",
    "mixed_precision",
)


def check_keras_file(file: KerasFile) -> None:
    """Refuse a file that asks for anything but a network, or whose weights are elsewhere.

    Raises:
        GraphError: names the layer, the class or the weight.
    """
    check_config(file.config, file.what)
    try:
        check_weights(file.path, file.is_zip, file.what)
    except (
        *(OSError, ValueError, KeyError, TypeError, RuntimeError, OverflowError, EOFError),
        *(zipfile.BadZipFile, NotImplementedError),
    ) as error:
        raise GraphError(
            f"{file.what} cannot be loaded: its weights are damaged ({first_line(error)}); save "
            "it again"
        ) from error


def check_config(config: dict[str, Any], what: str) -> None:
    """Refuse a configuration with objects that are no parts of a network.

    Raises:
        GraphError: names the first of them.
    """
    # The outermost object too: Keras makes whatever it names. The way it was compiled is not read.
    made = {key: value for key, value in config.items() if key != "compile_config"}
    for entry in serialised_objects(made):
        kind, module = entry["class_name"], entry.get("module")
        settings = inner_config(entry)
        called = str(settings.get("function", "a function"))
        calls = kind in _FUNCTION_LAYERS and called not in _FUNCTIONS
        if kind in _ACTING or calls:
            named = f" for {called}" if calls else ""
            raise GraphError(
                f"{what} has a {kind} layer{named}, which holds Python code or reads other files, "
                "so it was not loaded; save it without, or export it with model.export() and give "
                "the folder"
            )
        if not _is_part(module, kind):
            raise GraphError(
                f"{what} needs {module}.{kind}, which is no part of a network in Keras, so it was "
                "not loaded; export it with model.export() and give the folder"
            )
        if kind in _ARRAYS and not _is_numeric(settings.get("dtype")):
            raise GraphError(
                f"{what} has an array of the type {settings.get('dtype')!r}, which is none of "
                "numbers, so it was not loaded; save the model again"
            )


def check_old_config(config: dict[str, Any], keras: Any, what: str) -> None:
    """Let Keras 2 make layers and their parts only: it has no safe mode for HDF5 files.

    Args:
        config: that `check_config` let through.
        keras: the module ``tf_keras``.
        what: the model, for messages.

    Raises:
        GraphError: names the first other class.
    """
    for entry in serialised_objects({k: v for k, v in config.items() if k != "compile_config"}):
        kind = entry["class_name"]
        known = any(hasattr(getattr(keras, part), kind) for part in _OLD_MODULES)
        if not known and kind not in _MODELS | _VALUES | _FUNCTION_LAYERS and kind != "function":
            raise GraphError(
                f"{what} needs {kind}, which is no part of a network that Keras reads from HDF5, "
                "so it was not loaded; save it as NAME.keras with the Keras that made it, or "
                "export it with model.export() and give the folder"
            )


def _is_part(module: Any, kind: str) -> bool:
    """Return whether Keras may make ``kind``, by the module that holds it."""
    if module == "builtins":
        return kind in _BUILTINS
    if kind.startswith("__"):
        return kind in _VALUES
    if module is None:
        return True  # Keras knows it by its name, which is that of a part
    if not isinstance(module, str):
        return False
    root, *inner = (part for part in module.split(".") if part != "src")
    if root not in ("keras", "tf_keras"):
        return False
    if not inner:
        return True  # what keras itself exports: models, and dtype policies
    if inner[0] == _ENGINE:
        return kind in _MODELS or kind == "InputLayer"
    if inner[0] == "ops":
        return (
            len(inner) == 2
            and inner[1] in _OPERATION_MODULES
            and kind[:1].isupper()
            and kind not in _CALLING_OPERATIONS
        )
    return inner[0] in _PARTS


def _is_numeric(dtype: Any) -> bool:
    return dtype is None or (isinstance(dtype, str) and dtype.startswith(_ARRAY_TYPES))
