"""The photos of a run as a check takes them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from retrain.arguments.options import RetrainOptions
from retrain.inputs import Inputs
from tlcli.arrays import Floats
from tlcli.progress import Progress
from tlcli.runtime.watchdog import first_line
from tlcli.storage.locations import is_url

if TYPE_CHECKING:
    from tlcli.core.photos.findings import Findings

logger = logging.getLogger("tlcli")

MOST_FOR_A_REPORT = 10_000
"""Images up to which a report has the findings; `tlcli check` takes more, and its time."""


def findings_for_report(
    inputs: Inputs,
    options: RetrainOptions,
    progress: Progress | None = None,
    turned: Callable[[], Floats] | None = None,
) -> Findings | None:
    """Return what a report says about the photos of a run; None where that would take long.

    That is with very many images, under ``--preset fast``, and where the images would have to be
    fetched once more. For ``turned`` see `Photos`.
    """
    files = [image.file for image in inputs.images if image.file is not None]
    if len(inputs.images) > MOST_FOR_A_REPORT or options.preset == "fast":
        return None
    if not files or any(map(is_url, files)):
        return None
    try:
        return check_photos(inputs, options, progress, crops=False, turned=turned)
    except Exception as error:
        # The graph must not be lost for it, whatever a library makes of odd numbers or little
        # memory.
        logger.warning("The photos were not checked: %s", first_line(error))
        return None


def check_photos(
    inputs: Inputs,
    options: RetrainOptions,
    progress: Progress | None = None,
    crops: bool = True,
    turned: Callable[[], Floats] | None = None,
) -> Findings:
    """Return what a check finds in the photos of a run.

    Raises:
        DataError: vectors too large to square.
        CacheError: the cache cannot be read.
    """
    # Imported vectors alone need neither what decodes images nor the cache.
    from tlcli.core.photos.checking import Photos, find

    files = [image.file for image in inputs.images]
    facts = None
    if any(files):
        from tlcli.core.bottlenecks.cache import BottleneckStore
        from tlcli.core.photos.facts import gather_facts

        with BottleneckStore(options.bottleneck_dir, ()) as store:
            facts = gather_facts(files, inputs.contents, store, progress)
    unreadable = [(each.path, each.reason) for each in inputs.skipped]
    photos = Photos(
        [image.shown for image in inputs.images],
        inputs.labels,
        inputs.targets,
        inputs.contents,
        inputs.vectors,
        inputs.blocks,
        inputs.splits,
        facts,
        turned,
    )
    if inputs.marks is None:
        return find(photos, unreadable, crops=crops)
    from tlcli.core.photos.multi_label.checking import MarkedPhotos, find_marked, sets_of

    labels, targets = sets_of([image.label for image in inputs.images])
    photos = replace(photos, labels=labels, targets=targets)
    return find_marked(MarkedPhotos(photos, inputs.labels, inputs.marks), unreadable, crops=crops)
