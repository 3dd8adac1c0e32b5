"""Locations: paths of this machine, and the URLs of objects in a bucket or on a web server.

An `Entry` is a location with what a listing said of it.
"""

from __future__ import annotations

import os
from pathlib import PurePath

from tlcli.text import is_readable_url, redacted, url_of_path

Location = str | PurePath
"""A path or a URL; a `Path` of a URL has lost one of its slashes."""


class Entry(str):
    """The location of a file or an object, with what is known of it.

    Attributes:
        size: in bytes; None where it is unknown.
        change: differs after each change of the content: the ETag of an object, the time of a
            file; "" where there is no such mark.
    """

    __slots__ = ("change", "size")
    size: int | None
    change: str

    def __new__(cls, location: str, size: int | None = None, change: str = "") -> Entry:
        """Return the location with its facts."""
        made = super().__new__(cls, location)
        made.size, made.change = size, change
        return made

    def __getnewargs__(self) -> tuple[str, int | None, str]:  # type: ignore[override]
        return str(self), self.size, self.change

    @property
    def location(self) -> str:
        """The path or URL alone."""
        return str(self)


def is_url(location: Location) -> bool:
    """Return whether a location is the URL of something that can be read."""
    text = location if isinstance(location, str) else location.as_posix()
    return is_readable_url(text)


def text_of(location: Location) -> str:
    """Return a location as text; a URL with both of its slashes."""
    if isinstance(location, str):
        return location
    return url_of_path(location) if is_url(location) else os.fspath(location)


def scheme_of(location: str) -> str:
    """Return "s3", "gs", "hdfs" or "http" for a URL, and "" for a path."""
    if not is_url(location):
        return ""
    scheme = location.partition(":")[0].lower()
    return {"s3a": "s3", "gcs": "gs", "https": "http"}.get(scheme, scheme)


def bucket_and_key(location: str) -> tuple[str, str]:
    """Return the bucket and the key of an object, or of all objects below a prefix."""
    bucket, _, key = location.partition(":")[2].lstrip("/").partition("/")
    return bucket.rpartition("@")[2], key


def below(location: Location, name: str) -> str:
    """Return the location of a name, with "/" between its parts, in a folder."""
    if is_url(location):
        return f"{text_of(location).rstrip('/')}/{name}"
    return os.path.join(location, name)  # noqa: PTH118


def name_of(location: Location) -> str:
    """Return the last part of a location, without secrets."""
    return PurePath(shown(location).partition("?")[0] if is_url(location) else location).name


def shown(location: Location) -> str:
    """Return a location as messages, cards and reports write it: without secrets."""
    return redacted(text_of(location)) if is_url(location) else os.fspath(location)
