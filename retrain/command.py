"""The options of ``tlcli retrain`` and what it prints."""

from __future__ import annotations

import logging
from typing import Any

import click

from tlcli.commands.options import (
    ACCURACY,
    ANY_PATH,
    FILE_PATH,
    LOGGING_GROUP,
    SWITCH,
    ImageDirCommand,
    complete_backbones,
    from_home,
    log_options,
)
from tlcli.errors import BELOW_MINIMUM
from tlcli.terminal import CONTEXT_SETTINGS, progress_bars, say_below_minimum, set_up_logging
from tlcli.text import harmless

logger = logging.getLogger("tlcli")


GROUPS = {
    "Input": ("image_dir", "keep_label_names", "strict"),
    "Output": (
        *("output_graph", "output_labels", "output_tflite", "output_report", "no_report"),
        *("saved_model_dir", "final_layer_only", "final_tensor_name", "output_format"),
    ),
    "Backbone": (
        *("module", "module_input", "module_output", "input_height", "input_width"),
        *("input_mean", "input_std", "precision", "trust", "model_dir", "bottleneck_dir"),
    ),
    "Training": (
        *("solver", "how_many_training_steps", "learning_rate", "train_batch_size", "seed"),
        *("checkpoint_path", "summaries_dir"),
    ),
    "Augmentation": (
        *("flip_left_right", "random_crop", "random_scale", "random_brightness"),
        "distortion_views",
    ),
    "Measuring": (
        *("testing_percentage", "validation_percentage", "test_batch_size"),
        *("validation_batch_size", "eval_step_interval", "cross_validate", "min_accuracy"),
        "print_misclassified_test_images",
    ),
    "Older tools' options": (
        *("architecture", "import_bottlenecks", "export_bottlenecks"),
        *("intermediate_output_graphs_dir", "intermediate_store_frequency"),
    ),
    "Logging": LOGGING_GROUP,
}


