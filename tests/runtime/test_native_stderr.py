"""Native log lines on standard error, and which of them reach a user."""

from __future__ import annotations

import logging
import os
import sys

import pytest

from tlcli.runtime.native_stderr import quiet_stderr


def test_only_native_log_lines_are_dropped(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with quiet_stderr(), quiet_stderr():
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n")
        os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called\n")
        os.write(2, b"I0000 00:00:1795384440.923379    7825 cudart_stub.cc:31] no\n")
        os.write(2, b"2026-11-22 10:00:00.123456: I tensorflow/core/cpu.cc:210] no\n")
        print("a sentence", file=sys.stderr)
    print("after", file=sys.stderr)
    assert capfd.readouterr().err == "a sentence\nafter\n"


def test_an_error_inside_restores_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), quiet_stderr():
        raise KeyboardInterrupt
    os.write(2, b"INFO: seen\n")
    assert capfd.readouterr().err == "INFO: seen\n"


def test_debug_suppresses_nothing(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "tlcli"), quiet_stderr():
        os.write(2, b"INFO: seen\n")
        assert capfd.readouterr().err == "INFO: seen\n"
