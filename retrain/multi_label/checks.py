"""Options that have no meaning with several labels per image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlcli.errors import UsageError

if TYPE_CHECKING:
    from retrain.arguments.options import RetrainOptions

# What each of them does, that is for one label per image.
_REFUSED = {
    "import_bottlenecks": "brings one label per vector",
    "checkpoint_path": "saves the steps of one label per image",
    "intermediate_output_graphs_dir": "writes graphs of one label per image",
    "summaries_dir": "shows figures of one label per image",
}


def check_multi_label(options: RetrainOptions) -> None:
    """Check that the options of a run fit the number of labels that its images have.

    Raises:
        UsageError: they do not.
    """
    if not options.multi_label:
        if options.min_map is not None:
            raise UsageError(
                "--min_map is the mean average precision of several labels per image; add "
                "--multi_label, or give --min_accuracy"
            )
        return
    for name, reason in _REFUSED.items():
        if getattr(options, name) is not None:
            raise UsageError(f"--{name} {reason}; leave it or --multi_label out")
    if options.solver == "lda":
        raise UsageError(
            "--solver lda separates labels that exclude each other; with --multi_label give lbfgs, "
            "sgd or auto"
        )
    if options.fine_tune != "none":
        raise UsageError(
            "--fine_tune trains a network for one label per image; with --multi_label give "
            "--fine_tune none"
        )
    if options.module == "auto":
        raise UsageError(
            "--module auto compares backbones by one label per image; with --multi_label name the "
            "backbone"
        )
    if options.label_weights not in (None, "none", "balanced"):
        raise UsageError(
            "--label_weights FILE is for labels that exclude each other; with --multi_label give "
            "balanced or none"
        )
    if options.label_weights == "balanced" and options.solver == "sgd":
        raise UsageError(
            "--label_weights balanced is for logistic regression; with --multi_label and --solver "
            "sgd leave it out, or give --solver lbfgs"
        )
    if options.min_map is not None and options.testing_percentage == 0:
        raise UsageError("--min_map needs test images; give a --testing_percentage above 0")