@click.command(cls=ImageDirCommand, groups=GROUPS, context_settings=CONTEXT_SETTINGS)
@click.option(
    "--image_dir",
    type=ANY_PATH,
    metavar="DIR",
    help="Folder with one subfolder of images per label.  [required unless --import_bottlenecks]",
)
@click.option(
    "--keep_label_names",
    is_flag=True,
    help="Use folder names as labels unchanged.",
)
@click.option(
    "--output_graph",
    type=FILE_PATH,
    default="output_graph.pb",
    show_default=True,
    metavar="FILE",
    help="Frozen graph.",
)
@click.option(
    "--output_labels",
    type=FILE_PATH,
    metavar="FILE",
    help="Labels file.  [default: output_labels.txt next to the graph]",
)
@click.option(
    "--saved_model_dir", type=ANY_PATH, metavar="DIR", help="SavedModel for TensorFlow Serving."
)
@click.option(
    "--output_tflite",
    type=FILE_PATH,
    metavar="FILE",
    help="LiteRT file.  [default: next to the graph, for backbones of up to 32 MB]",
)
@click.option(
    "--output_report",
    type=FILE_PATH,
    metavar="FILE",
    help="Report page.  [default: output_report.html next to the graph]",
)
@click.option(
    "--no_report",
    is_flag=True,
    help="Write no report, and remove the report of the graph that is replaced.",
)
@click.option(
    "--intermediate_output_graphs_dir",
    type=ANY_PATH,
    metavar="DIR",
    help="Folder for intermediate_N.pb, the graph after N steps.",
)
@click.option(
    "--intermediate_store_frequency",
    type=int,
    default=0,
    show_default=True,
    metavar="N",
    help="Training steps between intermediate graphs; 0 writes none.",
)
@click.option(
    "--summaries_dir", type=ANY_PATH, metavar="DIR", help="Folder for TensorBoard events."
)
@click.option(
    "--tfhub_module",
    "--module",
    "module",
    metavar="M",
    shell_complete=complete_backbones,
    help="Backbone: a name from `tlcli modules`, a Hub or Kaggle handle or URL, a SavedModel "
    "folder, a frozen .pb, a .keras or .h5 file.  [default: efficientnet_lite0]",
)
@click.option(
    "--architecture",
    metavar="NAME",
    help="Backbone by its name in the originals, such as inception_v3.",
)
@click.option("--module_input", metavar="NAME", help="Input layer of a frozen graph.")
@click.option("--module_output", metavar="NAME", help="Bottleneck layer of a frozen graph.")
@click.option("--input_height", type=int, metavar="N", help="Input height in pixels.")
@click.option("--input_width", type=int, metavar="N", help="Input width in pixels.")
@click.option(
    "--input_mean", type=float, metavar="X", help="Subtracted from pixel values of 0 to 255."
)
@click.option(
    "--input_std", type=float, metavar="X", help="Divisor of pixel values, after --input_mean."
)
@click.option(
    "--model_dir",
    type=ANY_PATH,
    metavar="DIR",
    help="Folder of downloaded backbones.  [default: in the cache folder]",
)
@click.option(
    "--bottleneck_dir",
    type=ANY_PATH,
    metavar="DIR",
    help="Folder of the bottleneck cache.  [default: in the cache folder]",
)
@click.option(
    "--import_bottlenecks",
    type=ANY_PATH,
    metavar="DIR",
    help="Use the text bottlenecks of the originals in this folder.",
)
@click.option(
    "--export_bottlenecks",
    type=ANY_PATH,
    metavar="DIR",
    help="Write text bottlenecks as the originals did.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "bfloat16"], case_sensitive=False),
    default="auto",
    show_default=True,
    metavar="TYPE",
    help="Number type of the backbone: float32, bfloat16, or auto, which is bfloat16 where that "
    "saves time.",
)
@click.option(
    "--how_many_training_steps",
    type=int,
    default=4000,
    show_default=True,
    metavar="N",
    help="Training steps of SGD.",
)
@click.option(
    "--learning_rate",
    type=float,
    default=0.01,
    show_default=True,
    metavar="X",
    help="SGD learning rate.",
)
@click.option(
    "--train_batch_size",
    type=int,
    default=100,
    show_default=True,
    metavar="N",
    help="Images per training step, equally many per label on average; -1 for all.",
)
@click.option(
    "--validation_batch_size",
    type=int,
    default=100,
    show_default=True,
    metavar="N",
    help="Images per validation; -1 for all.",
)
@click.option(
    "--test_batch_size",
    type=int,
    default=-1,
    show_default=True,
    metavar="N",
    help="Images of the final test; -1 for all.",
)
@click.option(
    "--eval_step_interval",
    type=int,
    default=10,
    show_default=True,
    metavar="N",
    help="Training steps between accuracy lines.",
)
@click.option(
    "--testing_percentage",
    type=int,
    default=10,
    show_default=True,
    metavar="N",
    help="Percentage of images for the final test.",
)
@click.option(
    "--validation_percentage",
    type=int,
    default=10,
    show_default=True,
    metavar="N",
    help="Percentage of images for validation.",
)
@click.option(
    "--print_misclassified_test_images",
    **SWITCH,
    help="List the misclassified test images, even with --quiet.",
)
@click.option("--flip_left_right", **SWITCH, help="Flip half of the augmented views.")
@click.option(
    "--random_crop",
    type=int,
    default=0,
    show_default=True,
    metavar="N",
    help="Largest margin to crop, in percent.",
)
@click.option(
    "--random_scale",
    type=int,
    default=0,
    show_default=True,
    metavar="N",
    help="Largest enlargement, in percent.",
)
@click.option(
    "--random_brightness",
    type=int,
    default=0,
    show_default=True,
    metavar="N",
    help="Largest change of brightness, in percent.",
)
@click.option(
    "--distortion_views",
    type=int,
    default=4,
    show_default=True,
    metavar="N",
    help="Augmented views per training image.",
)
@click.option(
    "--final_layer_only",
    is_flag=True,
    help="Export the final layer without the backbone.",
)
@click.option(
    "--final_tensor_name",
    default="final_result",
    show_default=True,
    metavar="NAME",
    help="Name of the graph's output.",
)
@click.option(
    "--checkpoint_path",
    type=ANY_PATH,
    metavar="PREFIX",
    help="Save checkpoints here; an interrupted training resumes from them.",
)
@click.option(
    "--solver",
    type=click.Choice(["sgd", "lbfgs"], case_sensitive=False),
    default="sgd",
    show_default=True,
    help="SGD as in the originals, or logistic regression by L-BFGS.",
)
@click.option(
    "--cross_validate", type=int, metavar="K", help="Also measure the accuracy over K folds."
)
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    metavar="N",
    help="The same seed gives the same graph.",
)
@click.option(
    "--min_accuracy",
    type=ACCURACY,
    metavar="P",
    help="Exit with code 3 if the test accuracy is lower (0.9 or 90%).",
)
@click.option("--strict", is_flag=True, help="Stop at an unreadable image instead of skipping it.")
@click.option("--trust", is_flag=True, help="Allow operations outside the allow-list.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json"], case_sensitive=False),
    default="text",
    show_default=True,
    help="Output format.",
)
@log_options
def command(
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
    from retrain.job import retrain

    with progress_bars(quiet) as progress:
        result = retrain(progress=progress, **options)
    # An explicit request, so --quiet does not hide it.
    if options["print_misclassified_test_images"] and not logger.isEnabledFor(logging.INFO):
        from retrain.testing import misclassified_lines

        for line in misclassified_lines(result.misclassified):
            click.echo(harmless(line), err=True)
    click.echo(result.to_json() if output_format == "json" else result.to_text())
    if result.passed:
        return 0
    assert result.min_accuracy is not None
    say_below_minimum("test accuracy", result.test_accuracy, result.min_accuracy)
    return BELOW_MINIMUM
