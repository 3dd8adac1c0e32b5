"""Pages of S3 listings: read as botocore reads them."""

from __future__ import annotations

from typing import Any

import botocore.parsers
import botocore.session
import pytest

from tlcli.storage.s3_pages import read_page

SPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
OBJECT = (
    "<Contents><Key>{key}</Key><LastModified>2026-01-02T03:04:05.678Z</LastModified>"
    "<ETag>&quot;0123-2&quot;</ETag>{more}<Size>{size}</Size></Contents>"
)


def page(*objects: str, space: str = SPACE) -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult{space}><Name>b</Name>'
        "<Prefix>a b/</Prefix><KeyCount>2</KeyCount><IsTruncated>true</IsTruncated>"
        f"{''.join(objects)}<NextContinuationToken>x&lt;y</NextContinuationToken>"
        "</ListBucketResult>"
    ).encode()


def parsed(body: bytes, status: int = 200, *, here: bool) -> dict[str, Any]:
    """Return what botocore makes of a page, with or without `read_page`."""
    service = botocore.session.get_session().get_service_model("s3")
    response = {"status_code": status, "headers": {}, "body": body}
    extra: dict[str, Any] = {}
    if here:
        read_page(response_dict=response, customized_response_dict=extra, model=None)
        assert status != 200 or b"<Contents" not in response["body"]
    shape = service.operation_model("ListObjectsV2").output_shape
    return {**botocore.parsers.RestXMLParser().parse(response, shape), **extra}


OWNER = "<Owner><ID>1</ID></Owner><ChecksumAlgorithm>CRC32</ChecksumAlgorithm>"


@pytest.mark.parametrize("space", [SPACE, ""])
def test_a_page_is_read_as_botocore_reads_it(space: str) -> None:
    body = page(
        OBJECT.format(key="a%20b/1&amp;2.jpg", size=7, more=""),
        OBJECT.format(key="튤립.jpg", size=0, more="<StorageClass>GLACIER</StorageClass>"),
        space=space,
    )
    found = parsed(body, here=True)
    assert len(found["Contents"]) == 2
    assert found == parsed(body, here=False)


def test_what_is_not_asked_for_is_left_out() -> None:
    body = page(OBJECT.format(key="1.jpg", size=7, more=OWNER))
    (mine,), (theirs,) = (parsed(body, here=here)["Contents"] for here in (True, False))
    assert mine == {name: theirs[name] for name in ("Key", "LastModified", "ETag", "Size")}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (page(), 200),
        (b"<Error><Code>SlowDown</Code><Message>Slow.</Message></Error>", 503),
    ],
)
def test_other_answers_are_left_to_botocore(body: bytes, status: int) -> None:
    found, theirs = (parsed(body, status, here=here) for here in (True, False))
    assert found == theirs


def test_a_broken_page_is_left_to_botocore() -> None:
    for body in (b"<ListBucketResult>", b"", page("<Contents><Key>1</Key></Contents>")):
        response, extra = {"status_code": 200, "headers": {}, "body": body}, {}
        read_page(response_dict=response, customized_response_dict=extra)
        assert (response["body"], extra) == (body, {})
