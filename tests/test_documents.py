"""Documents: every command is run, in the order of its document, and links lead somewhere."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
TRANSLATIONS = [ROOT / "README.ko.md", ROOT / "README.ja.md"]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").glob("*/README.md")),
    *sorted((ROOT / "examples").glob("*/*/README.md")),
]
# Setting up precedes this test; benchmarks take long and need the reference data.
# `tlcli serve` does not end by itself; it has tests of its own.
NOT_HERE = (
    *("make ", "pip install", "python benchmarks/", "git clone", "apt-get", "docker "),
    "tlcli serve",
)
FIRST = "tlcli retrain --image_dir photos"


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
    """Return a folder with `photos/`, `new_photos/`, `new.jpg` and `examples/`, as documents do.

    `photos_of_other_things/` has a picture of no house. The same photos are in `sets/` with
    folders of splits, and in `photos.csv` and `photos.zip`. There is a graph as well: a document
    may begin with what README.md made, which another process may run.
    """
    folder = tmp_path_factory.mktemp("documents")
    draw = [sys.executable, str(ROOT / "examples" / "draw_houses.py")]
    subprocess.run([*draw, "--output", "photos", "--count", "80"], cwd=folder, check=True)
    apart = ("--output", "new_photos", "--count", "40", "--seed", "7")
    subprocess.run([*draw, *apart], cwd=folder, check=True)
    first = min((folder / "photos" / "house_with_pool").iterdir())
    (folder / "new.jpg").write_bytes(first.read_bytes())
    (folder / "examples").symlink_to(ROOT / "examples")
    others = folder / "photos_of_other_things"
    others.mkdir()
    Image.radial_gradient("L").convert("RGB").save(others / "gradient.png")
    rows = ["path,label,split"]
    for number, image in enumerate(sorted((folder / "photos").glob("*/*.jpg"))):
        split = ("train", "train", "val", "test")[number % 4]
        rows.append(f"{image.relative_to(folder)},{image.parent.name.replace('_', ' ')},{split}")
        target = folder / "sets" / split / image.parent.name / image.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(image)
    (folder / "photos.csv").write_text("\n".join(rows) + "\n")
    shutil.make_archive(str(folder / "photos"), "zip", folder, "photos")
    run(FIRST, folder)
    return folder


def environment(folder: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "TLCLI_CACHE_DIR": str(folder / "cache")}


# Its commands need a bucket: tests/storage/test_document.py.
HERE = [document for document in DOCUMENTS if document.name != "storage.md"]


def run(line: str, folder: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@pytest.mark.slow
@pytest.mark.parametrize("document", HERE, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands(document: Path, workplace: Path) -> None:
    for line in commands(document):
        run(line, workplace)


def test_the_first_command_is_that_of_the_readme() -> None:
    assert commands(ROOT / "README.md")[0] == FIRST


def printed(program: str, workplace: Path) -> str:
    """Return what a Python program prints; its warnings are errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=workplace,
        env=environment(workplace),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_the_three_lines_of_python(workplace: Path) -> None:
    (program,) = blocks(ROOT / "README.md", "python")
    assert len([line for line in program.splitlines() if line]) == 3
    accuracy, label = printed(program, workplace).split(maxsplit=1)
    assert 0.5 < float(accuracy) <= 1
    assert label.strip() in {"house with pool", "house without pool"}


@pytest.mark.slow
def test_the_examples_of_the_python_page(workplace: Path) -> None:
    for package in ("matplotlib", "pandas"):
        pytest.importorskip(package)
    # One program: later examples use the names of earlier ones.
    program = "".join(blocks(ROOT / "docs" / "python.md", "python"))
    assert (
        printed(program, workplace)
        .splitlines()[-1]
        .startswith("--learning_rate is -1; give a number")
    )
    for name in ("curves_and_confusion.png", "confusion.png", "heat_map.png"):
        assert (workplace / name).stat().st_size > 10_000


@pytest.mark.slow
def test_make_demo(tmp_path: Path) -> None:
    prefix = Path(sys.prefix)
    arguments = [f"VENV={prefix}", f"DEMO={tmp_path / 'demo'}", "-o", f"{prefix}/bin/tlcli"]
    done = subprocess.run(
        ["make", "--no-print-directory", "demo", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "house with pool (score=" in done.stdout
    assert (tmp_path / "demo" / "output_graph.pb").is_file()
    assert re.search(r"Accuracy = [0-9.]+% \(N=60, ", done.stdout)
    proposed = done.stdout.splitlines()[-1].partition(": ")[2]
    again = subprocess.run(
        ["sh", "-c", proposed], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "evaluation.html").is_file()


def test_the_tables_of_options_are_up_to_date() -> None:
    updated = runpy.run_path(str(ROOT / "docs" / "update_options.py"))["updated"]
    for document in [*TRANSLATIONS, *DOCUMENTS]:
        text = document.read_text(encoding="utf-8")
        assert updated(text) == text, f"{document.name}: run python docs/update_options.py"


@pytest.mark.parametrize("document", TRANSLATIONS, ids=lambda path: path.name)
@pytest.mark.parametrize("language", ["sh", "python"])
def test_a_translation_has_the_commands_of_the_original(document: Path, language: str) -> None:
    assert blocks(document, language) == blocks(ROOT / "README.md", language)


@pytest.mark.parametrize("document", TRANSLATIONS, ids=lambda path: path.name)
def test_a_translation_has_the_parts_of_the_original(document: Path) -> None:
    def shape(path: Path) -> list[str]:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [line.partition(" ")[0] for line in lines if re.match(r"#+ |\|", line)]

    def names(path: Path) -> set[str]:
        """Return options, commands, files and links, which a translation must not lose."""
        text = path.read_text(encoding="utf-8")
        return {*re.findall(r"`([^`\n]+)`", text), *re.findall(r"\]\(([^)]+)\)", text)}

    original = ROOT / "README.md"
    assert shape(document) == shape(original)
    assert names(original) - names(document) <= {document.name}


def test_every_command_has_a_table_of_options() -> None:
    from tlcli.cli import COMMANDS

    tables = re.findall(r"<!-- options: ([\w ]+?) -->", (ROOT / "docs/options.md").read_text())
    # A group without options of its own has tables of its subcommands.
    assert set(COMMANDS) <= {table.partition(" ")[0] for table in tables}


def test_every_test_that_a_document_names_exists() -> None:
    files = {path.relative_to(ROOT).as_posix(): path for path in (ROOT / "tests").rglob("*.py")}
    functions = {
        (name, function)
        for name, path in files.items()
        for function in re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)
    }
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for name, function in re.findall(r"\b(tests/[\w/]+\.py)(?:::(\w+))?", text):
            assert name in files, f"{document.name}: {name}"
            assert not function or (name, function) in functions, f"{document.name}: {function}"
        for function in re.findall(r"`(test_[a-z]+_[a-z]+_\w+)`", text):
            assert any(function == known for _, known in functions), f"{document.name}: {function}"


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index, page.name


def headings(document: Path) -> set[str]:
    """Return the anchors that pages get for a document's headings."""
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_between_documents_lead_somewhere() -> None:
    for document in [*TRANSLATIONS, *DOCUMENTS]:
        prose = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", prose):
            if "://" in target:
                continue
            page = document.parent / target if target else document
            assert page.exists(), f"{document.name}: {target}"
            assert not anchor or anchor in headings(page), f"{document.name}: {target}#{anchor}"
