"""Errors of client libraries in plain words: what is wrong with a location, and what to do."""

from __future__ import annotations

import errno

from tlcli.storage.locations import bucket_and_key, redacted, scheme_of

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
_THROTTLED = (errno.EBUSY, getattr(errno, "EREMOTEIO", errno.EIO))
_LOGIN = {
    "s3": "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for a public bucket "
    "FSSPEC_S3_ANON=true",
    "gs": "run gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS; for "
    "a public bucket FSSPEC_GS_TOKEN=anon",
}


def explain(error: BaseException, location: str) -> tuple[str, bool]:
    """Return why a location cannot be used, and whether that is because nothing is there.

    The reason contains neither the location nor a secret.
    """
    scheme = scheme_of(location)
    causes = _causes(error)
    names = {type(each).__name__ for each in causes}
    text = " ".join(" ".join(map(str, causes)).split())
    if any(isinstance(each, ImportError) for each in causes):
        return f"{scheme}:// needs another package: {_EXTRAS.get(scheme, scheme)}", False
    if names & _NO_CREDENTIALS:
        return f"no valid credentials are found; {_LOGIN.get(scheme, 'log in')}", False
    if any(isinstance(each, FileNotFoundError) for each in causes):
        if "bucket" in text.lower() and "does not exist" in text:
            bucket = bucket_and_key(location)[0]
            return f"there is no bucket {bucket!r}; check the name, and the account", True
        return "there is no such object", True
    if any(isinstance(each, PermissionError) for each in causes) or "Forbidden" in text:
        return (
            "access is denied; check the credentials, and the permissions that they give on this "
            "bucket",
            False,
        )
    if names & _UNREACHABLE:
        return "the server cannot be reached; check the network, the proxy and the address", False
    throttled = any(isinstance(each, OSError) and each.errno in _THROTTLED for each in causes)
    if throttled or "SlowDown" in text or " 503" in text or " 429" in text:
        return "the server is overloaded (503) in spite of several attempts; try later", False
    if names & _BROKEN:
        return "the connection broke in spite of several attempts; try again", False
    return redacted(str(error).split("\n")[0][:300]) or type(error).__name__, False


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and each not in found:
        found.append(each)
        each = each.__cause__ or each.__context__
    return found
