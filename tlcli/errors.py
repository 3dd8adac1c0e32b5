"""Every error that tlcli raises on purpose.

    TlcliError            exit code 1
    |-- UsageError        exit code 2: missing, contradictory or impossible values
    |-- DataError         folders, labels files, bottleneck files
    |   |-- ImageError    one image cannot be read
    |   `-- StorageError  a file, object or bucket cannot be read or listed
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

from typing import Any

BELOW_MINIMUM = 3  # the accuracy is below --min_accuracy
INTERRUPTED = 130  # by SIGINT, which is Ctrl-C
TERMINATED = 143  # by SIGTERM


class TlcliError(Exception):
    """Base of all errors raised on purpose; ``str()`` is the sentence for the user."""

    exit_code = 1

    def __str__(self) -> str:
        # Imported here: `import tlcli` loads no more than it must.
        from tlcli.text import redacted

        # Whatever a message is made of, it has no credentials in it.
        return redacted(super().__str__())


class UsageError(TlcliError):
    """Values that cannot work, whatever the data are."""

    exit_code = 2


class DataError(TlcliError):
    """A folder, labels file or bottleneck file that cannot be used."""


class ImageError(DataError):
    """One image that cannot be read; ``str()`` is the reason alone, without the path."""


class StorageError(DataError):
    """A file, an object or a bucket that cannot be read or listed.

    Args:
        location: as messages show it, without secrets.
        reason: in a few words, without the location.
        is_absent: there is nothing at the location.
        is_passing: the same may work later, as after a broken connection.
    """

    def __init__(
        self, location: str, reason: str, *, is_absent: bool = False, is_passing: bool = False
    ) -> None:
        super().__init__(f"{location} cannot be read: {reason}")
        self.location, self.reason = location, reason
        self.is_absent, self.is_passing = is_absent, is_passing

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors of workers are sent to the process that started them.
        return _storage_error, (self.location, self.reason, self.is_absent, self.is_passing)


def _storage_error(location: str, reason: str, is_absent: bool, is_passing: bool) -> StorageError:
    return StorageError(location, reason, is_absent=is_absent, is_passing=is_passing)


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
