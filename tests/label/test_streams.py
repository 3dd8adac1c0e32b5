"""Standard input and output: paths that arrive slowly, readers that stop, interrupts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest


def test_paths_on_standard_input_are_answered_at_once(plates: Path, photo: Path) -> None:
    arguments = ["--graph", plates / "graph.tflite", "--image", "-", "--format", "jsonl"]
    with subprocess.Popen(
        [sys.executable, "-m", "label", *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(2):
            process.stdin.write(f"{photo}\n")
            process.stdin.flush()
            # Would hang if the answer waited for a full batch, or for the end.
            assert json.loads(process.stdout.readline())["image"] == str(photo)
        process.stdin.close()
        assert process.stdout.read() == ""
        assert process.wait(300) == 0


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_an_interrupt_while_waiting_for_paths_ends_quietly(plates: Path, photo: Path) -> None:
    arguments = ["--graph", plates / "graph.tflite", "--image", "-", "--format", "jsonl"]
    with subprocess.Popen(
        [sys.executable, "-m", "label", *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(f"{photo}\n")
        process.stdin.flush()
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(300) == 130
        stderr = process.stderr.read()
    assert "Traceback" not in stderr
    assert "Fatal" not in stderr


def test_a_reader_that_has_enough_ends_the_run_quietly(plates: Path, photo: Path) -> None:
    program = (
        f"yes {photo} | {sys.executable} -m label --graph {plates / 'graph.tflite'} --image - "
        "--format jsonl | head -n 3"
    )
    done = subprocess.run(
        ["bash", "-c", program], capture_output=True, text=True, check=True, timeout=300
    )
    assert len(done.stdout.splitlines()) == 3
    assert done.stderr == ""


def test_a_reader_that_stops_early_is_no_failure(plates: Path, photo: Path) -> None:
    images = " ".join([str(photo)] * 200)
    line = (
        f"set -o pipefail; {sys.executable} -m label --graph {plates / 'graph.tflite'} {images} "
        "| head -n 1"
    )
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_closed_standard_input_names_nothing(plates: Path) -> None:
    line = f"{sys.executable} -m label --graph {plates / 'graph.tflite'} - <&-"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "standard input named no images\n")


def test_a_closed_standard_output_is_a_sentence(tmp_path: Path) -> None:
    line = f"{sys.executable} -m label {tmp_path / 'photo.jpg'} >&-"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: standard output is closed, ")
