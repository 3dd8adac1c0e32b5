"""The operators of LiteRT by their numbers in its schema: which are taken, and which are not.

Source: the schema of LiteRT files (schema.fbs), `BuiltinOperator`.
"""

from __future__ import annotations

OPERATORS = {
    0: "ADD", 1: "AVERAGE_POOL_2D", 2: "CONCATENATION", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D",
    5: "DEPTH_TO_SPACE", 6: "DEQUANTIZE", 8: "FLOOR", 9: "FULLY_CONNECTED",
    11: "L2_NORMALIZATION", 12: "L2_POOL_2D", 13: "LOCAL_RESPONSE_NORMALIZATION",
    14: "LOGISTIC", 17: "MAX_POOL_2D", 18: "MUL", 19: "RELU", 20: "RELU_N1_TO_1", 21: "RELU6",
    22: "RESHAPE", 23: "RESIZE_BILINEAR", 25: "SOFTMAX", 26: "SPACE_TO_DEPTH", 28: "TANH",
    34: "PAD", 36: "GATHER", 37: "BATCH_TO_SPACE_ND", 38: "SPACE_TO_BATCH_ND", 39: "TRANSPOSE",
    40: "MEAN", 41: "SUB", 42: "DIV", 43: "SQUEEZE", 45: "STRIDED_SLICE", 47: "EXP",
    48: "TOPK_V2", 49: "SPLIT", 50: "LOG_SOFTMAX", 53: "CAST", 54: "PRELU", 55: "MAXIMUM",
    56: "ARG_MAX", 57: "MINIMUM", 58: "LESS", 59: "NEG", 60: "PADV2", 61: "GREATER",
    62: "GREATER_EQUAL", 63: "LESS_EQUAL", 64: "SELECT", 65: "SLICE", 66: "SIN",
    67: "TRANSPOSE_CONV", 69: "TILE", 70: "EXPAND_DIMS", 71: "EQUAL", 72: "NOT_EQUAL",
    73: "LOG", 74: "SUM", 75: "SQRT", 76: "RSQRT", 77: "SHAPE", 78: "POW", 79: "ARG_MIN",
    81: "REDUCE_PROD", 82: "REDUCE_MAX", 83: "PACK", 84: "LOGICAL_OR", 86: "LOGICAL_AND",
    87: "LOGICAL_NOT", 88: "UNPACK", 89: "REDUCE_MIN", 90: "FLOOR_DIV", 92: "SQUARE",
    93: "ZEROS_LIKE", 94: "FILL", 95: "FLOOR_MOD", 96: "RANGE", 97: "RESIZE_NEAREST_NEIGHBOR",
    98: "LEAKY_RELU", 99: "SQUARED_DIFFERENCE", 100: "MIRROR_PAD", 101: "ABS", 102: "SPLIT_V",
    104: "CEIL", 108: "COS", 110: "RANK", 111: "ELU", 114: "QUANTIZE", 116: "ROUND",
    117: "HARD_SWISH", 123: "SELECT_V2", 126: "BATCH_MATMUL", 130: "BROADCAST_TO", 150: "GELU",
}  # fmt: skip
"""Those that compute on tensors and touch nothing else."""

SIZING = {
    **dict.fromkeys(
        (
            "RESIZE_BILINEAR", "PAD", "TRANSPOSE", "MEAN", "TOPK_V2", "ARG_MAX", "PADV2",
            "TILE", "EXPAND_DIMS", "SUM", "ARG_MIN", "REDUCE_PROD", "REDUCE_MAX", "REDUCE_MIN",
            "RESIZE_NEAREST_NEIGHBOR", "MIRROR_PAD", "BROADCAST_TO",
        ),
        (1,),
    ),
    "BATCH_TO_SPACE_ND": (1, 2),
    "SPACE_TO_BATCH_ND": (1, 2),
    "SPLIT_V": (1, 2),
    "SPLIT": (0,),
    "TRANSPOSE_CONV": (0,),
    "FILL": (0,),
    "RANGE": (0, 1, 2),
}  # fmt: skip
"""Inputs that must be constants, as the size of the result depends on them: it must not depend on
the image, which no trial run has seen."""

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
