"""Every error that tlcli raises on purpose.

    TlcliError            exit code 1
    |-- UsageError        exit code 2: missing, contradictory or impossible values
    |-- DataError         folders, labels files, bottleneck files
    |   `-- ImageError    one image cannot be read
    |-- BackboneError     a backbone cannot be found, read or used
    |   `-- DownloadError a backbone cannot be fetched
    |-- GraphError        a graph file cannot be read, is not trusted or does not fit
    |-- CacheError        the bottleneck cache cannot be used
    `-- OutputError       an output cannot be written

A message is one sentence that says what is wrong, where, and what to do.
Commands print it and leave with ``exit_code``; the other exit codes are below, and nothing else
decides exit codes.
"""

from __future__ import annotations

BELOW_MINIMUM = 3  # the accuracy is below --min_accuracy
INTERRUPTED = 130  # by SIGINT, which is Ctrl-C
TERMINATED = 143  # by SIGTERM


class TlcliError(Exception):
    """Base of all errors raised on purpose; ``str()`` is the sentence for the user."""

    exit_code = 1


class UsageError(TlcliError):
    """Values that cannot work, whatever the data are."""

    exit_code = 2


class DataError(TlcliError):
    """A folder, labels file or bottleneck file that cannot be used."""


class ImageError(DataError):
    """One image that cannot be read; ``str()`` is the reason alone, without the path."""


class BackboneError(TlcliError):
    """A backbone that cannot be found, read or used."""


class DownloadError(BackboneError):
    """A backbone that could not be fetched."""


class GraphError(TlcliError):
    """A graph that cannot be read, is not trusted or does not fit its labels."""


class CacheError(TlcliError):
    """A bottleneck cache that cannot be opened or written."""


class OutputError(TlcliError):
    """An output that cannot be written."""
