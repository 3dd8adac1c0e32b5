"""The notebook: small, with the outputs of one run, and every cell runs."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tlcli
from tests.conftest import SHARED
from tests.support import ROOT

NOTEBOOK = ROOT / "examples" / "houses_with_pools.ipynb"
EXECUTE = """
import sys
import nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=300, kernel_name="python3",
               resources={"metadata": {"path": sys.argv[2]}}).execute()
nbformat.write(notebook, sys.argv[3])
"""


def cells(path: Path = NOTEBOOK) -> list[Any]:
    found: list[Any] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return found


def code() -> list[Any]:
    return [cell for cell in cells() if cell["cell_type"] == "code"]


def test_it_has_the_outputs_of_one_run_and_is_small() -> None:
    assert NOTEBOOK.stat().st_size < 500_000
    assert [cell["execution_count"] for cell in code()] == list(range(1, len(code()) + 1))
    outputs = [output for cell in code() for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    # No folder of the machine that ran it, and no pixels but drawn ones.
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert not re.findall(r"(?<![\w.<])/(?:tmp|home|root|Users|work)/", text)
    [houses] = [cell for cell in code() if "import_bottlenecks=" in "".join(cell["source"])]
    assert not [output for output in houses["outputs"] if "image/png" in output.get("data", {})]


def test_it_uses_what_users_have() -> None:
    source = "\n".join("".join(cell["source"]) for cell in code())
    assert not re.findall(
        r"from (?:tlcli|retrain|label)\b|import (?:retrain|label|tlcli\.)", source
    )
    assert set(re.findall(r"\btlcli\.(\w+)", source)) <= set(tlcli.__all__)


def test_its_accuracies_are_of_enough_images() -> None:
    text = "".join("".join(output.get("data", {}).get("text/html", "")) for cell in code()
                   for output in cell["outputs"])  # fmt: skip
    assert max(map(int, re.findall(r"\(N=(\d+), 95% interval", text))) >= 200
    assert len(re.findall(r"N=\d+, 95% interval [\d.]+% to [\d.]+%", text)) >= 3


def test_without_the_reference_data_it_says_so() -> None:
    [source] = [
        "".join(cell["source"])
        for cell in cells()
        if "import_bottlenecks=" in "".join(cell["source"])
    ]
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(source, {"examples": Path("/nowhere/else/examples")})
    assert said.getvalue().startswith("IBM's vectors are not in ")


@pytest.mark.slow
def test_every_cell_runs(tmp_path: Path) -> None:
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    pytest.importorskip("matplotlib")
    done = tmp_path / "done.ipynb"
    environment = {
        **os.environ,
        "TMPDIR": str(tmp_path),
        "TLCLI_CACHE_DIR": str(tmp_path / "cache"),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "MPLCONFIGDIR": str(tmp_path / "matplotlib"),
        "JUPYTER_PLATFORM_DIRS": "1",
    }
    run = subprocess.run(
        [sys.executable, "-c", EXECUTE, str(NOTEBOOK), str(NOTEBOOK.parent), str(done)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    pairs = zip(cells(), cells(done), strict=True)
    for stored, fresh in pairs:
        if "import_bottlenecks=" in "".join(stored["source"]) and not SHARED.is_dir():
            assert "IBM's vectors are not in" in str(fresh["outputs"])
            continue
        assert kinds(stored) == kinds(fresh)
        assert counts(stored) == counts(fresh)


def kinds(cell: Any) -> list[str]:
    """Return the kinds of a cell's outputs; a stream may come in several parts."""
    found = (" ".join(sorted(each.get("data", {"stream": 0}))) for each in cell.get("outputs", []))
    return [kind for kind, _ in itertools.groupby(found)]


def counts(cell: Any) -> list[str]:
    """Return the numbers of images behind each accuracy."""
    return re.findall(r"\(N=\d+", str(cell.get("outputs", [])))
