"""A function run in a confined child process, whose death is an answer like any other.

Native code that reads a file nobody has checked may end its process or never return. In a child
neither costs the caller anything. The child gets a request as JSON and answers with JSON; it has
a folder for temporary files, which goes with it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tlcli.errors import OutputError
from tlcli.system.atomic_files import temporary_folder

_log = logging.getLogger("tlcli")

# What a child may know of the environment: where the system and its libraries are, and the
# settings of the user that change what those compute.
_KEPT = (
    *("PATH", "HOME", "USERPROFILE", "SYSTEMROOT", "LANG", "LC_ALL", "LD_LIBRARY_PATH"),
    *("OMP_NUM_THREADS", "TF_ENABLE_ONEDNN_OPTS", "KERAS_HOME", "XDG_CACHE_HOME"),
)
# A GPU would need its driver's files and more memory than a bound allows.
_SET = {
    "CUDA_VISIBLE_DEVICES": "-1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_OVERRIDE_GLOBAL_THREADPOOL": "1",
}
# -I: neither the working directory nor variables add modules; the caller's own path counts.
_FLAGS = ("-I", "-B", "-W", "ignore", "-c")
_PROGRAM = (
    "import json, sys; request = json.load(sys.stdin); sys.path[:] = request['path']; "
    "from tlcli.runtime.confinement import answer_request; answer_request(request)"
)
LARGEST_ANSWER = 1 << 16
"""Bytes."""
_TALK = "talk"
_LARGEST_TALK = 4096
# From the end of what a child says to the end of its process.
_ENDING_SECONDS = 5.0
# Codes of a process that used up the processor time that it was given.
_OUT_OF_TIME = frozenset({-signal.SIGXCPU}) if hasattr(signal, "SIGXCPU") else frozenset()


@dataclass(frozen=True)
class Ending:
    """How a child ended.

    Attributes:
        answer: what the function returned; None: it died or was stopped.
        reason: why there is no answer: "segmentation fault", "did not end within 60 seconds".
        in_time: False when it was stopped because its time was over.
    """

    answer: dict[str, Any] | None
    reason: str = ""
    in_time: bool = True


class ChildProcess:
    """A child that runs a function of a module; used as a context manager.

    Leaving the block ends the child and removes its folder, also on Ctrl-C. On Linux the child
    ends with the thread that started it.

    Args:
        target: "MODULE:FUNCTION"; the function takes the request and returns a dictionary.
        request: as JSON can represent it.
        seconds: after which the child is stopped.
        content: for a file called "content" in the child's folder.

    Attributes:
        folder: the folder, which is the child's for temporary files and goes with it.

    Raises:
        OutputError: there is no room for temporary files.
        OSError: the system starts no process.
    """

    def __init__(
        self,
        target: str,
        request: Mapping[str, Any],
        seconds: float,
        content: bytes | None = None,
    ) -> None:
        self._seconds = seconds
        with ExitStack() as stack:
            self.folder = stack.enter_context(temporary_folder(temporary_place()))
            stack.callback(self._end)
            if content is not None:
                (self.folder / "content").write_bytes(content)
            given = {
                "target": target,
                "request": request,
                "path": search_path(),
                "folder": str(self.folder),
                "parent": os.getpid(),
                "processor_seconds": seconds * (os.cpu_count() or 1),
            }
            self._deadline = time.monotonic() + seconds
            self._process = start_confined(self.folder, _PROGRAM)
            assert self._process.stdin is not None
            with contextlib.suppress(OSError), self._process.stdin as pipe:
                pipe.write(json.dumps(given).encode())
            self._stack = stack.pop_all()

    def wait(self) -> Ending:
        """Return how the child ended; stop it when its time is over."""
        answer = self._read()
        if answer is None:
            return Ending(None, f"did not end within {self._seconds:.0f} seconds", False)
        if len(answer) > LARGEST_ANSWER:
            return Ending(None, f"answered with more than {LARGEST_ANSWER} bytes")
        try:
            code = self._process.wait(_ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            code = 0
        self._log_talk()
        with contextlib.suppress(ValueError):
            found = json.loads(answer)
            if code == 0 and isinstance(found, dict):
                return Ending(found)
        return ending_of(code)

    def __enter__(self) -> ChildProcess:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _read(self) -> bytes | None:
        """Return what the child wrote until its end; None: its time was over before."""
        pipe = self._process.stdout
        assert pipe is not None
        if os.name != "posix":  # there pipes cannot be waited for
            try:
                return self._process.communicate(timeout=self._seconds)[0]
            except subprocess.TimeoutExpired:
                return None
        return read_answer(pipe, self._deadline)

    def _end(self) -> None:
        process: subprocess.Popen[bytes] | None = getattr(self, "_process", None)
        if process is not None:
            end_confined(process)

    def _log_talk(self) -> None:
        log_talk(self.folder)


def read_answer(pipe: IO[bytes], deadline: float, end: bytes | None = None) -> bytes | None:
    """Return what a child writes until it closes the pipe; None: its time was over before.

    A little more than `LARGEST_ANSWER` is read at most. For POSIX only.

    Args:
        pipe: its standard output.
        deadline: by `time.monotonic`.
        end: what ends an answer, too, where more may follow.
    """
    answer = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while len(answer) <= LARGEST_ANSWER and not (end and answer.endswith(end)):
            left = deadline - time.monotonic()
            if left <= 0 or not selector.select(left):
                return None
            block = os.read(pipe.fileno(), LARGEST_ANSWER)
            if not block:
                break
            answer += block
    return answer


def start_confined(folder: Path, program: str) -> subprocess.Popen[bytes]:
    """Start a child with a program that confines itself and has ``folder`` for temporary files.

    What it prints goes into the file "talk" there; its standard input and output are pipes.

    Raises:
        OSError: the system starts no process.
    """
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ} | _SET
    place = str(folder)
    with (folder / _TALK).open("wb") as talk:
        return subprocess.Popen(
            [sys.executable, *_FLAGS, program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=talk,
            env=environment | {"TMPDIR": place, "TEMP": place, "TMP": place},
            # Ctrl-C goes to the caller, which ends the child and whatever that started.
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )


def end_confined(process: subprocess.Popen[bytes]) -> None:
    """End a child, with all that it started, and close its pipes."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            # What could not be written to a child that has ended is written again on closing.
            with contextlib.suppress(OSError):
                pipe.close()


def ending_of(code: int) -> Ending:
    """Return the ending of a child without an answer, by the code of its process."""
    return Ending(None, _reason(code), code not in _OUT_OF_TIME)


def log_talk(folder: Path) -> None:
    """Log what a child printed."""
    with contextlib.suppress(OSError), (folder / _TALK).open("rb") as file:
        talk = file.read(_LARGEST_TALK).decode("utf-8", "replace").strip()
        if talk:
            _log.debug("The child process wrote: %s", talk)


def temporary_place() -> Path:
    """Return the system's folder for temporary files.

    Raises:
        OutputError: there is none.
    """
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise OutputError(
            "there is no folder for temporary files; name one with the variable TMPDIR"
        ) from error


def search_path() -> list[str]:
    """Return where this process finds modules; the working directory only if it is named."""
    own = str(Path(__file__).resolve().parents[2])
    paths = [path for path in sys.path if path]
    return paths if own in paths else [*paths, own]


def _reason(code: int) -> str:
    """Return why a process with this exit code gave no answer."""
    if code >= 0:
        return f"exit code {code}"
    name = (signal.strsignal(-code) or f"signal {-code}").lower()
    return f"{name}, perhaps for lack of memory" if -code == signal.SIGKILL else name
