"""The bound is set in processes of their own: it stays with the one that set it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tlcli.system import memory

resource = pytest.importorskip("resource")

_ASK = """
import resource
from tlcli.system import memory
bound = memory.bound_memory()
if bound is None:
    print("none")
else:
    bytearray(1 << 20)
    try:
        bytearray(bound + 1)
    except MemoryError:
        print("refused", bound)
    # Free memory changes between two calls, so the lower bound is the lowest there is.
    highest = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (memory.LOWEST_BOUND, highest))
    assert memory.bound_memory() is None
"""


def test_a_request_beyond_the_bound_fails_and_ends_nothing() -> None:
    if memory.memory()["available"] is None:
        pytest.skip("no /proc/meminfo")
    done = subprocess.run(
        [sys.executable, "-c", _ASK], capture_output=True, text=True, check=True, timeout=300
    )
    if done.stdout == "none\n":
        pytest.skip("a lower bound, or a GPU")
    word, bound = done.stdout.split()
    assert word == "refused"
    assert int(bound) >= memory.LOWEST_BOUND


def test_the_bound_is_that_of_the_container(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"total": 64 << 30, "available": 40 << 30, "limit": 20 << 30}
    asked = []
    monkeypatch.setattr(memory, "memory", lambda: found)
    monkeypatch.setattr(memory.Path, "exists", lambda path: False)
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (-1, -1))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: asked.append(limits))

    assert memory.bound_memory() == int(0.9 * (20 << 30))
    found["limit"] = None
    assert memory.bound_memory() == int(0.9 * (40 << 30))
    found["available"] = 5 << 30  # others have the rest for the moment
    assert memory.bound_memory() == 32 << 30
    found["limit"] = 1 << 30  # TensorFlow alone maps that much
    assert memory.bound_memory() == memory.LOWEST_BOUND
    monkeypatch.setattr(memory.Path, "exists", lambda path: path == Path("/dev/nvidiactl"))
    assert memory.bound_memory() is None
    expected = [int(0.9 * (20 << 30)), int(0.9 * (40 << 30)), 32 << 30, memory.LOWEST_BOUND]
    assert asked == [(bound, -1) for bound in expected]


def test_the_limit_is_the_lowest_of_the_groups_that_a_process_is_in(tmp_path: Path) -> None:
    groups, own = tmp_path / "groups", tmp_path / "own"
    for group, limit in (("a", "max"), ("a/job", "7000"), ("a/job/step", "9000"), ("b", "5")):
        (groups / group).mkdir(parents=True)
        (groups / group / "memory.max").write_text(f"{limit}\n")
    for text, expected in (
        ("0::/a/job/step\n", 7000),
        ("0::/a\n", None),
        ("0::/\n", None),
        ("nothing", None),
    ):
        own.write_text(text)
        assert memory.memory_limit(groups, own) == expected
    # The older interface.
    (groups / "memory" / "a").mkdir(parents=True)
    (groups / "memory" / "memory.limit_in_bytes").write_text(str((1 << 63) - 4096))
    (groups / "memory" / "a" / "memory.limit_in_bytes").write_text("300")
    own.write_text("9:name=systemd:/\n4:memory:/a\n0::/\n")
    assert memory.memory_limit(groups, own) == 300


def test_the_bound_of_ulimit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory", lambda: {"total": 9, "available": 8, "limit": 6})
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (-1, -1))
    assert memory.usable_memory() == 6
    monkeypatch.setattr(
        resource, "getrlimit", lambda kind: (5, 9) if kind == resource.RLIMIT_AS else (-1, -1)
    )
    assert memory.usable_memory() == 5
