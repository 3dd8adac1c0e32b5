"""Children of trial runs that are forked from a process which has imported all they need.

What a child does is the product's own code; only its start, which takes seconds with TensorFlow,
is left out, so that a fuzzer tries thousands of files an hour.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.support import ROOT
from tlcli.runtime.child_process import Ending

_SECONDS = 20.0


class ForkedChild:
    """What `tlcli.runtime.child_process.ChildProcess` is, from one server for all of a kind."""

    _servers: dict[str, subprocess.Popen[str]] = {}  # noqa: RUF012

    def __init__(self, target: str, request: Mapping[str, Any], seconds: float) -> None:
        # A process without TensorFlow forks in a fraction of the time.
        kind = "litert" if request["litert"] else "all"
        server = self._servers.get(kind)
        if server is None or server.poll() is not None:
            server = self._servers[kind] = subprocess.Popen(
                [sys.executable, "-m", "tests.fuzz.fork_server", kind],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        assert server.stdin is not None
        given = {"target": target, "request": dict(request), "seconds": min(seconds, _SECONDS)}
        server.stdin.write(json.dumps(given) + "\n")
        server.stdin.flush()
        self._server = server

    def wait(self) -> Ending:
        """Return how the child ended."""
        assert self._server.stdout is not None
        return Ending(**json.loads(self._server.stdout.readline()))

    def __enter__(self) -> ForkedChild:
        return self

    def __exit__(self, *error: object) -> None:
        pass


_LIGHT = ("ai_edge_litert.interpreter", "tlcli.core.classifier.trial_child")
_HEAVY = (
    *("PIL.PngImagePlugin", "tlcli.core.classifier.load_frozen", "tlcli.litert.writer"),
    *("tlcli.core.classifier.load_saved_model", "tlcli.core.classifier.loading"),
    "tlcli.graph.simplify",
)


def serve(kind: str) -> None:
    """Fork a child for each line of standard input; with ``kind`` "litert" without TensorFlow."""
    for name in _LIGHT if kind == "litert" else _LIGHT + _HEAVY:
        import_module(name)
    if kind != "litert":
        from tlcli.runtime.tensorflow import import_tensorflow

        import_tensorflow()
    answers = os.dup(1)
    os.dup2(2, 1)
    for line in sys.stdin:
        with tempfile.TemporaryDirectory() as folder:
            given = json.loads(line) | {"folder": folder, "parent": os.getpid()}
            os.write(answers, (json.dumps(_child(given)) + "\n").encode())


def _child(given: dict[str, Any]) -> dict[str, Any]:
    taken, left = os.pipe()
    process = os.fork()
    if process == 0:
        from tlcli.runtime.confinement import answer_request

        try:
            os.setsid()
            os.close(taken)
            os.dup2(left, 1)
            given["processor_seconds"] = 60
            tempfile.tempdir = given["folder"]
            answer_request(given)
        finally:
            os._exit(1)
    os.close(left)
    answer, in_time = b"", True
    deadline = time.monotonic() + given["seconds"]
    with selectors.DefaultSelector() as selector, os.fdopen(taken, "rb", 0) as pipe:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                in_time = False
                break
            block = pipe.read(1 << 16)
            if not block:
                break
            answer += block
    if not in_time:
        os.killpg(process, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if in_time and status == 0:
        return {"answer": json.loads(answer)}
    reason = f"exit code {status}" if status >= 0 else str(signal.strsignal(-status)).lower()
    if not in_time:
        reason = f"did not end within {given['seconds']:.0f} seconds"
    return {"answer": None, "reason": reason, "in_time": in_time}


if __name__ == "__main__":
    sys.path.insert(0, str(Path(ROOT)))
    serve(sys.argv[1])
