"""The part of one shard: labelled and written by whoever gets the shard."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from label.formats import OutputStyle
from label.sharded.part_files import part_content
from label.sharded.planning import LabelShard
from tlcli.core.classifier.classifier import Classifier
from tlcli.core.classifier.loading import load
from tlcli.core.data.image_files import NamedBytes, NoImage
from tlcli.storage.ahead import read_ahead
from tlcli.storage.locations import below, is_url, shown
from tlcli.storage.objects import write
from tlcli.storage.packages import Package


@dataclass(frozen=True)
class Target:
    """Where parts are written, and how.

    Attributes:
        folder: a path or a URL.
        style: of the rows; its format is one of `PART_FORMATS`.
    """

    folder: str
    style: OutputStyle


@dataclass(frozen=True)
class Model:
    """A graph as it travels to a process of a cluster.

    Attributes:
        graph: with what belongs to it.
        labels: a labels file, where one was given.
        options: of `load`.
        working_folder: in which relative paths of images begin.
    """

    graph: Package
    labels: Package | None
    options: dict[str, Any]
    working_folder: str

    def load(self) -> Classifier:
        """Load the graph in this process.

        Raises:
            TlcliError: as `load`.
        """
        with suppress(OSError):  # images in buckets need no folder
            os.chdir(self.working_folder)
        labels = None if self.labels is None else self.labels.unpack()
        return load(self.graph.unpack(), labels=labels, **self.options)


class ShardLabeller:
    """Labels the images of shards, and writes the part of each.

    Args:
        classifier: the graph, loaded once.
        target: of the parts.
    """

    def __init__(self, classifier: Classifier, target: Target) -> None:
        self._classifier, self._target = classifier, target

    def __call__(self, shard: LabelShard) -> int:
        """Write the part of a shard, and return how many of its images have an error.

        Raises:
            StorageError: the server of an image fails for now; a row would keep that for ever.
            GraphError: the graph cannot be run.
            OutputError: the part cannot be written.
        """
        style = self._target.style
        predictions = [
            each.top(style.top_k, style.threshold)
            for each in self._classifier.stream(_contents(shard))
        ]
        errors = sum(each.error is not None for each in predictions)
        name = shard.part_name(errors, style.format)
        write(below(self._target.folder, name), part_content(predictions, style))
        return errors


def make_labeller(model: Model, target: Target) -> ShardLabeller:
    """Return what labels shards in a process of a cluster."""
    return ShardLabeller(model.load(), target)


def _contents(shard: LabelShard) -> Iterator[str | bytes]:
    """Yield what is read of each image: a path, or the content of an object."""
    given = read_ahead(shard.images, lambda each: each if _is_object(each) else None)
    for image, content in given:
        if content is None:
            yield image
        elif isinstance(content, bytes):
            yield NamedBytes(content, shown(image))
        elif content.is_passing:
            raise content
        else:
            yield NoImage(image, content.reason)


def _is_object(image: str) -> bool:
    return is_url(image) and not isinstance(image, NoImage)
