"""Keras files, loaded to label images: as frozen graphs are, once they are frozen.

Freezing needs TensorFlow and Keras, which take seconds to import. The LiteRT model that comes
of it is kept in the cache by the file's SHA-256, so later runs need neither.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from tlcli.core.classifier.classifier import Classifier, Engine
from tlcli.core.classifier.load_frozen import (
    classifier_of,
    conversion_key,
    convert,
    find_conversion,
    store_conversion,
)
from tlcli.core.classifier.load_request import LoadRequest
from tlcli.core.model_spec.facts import ModelFacts
from tlcli.core.model_spec.input_inference import FrozenNetwork, examine
from tlcli.core.model_spec.input_spec import InputOverrides
from tlcli.core.model_spec.kinds import ModelKind
from tlcli.core.model_spec.labels_file import count_labels
from tlcli.errors import GraphError
from tlcli.litert.pool import LiteRTPool
from tlcli.system.digests import sha256_file

_log = logging.getLogger("tlcli")


def load_keras(request: LoadRequest) -> Classifier:
    """Return the classifier of a Keras file.

    Raises:
        DataError: a labels file that cannot be read.
        GraphError: it cannot be loaded or run, is not safe, or has no labels that fit.
        UsageError: a layer that it does not have.
    """
    facts, engine = _engine(request)
    try:
        return classifier_of(request, facts, engine)
    except BaseException:
        engine.close()
        raise


def _engine(request: LoadRequest) -> tuple[ModelFacts, Engine]:
    """Return what a Keras file shows, and what runs it."""
    path = request.graph
    digest = request.digest_of(path)
    key = ("keras", *conversion_key(digest, request.overrides, False))
    converted = None if request.trust else find_conversion(key, path)
    if converted is not None:
        try:
            return converted.facts, LiteRTPool(converted.model, mapped=True)
        except GraphError as error:
            _log.debug("the conversion %s is not used: %s", converted.model, error)
    count = count_labels(request.labels, path)
    network = keras_network(path, request.overrides, labels=count, trust=request.trust)
    engine, model = convert(network)
    # The conversion runs without another look at the file: it has to be the one that was hashed.
    if model is not None and not request.trust and sha256_file(path) == digest:
        store_conversion(key, model, network.facts)
    return network.facts, engine


def keras_network(
    path: Path, overrides: InputOverrides, *, labels: int | None = None, trust: bool = False
) -> FrozenNetwork:
    """Return a Keras file as a frozen network.

    Args:
        path: of the file.
        overrides: of which the output layer is a layer of Keras.
        labels: how many there are, where that is known.
        trust: also loads Python code, and any size.

    Raises:
        GraphError: it cannot be loaded or run, or is not safe.
        UsageError: it has no such layer.
    """
    from tlcli.graph.limits import check_sizes
    from tlcli.keras_files.config import model_input, output_name, read_keras_file
    from tlcli.keras_files.freezing import FreezeOptions, freeze_model

    digest = sha256_file(path)
    file = read_keras_file(path)
    given = model_input(file.config)
    if overrides.input_layer not in (None, given.name, f"{given.name}:0"):
        raise GraphError(
            f"{path} has one input, {given.name!r}; leave --input_layer {overrides.input_layer} out"
        )
    options = FreezeOptions(
        *(overrides.input_height, overrides.input_width, overrides.output_layer, labels), trust
    )
    frozen = freeze_model(file, digest, options)
    ends = replace(overrides, input_layer=frozen.input, output_layer=frozen.output)
    network = examine(frozen.graph, ends, path, labels=labels)
    if not trust:
        height, width = network.facts.size
        assert height is not None
        assert width is not None
        check_sizes(network.graph, network.input, [network.output], (height, width), str(path))
    facts = replace(
        network.facts,
        kind=ModelKind.KERAS_ZIP if file.is_zip else ModelKind.KERAS_HDF5,
        input=given.name,
        output=overrides.output_layer or output_name(file.config) or network.facts.output,
    )
    return replace(network, facts=facts)
