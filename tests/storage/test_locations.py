"""Locations: paths and URLs, and what of them is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlcli.storage.locations import below, bucket_and_key, is_url, scheme_of, text_of
from tlcli.text import redacted


@pytest.mark.parametrize(
    ("location", "scheme"),
    [
        ("s3://b/k", "s3"),
        ("S3A://b/k", "s3"),
        ("gs://b/k", "gs"),
        ("gcs://b/k", "gs"),
        ("hdfs://host:9000/k", "hdfs"),
        ("https://host/k", "http"),
        ("photos/a.jpg", ""),
        ("C:/photos", ""),
        ("ftp://host/k", ""),
        ("s3", ""),
    ],
)
def test_schemes(location: str, scheme: str) -> None:
    assert scheme_of(location) == scheme
    assert is_url(location) == bool(scheme)
    assert text_of(Path(location)) == location or not scheme


def test_parts() -> None:
    assert bucket_and_key("s3://b/k/a b.jpg") == ("b", "k/a b.jpg")
    assert bucket_and_key("s3://b") == ("b", "")
    assert below("s3://b/k/", "a/b.jpg") == "s3://b/k/a/b.jpg"
    assert below(Path("s3://b/k"), "a.jpg") == "s3://b/k/a.jpg"
    assert below("k", "a.jpg") == str(Path("k/a.jpg"))


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("https://me:word@host/a.jpg", "https://***@host/a.jpg"),
        ("https:/me:word@host/a.jpg", "https://***@host/a.jpg"),
        ("https://host/a.jpg?X-Amz-Signature=1", "https://host/a.jpg?..."),
        ("see https://host/a?b=1 and s3://key:word@b/k", "see https://host/a?... and s3://***@b/k"),
        ("s3://b/what?/a@b.jpg", "s3://b/what?/a@b.jpg"),
        ("photos/a@b.jpg?", "photos/a@b.jpg?"),
        ("no folder s3:/b/k; gs:/b", "no folder s3://b/k; gs://b"),
        ("C:/photos and ask:/x", "C:/photos and ask:/x"),
    ],
)
def test_secrets_are_not_shown(text: str, safe: str) -> None:
    assert redacted(text) == safe
    assert redacted(safe) == safe
