"""Credentials of buckets: from the usual chain, and nowhere in what a run prints or writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.storage.s3_server import CREDENTIALS, Bucket
from tests.support import Trained, tlcli


@pytest.mark.slow
def test_signed_addresses_leave_no_secret_anywhere(
    bucket: Bucket, trained: Trained, tmp_path: Path
) -> None:
    rows = ["path,label"]
    for path in sorted(trained.photos.rglob("*.jpg")):
        name = path.relative_to(trained.photos).as_posix()
        bucket.put(name, path.read_bytes())
        signed = bucket.client.generate_presigned_url(
            "get_object", Params={"Bucket": bucket.name, "Key": name}
        )
        rows.append(f"{signed},{path.parent.name}")
    bucket.put("list.csv", "\n".join(rows).encode())
    manifest = bucket.client.generate_presigned_url(
        "get_object", Params={"Bucket": bucket.name, "Key": "list.csv"}
    )
    run = tlcli(
        *("retrain", "--manifest", manifest, "--how_many_training_steps", 100),
        *("--logging_verbosity", "DEBUG", "--print_misclassified_test_images"),
        cwd=tmp_path, cache=tmp_path / "cache",
    )  # fmt: skip
    assert run.code == 0, run.err
    assert "broken.jpg?... is skipped" in run.err
    texts = {"out": run.out.encode(), "err": run.err.encode()}
    texts |= {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert any(name.endswith(".sqlite") for name in texts)
    for name, content in texts.items():
        for secret in (b"Signature", b"AWSAccessKeyId", *map(str.encode, _secrets())):
            found = content.find(secret)
            assert found < 0, (name, content[max(0, found - 200) : found + 20])


@pytest.mark.slow
def test_keys_of_the_chain_leave_no_trace(bucket: Bucket, trained: Trained, tmp_path: Path) -> None:
    bucket.put_tree(trained.photos, "photos")
    run = tlcli(
        *("retrain", "--image_dir", f"{bucket.url}/photos", "--how_many_training_steps", 100),
        *("--logging_verbosity", "DEBUG"),
        cwd=tmp_path, cache=tmp_path / "cache",
    )  # fmt: skip
    assert run.code == 0, run.err
    texts = {"out": run.out.encode(), "err": run.err.encode()}
    texts |= {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for name, content in texts.items():
        assert not any(secret.encode() in content for secret in _secrets()), name
        # Addresses keep both of their slashes.
        assert b"s3:/" + bucket.name.encode() not in content, name
    assert f"{bucket.url}/photos" in (tmp_path / "output_graph.json").read_text()


def _secrets() -> list[str]:
    return [CREDENTIALS[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]


def test_a_missing_package_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s3fs.py").write_text("raise ImportError('not here')")
    (tmp_path / "fsspec.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    run = tlcli("retrain", "--image_dir", "s3://photos/all", cwd=tmp_path)
    assert run.code == 1
    assert run.err == (
        "Error: s3://photos/all cannot be read: s3:// needs another package: "
        "pip install 'tlcli[s3]'\n"
    )


@pytest.mark.slow
def test_without_credentials_a_sentence_says_how_to_log_in(
    bucket: Bucket, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put_tree(trained.photos, "photos")
    for key in bucket.names():
        bucket.client.put_object_acl(Bucket=bucket.name, Key=key, ACL="public-read")
    bucket.client.put_bucket_acl(Bucket=bucket.name, ACL="public-read")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    command = ("label", f"{bucket.url}/photos/house_with_pool/*00.jpg", "--graph", trained.graph)
    run = tlcli(*command, cwd=tmp_path)
    assert run.code == 1
    assert "no valid credentials are found; set AWS_PROFILE" in run.err
    monkeypatch.setenv("FSSPEC_S3_ANON", "true")
    assert tlcli(*command, cwd=tmp_path).code == 0
