"""The operators of LiteRT by their numbers in its schema: what is taken, and how, and what is not.

Source: the schema of LiteRT files (schema.fbs), `BuiltinOperator`.
"""

from __future__ import annotations

from dataclasses import dataclass

# No stack, no matter how a network joins its branches, has more.
_MANY = 1024


@dataclass(frozen=True)
class Rule:
    """How many tensors an operator takes and gives, and how they must be.

    Attributes:
        inputs: fewest and most.
        outputs: fewest and most.
        optional: inputs that may be absent (-1).
        constant: inputs that must be constants: the size of the result depends on them.
    """

    inputs: tuple[int, int]
    outputs: tuple[int, int] = (1, 1)
    optional: tuple[int, ...] = ()
    constant: tuple[int, ...] = ()


_ONE = Rule((1, 1))
_TWO = Rule((2, 2))
_THREE = Rule((3, 3))
_SIZED = Rule((2, 2), constant=(1,))
_BIASED = Rule((3, 3), optional=(2,))

RULES: dict[int, tuple[str, Rule]] = {
    0: ("ADD", _TWO),
    1: ("AVERAGE_POOL_2D", _ONE),
    2: ("CONCATENATION", Rule((1, _MANY))),
    3: ("CONV_2D", _BIASED),
    4: ("DEPTHWISE_CONV_2D", _BIASED),
    5: ("DEPTH_TO_SPACE", _ONE),
    6: ("DEQUANTIZE", _ONE),
    8: ("FLOOR", _ONE),
    9: ("FULLY_CONNECTED", Rule((2, 3), optional=(2,))),
    11: ("L2_NORMALIZATION", _ONE),
    12: ("L2_POOL_2D", _ONE),
    13: ("LOCAL_RESPONSE_NORMALIZATION", _ONE),
    14: ("LOGISTIC", _ONE),
    17: ("MAX_POOL_2D", _ONE),
    18: ("MUL", _TWO),
    19: ("RELU", _ONE),
    20: ("RELU_N1_TO_1", _ONE),
    21: ("RELU6", _ONE),
    22: ("RESHAPE", Rule((1, 2))),
    23: ("RESIZE_BILINEAR", _SIZED),
    25: ("SOFTMAX", _ONE),
    26: ("SPACE_TO_DEPTH", _ONE),
    28: ("TANH", _ONE),
    34: ("PAD", _SIZED),
    36: ("GATHER", _TWO),
    37: ("BATCH_TO_SPACE_ND", Rule((3, 3), constant=(1, 2))),
    38: ("SPACE_TO_BATCH_ND", Rule((3, 3), constant=(1, 2))),
    39: ("TRANSPOSE", _SIZED),
    40: ("MEAN", _SIZED),
    41: ("SUB", _TWO),
    42: ("DIV", _TWO),
    43: ("SQUEEZE", _ONE),
    45: ("STRIDED_SLICE", Rule((4, 4))),
    47: ("EXP", _ONE),
    48: ("TOPK_V2", Rule((2, 2), (2, 2), constant=(1,))),
    49: ("SPLIT", Rule((2, 2), (1, _MANY), constant=(0,))),
    50: ("LOG_SOFTMAX", _ONE),
    53: ("CAST", _ONE),
    54: ("PRELU", _TWO),
    55: ("MAXIMUM", _TWO),
    56: ("ARG_MAX", _SIZED),
    57: ("MINIMUM", _TWO),
    58: ("LESS", _TWO),
    59: ("NEG", _ONE),
    60: ("PADV2", Rule((3, 3), constant=(1,))),
    61: ("GREATER", _TWO),
    62: ("GREATER_EQUAL", _TWO),
    63: ("LESS_EQUAL", _TWO),
    64: ("SELECT", _THREE),
    65: ("SLICE", _THREE),
    66: ("SIN", _ONE),
    67: ("TRANSPOSE_CONV", Rule((3, 4), optional=(3,), constant=(0,))),
    69: ("TILE", _SIZED),
    70: ("EXPAND_DIMS", _SIZED),
    71: ("EQUAL", _TWO),
    72: ("NOT_EQUAL", _TWO),
    73: ("LOG", _ONE),
    74: ("SUM", _SIZED),
    75: ("SQRT", _ONE),
    76: ("RSQRT", _ONE),
    77: ("SHAPE", _ONE),
    78: ("POW", _TWO),
    79: ("ARG_MIN", _SIZED),
    81: ("REDUCE_PROD", _SIZED),
    82: ("REDUCE_MAX", _SIZED),
    83: ("PACK", Rule((1, _MANY))),
    84: ("LOGICAL_OR", _TWO),
    86: ("LOGICAL_AND", _TWO),
    87: ("LOGICAL_NOT", _ONE),
    88: ("UNPACK", Rule((1, 1), (1, _MANY))),
    89: ("REDUCE_MIN", _SIZED),
    90: ("FLOOR_DIV", _TWO),
    92: ("SQUARE", _ONE),
    93: ("ZEROS_LIKE", _ONE),
    94: ("FILL", Rule((2, 2), constant=(0,))),
    95: ("FLOOR_MOD", _TWO),
    96: ("RANGE", Rule((3, 3), constant=(0, 1, 2))),
    97: ("RESIZE_NEAREST_NEIGHBOR", _SIZED),
    98: ("LEAKY_RELU", _ONE),
    99: ("SQUARED_DIFFERENCE", _TWO),
    100: ("MIRROR_PAD", _SIZED),
    101: ("ABS", _ONE),
    102: ("SPLIT_V", Rule((3, 3), (1, _MANY), constant=(1, 2))),
    104: ("CEIL", _ONE),
    108: ("COS", _ONE),
    110: ("RANK", _ONE),
    111: ("ELU", _ONE),
    114: ("QUANTIZE", _ONE),
    116: ("ROUND", _ONE),
    117: ("HARD_SWISH", _ONE),
    123: ("SELECT_V2", _THREE),
    126: ("BATCH_MATMUL", _TWO),
    130: ("BROADCAST_TO", _SIZED),
    150: ("GELU", _ONE),
}
"""Name and rule of each operator that computes on tensors and touches nothing else."""

