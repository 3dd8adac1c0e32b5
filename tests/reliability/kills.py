"""Ways to kill a retraining.

Nothing here reaches into the product: a run is killed by the clock, when files that it writes
appear, when its cache has a number of vectors, or (in a child that Python's own audit events
tell of each change to the file system) just before the Nth of these changes.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.reliability.harness import CARD, GRAPH, count_vectors, wait
from tests.reliability.retrainings import Workplace
from tlcli.system.atomic_files import TEMPORARY_PREFIX


def _written(folder: Path, name: str) -> bool:
    return any(folder.glob(f"out/{TEMPORARY_PREFIX}*/{name}"))


def kill_retrain(place: Workplace, mode: str, chance: random.Random) -> int:
    """Start the newer retraining and kill it; return how many vectors it was seen to keep.

    Modes: "anywhere" in its duration; "extracting", at a number of vectors; "writing", after
    the first output appears beside its place; "committing", when all outputs are there.
    """
    new, kept = place.bench.new, 0
    with place.start() as process:
        if mode == "anywhere":
            wait(process, chance.uniform(0, 1.1 * new.seconds))
        elif mode == "extracting":
            wanted = chance.randint(1, len(new.vectors) - 1)
            while process.poll() is None and kept < wanted:
                kept = count_vectors(place.cache)
                time.sleep(0.001)
        else:
            name = GRAPH if mode == "writing" else CARD
            while process.poll() is None and not _written(place.folder, name):
                time.sleep(0.0005)
            wait(process, chance.uniform(0, 2 * new.writing))
        process.kill()
    return kept


# Says when Python has started: before that, no program can answer an interrupt.
READY = (
    sys.executable,
    "-c",
    "import os\nfrom tlcli.cli import main\nos.write(2, b'ready\\n')\nmain()",
)


def interrupt(process: subprocess.Popen[bytes], folder: Path, seconds: float) -> int:
    """Send SIGINT to a `READY` process some seconds after its start; return its exit code."""
    while process.poll() is None and not (folder / "killed.err").read_bytes():
        time.sleep(0.005)
    wait(process, seconds)
    process.send_signal(signal.SIGINT)
    return process.wait(120)


# Ends itself by SIGKILL just before the Nth change to the file system, told by Python's own
# audit events; with N = 0 it writes down how many there are.
_AT_EVENT = """
import os, signal, sys
limit, count = int(sys.argv.pop(1)), 0
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree",
           "tempfile.mkdtemp", "sqlite3.connect", "ctypes.dlsym", "os.chmod", "os.utime"}
def hook(event, arguments):
    global count
    if event == "open":
        mode, flags = arguments[1], arguments[2] or 0
        if not (flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
            return
    elif event not in CHANGES:
        return
    if event == "ctypes.dlsym" and "renameat2" not in str(arguments):
        return
    count += 1
    if count == limit:
        os.kill(os.getpid(), signal.SIGKILL)
from tlcli.cli import main
sys.addaudithook(hook)
try:
    main()
finally:
    if not limit:
        os.write(2, f"changes: {count}\\n".encode())
"""
AT_EVENT = (sys.executable, "-c", _AT_EVENT)


def count_changes(place: Workplace) -> int:
    """Return before how many changes to the file system the newer retraining can be killed."""
    with place.start([*AT_EVENT, "0"]) as process:
        assert process.wait() == 0
    said = (place.folder / "killed.err").read_text().splitlines()
    return int(next(line for line in said if line.startswith("changes: ")).split()[1])


def kill_at_change(place: Workplace, number: int) -> bool:
    """Kill the newer retraining before its Nth change; return whether it came so far."""
    with place.start([*AT_EVENT, str(number)]) as process:
        return process.wait() == -signal.SIGKILL
