"""The part of one shard: labelled and written by whoever gets the shard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from label.formats import OutputStyle
from label.sharded.part_files import part_content
from label.sharded.planning import LabelShard
from tlcli.commands.machines.model import Model
from tlcli.core.classifier.classifier import Classifier
from tlcli.core.data.image_files import NamedBytes, NoImage
from tlcli.storage.ahead import read_ahead
from tlcli.storage.locations import below, is_url, shown
from tlcli.storage.objects import write


@dataclass(frozen=True)
class Target:
    """Where parts are written, and how.

    Attributes:
        folder: a path or a URL.
        style: of the rows; its format is one of `PART_FORMATS`.
    """

    folder: str
    style: OutputStyle


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
        predictions = [style.shown(each) for each in self._classifier.stream(_contents(shard))]
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
