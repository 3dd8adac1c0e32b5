"""The notebook: small, without outputs, and every cell runs."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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


def test_it_is_small_and_holds_no_outputs() -> None:
    assert NOTEBOOK.stat().st_size < 30_000
    for cell in cells():
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


def test_without_the_reference_data_it_says_so() -> None:
    [source] = [
        "".join(cell["source"])
        for cell in cells()
        if "import_bottlenecks=" in "".join(cell["source"])
    ]
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(source, {"examples": Path("/nowhere/else/examples")})
    assert said.getvalue().startswith("IBM's vectors are not at ")


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
    outputs = [output for cell in cells(done) for output in cell.get("outputs", [])]
    text = "".join("".join(output.get("text", "")) for output in outputs)
    pictures = sum("image/png" in output.get("data", {}) for output in outputs)
    assert "Test accuracy" in text
    assert "test images" in text
    if SHARED.is_dir():
        assert pictures == 5
        assert "over 5 folds" in text
        # 518 vectors, a tenth of them for the test.
        assert text.count("Test accuracy") == 2
    else:
        assert pictures == 3
        assert "IBM's vectors are not at" in text
