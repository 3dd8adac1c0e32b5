"""Objects in buckets and on HDFS through fsspec; each function is one of `objects`."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

from tlcli.errors import OutputError, StorageError
from tlcli.storage import s3_pages, web
from tlcli.storage.failures import as_storage_error, explain, no_bucket, quiet
from tlcli.storage.locations import Entry, bucket_and_key, shown

CONNECTIONS = 32
"""Requests of this process that run at the same time at most."""
# With the waits between them about half a minute; then s3fs tries again, five times in all.
_ATTEMPTS = 5
# Objects of more bytes are uploaded in parts of that many.
_PART = 16 << 20


def entries(location: str, scheme: str) -> Iterator[Entry]:
    """Yield the objects below a prefix; see `objects.entries`."""
    if scheme == "http":
        raise StorageError(
            shown(location),
            "a web server lists no files; give a --manifest with the URLs of the images",
        )
    with _explained(location):
        yield from _LISTS[scheme](location)


def _s3_entries(location: str) -> Iterator[Entry]:
    bucket, prefix = _prefix(location)
    start = location.partition("//")[0] + f"//{bucket}/"
    options = {"Bucket": bucket, "Prefix": prefix}
    while True:
        page = _filesystem("s3").call_s3("list_objects_v2", **options)
        for found in page.get("Contents", ()):
            if not found["Key"].endswith("/"):  # what consoles make for an empty folder
                yield Entry(start + found["Key"], found["Size"], found["ETag"].strip('"'))
        if not page.get("IsTruncated"):
            return
        options["ContinuationToken"] = page["NextContinuationToken"]


def _gs_entries(location: str) -> Iterator[Entry]:
    bucket, prefix = _prefix(location)
    start = location.partition("//")[0] + f"//{bucket}/"
    options = {"prefix": prefix, "maxResults": 1000}
    while True:
        try:
            page = _filesystem("gs").call("GET", "b/{}/o", bucket, json_out=True, **options)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"the bucket {bucket} does not exist") from error
        for found in page.get("items", ()):
            if not found["name"].endswith("/"):
                yield Entry(start + found["name"], int(found["size"]), _gs_change(found))
        if not page.get("nextPageToken"):
            return
        options["pageToken"] = page["nextPageToken"]


def _hdfs_entries(location: str) -> Iterator[Entry]:
    files, path = _hdfs(location)
    start = location.removesuffix(path.lstrip("/")).rstrip("/")
    for folder, _, found in files.walk(path, detail=True):
        for name in sorted(found):
            facts = found[name]
            where = f"{start}/{folder.strip('/')}/{name}"
            yield Entry(where, facts["size"], str(facts.get("mtime", "")))


def _s3_entry(location: str) -> Entry:
    bucket, key = bucket_and_key(location)
    found = _filesystem("s3").call_s3("head_object", Bucket=bucket, Key=key)
    return Entry(location, found["ContentLength"], found["ETag"].strip('"'))


def _gs_entry(location: str) -> Entry:
    bucket, key = bucket_and_key(location)
    found = _filesystem("gs").call("GET", "b/{}/o/{}", bucket, key, json_out=True)
    return Entry(location, int(found["size"]), _gs_change(found))


def _hdfs_entry(location: str) -> Entry:
    files, path = _hdfs(location)
    found = files.info(path)
    return Entry(location, found["size"], str(found.get("mtime", "")))


def _gs_change(found: dict[str, Any]) -> str:
    return str(found.get("etag") or found.get("generation") or "")


def entry(location: str, scheme: str) -> Entry | None:
    """Return the facts of one object; see `objects.entry`."""
    if scheme == "http":
        return web.entry(location)
    if scheme != "hdfs" and not bucket_and_key(location)[1]:
        return None
    try:
        with _explained(location):
            return _ENTRIES[scheme](location)
    except StorageError as error:
        if error.is_absent:
            return None
        raise


def read(entry_of: Entry, scheme: str, limit: int) -> bytes:
    """Return the content of an object; see `objects.read`."""
    if scheme == "http":
        return web.read(entry_of, limit)
    location = entry_of.location
    size = entry_of.size
    with _explained(location):
        files, path = _opened(location, scheme)
        if size is None:
            try:
                size = _ENTRIES[scheme](location).size
            except FileNotFoundError:
                # The answer does not tell an absent object from an absent bucket; a listing does.
                next(_LISTS[scheme](location), None)
                raise
        assert size is not None
        if size > limit:
            raise StorageError(shown(location), f"it is larger than {limit >> 20} MB")
        content: bytes = files.cat_file(path) if size else b""
    return _whole(location, content, size)


def read_end(entry_of: Entry, scheme: str, count: int) -> bytes:
    """Return the last bytes of an object; see `objects.read_end`."""
    location, size = entry_of.location, entry_of.size or 0
    start = max(0, size - count)
    with _explained(location):
        files, path = _opened(location, scheme)
        content: bytes = files.cat_file(path, start=start, end=size) if size else b""
    return _whole(location, content, size - start)


def _whole(location: str, content: bytes, size: int) -> bytes:
    """Return what arrived of ``size`` bytes.

    Raises:
        StorageError: it is not all.
    """
    if len(content) != size:
        raise StorageError(
            shown(location), f"{len(content)} of {size} bytes arrived, or it was changed meanwhile"
        )
    return content


def write(location: str, scheme: str, parts: Iterable[bytes]) -> None:
    """Write an object; see `objects.write`."""
    with _writing(location):
        files, path = _opened(location, scheme)
        # A rename makes a file of HDFS appear; a bucket shows an object when its upload ends.
        target = f"{path}.tlcli-tmp-{os.getpid()}" if scheme == "hdfs" else path
        file = files.open(target, "wb", block_size=_PART)
    try:
        for part in parts:  # whose own errors stay what they are
            with _writing(location):
                file.write(part)
    except BaseException:
        _give_up(files, file, target, scheme)
        raise
    with _writing(location):
        file.close()
        if scheme == "hdfs":
            files.mv(target, path)


def _give_up(files: Any, file: Any, target: str, scheme: str) -> None:
    with suppress(Exception):
        if scheme == "hdfs":
            file.close()
            files.rm_file(target)
        else:
            file.discard()
    # Its end would otherwise upload what it has.
    file.closed = True


def check_writable(folder: str, scheme: str) -> None:
    """Check that objects can be written below a URL; see `objects.check_writable`."""
    if scheme == "http":
        raise OutputError(f"cannot write {shown(folder)}: web servers are read only")
    with _writing(folder):
        if scheme == "s3":
            # An upload that is begun and given up needs the same permission, and is no object.
            bucket, prefix = _prefix(folder)
            which = {"Bucket": bucket, "Key": f"{prefix}.tlcli-check"}
            begun = _filesystem("s3").call_s3("create_multipart_upload", **which)
            with suppress(Exception):  # some may write and not give up; the server removes it
                _filesystem("s3").call_s3(
                    "abort_multipart_upload", UploadId=begun["UploadId"], **which
                )
        else:
            with suppress(FileNotFoundError) if scheme == "hdfs" else nullcontext():
                next(_LISTS[scheme](folder), None)


def remove(location: str, scheme: str) -> None:
    """Remove an object; see `objects.remove`."""
    if scheme == "http":
        raise OutputError(f"cannot remove {shown(location)}: web servers are read only")
    with _writing(location), suppress(FileNotFoundError):
        files, path = _opened(location, scheme)
        files.rm_file(path)


@contextmanager
def _explained(location: str) -> Iterator[None]:
    """Turn the errors of client libraries into `StorageError`."""
    try:
        yield
    except (StorageError, GeneratorExit):
        raise
    except Exception as error:
        raise as_storage_error(error, location) from error


@contextmanager
def _writing(location: str) -> Iterator[None]:
    """Turn the errors of client libraries into `OutputError`."""
    try:
        yield
    except OutputError:
        raise
    except Exception as error:
        failure = explain(error, location)
        # Nothing need be there before: what is absent is the bucket.
        bucket = bucket_and_key(location)[0]
        reason = no_bucket(bucket) if failure.is_absent else failure.reason
        raise OutputError(f"cannot write {shown(location)}: {reason}") from error


def _prefix(location: str) -> tuple[str, str]:
    bucket, key = bucket_and_key(location)
    key = key.rstrip("/")
    return bucket, f"{key}/" if key else ""


def _opened(location: str, scheme: str) -> tuple[Any, str]:
    """Return the filesystem of a location, and what it is called there."""
    if scheme == "hdfs":
        return _hdfs(location)
    return _filesystem(scheme), "/".join(bucket_and_key(location))


def _hdfs(location: str) -> tuple[Any, str]:
    import fsspec

    files, path = fsspec.core.url_to_fs(location, use_listings_cache=False)
    return files, path


def _filesystem(scheme: str) -> Any:
    with _lock:
        # A forked process has no thread for the requests of its parent.
        return _of_process(scheme, os.getpid())


@functools.cache
def _of_process(scheme: str, process: int) -> Any:
    import fsspec

    quiet("s3fs", "gcsfs", "fsspec", "aiobotocore", "botocore", "google")
    # Listings are not kept: they would take a kilobyte for each object.
    options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
    if scheme == "s3":
        retries: dict[str, Any] = {}
        if "AWS_MAX_ATTEMPTS" not in os.environ:
            retries["max_attempts"] = _ATTEMPTS
        if "AWS_RETRY_MODE" not in os.environ:
            retries["mode"] = "standard"
        options["config_kwargs"] = {
            "retries": retries,
            "connect_timeout": 10,
            "read_timeout": 60,
            "max_pool_connections": CONNECTIONS,
        }
        # An image is one request; s3fs would otherwise ask for its size before each.
        options["max_concurrency"] = 1
        options["session"] = s3_pages.session()
    if scheme == "gs":
        # The registered class asks for the kind of each bucket first, by another client.
        from gcsfs.core import GCSFileSystem

        return GCSFileSystem(**options)
    return fsspec.filesystem(scheme, **options)


_lock = threading.Lock()
_LISTS: dict[str, Callable[[str], Iterator[Entry]]] = {
    "s3": _s3_entries,
    "gs": _gs_entries,
    "hdfs": _hdfs_entries,
}
_ENTRIES: dict[str, Callable[[str], Entry]] = {
    "s3": _s3_entry,
    "gs": _gs_entry,
    "hdfs": _hdfs_entry,
}
