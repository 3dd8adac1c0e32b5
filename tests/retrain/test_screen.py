"""What a retraining shows on a terminal, run as the installed command."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import Trained
from tests.test_progress import COLOUR, Terminal

pty = pytest.importorskip("pty", reason="no pseudo-terminals on this system")

TLCLI = str(Path(sys.executable).parent / "tlcli")
LINK = re.compile(r"\x1b\]8;;(.*?)\x1b\\")


def retrain(trained: Trained, output: Path, *options: object, **environment: str) -> Terminal:
    """Retrain on a terminal on photos whose vectors are in the cache."""
    arguments = ("--image_dir", trained.photos, "--output_graph", output / "graph.pb", *options)
    return Terminal(
        TLCLI, "retrain", *map(str, arguments), TLCLI_CACHE_DIR=str(trained.cache), **environment
    )


def test_a_terminal_gets_one_line_per_stage_and_the_next_command_last(
    trained: Trained, tmp_path: Path
) -> None:
    seen = retrain(trained, tmp_path, "--preset", "original", COLUMNS="200", PATH="/usr/bin:/bin")
    assert seen.code == 0
    screen = [LINK.sub("", line) for line in seen.screen]
    stages = [line for line in screen if re.match("[A-Z][a-z]+  +.*, [0-9.]+ s$", line)]
    expected = (
        r"Reading      49 images of 2 labels, .*",
        r"Bottlenecks  efficientnet_lite0, 48 cached, 0 new, .*",
        r"Fitting      4000 steps on \d+ images, validation accuracy [0-9.]+% \(N=\d+\), .*",
        r"Export       graph, labels, tflite, model card, .*",
        r"Report       .*/output_report.html, .*",
    )
    for pattern, line in zip(expected, stages, strict=True):
        assert re.fullmatch(pattern, line)
    assert any(line.startswith("Warning: ") and "broken.jpg" in line for line in screen)
    assert "Step 0" not in seen.raw
    assert len(re.findall("[Tt]est accuracy", seen.raw)) == 1
    address = (tmp_path / "output_report.html").as_uri()
    assert LINK.findall(seen.raw) == [address, ""]
    assert f"Report: {address}" in screen
    (accuracy,) = (line for line in screen if line.startswith("Test accuracy "))
    assert 0 < screen.index(f"Report: {address}") - screen.index(accuracy) < 7
    following = screen[screen.index(f"Report: {address}") :]
    commands = [re.sub("^Next:", "", line).strip() for line in following[1:] if line]
    assert commands[0].startswith(f"{TLCLI} label --graph=")
    done = subprocess.run(
        shlex.split(commands[0]), capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "score=" in done.stdout


@pytest.mark.slow
def test_no_colour_and_no_link_where_the_terminal_takes_none(
    trained: Trained, tmp_path: Path
) -> None:
    plain = retrain(trained, tmp_path, "--how_many_training_steps", 20, NO_COLOR="1")
    assert not COLOUR.search(plain.raw)
    assert LINK.search(plain.raw)
    console = retrain(trained, tmp_path, "--how_many_training_steps", 20, TERM="linux")
    assert not LINK.search(console.raw)
    assert "file://" in console.raw
    dumb = retrain(trained, tmp_path, "--how_many_training_steps", 20, TERM="dumb")
    assert "\x1b" not in dumb.raw
    assert "Step 19: Validation accuracy" in dumb.raw


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "present", "absent"),
    [
        (["--logging_verbosity", "DEBUG"], ["Step 0: Train", "Final test accuracy ="], ["Reading"]),
        (["--quiet"], ["Test accuracy"], ["Reading", "Step 0"]),
        (["--logging_verbosity", "WARN"], ["Test accuracy", "Warning:"], ["Step 0"]),
        (["--learning_rate", "1000"], ["Warning: --learning_rate 1000 is far above"], ["Step 0"]),
        (["--solver", "lbfgs"], ["logistic regression on"], ["Step 0"]),
        (["--cross_validate", "2"], ["Folds", "fits, accuracy"], ["Cross-validation over"]),
        (["--print_misclassified_test_images"], ["=== MISCLASSIFIED"], ["Step 0"]),
    ],
)
def test_options_decide_what_is_shown(
    trained: Trained, tmp_path: Path, options: list[str], present: list[str], absent: list[str]
) -> None:
    seen = retrain(trained, tmp_path, "--no_report", "--how_many_training_steps", "30", *options)
    assert seen.code == 0
    for text in present:
        assert text in seen.raw
    for text in absent:
        assert text not in seen.raw


def interrupted(when: str, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run tlcli on a terminal, press Ctrl-C when ``when`` appears; return code and screen."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [TLCLI, *arguments],
        stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "200", **environment},
    )  # fmt: skip
    os.close(theirs)
    shown, sent = b"", False
    try:
        while block := os.read(ours, 1 << 16):
            shown += block
            if not sent and when.encode() in shown:
                process.send_signal(signal.SIGINT)
                sent = True
    except OSError:
        pass
    os.close(ours)
    return process.wait(300), shown.decode()


@pytest.mark.slow
# Of the fit, some steps are done when it shows an accuracy.
@pytest.mark.parametrize(
    "when", ["Reading", "Bottlenecks", "/1000000, validation accuracy", "Report "]
)
def test_an_interrupt_names_what_is_kept(trained: Trained, tmp_path: Path, when: str) -> None:
    arguments = [
        *("retrain", "--preset", "original"),
        *("--image_dir", str(trained.photos), "--output_graph", str(tmp_path / "graph.pb")),
    ]
    if "accuracy" in when:
        arguments += ["--how_many_training_steps", "1000000"]
        arguments += ["--checkpoint_path", str(tmp_path / "fit")]
    code, shown = interrupted(when, *arguments, TLCLI_CACHE_DIR=str(trained.cache))
    assert code == 130
    last = shown.replace("\r", "").rstrip().splitlines()[-1]
    assert "Interrupted. " in last
    assert last.endswith("No graph was written.")
    assert not (tmp_path / "graph.pb").exists()
    if "accuracy" in when:
        assert f"All vectors are kept in {trained.cache / 'bottlenecks'}" in last
        assert re.search(rf"and \d+ steps of the fit at {tmp_path / 'fit'}; the same", last)
