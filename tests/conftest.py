"""Fixtures that every test may use."""

from __future__ import annotations

import logging
import subprocess
import sys
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import lowest_versions
from tests.storage.s3_server import CREDENTIALS, Bucket, Faults, proxy, s3_server
from tests.support import ROOT, Trained, tlcli

NODE_BYTES = 100_000_000
SHARED = Path(__file__).resolve().parents[2] / "shared"
NO_SHARED = (
    f"these tests need the reference data at {SHARED}: photos and graphs of other projects under "
    "their own licences, which are not published with tlcli; all other tests ran"
)


def pytest_report_header() -> str:
    """Say at the start of a run which versions it tries."""
    return f"versions: {lowest_versions.installed()}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest tests, so that processes which share the tests end together."""
    items.sort(key=lambda item: "test_documents" not in item.nodeid)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of reference data; skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(NO_SHARED)
    return SHARED


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Give all tests without reference data one location: the summary folds them into a line."""
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple) and NO_SHARED in report.longrepr[2]:
        report.longrepr = (str(Path(__file__)), None, report.longrepr[2])  # type: ignore[assignment]
    return report


@pytest.fixture(scope="session")
def _trials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trials")


@pytest.fixture(autouse=True)
def _own_caches(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, _trials: Path
) -> None:
    """Give every test caches of its own, so that none meets what another left.

    What passed a trial run counts for all: a child that imports TensorFlow takes seconds.
    """
    cache = tmp_path_factory.mktemp("cache")
    (cache / "trials").symlink_to(_trials)
    monkeypatch.setenv("TLCLI_CACHE_DIR", str(cache))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Return a retraining on 48 drawn photos with one unreadable file among them."""
    folder = tmp_path_factory.mktemp("trained")
    script = str(ROOT / "examples" / "draw_houses.py")
    subprocess.run(
        [sys.executable, script, "--output", str(folder / "photos"), "--count", "48"], check=True
    )
    (folder / "photos" / "house_with_pool" / "broken.jpg").write_bytes(b"")
    run = tlcli(
        "retrain", "--image_dir", "photos", "--format", "json",
        "--how_many_training_steps", 300, "--print_misclassified_test_images",
        "--testing_percentage", 25,
        cwd=folder, cache=folder / "cache",
    )  # fmt: skip
    assert run.code == 0, run.err
    return Trained(folder, run)


@pytest.fixture(scope="session")
def _s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str, Faults]]:
    """Start an S3 server and the proxy in front of it; it takes seconds."""
    faults = Faults()
    with s3_server(tmp_path_factory.mktemp("s3")) as port, proxy(port, faults) as address:
        yield port, address, faults


@pytest.fixture
def bucket(_s3: tuple[int, str, Faults], monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """Return a new bucket, and let everything find its server as it finds any: by environment."""
    import boto3

    port, address, faults = _s3
    faults.reset()
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL_S3": address}.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}")
    name = f"photos-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)
    return Bucket(name, client, faults)


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a cluster of a head without CPUs and two nodes with one each."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster as Nodes

    # Workers import the module of the work.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    made = Nodes(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "object_store_memory": NODE_BYTES},
    )
    try:
        made.two = [made.add_node(num_cpus=1, object_store_memory=NODE_BYTES) for _ in range(2)]
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


@pytest.fixture(autouse=True)
def _logger_of_a_library() -> None:
    """Give each test the logger of a library: a command that ran before, for a test or for the
    fixture of a session, has set up its own."""
    logger = logging.getLogger("tlcli")
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


@pytest.fixture
def count_children(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], int]:
    """Return what counts the processes that were started since; no trial was run before."""
    monkeypatch.setenv("TLCLI_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
    started: list[object] = []
    real = subprocess.Popen

    def counted(*arguments: Any, **options: Any) -> Any:
        started.append(arguments)
        return real(*arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", counted)
    return lambda: len(started)
