"""The precision in which a run's backbone computes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from retrain.options import RetrainOptions
from tlcli.backbone import Backbone

if TYPE_CHECKING:
    from tlcli.core.bottlenecks.cache import BottleneckStore
    from tlcli.core.bottlenecks.extraction import Request

logger = logging.getLogger("tlcli")


def in_its_precision(
    options: RetrainOptions, backbone: Backbone, requests: Sequence[Request], store: BottleneckStore
) -> Backbone:
    """Return the backbone in the requested precision, or the one that pays.

    Args:
        options: of the run.
        backbone: in float32.
        requests: the undistorted vectors that the run needs.
        store: the cache.
    """
    if options.precision == "float32" or options.import_bottlenecks is not None:
        return backbone
    # These imports load the image readers, which the lines above do not need.
    from tlcli.core.bottlenecks import precision
    from tlcli.core.bottlenecks.engine_choice import bfloat16_backend
    from tlcli.core.bottlenecks.engines import NO_BACKEND

    if options.precision == "bfloat16":
        backend = bfloat16_backend()
        if backend == NO_BACKEND:
            logger.warning(
                "this machine has no instructions for bfloat16, so that --precision bfloat16 is "
                "slower here than float32"
            )
        logger.debug("precision bfloat16, as asked for, computed by: %s", backend)
        return precision.in_bfloat16(backbone, backend)

    views = 1 + (options.distortion_views if options.distorts else 0)
    contents = list(dict.fromkeys(request.content for request in requests))

    def new(found: Backbone) -> int:
        # Views are cached with the plain image, or not at all.
        return views * (len(contents) - store.count(found.fingerprint, contents))

    # Few images need no look into the cache.
    many = views * len(contents) >= precision.WORTH_MEASURING
    new_in_float32 = new(backbone) if many else views * len(contents)
    trial = precision.Trial(backbone, [request.path for request in requests], new_in_float32)
    choice = precision.choose(
        new_in_float32,
        lambda backend: new(precision.in_bfloat16(backbone, backend)),
        bfloat16_backend,
        trial,
    )
    if choice.backend is None:
        logger.debug("precision float32: %s", choice.reason)
        return trial.backbone
    logger.info("Precision bfloat16 (%s): %s", choice.backend, choice.reason)
    return precision.in_bfloat16(trial.backbone, choice.backend)
