"""A graph that travels to the processes of a cluster."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcli.core.classifier.classifier import Classifier
from tlcli.core.classifier.loading import load, packed
from tlcli.storage.copies import copy_here
from tlcli.storage.locations import is_url
from tlcli.storage.packages import Package, pack
from tlcli.system.digests import sha256_bytes


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

    @classmethod
    def of(cls, graph: Path, options: dict[str, Any]) -> Model:
        """Return a graph as it travels.

        Args:
            graph: a path or a URL.
            options: of `load`.

        Raises:
            TlcliError: it cannot be read.
        """
        options = dict(options)
        given = options.pop("labels", None)
        labels = None
        if given is not None:
            labels = pack(copy_here(given) if is_url(given) else Path(given))
        return cls(packed(graph), labels, options, str(Path.cwd()))

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides the scores of an image."""
        labels = None if self.labels is None else self.labels.digest
        text = json.dumps([self.graph.digest, labels, self.options])
        return sha256_bytes(text.encode())

    def load(self) -> Classifier:
        """Load the graph in this process.

        Raises:
            TlcliError: as `load`.
        """
        with suppress(OSError):  # images in buckets need no folder
            os.chdir(self.working_folder)
        labels = None if self.labels is None else self.labels.unpack()
        return load(self.graph.unpack(), labels=labels, **self.options)
