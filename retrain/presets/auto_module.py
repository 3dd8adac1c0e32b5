"""``--module auto``: the backbone that suits the images best, of those on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from retrain.arguments.options import RetrainOptions
from retrain.sources import Sources
from retrain.testing import results
from tlcli.core.data.image_list import ImageFile
from tlcli.core.data.splits import assign_splits
from tlcli.errors import UsageError
from tlcli.progress import Watcher

if TYPE_CHECKING:
    from tlcli.backbones.probe.ranking import ModuleComparison

AUTO = "auto"

# They are of one backbone, and which one it will be is not known.
_OF_ONE_BACKBONE = (
    *("module_input", "module_output", "input_height", "input_width", "input_mean", "input_std"),
    *("import_bottlenecks", "export_bottlenecks"),
)


def check_auto(options: RetrainOptions) -> None:
    """Refuse options of one backbone beside ``--module auto``.

    Raises:
        UsageError: there is one.
    """
    if options.module != AUTO:
        return
    for name in _OF_ONE_BACKBONE:
        if getattr(options, name) is not None:
            raise UsageError(
                f"--{name} is of one backbone, and --module auto chooses among several; leave one "
                "of the two out"
            )


def choose_module(options: RetrainOptions, sources: Sources, watcher: Watcher) -> ModuleComparison:
    """Compare the backbones on this machine on images that are not tested afterwards.

    Raises:
        DataError: too few images can be read.
        TlcliError: no backbone could be measured.
    """
    from tlcli.backbones.probe.comparison import ProbeSettings, compare_modules

    settings = ProbeSettings(
        model_dir=options.model_dir,
        bottleneck_dir=options.bottleneck_dir,
        trust=options.trust,
        seed=options.seed,
        layers=options.layers or "head",
        measures_speed=False,
    )
    watcher.begin("comparing", "the backbones on this machine")

    def report(_: str, done: int, total: int) -> None:
        watcher("bottlenecks", done, total)

    found = compare_modules(_kept_from_testing(options, sources), settings, report)
    watcher.end(found.sentence())
    results.info("Module %s", found.sentence())
    return found


def _kept_from_testing(options: RetrainOptions, sources: Sources) -> Sequence[ImageFile]:
    """Return the images outside the test split, as a choice by test images flatters them."""
    dataset = sources.dataset
    splits: Sequence[str | None] = [image.split for image in dataset.images]
    if dataset.split_by == "names":
        names = [image.name for image in dataset.images]
        labels = [image.label for image in dataset.images]
        splits = assign_splits(
            names,
            labels,
            [None] * len(names),
            options.testing_percentage,
            options.validation_percentage,
        )
    return [
        image
        for image, split in zip(dataset.images, splits, strict=True)
        if split != "testing" and image.file is not None
    ]
