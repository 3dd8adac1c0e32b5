"""Fixtures that every test may use."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests import lowest_versions
from tests.storage.s3_server import CREDENTIALS, Bucket, Faults, proxy, s3_server
from tests.support import ROOT, Trained, last_commands, outputs_of, tlcli

# What decides how commands behave and print, of whoever runs the tests.
OF_THE_USER = (
    *("COLUMNS", "LINES", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "FORCE_COLOR"),
    *("KERAS_BACKEND", "KERAS_HOME", "TFHUB_CACHE_DIR", "TF_USE_LEGACY_KERAS", "RAY_ADDRESS"),
)
for _name in OF_THE_USER:
    os.environ.pop(_name, None)
os.umask(0o022)
# A process that was started in the background ignores Ctrl+C, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
# A result must not depend on how busy the machine is, nor on chance: the same inputs every time.
# `--hypothesis-profile=search` tries new ones.
settings.register_profile(
    "search", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("tlcli", settings.get_profile("search"), derandomize=True)
settings.load_profile("tlcli")

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
    """Show what failed commands printed, and fold the tests without reference data.

    The summary prints skipped tests of one location in one line.
    """
    report = yield
    if report.failed:
        report.sections += outputs_of(call.excinfo.value if call.excinfo else None)
    if call.when == "teardown":
        last_commands.clear()
    if report.skipped and isinstance(report.longrepr, tuple) and NO_SHARED in report.longrepr[2]:
        report.longrepr = (str(Path(__file__)), None, report.longrepr[2])  # type: ignore[assignment]
    return report


@pytest.fixture(scope="session", autouse=True)
def _trials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the folder of what passed a trial run.

    Commands of fixtures that serve several tests have a cache as well, not that of the user.
    """
    trials, cache = tmp_path_factory.mktemp("trials"), tmp_path_factory.mktemp("cache")
    (cache / "trials").symlink_to(trials)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TLCLI_CACHE_DIR", str(cache))
        yield trials


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
def bucket(
    _s3: tuple[int, str, Faults], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Bucket:
    """Return a new bucket, and let everything find its server as it finds any: by environment."""
    import boto3

    port, address, faults = _s3
    faults.reset()
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL_S3": address}.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}")
    # The same in each run: where a list of addresses is cut depends on them.
    name = f"photos-{sha256(request.node.nodeid.encode()).hexdigest()[:12]}"
    client.create_bucket(Bucket=name)
    return Bucket(name, client, faults)


@pytest.fixture(scope="module")
def _head() -> Iterator[Any]:
    """Start a Ray cluster of a head without CPUs; it takes seconds."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster as Nodes

    with pytest.MonkeyPatch.context() as patch:
        # Workers import the module of the work.
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        made = Nodes()
        made.two = []
        try:
            _add_node(made, 0)
            yield made
        finally:
            ray.shutdown()
            made.shutdown()


def _add_node(cluster: Any, cpus: int) -> Any:
    """Return a new node. Ray waits for it half a minute, which a busy machine may exceed."""
    for attempt in range(4):
        try:
            return cluster.add_node(
                num_cpus=cpus, object_store_memory=NODE_BYTES, include_dashboard=False
            )
        except Exception:  # Ray raises nothing narrower
            if attempt == 3:
                raise
    raise AssertionError


@pytest.fixture
def nodes(_head: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a cluster of a head without CPUs and two nodes with one each."""
    import ray

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    # Those that an earlier test lost are replaced, and those that it added go.
    _head.two = [node for node in _head.two if node in _head.worker_nodes]
    for node in set(_head.worker_nodes) - set(_head.two):
        _head.remove_node(node)
    while len(_head.two) < 2:
        _head.two.append(_add_node(_head, 1))
    yield _head
    ray.shutdown()


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
