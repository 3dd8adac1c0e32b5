"""The steps of a check: the vectors as a retraining has them, then the findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from retrain.evidence.photos import check_photos
from retrain.inputs import Inputs, gather
from retrain.job import options_of
from retrain.presets.auto_module import AUTO, choose_module
from retrain.sources import find_backbone, find_images
from tlcli.core.photos.findings import Findings
from tlcli.progress import Watcher
from tlcli.storage.locations import shown


def check(given: Mapping[str, Any], watcher: Watcher | None = None) -> Findings:
    """Return what is found in labelled photos; the arguments are those of `check_inputs`."""
    return check_inputs(given, watcher)[0]


def check_inputs(
    given: Mapping[str, Any], watcher: Watcher | None = None
) -> tuple[Findings, Inputs]:
    """Return what is found in labelled photos, and the photos.

    Args:
        given: options of a retraining by name: the images, and what decides their vectors. The
            same options find the vectors of a retraining in the cache.
        watcher: told of the stages.

    Raises:
        UsageError: options that cannot work.
        TlcliError: anything else that stands in the way, in one sentence.
    """
    watcher = watcher or Watcher()
    options, decided = options_of({**given, "no_report": True})
    watcher.begin("reading", shown(options.image_dir or options.manifest or ""))
    sources = find_images(options)
    if options.module == AUTO:
        options = replace(options, module=choose_module(options, sources, watcher).best)
    backbone = find_backbone(options, may_have_no_maps="layers" in decided)
    inputs = gather(options, sources, backbone, watcher)
    watcher.begin("checking", f"{len(inputs.images)} images")
    found = check_photos(inputs, options, watcher)
    watcher.end(f"{found.issues} findings")
    return found, inputs