OTHER_OPERATORS = {
    7: "EMBEDDING_LOOKUP", 10: "HASHTABLE_LOOKUP", 15: "LSH_PROJECTION", 16: "LSTM", 24: "RNN",
    27: "SVDF", 29: "CONCAT_EMBEDDINGS", 30: "SKIP_GRAM", 31: "CALL",
    33: "EMBEDDING_LOOKUP_SPARSE", 35: "UNIDIRECTIONAL_SEQUENCE_RNN",
    44: "UNIDIRECTIONAL_SEQUENCE_LSTM", 46: "BIDIRECTIONAL_SEQUENCE_RNN", 51: "DELEGATE",
    52: "BIDIRECTIONAL_SEQUENCE_LSTM", 68: "SPARSE_TO_DENSE", 80: "FAKE_QUANT", 85: "ONE_HOT",
    91: "REDUCE_ANY", 103: "UNIQUE", 105: "REVERSE_V2", 106: "ADD_N", 107: "GATHER_ND",
    109: "WHERE", 112: "REVERSE_SEQUENCE", 113: "MATRIX_DIAG", 115: "MATRIX_SET_DIAG", 118: "IF",
    119: "WHILE", 120: "NON_MAX_SUPPRESSION_V4", 121: "NON_MAX_SUPPRESSION_V5",
    122: "SCATTER_ND", 124: "DENSIFY", 125: "SEGMENT_SUM", 128: "CUMSUM", 129: "CALL_ONCE",
    131: "RFFT2D", 132: "CONV_3D", 133: "IMAG", 134: "REAL", 135: "COMPLEX_ABS",
    136: "HASHTABLE", 137: "HASHTABLE_FIND", 138: "HASHTABLE_IMPORT", 139: "HASHTABLE_SIZE",
    140: "REDUCE_ALL", 141: "CONV_3D_TRANSPOSE", 142: "VAR_HANDLE", 143: "READ_VARIABLE",
    144: "ASSIGN_VARIABLE", 145: "BROADCAST_ARGS", 146: "RANDOM_STANDARD_NORMAL",
    147: "BUCKETIZE", 148: "RANDOM_UNIFORM", 149: "MULTINOMIAL",
}  # fmt: skip
"""Operators that no image network here needs; a file that holds one is refused by its name."""
