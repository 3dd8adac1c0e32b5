"""Errors of client libraries in plain words: what is wrong with a location, and what to do."""

from __future__ import annotations

import errno
import logging
from typing import NamedTuple

from tlcli.errors import StorageError
from tlcli.storage.locations import bucket_and_key, scheme_of, shown
from tlcli.text import redacted

_EXTRAS = {
    "s3": "pip install 'tlcli[s3]'",
    "gs": "pip install 'tlcli[gcs]'",
    "hdfs": "pip install fsspec pyarrow, and the Hadoop client with its CLASSPATH",
}
# Classes of botocore, aiohttp, requests and google-auth, by name: importing one of them to
# compare would load a client library that may not be installed.
_UNREACHABLE = frozenset(
    {
        *("EndpointConnectionError", "ConnectTimeoutError", "ConnectionError", "ConnectTimeout"),
        *("ClientConnectorError", "ClientConnectorDNSError", "ConnectionClosedError"),
        *("ProxyConnectionError", "ProxyError", "SSLError", "ConnectionRefusedError"),
    }
)
_BROKEN = frozenset(
    {
        *("ClientPayloadError", "IncompleteReadError", "IncompleteRead", "ChunkedEncodingError"),
        *("ResponseStreamingError", "ReadTimeoutError", "ReadTimeout", "ServerDisconnectedError"),
        *("ProtocolError", "TimeoutError", "FSTimeoutError", "ClientOSError", "HTTPClientError"),
        *("ChecksumError", "ConnectionResetError", "ServerTimeoutError"),
    }
)
_NO_CREDENTIALS = frozenset(
    {
        *("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"),
        *("DefaultCredentialsError", "RefreshError", "TokenRetrievalError", "ProfileNotFound"),
        *("SSOTokenLoadError", "UnauthorizedSSOTokenError"),
    }
)
_NO_HADOOP = (
    "the Hadoop client is missing; install Hadoop and Java, and set HADOOP_HOME, JAVA_HOME and "
    "CLASSPATH, the latter to what `hadoop classpath --glob` prints"
)
_THROTTLED = (errno.EBUSY, getattr(errno, "EREMOTEIO", errno.EIO))
_silence = logging.NullHandler()
_LOGIN = {
    "s3": "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for a public bucket "
    "FSSPEC_S3_ANON=true",
    "gs": "run gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS; for "
    "a public bucket FSSPEC_GS_TOKEN=anon",
}


class Failure(NamedTuple):
    """Why a location cannot be used.

    Attributes:
        reason: without the location and without secrets.
        is_absent: nothing is there.
        is_passing: the same may work later, or with other settings of this machine.
    """

    reason: str
    is_absent: bool = False
    is_passing: bool = False


def explain(error: BaseException, location: str) -> Failure:
    """Return what an error of a client library means."""
    scheme = scheme_of(location)
    causes = _causes(error)
    names = {type(each).__name__ for each in causes}
    text = " ".join(" ".join(map(str, causes)).split())
    if any(isinstance(each, ImportError) for each in causes):
        need = f"{scheme}:// needs another package: {_EXTRAS.get(scheme, scheme)}"
        return Failure(need, is_passing=True)
    if scheme == "hdfs" and ("libhdfs" in text or "libjvm" in text):
        return Failure(_NO_HADOOP, is_passing=True)
    if names & _NO_CREDENTIALS:
        login = _LOGIN.get(scheme, "log in")
        return Failure(f"no valid credentials are found; {login}", is_passing=True)
    if any(isinstance(each, FileNotFoundError) for each in causes):
        if "bucket" in text.lower() and "does not exist" in text:
            bucket = bucket_and_key(location)[0]
            return Failure(no_bucket(bucket), True)
        return Failure("there is no such object", True)
    if any(isinstance(each, PermissionError) for each in causes) or "Forbidden" in text:
        return Failure(
            "access is denied; check the credentials, and the permissions that they give on this "
            "bucket"
        )
    if names & _UNREACHABLE:
        return Failure(
            "the server cannot be reached; check the network, the proxy and the address",
            is_passing=True,
        )
    throttled = any(isinstance(each, OSError) and each.errno in _THROTTLED for each in causes)
    if throttled or "SlowDown" in text or " 503" in text or " 429" in text:
        return Failure(
            "the server is overloaded (503) in spite of several attempts; try later",
            is_passing=True,
        )
    if names & _BROKEN:
        return Failure(
            "the connection broke in spite of several attempts; try again", is_passing=True
        )
    return Failure(redacted(str(error).split("\n")[0][:300]) or type(error).__name__)


def no_bucket(name: str) -> str:
    """Return that a bucket is absent, and what to do."""
    return f"there is no bucket {name!r}; check the name, and the account"


def quiet(*names: str) -> None:
    """Keep the log lines of client libraries off the terminal of a program without logging.

    They repeat the errors that are explained here, some with the queries of signed URLs.
    """
    for name in names:
        logging.getLogger(name).addHandler(_silence)


def as_storage_error(error: BaseException, location: str) -> StorageError:
    """Return the error of reading that an error of a client library means."""
    found = explain(error, location)
    return StorageError(
        shown(location), found.reason, is_absent=found.is_absent, is_passing=found.is_passing
    )


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and each not in found:
        found.append(each)
        each = each.__cause__ or each.__context__
    return found
