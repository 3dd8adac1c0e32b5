"""The photos of a run as a check takes them."""

from __future__ import annotations

from retrain.inputs import Inputs
from tlcli.core.photos.findings import Findings, Photos, find


def check_photos(inputs: Inputs) -> Findings:
    """Return what a check finds in the photos of a run.

    Raises:
        DataError: vectors too large to square.
    """
    photos = Photos(
        [image.shown for image in inputs.images],
        inputs.labels,
        inputs.targets,
        inputs.contents,
        inputs.vectors,
        inputs.blocks,
    )
    return find(photos, [(each.path, each.reason) for each in inputs.skipped])
