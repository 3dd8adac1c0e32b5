"""The commands of docs/storage.md, in their order, on a bucket of the name that they have."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.storage.s3_server import Bucket
from tests.support import ROOT, Trained, tlcli
from tests.test_documents import commands


@pytest.mark.slow
def test_commands_on_buckets(bucket: Bucket, trained: Trained, tmp_path: Path) -> None:
    bucket.client.create_bucket(Bucket="my-bucket")
    named = Bucket("my-bucket", bucket.client, bucket.faults)
    rows = ["path,label"]
    for number, path in enumerate(sorted(trained.photos.rglob("aerial*.jpg"))):
        name = path.relative_to(trained.photos).as_posix()
        named.put(f"photos/{name}", path.read_bytes())
        rows.append(f"photos/{name},{path.parent.name}")
        if number % 8 == 0:
            named.put(f"new_photos/{name}", path.read_bytes())
    named.put("photos.csv", "\n".join(rows).encode())
    lines = commands(ROOT / "docs" / "storage.md")
    assert len(lines) == 6
    for line in lines:
        program, *arguments = shlex.split(line.partition(" > ")[0])
        run = tlcli(*arguments, cwd=tmp_path, cache=trained.cache)
        assert (program, run.code) == ("tlcli", 0), run.err
    assert {"models/output_graph.pb", "models/from_table.pb"} <= set(named.names())
    assert len(named.names("labels/")) == 1
