"""Confinement of a child process that runs a file which nobody has checked.

What the system offers is used, and what it lacks is left out: resource limits on all POSIX
systems; on Linux also Landlock, which forbids to write outside one folder, and a seccomp filter,
which forbids sockets and other programs. Both are a few system calls of their own, so that no
package has to be installed. Reading stays possible: libraries are loaded from anywhere.

Sources: ``linux/landlock.h``, ``linux/seccomp.h``, ``linux/filter.h`` and ``linux/audit.h``; the
numbers of system calls are in ``asm/unistd_64.h`` (x86-64) and ``asm-generic/unistd.h`` (ARM64).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import struct
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from tlcli.system.memory import bound_memory

# prctl(2)
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_FILTER_MODE = 2

# landlock(7): WRITE_FILE, REMOVE_DIR to MAKE_SYM, then what later versions of the interface added.
_WRITE_FILE = 1 << 1
_WRITES = _WRITE_FILE | sum(1 << bit for bit in range(4, 13))
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_TCP = 1 << 0 | 1 << 1  # to bind and to connect
_SCOPES = 1 << 0 | 1 << 1  # abstract sockets, and signals to processes outside
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION, _PATH_BENEATH = 1, 1

# Of each architecture: its AUDIT_ARCH number, and the system calls socket, execve, execveat,
# ptrace, process_vm_readv, process_vm_writev and io_uring_setup.
_FORBIDDEN = {
    "x86_64": (0xC000003E, (41, 59, 322, 101, 310, 311, 425)),
    "aarch64": (0xC00000B7, (198, 221, 281, 117, 270, 271, 425)),
}
# Numbers from here on belong to the x32 interface of x86-64, which would lead past the list.
_OTHER_INTERFACE = 0x40000000
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050001  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO with EPERM
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # BPF instructions


def answer_request(given: Mapping[str, Any]) -> NoReturn:
    """Confine this process, run what `ChildProcess` was asked for, write the answer, and end."""
    # Libraries print to standard output too: what they write there goes to standard error.
    answers = os.dup(1)
    os.dup2(2, 1)
    confine(Path(given["folder"]), given["parent"], given["processor_seconds"])
    module, _, function = given["target"].partition(":")
    answer = getattr(import_module(module), function)(given["request"])
    os.write(answers, json.dumps(answer).encode())
    # Without tidying up: destructors of what was loaded are code of the file as well.
    os._exit(0)


def answer_requests(given: Mapping[str, Any]) -> NoReturn:
    """Confine this process and answer what `LastingChild` asks, a line each, until it asks no more.

    Each answer is written after the function returned; what the function raises ends the process.
    """
    answers = os.dup(1)
    os.dup2(2, 1)
    confine(Path(given["folder"]), given["parent"], given["processor_seconds"])
    module, _, name = given["target"].partition(":")
    function = getattr(import_module(module), name)
    while line := sys.stdin.readline():
        os.write(answers, json.dumps(function(json.loads(line))).encode() + b"\n")
    os._exit(0)


def confine(folder: Path, parent: int, seconds: float) -> None:
    """Bound what this process may use, write and reach; it ends with its parent.

    Args:
        folder: the only one that it may write into.
        parent: process id.
        seconds: of processor time, a bound far above what is needed.
    """
    _limit_resources(int(seconds))
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before
        os._exit(1)
    library.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        _forbid_writing(library, folder)
        _forbid_calls(library)


def _limit_resources(seconds: int) -> None:
    bound_memory(hidden_gpu=True)
    with contextlib.suppress(ImportError):
        import resource

        for kind, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_CPU, seconds)):
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(kind, (most, most))


def _forbid_writing(library: ctypes.CDLL, folder: Path) -> None:
    """Forbid by Landlock to write outside ``folder``, and TCP."""
    version = library.syscall(_CREATE_RULESET, None, 0, _ASK_VERSION)
    if version < 1:
        return
    writes = _WRITES | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    handled = [writes, *([_TCP] if version >= 4 else []), *([_SCOPES] if version >= 6 else [])]
    attribute = struct.pack(f"={len(handled)}Q", *handled)
    rules = library.syscall(_CREATE_RULESET, attribute, len(attribute), 0)
    if rules < 0:
        return
    try:
        for path, allowed in ((folder, writes), (Path(os.devnull), _WRITE_FILE)):
            beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                rule = struct.pack("=Qi", allowed, beneath)
                library.syscall(_ADD_RULE, rules, _PATH_BENEATH, rule, 0)
            finally:
                os.close(beneath)
        library.syscall(_RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)


def _forbid_calls(library: ctypes.CDLL) -> None:
    """Let sockets, other programs and looks into other processes be refused by seccomp."""
    architecture, calls = _FORBIDDEN.get(os.uname().machine, (0, ()))
    if not calls or sys.maxsize < 1 << 32:
        return
    # Each instruction: code, steps to go on where a comparison holds and where not, operand.
    # The number of the system call is at 0 of what is examined, the architecture at 4.
    refusing = len(calls) + 4
    steps = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 0, refusing - 1, architecture),
        (_LOAD, 0, 0, 0),
        (_AT_LEAST, refusing - 3, 0, _OTHER_INTERFACE),
        *((_EQUAL, refusing - 4 - at, 0, call) for at, call in enumerate(calls)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))

    class _Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_void_p))

    given = _Program(len(steps), ctypes.addressof(program))
    library.prctl(_PR_SET_SECCOMP, _FILTER_MODE, ctypes.byref(given), 0, 0)
