"""Run a contender in a process of its own and measure time, processor time and peak memory.

This module must stay light: on Linux a child's peak memory starts at that of its parent.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# Exit code of a contender that cannot run here; its last line on standard error states why.
NOT_HERE = 3
_UNIT = 1 if sys.platform == "darwin" else 1024


class ContenderError(Exception):
    """A contender yielded no figure; the message states why."""


class UnavailableError(Exception):
    """Raised inside a contender that cannot do its task on this machine; states why."""


@dataclass(frozen=True)
class Run:
    """One finished process.

    Attributes:
        answer: the JSON object on its last line of standard output, {} without one.
        wall: seconds from start to end.
        cpu: seconds of processor time, user and system.
        memory: peak resident memory in bytes.
    """

    answer: dict[str, Any]
    wall: float
    cpu: float
    memory: int


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 600,
) -> Run:
    """Run a command to its end.

    Raises:
        ContenderError: it cannot be started, fails or takes longer than ``timeout`` seconds.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.perf_counter()
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=cwd,
                env={**os.environ, **(env or {})},
            )
        except OSError as error:
            raise ContenderError(f"cannot be started: {error.strerror}") from error
        late = threading.Event()

        def stop() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(timeout, stop)
        timer.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        finally:
            timer.cancel()
        wall = time.perf_counter() - started
        # wait4 took the status; without this Popen would wait for it again.
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if late.is_set():
            raise ContenderError(f"took longer than {timeout:.0f} s")
        if process.returncode:
            raise ContenderError(_reason(process.returncode, err.read()))
        return Run(
            _last_object(out.read()),
            wall,
            usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss * _UNIT,
        )


def _reason(code: int, err: bytes) -> str:
    lines = [line.strip() for line in err.decode(errors="replace").splitlines() if line.strip()]
    last = lines[-1][:200] if lines else "no message"
    return last if code == NOT_HERE else f"exit code {code}: {last}"


def _last_object(out: bytes) -> dict[str, Any]:
    lines = out.decode(errors="replace").strip().splitlines()
    try:
        found = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


@dataclass
class Contender:
    """What is compared with others in a stage.

    Attributes:
        name: for tables.
        command: what to run.
        value: key of the figure in the process's answer; "wall" for the whole process.
        own: True for this tool.
        env: added to the environment.
        keep: keys of the result that are stored with the figure.
        facts: what is known of it beforehand, stored too.
        once: True where more than one run would measure something else, or take too long.
        failed: why there is no figure.
    """

    name: str
    command: Sequence[str]
    value: str = "wall"
    own: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    timeout: float = 600
    keep: tuple[str, ...] = ()
    once: bool = False
    failed: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)

    def go(self) -> None:
        """Run once; a failure is stored and ends this contender."""
        try:
            done = run(self.command, env=self.env, cwd=self.cwd, timeout=self.timeout)
            if self.value not in ("wall", "cpu") and not _is_number(done.answer.get(self.value)):
                raise ContenderError(f"gave no {self.value}")
        except ContenderError as error:
            if not self.runs:
                self.failed = str(error)
            return
        self.runs.append(done)

    def figures(self) -> list[float]:
        """Return the figure of each run."""
        if self.value in ("wall", "cpu"):
            return [getattr(done, self.value) for done in self.runs]
        return [float(done.answer[self.value]) for done in self.runs]

    def entry(self) -> dict[str, Any]:
        """Return what the file of raw figures holds of it."""
        figures = self.figures()
        found: dict[str, Any] = {"name": self.name, "own": self.own}
        if not figures:
            return {**found, "failed": self.failed or "did not run"}
        found |= self.facts
        found["value"] = statistics.median(figures)
        found["values"] = figures
        found["wall"] = statistics.median(done.wall for done in self.runs)
        found["cpu"] = statistics.median(done.cpu for done in self.runs)
        found["memory"] = max(done.memory for done in self.runs)
        for key in self.keep:
            values = [done.answer[key] for done in self.runs if done.answer.get(key) is not None]
            if values:
                numbers = all(map(_is_number, values))
                found[key] = statistics.median(values) if numbers else values[-1]
        return found


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def alternate(contenders: Sequence[Contender], repeats: int, seconds: float) -> int:
    """Run all contenders in turn, up to ``repeats`` times; return the rounds that were made.

    Turns alternate so that a change of the machine's pace meets all alike, and every other
    round goes backwards. No round starts that would end after ``seconds``.
    """
    started, rounds = time.perf_counter(), 0
    for index in range(repeats):
        spent = time.perf_counter() - started
        if rounds and spent * (rounds + 1) / rounds > seconds:
            break
        for contender in contenders if index % 2 == 0 else list(reversed(contenders)):
            if contender.failed is None and not (contender.once and contender.runs):
                contender.go()
        rounds += 1
    return rounds
