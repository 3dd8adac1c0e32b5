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


def download(
    url: str,
    place: Path,
    *,
    what: str,
    offline: str,
    checksum: str = "",
    progress: Progress | None = None,
) -> Path:
    """Fetch ``url`` to ``place`` unless the file is there, and return ``place``.

    Two processes that want the same file download it once: the second waits.

    Args:
        url: http or https.
        place: where the file goes; written beside it and renamed.
        what: what the file is, for messages ("the weights of resnet50").
        offline: the end of an error's sentence: what to do without a network.
        checksum: SHA-256 or MD5 (hex) that the content must have, "" for none.
        progress: called with (what, bytes so far, bytes in all or 0).

    Raises:
        DownloadError: one sentence with the cause and ``offline``.
        OutputError: ``place`` cannot be written.
    """
    with only_one(place):
        if place.is_file():
            return place
        _log.info("downloading %s from %s", what, url)
        with explained(what, url, offline):
            check_reachable(url)
            _fetch(url, place, what, checksum, progress)
    return place


def _fetch(url: str, place: Path, what: str, checksum: str, progress: Progress | None) -> None:
    digest = hashlib.sha256() if len(checksum) == 64 else hashlib.md5(usedforsecurity=False)
    request = urllib.request.Request(url, headers={"User-Agent": "tlcli"})
    with urllib.request.urlopen(request, timeout=READ_SECONDS) as answer:
        total = int(answer.headers.get("Content-Length") or 0)
        done = 0
        with atomic_path(place) as temporary, temporary.open("wb") as file:
            while block := _read(answer):
                file.write(block)
                digest.update(block)
                done += len(block)
                if progress is not None:
                    progress(what, done, total)
            # Inside the block: a file that is not what it should be is never renamed.
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
def explained(what: str, url: str, offline: str) -> Iterator[None]:
    """Turn whatever a download raises into a `DownloadError` of one sentence."""
    try:
        yield
    except (DownloadError, OutputError):
        raise
    except (OSError, ValueError, EOFError, _Broken, tarfile.TarError, zlib.error) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise failed(what, url, cause(error), offline) from error
    except http.client.HTTPException as error:
        raise failed(what, url, "its answer is not HTTP", offline) from error


def failed(what: str, url: str, reason: str, offline: str) -> DownloadError:
    """Return the sentence for a download that failed."""
    host = urllib.parse.urlsplit(url).netloc.rpartition("@")[2] or url
    return DownloadError(f"cannot download {what} from {host}: {reason}; {offline}")


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


def check_reachable(url: str, seconds: float | None = None) -> None:
    """Connect once to the server of ``url``, or to its proxy, in ``seconds`` at most.

    Looking a name up has no time limit of its own, and a name with many addresses has the
    limit once for each: this bounds both.

    Raises:
        OSError: not reachable.
    """
    limit = CONNECT_SECONDS if seconds is None else seconds
    target = _peer(url)
    if target is None:
        return
    outcome: list[BaseException | None] = []

    def connect() -> None:
        try:
            socket.create_connection(target, timeout=limit).close()
            outcome.append(None)
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=connect, daemon=True, name="tlcli-reachable")
    thread.start()
    thread.join(limit)
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
def bounded_sockets() -> Iterator[None]:
    """Give sockets that a library opens without a limit one of `READ_SECONDS`."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(READ_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextmanager
def only_one(place: Path) -> Iterator[None]:
    """Hold a lock for ``place`` against other processes; a killed holder lets it go.

    Raises:
        OutputError: the folder cannot be written.
    """
    from tlcli.system.atomic_files import output_error

    lock = place.parent / f".{place.name}.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("ab")
    except OSError as error:
        raise output_error(place, error) from error
    with file:
        try:
            import fcntl
        except ImportError:  # Windows: two downloads then, each written beside and renamed
            yield
            return
        # Some network folders know no locks; then two downloads are the worst that happens.
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
