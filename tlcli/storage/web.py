"""Files on web servers: reading alone, by requests, which follows proxies and ``~/.netrc``."""

from __future__ import annotations

import functools
import os
import time
from typing import Any

from tlcli.errors import StorageError
from tlcli.storage.failures import as_storage_error, quiet
from tlcli.storage.locations import Entry, shown

# Seconds for the connection, and between two bytes.
_PATIENCE = (10, 60)
_ATTEMPTS = 5
_RETRIED = (429, 500, 502, 503, 504)
_ABSENT = (404, 410)
_DENIED = (401, 403)


def entry(location: str) -> Entry | None:
    """Return what the server says of a file without sending it; None where there is none."""
    with _asked("HEAD", location) as answer:
        if answer.status_code in (*_ABSENT, 405, 501):  # the latter two: only GET is allowed
            return None if answer.status_code in _ABSENT else Entry(location)
        _check(answer, location)
        return _entry(answer, location)


def read(found: Entry, limit: int) -> bytes:
    """Return the content of a file; a connection that breaks is made again."""
    import requests

    for attempt in range(_ATTEMPTS):
        try:
            return _content(found.location, limit)
        # The retries of urllib3 end where the content begins.
        except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError) as e:
            if attempt + 1 == _ATTEMPTS:
                raise as_storage_error(e, found.location) from e
            time.sleep(0.1 * 2**attempt)
    raise AssertionError("the loop returns or raises")


def _content(location: str, limit: int) -> bytes:
    with _asked("GET", location) as answer:
        _check(answer, location)
        content = bytearray()
        for block in answer.iter_content(1 << 18):
            content += block
            if len(content) > limit:
                raise StorageError(shown(location), f"it is larger than {limit >> 20} MB")
        size = _entry(answer, location).size
        if size is not None and len(content) != size:
            import requests

            raise requests.exceptions.ChunkedEncodingError(f"{len(content)} of {size} bytes")
        return bytes(content)


def _asked(method: str, location: str) -> Any:
    import requests

    try:
        # Not compressed: the size would be that of the compressed content.
        return _session(os.getpid()).request(
            method,
            location,
            stream=True,
            timeout=_PATIENCE,
            allow_redirects=True,
            headers={"Accept-Encoding": "identity"},
        )
    except requests.exceptions.ChunkedEncodingError:
        raise
    except (requests.exceptions.RequestException, ValueError) as error:
        raise as_storage_error(error, location) from error


def _check(answer: Any, location: str) -> None:
    code = answer.status_code
    if code in _ABSENT:
        raise StorageError(shown(location), "there is no such file", is_absent=True)
    if code in _DENIED:
        raise StorageError(shown(location), f"access is denied ({code}); check the credentials")
    if code in _RETRIED:
        reason = f"the server fails ({code}) in spite of several attempts; try later"
        raise StorageError(shown(location), reason, is_passing=True)
    if code != 200:
        raise StorageError(shown(location), f"the server answers {code}")


def _entry(answer: Any, location: str) -> Entry:
    heads = answer.headers
    size = heads.get("Content-Length", "")
    encoded = heads.get("Content-Encoding", "identity") != "identity"
    # Addresses are remembered without their queries, which may tell files of one age apart.
    change = heads.get("ETag") or ("" if "?" in location else heads.get("Last-Modified")) or ""
    return Entry(location, int(size) if size.isdigit() and not encoded else None, change)


@functools.cache
def _session(process: int) -> Any:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util.retry import Retry

    quiet("urllib3")
    retries = Retry(
        total=_ATTEMPTS,
        connect=2,
        backoff_factor=0.2,
        status_forcelist=_RETRIED,
        raise_on_status=False,
        respect_retry_after_header=True,
    )
    session = requests.Session()
    for start in ("http://", "https://"):
        session.mount(start, HTTPAdapter(pool_maxsize=32, max_retries=retries))
    return session
