"""Where the network looked in the test images that the report shows.

An image costs some 15 ms of processor time and preparing the network 300 ms, so the feature
maps are kept in the bottleneck cache: the same run again computes none.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from retrain.inputs import Inputs
from retrain.options import Options
from tlcli.backbones.base import Backbone
from tlcli.core.final_layer import FinalLayer
from tlcli.errors import CacheError, GraphError, ImageError

if TYPE_CHECKING:
    from tlcli.core.activation_maps import ActivationMapper
    from tlcli.core.store import BottleneckStore

Array = np.ndarray[Any, Any]


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
    inputs: Inputs,
    options: Options,
    backbone: Backbone | None,
    layer: FinalLayer,
    wanted: Mapping[int, int],
) -> HeatMaps:
    """Return the activation map of each image for one label.

    Args:
        inputs: the images.
        options: where the cache is.
        backbone: what made the vectors; None: they were imported.
        layer: the fitted layer.
        wanted: row in ``inputs`` -> index of the label to explain.
    """
    shown = {row: label for row, label in wanted.items() if inputs.images[row].file is not None}
    if options.final_layer_only or backbone is None:
        return HeatMaps(missing="No heat maps: the final layer was trained alone.")
    if not shown:
        return HeatMaps(missing="No heat maps: there are no photos of these images.")
    # Imported vectors alone need neither the cache nor what decodes images.
    from tlcli.core.activation_maps import ActivationMapper, NoActivationMapError
    from tlcli.core.store import BottleneckStore

    try:
        loaded = backbone.load_graph()
        with (
            BottleneckStore(options.bottleneck_dir) as store,
            # TensorFlow's import takes seconds, which pictures are not worth.
            ActivationMapper.from_backbone(
                loaded, layer, allow_tensorflow="tensorflow" in sys.modules, late=True
            ) as mapper,
        ):
            features = _features(inputs, backbone, mapper, store, list(shown))
            return HeatMaps(
                {
                    row: mapper.maps_of(found[None], [shown[row]])[0]
                    for row, found in features.items()
                }
            )
    except NoActivationMapError as error:
        return HeatMaps(missing=f"No heat maps of this backbone: {error}.")
    except (GraphError, CacheError) as error:
        # The run has done its work; a picture is no reason to end it.
        return HeatMaps(missing=f"No heat maps: {error}.")


def _features(
    inputs: Inputs,
    backbone: Backbone,
    mapper: ActivationMapper,
    store: BottleneckStore,
    rows: list[int],
) -> dict[int, Array]:
    """Return the feature map [gh, gw, D] of each row that can be read, computing what is new."""
    from tlcli.core.images import Preprocessing

    # A kind of vector of its own: its first two values are the numbers of places.
    fingerprint = f"{backbone.fingerprint}/{mapper.layer}"
    contents = {row: inputs.contents[row] for row in rows}
    stored = store.get(
        fingerprint, None, [content for content in contents.values() if content is not None]
    )
    preprocessing = Preprocessing("tlcli-1", backbone.height, backbone.width)
    features: dict[int, Array] = {}
    new: dict[str, Array] = {}
    for row, content in contents.items():
        known = _unpacked(stored[content]) if content in stored else None
        if known is not None:
            features[row] = known
            continue
        file = inputs.images[row].file
        assert file is not None
        try:
            pixels = preprocessing.read(file)
        except ImageError:  # gone since it was hashed, or an empty stand-in for a vector
            continue
        features[row] = mapper.features(preprocessing.scale(pixels[None]))[0]
        if content is not None:
            new[content] = _packed(features[row])
    store.put(fingerprint, None, new)
    return features


def _packed(features: Array) -> Array:
    return np.concatenate([np.array(features.shape[:2], np.float32), features.reshape(-1)])


def _unpacked(stored: Array) -> Array | None:
    height, width = int(stored[0]), int(stored[1])
    if height < 1 or width < 1 or (len(stored) - 2) % (height * width):
        return None
    return stored[2:].reshape(height, width, -1)
