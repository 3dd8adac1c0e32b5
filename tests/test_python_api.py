"""The names of `import tlcli`: listed, cheap, and known to type checkers."""

from __future__ import annotations

import subprocess
import sys

import tlcli


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_completion_lists_the_api_and_each_name_is_there() -> None:
    assert dir(tlcli) == sorted(tlcli.__all__)
    assert {"load", "retrain", "Classifier", "Prediction"} <= set(tlcli.__all__)
    for name in tlcli.__all__:
        assert getattr(tlcli, name) is not None


def test_importing_and_listing_loads_nothing() -> None:
    program = (
        "import sys; before = set(sys.modules); import tlcli; dir(tlcli)\n"
        "print(*sorted(name for name in set(sys.modules) - before if name[0] != '_'))"
    )
    found = set(run(program).split())
    assert not {name.partition(".")[0] for name in found} & {"numpy", "PIL", "click", "retrain"}
    assert {name for name in found if name.startswith("tlcli")} == {
        "tlcli", "tlcli._packages", "tlcli._version", "tlcli.errors",
    }  # fmt: skip
