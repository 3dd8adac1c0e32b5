"""Where the network looked in the test images that the report shows.

An image costs some 15 ms of processor time and preparing the network 300 ms, so the feature
maps are stored in the bottleneck cache: the same run again computes none.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from retrain.inputs import Inputs
from retrain.options import RetrainOptions
from tlcli.arrays import Array
from tlcli.backbone import INPUT, Backbone
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.errors import CacheError, GraphError, ImageError

if TYPE_CHECKING:
    from tlcli.core.bottlenecks.cache import BottleneckStore


@dataclass(frozen=True)
class HeatMaps:
    """Activation maps by image, or why there are none.

    Attributes:
        maps: row in the inputs -> float32 [gh, gw].
        missing: one sentence where a whole run has none, else None.
    """

    maps: dict[int, Array] = field(default_factory=dict)
    missing: str | None = None


def heat_maps(
    inputs: Inputs, options: RetrainOptions, layer: FinalLayer, labels: Mapping[int, int]
) -> HeatMaps:
    """Return activation maps by the fitted layer; ``labels`` is by row in ``inputs``."""
    shown = {row: label for row, label in labels.items() if inputs.images[row].file is not None}
    backbone = inputs.backbone
    if options.final_layer_only or backbone is None:
        return HeatMaps(missing="No heat maps: the final layer was trained alone.")
    if not shown:
        return HeatMaps(missing="No heat maps: there are no photos of these images.")
    # Imported vectors alone need neither the cache nor what decodes images.
    from tlcli.core.bottlenecks.cache import BottleneckStore
    from tlcli.core.classifier.activation_maps import NoActivationMapError

    try:
        with BottleneckStore(options.bottleneck_dir) as store:
            parts = _bottleneck_parts(inputs, backbone, store, list(shown))
    except NoActivationMapError as error:
        return HeatMaps(missing=f"No heat maps of this backbone: {error}.")
    except (GraphError, CacheError) as error:
        # The run has done its work; a picture is no reason to end it.
        return HeatMaps(missing=f"No heat maps: {error}.")
    return HeatMaps(
        {row: found @ layer.weights[:, shown[row]] for row, found in parts.items()}  # [gh, gw]
    )


def _bottleneck_parts(
    inputs: Inputs, backbone: Backbone, store: BottleneckStore, rows: list[int]
) -> dict[int, Array]:
    """Return each position's part of the bottleneck, [gh, gw, D], of the images that can be read.

    The bottleneck is the mean of them, so they need nothing but the final layer to become a
    map, and the graph is loaded only where an image is new.
    """
    # Cached as another kind of vector, which begins with gh and gw.
    from tlcli.core.bottlenecks.cache_usage import MAPS

    fingerprint = f"{backbone.fingerprint}{MAPS}"
    contents = {row: content for row in rows if (content := inputs.contents[row])}
    stored = store.get(fingerprint, None, contents.values())
    parts: dict[int, Array] = {}
    for row, content in contents.items():
        if content in stored:
            height, width = stored[content][:2].astype(int)
            parts[row] = stored[content][2:].reshape(height, width, inputs.bottleneck_size)
    if len(parts) < len(rows):
        computed = _computed(inputs, backbone, [row for row in rows if row not in parts])
        packed = {
            contents[row]: np.concatenate([np.array(found.shape[:2], np.float32), found.ravel()])
            for row, found in computed.items()
            if row in contents
        }
        store.put(fingerprint, None, packed)
        parts.update(computed)
    return parts


def _computed(inputs: Inputs, backbone: Backbone, rows: list[int]) -> dict[int, Array]:
    from tlcli.core.classifier.activation_maps import ActivationMapper
    from tlcli.core.images.preprocessing import Preprocessing

    preprocessing = Preprocessing("tlcli-1", backbone.height, backbone.width)
    found: dict[int, Array] = {}
    # TensorFlow's import takes seconds, which pictures are not worth.
    allow = "tensorflow" in sys.modules
    loaded = backbone.load_graph()
    mapper = ActivationMapper(
        loaded.graph, INPUT, loaded.output, any_batch=loaded.any_batch, allow_tensorflow=allow
    )
    with closing(mapper):
        for row in rows:
            file = inputs.images[row].file
            assert file is not None
            try:
                pixels = preprocessing.read(file)
            except ImageError:  # gone since it was hashed, or an empty stand-in for a vector
                continue
            found[row] = mapper.maps(preprocessing.scale(pixels[None]))[0]
    return found
