"""The options of ``tlcli retrain`` and what it prints."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from retrain.presets.choice import DEFAULT_PRESET, PRESETS
from tlcli.commands.completion import complete_backbones
from tlcli.commands.machines.options import cluster_options, shard_options
from tlcli.commands.options import (
    ACCURACY,
    ANY_PATH,
    FILE_PATH,
    LOGGING_GROUP,
    SWITCH,
    ImageDirCommand,
    finite,
    format_option,
    from_home,
    log_options,
    whole,
)
from tlcli.commands.stages import shows_summary, watching
from tlcli.core.fine_tuning.choices import FINE_TUNES
from tlcli.core.formats.kinds import KINDS
from tlcli.terminal import (
    CONTEXT_SETTINGS,
    naming_what_is_kept,
    set_up_logging,
)

if TYPE_CHECKING:
    from pathlib import Path


logger = logging.getLogger("tlcli")

# Columns; narrower lines are harder to read than broken ones.
_NARROW = 40
_Function = TypeVar("_Function", bound=Callable[..., Any])

GROUPS = {
    "Input": (
        *("image_dir", "manifest", "multi_label", "from_card", "keep_label_names", "strict"),
    ),
    "Output": (
        *("output_graph", "output_labels", "output_tflite", "output_report", "no_report"),
        "export",
        *("saved_model_dir", "final_layer_only", "final_tensor_name", "output_format"),
    ),
    "Backbone": (
        *("module", "module_input", "module_output", "input_height", "input_width"),
        *("input_mean", "input_std", "precision", "trust", "model_dir", "bottleneck_dir"),
    ),
    "Training": (
        *(
            "preset",
            "solver",
            "fine_tune",
            "layers",
            "label_weights",
            "how_many_training_steps",
            "learning_rate",
            "train_batch_size",
            "seed",
        ),
        *("checkpoint_path", "summaries_dir"),
    ),
    "Augmentation": (
        *("flip_left_right", "random_crop", "random_scale", "random_brightness"),
        "distortion_views",
    ),
    "Many machines": ("runner", "address", "num_shards", "shard_index"),
    "Measuring": (
        *("testing_percentage", "validation_percentage", "test_batch_size"),
        *("validation_batch_size", "eval_step_interval", "cross_validate", "min_accuracy"),
        *("min_map", "print_misclassified_test_images"),
    ),
    "Older tools' options": (
        *("architecture", "import_bottlenecks", "export_bottlenecks"),
        *("intermediate_output_graphs_dir", "intermediate_store_frequency"),
    ),
    "Logging": LOGGING_GROUP,
}

# What an option takes, by the metavar that its help shows.
_TYPES: dict[str, Any] = {
    **{"DIR": ANY_PATH, "PREFIX": ANY_PATH, "FILE": FILE_PATH, "NAME": str},
    **{"N": whole, "K": whole, "X": finite, "P": ACCURACY},
}


def _option(
    name: str, metavar: str, help: str, default: Any = None
) -> Callable[[_Function], _Function]:
    """Return an option whose metavar, a key of `_TYPES`, says what it takes."""
    shown = default is not None
    return click.option(
        name, type=_TYPES[metavar], metavar=metavar, default=default, show_default=shown, help=help
    )


@click.command(cls=ImageDirCommand, groups=GROUPS, context_settings=CONTEXT_SETTINGS)
@_option(
    "--image_dir",
    "DIR",
    "Folder with one subfolder of images per label, or with train, val and test folders of such; "
    "or a zip or tar archive of it; or such a folder in a bucket (s3://, gs://).  [required unless "
    "--manifest or --import_bottlenecks]",
)
@_option(
    "--manifest",
    "FILE",
    "Table of the images in place of --image_dir: CSV, TSV or JSON lines with path, label and, "
    "optionally, split (train, val, test).",
)
@click.option(
    "--multi_label",
    is_flag=True,
    help="An image may have several labels, or none: a|b, or no label, in the manifest, or copies "
    "of the image in several folders. Labels get independent scores, each with a threshold.",
)
@click.option(
    "--from",
    "--from_card",
    "from_card",
    type=FILE_PATH,
    metavar="CARD",
    help="Model card (output_graph.json) of an earlier run, or its graph: take over its options "
    "that are not given, start SGD from its final layer, and report what changed.",
)
@click.option("--keep_label_names", is_flag=True, help="Use folder names as labels unchanged.")
@_option("--output_graph", "FILE", "Frozen graph.", "output_graph.pb")
@_option("--output_labels", "FILE", "Labels file.  [default: output_labels.txt next to the graph]")
@_option("--saved_model_dir", "DIR", "SavedModel for TensorFlow Serving.")
@_option(
    "--output_tflite",
    "FILE",
    "LiteRT file.  [default: next to the graph, for backbones of up to 32 MB]",
)
@click.option(
    "--export",
    metavar="KINDS",
    help=f"Further formats, separated by commas: {', '.join(KINDS)}. Each file is run and compared "
    "with the graph, as by tlcli export.",
)
@_option("--output_report", "FILE", "Report page.  [default: output_report.html next to the graph]")
@click.option(
    "--no_report",
    is_flag=True,
    help="Write no report, and remove the report of the graph that is replaced.",
)
@_option(
    "--intermediate_output_graphs_dir",
    "DIR",
    "Folder for intermediate_N.pb, the graph after N steps.",
)
@_option(
    "--intermediate_store_frequency",
    "N",
    "Training steps between intermediate graphs; 0 writes none.",
    0,
)
@_option("--summaries_dir", "DIR", "Folder for TensorBoard events.")
@click.option(
    "--tfhub_module",
    "--module",
    "module",
    metavar="M",
    shell_complete=complete_backbones,
    help="Backbone: a name from `tlcli modules`, a Hub or Kaggle handle or URL, a SavedModel "
    "folder, a frozen .pb, a .keras or .h5 file, or auto, the best for these images of those on "
    "this machine.  [default: efficientnet_lite0]",
)
@_option("--architecture", "NAME", "Backbone by its name in the originals, such as inception_v3.")
@_option("--module_input", "NAME", "Input layer of a frozen graph.")
@_option("--module_output", "NAME", "Bottleneck layer; MODEL/LAYER inside a Keras model.")
@_option("--input_height", "N", "Input height in pixels.")
@_option("--input_width", "N", "Input width in pixels.")
@_option("--input_mean", "X", "Subtracted from pixel values of 0 to 255.")
@_option("--input_std", "X", "Divisor of pixel values, after --input_mean.")
@_option("--model_dir", "DIR", "Folder of downloaded backbones.  [default: in the cache folder]")
@_option(
    "--bottleneck_dir",
    "DIR",
    "Folder of the bottleneck cache.  [default: in the cache folder]",
)
@_option(
    "--import_bottlenecks",
    "DIR",
    "Use the text bottlenecks of the originals in this folder.",
)
@_option("--export_bottlenecks", "DIR", "Write text bottlenecks as the originals did.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "bfloat16", "int8"], case_sensitive=False),
    default="auto",
    show_default=True,
    metavar="TYPE",
    help="Number type of the backbone: float32, bfloat16, auto, which is bfloat16 where that "
    "saves time, or int8, which is faster on CPUs and offered for some backbones.",
)
@cluster_options("bottlenecks are computed")
@shard_options(
    "Number of jobs that compute the bottlenecks as part files in --bottleneck_dir; without "
    "--shard_index, compute the parts that are missing and train on all.",
    "Compute the parts of this job, 0 to --num_shards - 1, and train nothing.",
)
@_option("--how_many_training_steps", "N", "Training steps of SGD.", 4000)
@_option("--learning_rate", "X", "SGD learning rate.", 0.01)
@_option(
    "--train_batch_size",
    "N",
    "Images per training step, equally many per label on average; -1 for all.",
    100,
)
@_option("--validation_batch_size", "N", "Images per validation; -1 for all.", 100)
@_option("--test_batch_size", "N", "Images of the final test; -1 for all.", -1)
@_option("--eval_step_interval", "N", "Training steps between accuracy lines.", 10)
@_option("--testing_percentage", "N", "Percentage of images for the final test.", 10)
@_option("--validation_percentage", "N", "Percentage of images for validation.", 10)
@click.option(
    "--print_misclassified_test_images",
    **SWITCH,
    help="List the misclassified test images, even with --quiet.",
)
@click.option("--flip_left_right", **SWITCH, help="Flip half of the augmented views.")
@_option("--random_crop", "N", "Largest margin to crop, in percent.", 0)
@_option("--random_scale", "N", "Largest enlargement, in percent.", 0)
@_option("--random_brightness", "N", "Largest change of brightness, in percent.", 0)
@_option("--distortion_views", "N", "Augmented views per training image.", 4)
@click.option(
    "--final_layer_only",
    is_flag=True,
    help="Export the final layer without the backbone.",
)
@_option("--final_tensor_name", "NAME", "Name of the graph's output.", "final_result")
@_option(
    "--checkpoint_path",
    "PREFIX",
    "Save checkpoints here; an interrupted training resumes from them.",
)
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS), case_sensitive=False),
    help="Recipe of the training, for all that no other option decides: that of the originals, or "
    f"one for better or faster classifiers.  [default: {DEFAULT_PRESET}; original with options of "
    "SGD]",
)
@click.option(
    "--solver",
    type=click.Choice(["sgd", "lbfgs", "lda", "auto"], case_sensitive=False),
    help="SGD as in the originals, logistic regression by L-BFGS, discriminant analysis with a "
    "shrunken covariance, which is fast and best for many labels, or auto: the best of these on "
    "held-out training images.  [default: from the preset]",
)
@click.option(
    "--label_weights",
    metavar="balanced|none|FILE",
    help="How much an image counts: balanced makes every label equally likely, none leaves the "
    "labels as frequent as in the images, and a CSV or JSON file multiplies that by a weight per "
    "label.  [default: balanced with SGD, else none]",
)
@click.option(
    "--layers",
    type=click.Choice(["head", "ms"], case_sensitive=False),
    help="Train on the bottleneck (head), or also on averages of other layers of its last two "
    "stages (ms), at no cost in time.  [default: head, or from the preset]",
)
@click.option(
    "--fine_tune",
    type=click.Choice(FINE_TUNES, case_sensitive=False),
    default="none",
    show_default=True,
    help="Also train the last layers of the network, for minutes to hours: its last third "
    "(head_blocks), all but its first third (all), or the better of both if the validation "
    "cross entropy falls (auto).",
)
@_option("--cross_validate", "K", "Also measure the accuracy over K folds.")
@_option("--seed", "N", "The same seed gives the same graph.", 0)
@_option(
    "--min_accuracy",
    "P",
    "Exit with code 3 if the test accuracy is lower (0.9 or 90%); with --multi_label, the "
    "proportion of test images whose labels are all right.",
)
@_option(
    "--min_map",
    "P",
    "With --multi_label: exit with code 3 if the mean average precision is lower (0.9 or 90%).",
)
@click.option("--strict", is_flag=True, help="Stop at an unreadable image instead of skipping it.")
@click.option(
    "--trust",
    is_flag=True,
    help="Allow operations outside the allow-list, without a trial run in a child process.",
)
@format_option("text", "json")
@log_options
@click.pass_context
def command(
    context: click.Context,
    /,
    output_format: str,
    logging_verbosity: str,
    quiet: bool,
    **options: Any,
) -> int:
    """Fit a new final layer on folders of images and export the graph.

    \b
    Examples:
      tlcli retrain --image_dir photos
      tlcli retrain --image_dir photos --module mobilenet_v2 --output_graph new.pb
      tlcli retrain --image_dir photos --solver lbfgs --min_accuracy 90%
    """
    set_up_logging(logging_verbosity, quiet)
    if options["module"]:
        options["module"] = from_home(options["module"])
    # What the user typed, defaults or not, decides the preset.
    by_default = click.core.ParameterSource.DEFAULT
    given = {
        name: value
        for name, value in options.items()
        if context.get_parameter_source(name) is not by_default
    }
    if options["shard_index"] is not None:
        return _compute_share(given, output_format, quiet)
    from retrain.fitting import STEP_LINES
    from retrain.job import retrain
    from retrain.printing import print_result
    from retrain.testing import RESULT_LINES
    from retrain.tuning.fine_tuning import InterruptedRun
    from tlcli.cache.limit import keep_limit
    from tlcli.system.cache_folders import bottleneck_folder

    at_terminal = shows_summary(output_format)
    # The summary has the same figures.
    replaced = (STEP_LINES, RESULT_LINES) if at_terminal else (STEP_LINES,)
    cache, graph = options["bottleneck_dir"] or bottleneck_folder(), options["output_graph"]
    before = _state(graph)
    try:
        with watching(quiet, replaced) as stages:

            def kept() -> str:
                # Outputs that are being renamed are renamed to the end.
                written = "No graph was" if _state(graph) == before else "The graph was"
                return (
                    f"{stages.kept(cache, options['checkpoint_path'])} {written} written.".strip()
                )

            with naming_what_is_kept(kept):
                result = retrain(progress=stages, **given)
                keep_limit()
    except InterruptedRun as stop:
        print_result(stop.result, output_format, options["print_misclassified_test_images"])
        raise
    return print_result(result, output_format, options["print_misclassified_test_images"])


def _compute_share(given: dict[str, Any], output_format: str, quiet: bool) -> int:
    """Compute the parts of one of several jobs; 1 where a shard was set aside."""
    from retrain.job import options_of
    from retrain.sharded.parts import compute_share

    chosen, decided = options_of(given)
    with (
        watching(quiet, ()) as stages,
        naming_what_is_kept(lambda: "The parts that are done stay; run the command again."),
    ):
        result = compute_share(chosen, stages, decided)
    click.echo(result.to_json() if output_format == "json" else result.to_text())
    return 1 if result.set_aside or (chosen.strict and result.skipped) else 0


def _state(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
