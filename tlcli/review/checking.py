"""A check as a review needs it: findings as cards, and where the photos are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tlcli.cache.limit import keep_limit
from tlcli.check.job import check_inputs
from tlcli.progress import Watcher
from tlcli.review.cards import cards_of
from tlcli.review.places import Places
from tlcli.review.session import Checked


class Stages(Watcher):
    """Reports the name of each stage to a function."""

    def __init__(self, report: Callable[[str], None]) -> None:
        super().__init__()
        self._report = report

    def begin(self, stage: str, text: str = "") -> None:
        """Report that a stage begins."""
        self._report(stage)


def check_photos(given: Mapping[str, Any], remove_to: Path, watcher: Watcher) -> Checked:
    """Return what is found in a folder of photos.

    Args:
        given: options of `tlcli.check.job.check`, with ``image_dir``.
        remove_to: for removed photos.
        watcher: told of the stages.

    Raises:
        TlcliError: as from a check.
    """
    found, inputs = check_inputs(given, watcher)
    keep_limit()
    in_splits = inputs.given_split is not None
    places = Places.of((Path(given["image_dir"]), remove_to), inputs.images, in_splits)
    return Checked(cards_of(found), [each.text for each in found.notes], found.photos, places)
