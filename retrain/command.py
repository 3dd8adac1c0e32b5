"""The options of ``tlcli retrain`` and what it prints."""

from __future__ import annotations

import logging
from typing import Any

import click

from tlcli.commands.options import (
    ACCURACY,
    ANY_PATH,
    FILE_PATH,
    SWITCH,
    ImageDirCommand,
    complete_backbones,
    from_home,
    talk_options,
)
from tlcli.errors import BELOW_MINIMUM
from tlcli.terminal import CONTEXT_SETTINGS, progress_bars, say_below_minimum, set_up_logging
from tlcli.text import harmless

logger = logging.getLogger("tlcli")


@click.command(cls=ImageDirCommand, context_settings=CONTEXT_SETTINGS)
@click.option("--image_dir", type=ANY_PATH, help="Folder with one subfolder of images per label.")
@click.option("--keep_label_names", is_flag=True, help="Use folder names as labels unchanged.")
@click.option(
    "--output_graph",
    type=FILE_PATH,
    default="output_graph.pb",
    show_default=True,
    help="Frozen graph to write.",
)
@click.option(
    "--output_labels",
    type=FILE_PATH,
    help="Labels file.  [default: output_labels.txt beside the graph]",
)
@click.option("--saved_model_dir", type=ANY_PATH, help="Write a SavedModel for TensorFlow Serving.")
@click.option(
    "--output_tflite",
    type=FILE_PATH,
    help="LiteRT file.  [default: beside the graph, for backbones of up to 32 MB]",
)
@click.option(
    "--output_report",
    type=FILE_PATH,
    help="Report page.  [default: output_report.html beside the graph]",
)
@click.option(
    "--no_report",
    is_flag=True,
    help="Write no report, and remove that of the graph that is replaced.",
)
@click.option(
    "--intermediate_output_graphs_dir",
    type=ANY_PATH,
    help="Write intermediate_N.pb here while training.",
)
@click.option(
    "--intermediate_store_frequency",
    type=int,
    default=0,
    show_default=True,
    help="Steps between intermediate graphs; 0 writes none.",
)
@click.option("--summaries_dir", type=ANY_PATH, help="Write TensorBoard events here.")
@click.option(
    "--tfhub_module",
    "--module",
    "module",
    metavar="M",
    shell_complete=complete_backbones,
    help="Backbone: a name from `tlcli modules`, a Hub or Kaggle handle or URL, a SavedModel "
    "folder, a frozen .pb, a .keras or .h5 file.  [default: efficientnet_lite0]",
)
@click.option("--architecture", metavar="A", help="Backbone by its older name: inception_v3, ...")
@click.option("--module_input", metavar="NAME", help="Input layer of a frozen graph.")
@click.option("--module_output", metavar="NAME", help="Bottleneck layer of a frozen graph.")
@click.option("--input_height", type=int, help="Input height of the backbone in pixels.")
@click.option("--input_width", type=int, help="Input width of the backbone in pixels.")
@click.option("--input_mean", type=float, help="Subtracted from pixels of 0 to 255.")
@click.option("--input_std", type=float, help="Pixels are divided by this after --input_mean.")
@click.option(
    "--model_dir", type=ANY_PATH, help="Folder of downloaded backbones.  [default: cache folder]"
)
@click.option(
    "--bottleneck_dir",
    type=ANY_PATH,
    help="Folder of the bottleneck cache.  [default: cache folder]",
)
@click.option(
    "--import_bottlenecks", type=ANY_PATH, help="Text bottlenecks of the original tools to use."
)
@click.option(
    "--export_bottlenecks", type=ANY_PATH, help="Write text bottlenecks as the original tools did."
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "bfloat16"], case_sensitive=False),
    default="auto",
    show_default=True,
    help="What the backbone computes in; auto takes bfloat16 where it saves time.",
)
@click.option(
    "--how_many_training_steps",
    type=int,
    default=4000,
    show_default=True,
    help="Steps of --solver sgd.",
)
@click.option(
    "--learning_rate",
    type=float,
    default=0.01,
    show_default=True,
    help="SGD learning rate.",
)
@click.option(
    "--train_batch_size",
    type=int,
    default=100,
    show_default=True,
    help="Images a step: a label drawn uniformly, then an image of it; -1 for all.",
)
@click.option("--validation_batch_size", type=int, default=100, show_default=True, help="-1: all.")
@click.option("--test_batch_size", type=int, default=-1, show_default=True, help="-1: all.")
@click.option(
    "--eval_step_interval",
    type=int,
    default=10,
    show_default=True,
    help="Steps between accuracy lines.",
)
@click.option(
    "--testing_percentage",
    type=int,
    default=10,
    show_default=True,
    help="Percentage of images for the final test.",
)
@click.option(
    "--validation_percentage",
    type=int,
    default=10,
    show_default=True,
    help="Percentage of images for validation.",
)
@click.option(
    "--print_misclassified_test_images",
    **SWITCH,
    help="List the test images it got wrong, --quiet or not.",
)
@click.option("--flip_left_right", **SWITCH, help="Flip half of the training views.")
@click.option(
    "--random_crop", type=int, default=0, show_default=True, help="Margin to crop, in per cent."
)
@click.option(
    "--random_scale", type=int, default=0, show_default=True, help="How much larger, in per cent."
)
@click.option(
    "--random_brightness",
    type=int,
    default=0,
    show_default=True,
    help="How much brighter or darker, in per cent.",
)
@click.option(
    "--distortion_views",
    type=int,
    default=4,
    show_default=True,
    help="Distorted views of each training image.",
)
@click.option(
    "--final_layer_only",
    is_flag=True,
    help="Export the final layer alone; needs no backbone when all vectors are at hand.",
)
@click.option(
    "--final_tensor_name",
    default="final_result",
    show_default=True,
    help="Name of the graph's output.",
)
@click.option(
    "--checkpoint_path",
    type=ANY_PATH,
    metavar="PREFIX",
    help="Keep the fit's progress here; a fit cut short goes on.",
)
@click.option(
    "--solver",
    type=click.Choice(["sgd", "lbfgs"], case_sensitive=False),
    default="sgd",
    show_default=True,
    help="SGD as in the original, or logistic regression.",
)
@click.option("--cross_validate", type=int, metavar="K", help="Also measure accuracy over K folds.")
@click.option(
    "--seed", type=int, default=0, show_default=True, help="The same seed gives the same graph."
)
@click.option(
    "--min_accuracy", type=ACCURACY, metavar="P", help="Exit 3 when the test accuracy is below."
)
@click.option("--strict", is_flag=True, help="End at an unreadable image instead of skipping it.")
@click.option(
    "--trust", is_flag=True, help="Run a backbone with operations that inference does not need."
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json"], case_sensitive=False),
    default="text",
    show_default=True,
    help="Output format.",
)
@talk_options
def command(
    output_format: str,
    logging_verbosity: str,
    quiet: bool,
    **options: Any,
) -> int:
    """Fit a new final layer on folders of images and export the graph.

    \b
    tlcli retrain --image_dir photos
    """
    set_up_logging(logging_verbosity, quiet)
    if options["module"]:
        options["module"] = from_home(options["module"])
    from retrain.job import retrain

    with progress_bars(quiet) as progress:
        result = retrain(progress=progress, **options)
    # Asked for by name, so it is not for --quiet to hide.
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
