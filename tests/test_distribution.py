"""The distribution: bounds of dependencies, the content of the wheel, and that it runs alone."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import time
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.version import Version

from tests.lowest_versions import PROJECT, installed, lowest, requirements
from tests.support import ROOT

_BUILD = "import setuptools.build_meta as b, sys; print(getattr(b, sys.argv[1])(sys.argv[2]))"


def test_every_dependency_has_bounds_that_fit_each_other() -> None:
    found = requirements(PROJECT.read_text(encoding="utf-8"))
    names = [each.name.lower() for each in found]
    assert {"tensorflow", "keras", "pillow", "numpy", "ai-edge-litert", "pytest"} <= set(names)
    for each in found:
        version = lowest(each)
        assert version is not None, f"{each.name} has no lower bound"
        uppers = [each.version for each in each.specifier if each.operator in ("<", "==")]
        if each.name not in ("pytest", "hypothesis"):  # for development only
            assert len(uppers) == 1, f"{each.name} has no upper bound"
            assert Version(version) <= Version(uppers[0])


def test_a_run_prints_the_versions_that_it_tests() -> None:
    import numpy as np

    printed = installed().split(", ")
    assert printed[0] == "Python " + ".".join(map(str, sys.version_info[:3]))
    assert f"numpy {np.__version__}" in printed
    assert len(printed) == 1 + len(requirements(PROJECT.read_text(encoding="utf-8")))


def build(kind: str, source: Path, target: Path, **environment: str) -> Path:
    done = subprocess.run(
        [sys.executable, "-c", _BUILD, kind, str(target)],
        cwd=source,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return target / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the sources, so that a build leaves nothing in this tree."""
    return copied(tmp_path_factory.mktemp("source"))


def copied(folder: Path) -> Path:
    for name in ("pyproject.toml", "setup.py", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in ("tlcli", "retrain", "label", "tests"):
        leave = shutil.ignore_patterns("__pycache__", "*.so")
        shutil.copytree(ROOT / name, folder / name, ignore=leave)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    return build("build_wheel", source, source.parent)


def content(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/RECORD")}


@pytest.mark.slow
def test_the_wheel_contains_the_program_and_nothing_else(wheel: Path) -> None:
    names = content(wheel)
    assert {
        "tlcli/cli.py",
        *(f"{package}/py.typed" for package in ("tlcli", "retrain", "label")),
        "retrain/command.py",
        "label/command.py",
    } <= names
    inside = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert inside == {"tlcli", "retrain", "label"}
    assert any(name.endswith("/LICENSE") for name in names)
    parts = (".py", ".html", ".css", ".js")
    sources = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tlcli").rglob("*")
        if path.suffix in parts
    }
    assert {"tlcli/report/template.html", "tlcli/report/style.css"} <= sources <= names
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in names if name.endswith("/METADATA"))
        text = archive.read(metadata).decode()
    assert "License" in text
    assert "Requires-Python: <3.14,>=3.10" in text
    links = re.findall(r"\]\(([^)]*)\)", text)
    assert len(links) > 10
    assert all(link.startswith("https://") for link in links)


def test_the_readme_of_a_package_index_has_full_links() -> None:
    setup = runpy.run_path(str(ROOT / "setup.py"))
    full, repository = setup["with_full_links"], setup["repository"]()
    project = PROJECT.read_text(encoding="utf-8")
    urls = re.findall(r'^\w+ = "(https://.*)"$', project, flags=re.MULTILINE)
    assert len(urls) == 4
    assert all(url.startswith(repository) for url in urls)
    assert full("[a](docs/a.md#b), [c](#d), [e](https://f)") == (
        f"[a]({repository}/blob/main/docs/a.md#b), [c](#d), [e](https://f)"
    )
    assert full("![a](docs/images/a.svg)") == f"![a]({repository}/raw/main/docs/images/a.svg)"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"\]\(([^)]*)\)", full(readme))
    pages = [link.removeprefix(f"{repository}/blob/main/") for link in found]
    assert {"docs/README.md", "CHANGELOG.md"} <= set(pages)
    for page in pages:
        assert (ROOT / page.partition("#")[0]).exists(), page


@pytest.mark.slow
def test_a_compiler_is_used_but_not_needed(wheel: Path, tmp_path: Path) -> None:
    compiled = {name for name in content(wheel) if name.endswith((".so", ".pyd"))}
    headers = Path(sysconfig.get_path("include"), "Python.h").exists()
    if shutil.which("cc") and headers and platform.machine() == "x86_64":
        assert {name.split(".")[0] for name in compiled} == {"tlcli/core/images/_bilinear"}
    without = build("build_wheel", copied(tmp_path), tmp_path / "wheel", CC="/bin/false")
    assert content(without) == content(wheel) - compiled


@pytest.mark.slow
def test_the_source_archive_gives_the_same_wheel(source: Path, wheel: Path, tmp_path: Path) -> None:
    archive = build("build_sdist", source, tmp_path)
    with tarfile.open(archive) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
        assert {f"{package}/py.typed" for package in ("tlcli", "retrain", "label")} <= names
        # No filter before Python 3.11.4; the archive was made two lines above.
        packed.extractall(tmp_path / "unpacked")
    (folder,) = (tmp_path / "unpacked").iterdir()
    again = build("build_wheel", folder, tmp_path)
    assert content(again) == content(wheel)


@pytest.mark.slow
def test_two_builds_give_the_same_wheel(tmp_path: Path) -> None:
    """In another folder, at another time: only what is built counts."""
    digests = set()
    for name in ("one", "another folder"):
        (tmp_path / name).mkdir()
        made = build(
            "build_wheel",
            copied(tmp_path / name),
            tmp_path / f"wheel of {name}",
            SOURCE_DATE_EPOCH="1764374400",
        )
        digests.add(hashlib.sha256(made.read_bytes()).hexdigest())
        # Times in archives have steps of two seconds.
        time.sleep(2)
    assert len(digests) == 1


def test_the_build_requirement_is_pinned() -> None:
    text = PROJECT.read_text(encoding="utf-8")
    (required,) = re.findall(r'^requires = \["(.*)"\]$', text, re.MULTILINE)
    assert re.fullmatch(r"setuptools==[\d.]+", required)


@pytest.mark.slow
def test_the_wheel_runs_without_this_tree(wheel: Path, tmp_path: Path) -> None:
    place = tmp_path / "installed"
    venv.create(place, with_pip=False, symlinks=True)
    python = place / "bin" / "python"
    # The dependencies of this environment, without what is installed here for development.
    site_packages = next(place.glob("lib/python*/site-packages"))
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"TLCLI_CACHE_DIR": str(tmp_path / "cache"), "PYTHONSAFEPATH": "1"}

    def run(*command: object) -> str:
        done = subprocess.run(
            [*map(str, command)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    options = ("--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")
    prefix = ("--prefix", place, "--ignore-installed")
    run(sys.executable, "-m", "pip", "install", *options, *prefix, wheel)
    found = run(python, "-c", "import tlcli, retrain, label; print(tlcli.__file__)")
    assert Path(found.strip()).is_relative_to(place)
    run(sys.executable, ROOT / "examples" / "draw_houses.py", "--output", "photos", "--count", 24)
    tlcli = place / "bin" / "tlcli"
    assert "retrain" in run(tlcli, "--help")
    run(tlcli, "retrain", "--image_dir", "photos", "--how_many_training_steps", 50)
    photo = min((tmp_path / "photos" / "house_with_pool").iterdir())
    assert "(score=" in run(tlcli, "label", photo)
    assert (tmp_path / "output_report.html").stat().st_size > 10_000
