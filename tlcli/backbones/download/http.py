"""Files from the network: checked, whole or not there, and failing within seconds.

A download is the only thing here that may take long, and only while bytes arrive.
Everything before the first byte (name, connection, answer) is bounded.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import socket
import ssl
import tarfile
import threading
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tlcli.errors import DownloadError, OutputError
from tlcli.progress import Progress
from tlcli.system.atomic_files import atomic_path

# A server that works answers within a second or two; ten are generous for a bad line.
CONNECT_SECONDS = 10.0
# Each read; a server that trickles is slow, one that is silent is gone.
READ_SECONDS = 20.0
_BLOCK = 1 << 18

_log = logging.getLogger("tlcli")


@dataclass(frozen=True)
class RemoteFile:
    """A file on a server.

    Attributes:
        url: http or https.
        what: what the file is, for messages ("the weights of resnet50").
        offline: the end of an error's sentence: what to do without a network.
        checksum: SHA-256 or MD5 (hex) of the content, "" where none is published.
    """

    url: str
    what: str
    offline: str
    checksum: str = ""

    def failed(self, reason: str) -> DownloadError:
        """Return the error for a failed download."""
        host = urllib.parse.urlsplit(self.url).netloc.rpartition("@")[2] or self.url
        return DownloadError(f"cannot download {self.what} from {host}: {reason}; {self.offline}")


def download(remote: RemoteFile, path: Path, progress: Progress | None = None) -> Path:
    """Fetch a file to ``path`` unless it is there, and return ``path``.

    If two processes need the same file, it is downloaded once: the second waits.

    Args:
        remote: the file.
        path: written under a temporary name in the same folder and renamed.
        progress: called with (what, bytes so far, bytes in all or 0).

    Raises:
        DownloadError: one sentence with the cause and what to do without a network.
        OutputError: ``path`` cannot be written.
    """
    with only_one(path):
        if path.is_file():
            return path
        _log.info("downloading %s from %s", remote.what, remote.url)
        with explained(remote):
            check_reachable(remote.url)
            _fetch(remote, path, progress)
    return path


def _fetch(remote: RemoteFile, path: Path, progress: Progress | None) -> None:
    url, checksum = remote.url, remote.checksum
    digest = hashlib.sha256() if len(checksum) == 64 else hashlib.md5(usedforsecurity=False)
    request = urllib.request.Request(url, headers={"User-Agent": "tlcli"})
    with urllib.request.urlopen(request, timeout=READ_SECONDS) as answer:
        total = int(answer.headers.get("Content-Length") or 0)
        done = 0
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            while block := _read(answer):
                file.write(block)
                digest.update(block)
                done += len(block)
                if progress is not None:
                    progress(remote.what, done, total)
            # Inside the block: a wrong file is never renamed.
            if total and done < total:
                raise _Broken(f"it ended after {done:,} of {total:,} bytes")
            if checksum and digest.hexdigest() != checksum:
                raise _Broken(
                    f"what arrived is not the published file (checksum {digest.hexdigest()[:12]}"
                    f" instead of {checksum[:12]})"
                )


def _read(answer: http.client.HTTPResponse) -> bytes:
    try:
        return answer.read(_BLOCK)
    except http.client.HTTPException as error:
        raise _Broken(f"the connection broke ({type(error).__name__})") from error
    except OSError as error:
        # Not as OSError: the block that writes the file would take it for a full disk.
        raise _Broken(cause(error)) from error


class _Broken(Exception):
    """A download that arrived wrong; the text is the cause."""


@contextmanager
def explained(remote: RemoteFile) -> Iterator[None]:
    """Turn whatever a download raises into a `DownloadError` of one sentence."""
    try:
        yield
    except (DownloadError, OutputError):
        raise
    except (OSError, ValueError, EOFError, _Broken, tarfile.TarError, zlib.error) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise remote.failed(cause(error)) from error
    except http.client.HTTPException as error:
        raise remote.failed("its answer is not HTTP") from error


def cause(error: BaseException) -> str:
    """Return in a few words why a download failed."""
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answers {error.code} ({error.reason})"
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, BaseException):
        return cause(error.reason)
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved, so this machine seems to be offline"
    if isinstance(error, TimeoutError):
        return f"it does not answer within {CONNECT_SECONDS:.0f} seconds"
    if isinstance(error, ssl.SSLError):
        return f"no secure connection ({error.reason or error})"
    if isinstance(error, ConnectionRefusedError):
        return "the connection is refused"
    if isinstance(error, (tarfile.TarError, EOFError, zlib.error)):
        return "what it sent is not a whole tar archive"
    text = str(getattr(error, "strerror", None) or getattr(error, "reason", None) or error)
    return " ".join(text.split()) or type(error).__name__


def check_reachable(url: str) -> None:
    """Connect once to the server of ``url``, or to its proxy, in `CONNECT_SECONDS` at most.

    Looking up a name has no time limit of its own, and the limit of a connection applies to
    each of the name's addresses; this bounds both.

    Raises:
        OSError: not reachable.
    """
    target = _peer(url)
    if target is None:
        return
    outcome: list[BaseException | None] = []

    def connect() -> None:
        try:
            socket.create_connection(target, timeout=CONNECT_SECONDS).close()
            outcome.append(None)
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=connect, daemon=True, name="tlcli-reachable")
    thread.start()
    thread.join(CONNECT_SECONDS)
    if not outcome:
        raise TimeoutError
    if outcome[0] is not None:
        raise outcome[0]


def _peer(url: str) -> tuple[str, int] | None:
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname
    if parts.scheme not in ("http", "https") or not host:
        return None
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(host):
        parts = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        host = parts.hostname
        if not host:
            return None
    return host, parts.port or (443 if parts.scheme == "https" else 80)


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold a lock for ``path`` against other processes; it ends with the process that holds it.

    Raises:
        OutputError: the folder cannot be written.
    """
    from tlcli.system.atomic_files import output_error

    lock = path.parent / f".{path.name}.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("ab")
    except OSError as error:
        raise output_error(path, error) from error
    with file:
        # Windows has no fcntl, and some network folders no locks: then both processes download,
        # each under its own temporary name.
        with suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
