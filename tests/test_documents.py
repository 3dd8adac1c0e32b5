"""Every command that a document tells a user to type is run, in the document's order."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").glob("*/README.md")),
]
# Setting up is what brings this test about; benchmarks take long and need the reference data.
NOT_HERE = ("make ", "pip install", "python benchmarks/", "git clone", "apt-get", "docker ")


def blocks(document: Path, language: str) -> list[str]:
    text = document.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def commands(document: Path) -> list[str]:
    lines = "".join(blocks(document, "sh")).replace("\\\n", " ").splitlines()
    return [
        line
        for line in lines
        if line.strip() and not line.startswith(("#", *NOT_HERE)) and "URL" not in line
    ]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with `photos/`, `new.jpg` and `examples/`, as the documents assume."""
    folder = tmp_path_factory.mktemp("documents")
    draw = [sys.executable, str(ROOT / "examples" / "draw_houses.py")]
    subprocess.run([*draw, "--output", "photos", "--count", "80"], cwd=folder, check=True)
    first = next((folder / "photos" / "house_with_pool").iterdir())
    (folder / "new.jpg").write_bytes(first.read_bytes())
    (folder / "examples").symlink_to(ROOT / "examples")
    return folder


def environment(folder: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "TLCLI_CACHE_DIR": str(folder / "cache")}


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands(document: Path, workplace: Path) -> None:
    for line in commands(document):
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=workplace,
            env=environment(workplace),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@pytest.mark.slow
def test_the_three_lines_of_python(workplace: Path) -> None:
    (program,) = blocks(ROOT / "README.md", "python")
    assert len([line for line in program.splitlines() if line]) == 3
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=workplace,
        env=environment(workplace),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    accuracy, label = done.stdout.split(maxsplit=1)
    assert 0.5 < float(accuracy) <= 1
    assert label.strip() in {"house with pool", "house without pool"}


@pytest.mark.slow
def test_make_demo(tmp_path: Path) -> None:
    prefix = Path(sys.prefix)
    arguments = [f"VENV={prefix}", f"DEMO={tmp_path / 'demo'}", "-o", f"{prefix}/bin/tlcli"]
    done = subprocess.run(
        ["make", "demo", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "house with pool (score=" in done.stdout
    assert (tmp_path / "demo" / "output_graph.pb").is_file()


def test_the_tables_of_options_are_those_of_the_commands() -> None:
    updated = runpy.run_path(str(ROOT / "docs" / "update_options.py"))["updated"]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert updated(text) == text, "run python docs/update_options.py"


def test_links_between_documents_lead_somewhere() -> None:
    for document in DOCUMENTS:
        prose = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#]+)\)", prose):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name}: {target}"
