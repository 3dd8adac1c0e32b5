"""The options of a retraining as keywords of the Python function."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, TypeVar, Union, get_type_hints

from retrain.arguments.options import RetrainOptions

_Path = Union[str, "os.PathLike[str]"]
_OptionalPath = Union[str, "os.PathLike[str]", None]
_Function = TypeVar("_Function", bound=Callable[..., Any])


class RetrainKeywords(TypedDict, total=False):
    """The fields of `RetrainOptions` as keywords, for type checkers, completion and ``help``.

    ``docs/options.md`` has the details.
    """

    from_card: Annotated[_OptionalPath, "model card of an earlier run, to begin where it ended"]
    manifest: Annotated[_OptionalPath, "list of images and labels, in place of ``image_dir``"]
    keep_label_names: Annotated[bool, "labels are the folders' names, unchanged"]
    multi_label: Annotated[bool, "an image may have several labels, or none"]

    output_graph: Annotated[_Path, "the frozen graph; other outputs go next to it"]
    output_labels: Annotated[_OptionalPath, "the labels, one per line"]
    saved_model_dir: Annotated[_OptionalPath, "folder for a SavedModel"]
    output_tflite: Annotated[_OptionalPath, "the LiteRT file"]
    output_report: Annotated[_OptionalPath, "the report page"]
    no_report: Annotated[bool, "write no report"]
    export: Annotated[str | Sequence[str] | None, "formats for other programs, such as ``onnx``"]
    intermediate_output_graphs_dir: Annotated[_OptionalPath, "folder for graphs of the fit"]
    intermediate_store_frequency: Annotated[int, "steps between these graphs; 0: none"]
    summaries_dir: Annotated[_OptionalPath, "folder for TensorBoard"]

    module: Annotated[str | None, "the backbone: a name, handle, folder or file"]
    module_input: Annotated[str | None, "where images enter the backbone"]
    module_output: Annotated[str | None, "where its vectors are"]
    input_height: Annotated[int | None, "of the backbone's input, in pixels"]
    input_width: Annotated[int | None, "of the backbone's input, in pixels"]
    input_mean: Annotated[float | None, "subtracted from pixels of 0..255"]
    input_std: Annotated[float | None, "divisor of the difference"]
    model_dir: Annotated[_OptionalPath, "folder of downloaded backbones"]
    trust: Annotated[bool, "use a backbone with operations that inference does not need"]
    bottleneck_dir: Annotated[_OptionalPath, "folder of the cache"]
    import_bottlenecks: Annotated[_OptionalPath, "folder of vectors of the original tools"]
    export_bottlenecks: Annotated[_OptionalPath, "folder for vectors in their format"]
    precision: Annotated[Literal["auto", "float32", "bfloat16", "int8"], "of the vectors"]
    runner: Annotated[str, "``local``, or ``ray``, which computes vectors on a cluster"]
    address: Annotated[str | None, "of a running Ray cluster"]
    num_shards: Annotated[int | None, "jobs that compute the vectors"]
    shard_index: Annotated[int | None, "which of these jobs this is; of the command only"]

    how_many_training_steps: Annotated[int, "steps of SGD"]
    learning_rate: Annotated[float, "of SGD"]
    train_batch_size: Annotated[int, "images per step; -1: all"]
    validation_batch_size: Annotated[int, "validation images per evaluation step; -1: all"]
    test_batch_size: Annotated[int, "test images; -1: all"]
    eval_step_interval: Annotated[int, "steps between evaluations"]
    testing_percentage: Annotated[int, "of the images, 0 to 99"]
    validation_percentage: Annotated[int, "of the images, 0 to 99"]
    print_misclassified_test_images: Annotated[bool, "log the test images with a wrong label"]

    flip_left_right: Annotated[bool, "train on mirrored images too"]
    random_crop: Annotated[int, "crop training images by up to this percentage"]
    random_scale: Annotated[int, "enlarge training images by up to this percentage"]
    random_brightness: Annotated[int, "change their brightness by up to this percentage"]
    distortion_views: Annotated[int, "distorted views of each training image"]

    final_layer_only: Annotated[bool, "export only the final layer, which takes vectors"]
    final_tensor_name: Annotated[str, "name of the scores in the graph"]
    checkpoint_path: Annotated[_OptionalPath, "where a fit that was cut short goes on"]
    preset: Annotated[
        Literal["original", "standard", "best", "fast"] | None,
        "what decides the options of the training that are not given",
    ]
    solver: Annotated[
        Literal["sgd", "lbfgs", "lda", "auto"] | None,
        "the original's steps, logistic regression, discriminant analysis, or the best of them",
    ]
    fine_tune: Annotated[
        Literal["none", "auto", "head_blocks", "all"],
        "train the last layers of the network too",
    ]
    layers: Annotated[
        Literal["head", "ms"] | None,
        "the bottleneck alone, or with averages of further maps of the last two stages",
    ]
    label_weights: Annotated[
        str | None, "``balanced``, ``none``, or a file of how much an image of each label counts"
    ]
    cross_validate: Annotated[int | None, "folds of a cross-validation"]
    seed: Annotated[int, "the same seed gives the same bytes"]
    min_accuracy: Annotated[float | None, "``passed`` is False below it, 0 to 1"]
    min_map: Annotated[float | None, "the same for the mean average precision of ``multi_label``"]
    strict: Annotated[bool, "an unreadable image is an error"]


def takes_options(function: _Function) -> _Function:
    """Show the options in the signature and the docstring of a function of ``**options``.

    Completion, ``help`` and notebooks read these; type checkers read `RetrainKeywords`.
    """
    hints = get_type_hints(RetrainKeywords, include_extras=True)
    defaults = {field.name: field.default for field in fields(RetrainOptions)}
    signature = inspect.signature(function)
    own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    keywords, lines = [], []
    for name, hint in hints.items():
        default = defaults[name]
        shown = str(default) if isinstance(default, Path) else default
        (text,) = hint.__metadata__
        keywords.append(
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=shown, annotation=hint.__origin__
            )
        )
        lines.append(f"        {name}: {text}.")
    parameters = signature.replace(parameters=[*own, *keywords])
    function.__signature__ = parameters  # type: ignore[attr-defined]
    function.__doc__ = f"{(function.__doc__ or '').rstrip()}\n\n    Options:\n" + "\n".join(lines)
    return function
