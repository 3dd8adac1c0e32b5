"""Where the network looked in the test images that the report shows.

An image costs some 15 ms of processor time and preparing the network 300 ms, so what was computed
is stored in the bottleneck cache: the same run again computes nothing. Where the bottleneck is the
average of one map, that map is stored and serves every final layer. Several maps would take
megabytes per image, so the finished heat map is stored, which serves one final layer.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from retrain.arguments.options import RetrainOptions
from retrain.inputs import Inputs
from tlcli.arrays import Array
from tlcli.backbone import INPUT, Backbone
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.errors import CacheError, GraphError, ImageError
from tlcli.system.digests import sha256_bytes

if TYPE_CHECKING:
    from tlcli.core.bottlenecks.cache import BottleneckStore


@dataclass(frozen=True)
class HeatMaps:
    """Activation maps by image, or why there are none.

    Attributes:
        maps: row in the inputs -> float32 [gh, gw].
        missing: one sentence where a whole run has none, else None.
        layers: of which the maps have shares, in a sentence; "" where there is one layer.
    """

    maps: dict[int, Array] = field(default_factory=dict)
    missing: str | None = None
    layers: str = ""


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
    from tlcli.core.heat_maps.linear_head import NoActivationMapError

    job = _Job(inputs, backbone, layer, shown)
    try:
        with BottleneckStore(options.bottleneck_dir, ()) as store:
            return _maps(job, store)
    except NoActivationMapError as error:
        return HeatMaps(missing=f"No heat maps of this backbone: {error}.")
    except (GraphError, CacheError) as error:
        # The run has done its work; a picture is no reason to end it.
        return HeatMaps(missing=f"No heat maps: {error}.")


@dataclass(frozen=True)
class _Job:
    """What heat maps are made of; ``labels`` is by row."""

    inputs: Inputs
    backbone: Backbone
    layer: FinalLayer
    labels: Mapping[int, int]

    def column(self, row: int) -> Array:
        """Return the weights [D] of the label of an image."""
        return self.layer.weights[:, self.labels[row]]


def _maps(job: _Job, store: BottleneckStore) -> HeatMaps:
    """Return the maps of the images that can be read.

    The graph is loaded only where an image is new.
    """
    # Cached as another kind of vector.
    from tlcli.core.bottlenecks.cache_usage import MAPS
    from tlcli.core.heat_maps.activation_maps import note_of_layers

    fingerprint = f"{job.backbone.fingerprint}{MAPS}"
    contents = {row: content for row in job.labels if (content := job.inputs.contents[row])}
    keys = {
        row: sha256_bytes(content.encode() + np.ascontiguousarray(job.column(row)).tobytes())
        for row, content in contents.items()
    }
    stored = store.get(fingerprint, None, [*contents.values(), *keys.values()])
    found: dict[int, Array] = {}
    shown: tuple[bool, ...] = ()
    for row, content in contents.items():
        if content in stored:
            features = _unpacked(stored[content], job.inputs.bottleneck_size)
            found[row] = features @ job.column(row)  # [gh, gw]
        elif keys[row] in stored:
            shown, packed = _without_flags(stored[keys[row]])
            found[row] = _unpacked(packed)
    rows = [row for row in job.labels if row not in found]
    if rows:
        shown, computed = _computed(job, rows)
        if shown:
            packs = {keys[row]: _packed(computed[row], shown) for row in computed if row in keys}
            found.update(computed)
        else:
            packs = {contents[row]: _packed(computed[row]) for row in computed if row in keys}
            found.update({row: computed[row] @ job.column(row) for row in computed})
        store.put(fingerprint, None, packs)
    names = [block.name for block in job.inputs.blocks]
    return HeatMaps(found, layers=note_of_layers(shown, names))


def _computed(job: _Job, rows: list[int]) -> tuple[tuple[bool, ...], dict[int, Array]]:
    """Return what is stored of images: of one map the features, of several the finished map.

    Returns:
        `ActivationMapper.shown`, and by row float32 [gh, gw, D] where that is empty, else
        float32 [gh, gw].
    """
    from tlcli.core.export.frozen_graph import FINAL_TENSOR_NAME, append_final_layer
    from tlcli.core.heat_maps.activation_maps import ActivationMapper, shown_parts
    from tlcli.core.heat_maps.linear_head import find_linear_end
    from tlcli.core.images.preprocessing import Preprocessing

    preprocessing = Preprocessing("tlcli-1", job.backbone.height, job.backbone.width)
    loaded = job.backbone.load_graph()
    graph, output = loaded.graph, loaded.output
    end = find_linear_end(graph, output)
    shown = shown_parts(end)
    if shown:
        graph, output = append_final_layer(loaded, job.layer), FINAL_TENSOR_NAME
    # TensorFlow's import takes seconds, which pictures are not worth.
    allow = "tensorflow" in sys.modules
    mapper = ActivationMapper(
        graph, INPUT, output, any_batch=loaded.any_batch, allow_tensorflow=allow
    )
    found: dict[int, Array] = {}
    with closing(mapper):
        for row in rows:
            file = job.inputs.images[row].file
            assert file is not None
            try:
                pixels = preprocessing.read(file)
            except ImageError:  # gone since it was hashed, or an empty stand-in for a vector
                continue
            labels = [job.labels[row]] if shown else None
            found[row] = mapper.maps(preprocessing.scale(pixels[None]), labels)[0]
    return shown, found


def _packed(found: Array, shown: tuple[bool, ...] = ()) -> Array:
    """Return a map [gh, gw, ...] as a vector that begins with its size, and then ``shown``."""
    flags = [len(shown), *shown] if shown else []
    return np.concatenate([np.array([*found.shape[:2], *flags], np.float32), found.ravel()])


def _unpacked(packed: Array, *sizes: int) -> Array:
    """Return [gh, gw, *sizes]."""
    height, width = packed[:2].astype(int)
    return packed[2:].reshape(height, width, *sizes)


def _without_flags(packed: Array) -> tuple[tuple[bool, ...], Array]:
    end = 3 + int(packed[2])
    return tuple(packed[3:end].astype(bool).tolist()), np.delete(packed, np.s_[2:end])
