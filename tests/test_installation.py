"""Installing as people do: the commands of the README, an ordinary user, the container image.

The dependencies are those of this environment: a test needs no network.
"""

from __future__ import annotations

import functools
import os
import pwd
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.lowest_versions import PROJECT, requirements
from tests.support import ROOT, Trained

if sys.platform == "win32":
    pytest.skip("virtual environments have other paths there", allow_module_level=True)

STAND_IN = ROOT / "install" / "tensorflow_cpu" / "pyproject.toml"
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
# pip installs what it is given, from this machine alone, with the setuptools that is there.
NO_NETWORK = {
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_BUILD_ISOLATION": "false",  # pip reads this as: no isolation
    "PIP_NO_DEPS": "1",
    "PIP_NO_INDEX": "1",
    "PIP_QUIET": "1",
}


def context(target: Path) -> Path:
    """Return a copy of what `.dockerignore` leaves of this tree."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert lines[1] == "*"
    ignored = [line.removeprefix("**/") for line in lines if line.startswith("**/")]
    for name in (line[1:] for line in lines if line.startswith("!")):
        place = ROOT / name
        if place.is_dir():
            shutil.copytree(place, target / name, ignore=shutil.ignore_patterns(*ignored))
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(place, target)
    return target


def add_dependencies(environment: Path) -> Path:
    """Let a virtual environment, or a user's base, import the packages of this environment.

    Returns:
        Its folder of packages.
    """
    [packages] = environment.glob("lib/python*/site-packages")
    found = [sysconfig.get_path("purelib"), *other_packages()]
    (packages / "dependencies.pth").write_text("\n".join(found) + "\n")
    return packages


@functools.cache
def other_packages() -> tuple[str, ...]:
    """Return the folders that `.pth` files of this environment add to it."""
    own = Path(sysconfig.get_path("purelib"))
    lines = [line for path in own.glob("*.pth") for line in path.read_text().splitlines()]
    places = [Path(line) for line in lines if line.startswith("/")]
    return tuple(str(place) for place in places if place.name == "site-packages")


def run(*command: object, cwd: Path, environment: dict[str, str], user: int | None = None) -> str:
    """Return what a command prints; ``user`` is the id to run it as."""
    options: dict[str, Any] = {}
    if user is not None:
        options = {"user": user, "group": pwd.getpwuid(user).pw_gid, "extra_groups": []}
    done = subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def test_the_stand_in_for_tensorflow_satisfies_the_requirement() -> None:
    text = STAND_IN.read_text(encoding="utf-8")
    version, needed, build = (
        re.findall(rf'^{key} = \[?"(.*?)"\]?$', text, re.MULTILINE)[0]
        for key in ("version", "dependencies", "requires")
    )
    assert needed == f"tensorflow-cpu=={version}"
    found = requirements(PROJECT.read_text(encoding="utf-8"))
    assert all(each.specifier.contains(version) for each in found if each.name == "tensorflow")
    assert f'"{build}"' in PROJECT.read_text(encoding="utf-8")
    assert Requirement(build).name == "setuptools"


def test_the_image_runs_without_privileges_and_keeps_its_cache() -> None:
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER (?!root|0)\w+$", final, re.MULTILINE)
    [cache] = re.findall(r"TLCLI_CACHE_DIR=(\S+)", final)
    assert f"\nVOLUME {cache}\n" in final
    assert "useradd" in final
    # Nothing is taken from elsewhere than package indexes and this folder.
    assert not re.search(r"https?://|curl|wget|^ADD", DOCKERFILE, re.MULTILINE)


def blocks_of(document: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(r"^```bash\n(python3 -m venv .*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.slow
def test_the_commands_of_the_documents(tmp_path: Path) -> None:
    blocks = blocks_of("docs/install.md")
    assert len(blocks) == 2
    # That of the README is the first one.
    assert blocks_of("README.md") == blocks[:1]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for number, block in enumerate(blocks):
        home = tmp_path / str(number)
        source = context(home / "source")
        environment = {**os.environ, **NO_NETWORK, "HOME": str(home), "PATH": path}
        create, *others = block.splitlines()
        run("bash", "-c", create, cwd=source, environment=environment)
        packages = add_dependencies(home / "tlcli")
        commands = "\n".join(["set -e", *others, "command -v tlcli", "tlcli --version"])
        out = run("bash", "-c", commands, cwd=source, environment=environment)
        assert out.splitlines()[0] == str(home / "tlcli" / "bin" / "tlcli")
        assert bool(list(packages.glob("tensorflow-*.dist-info"))) is ("tensorflow_cpu" in block)


@pytest.fixture
def ordinary() -> Iterator[tuple[Path, int | None]]:
    """Yield the home folder of a user without privileges, and their id; None for oneself."""
    user = pwd.getpwnam("nobody").pw_uid if os.getuid() == 0 else None
    home = Path(tempfile.mkdtemp(prefix="tlcli-home-"))
    try:
        yield home, user
    finally:
        shutil.rmtree(home)


def own(home: Path, user: int | None) -> None:
    """Give a folder and all in it to a user."""
    if user is not None:
        group = pwd.getpwuid(user).pw_gid
        for path in (home, *home.rglob("*")):
            os.chown(path, user, group, follow_symlinks=False)


@functools.cache
def python_of_the_system(user: int | None) -> str | None:
    """Return a Python that anyone may start, which can import the packages of this environment."""
    command = "import sys, ensurepip, venv, numpy; print(sys.version_info[:2])"
    environment = {
        "PYTHONPATH": os.pathsep.join([sysconfig.get_path("purelib"), *other_packages()])
    }
    for place in ("/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            out = run(place, "-c", command, cwd=Path("/"), environment=environment, user=user)
        except (AssertionError, OSError):
            continue
        if out.strip() == str(sys.version_info[:2]):
            return place
    return None


def programs(folder: Path, names: Sequence[str]) -> Path:
    """Return a folder with some programs of the system and no other."""
    folder.mkdir()
    for name in names:
        found = shutil.which(name)
        if found is not None:
            (folder / name).symlink_to(found)
    return folder


@pytest.mark.slow
def test_an_ordinary_user_without_a_compiler(
    ordinary: tuple[Path, int | None], trained: Trained
) -> None:
    """From a source archive into a virtual environment, and from a wheel into the user site."""
    home, user = ordinary
    python = python_of_the_system(user)
    if python is None:
        pytest.skip("no Python of this version that another user may start")
    (home / "deep").mkdir()
    source = context(home / "source")
    shutil.copytree(ROOT / "tests", source / "tests")
    for suffix in (".pb", ".json", ".tflite"):
        shutil.copy(trained.graph.with_suffix(suffix), home)
    photo = trained.photo
    shutil.copy(photo, home / "new.jpg")
    path = programs(home / "bin", ("bash", "cat", "env", "ls", "mkdir", "rm", "uname"))
    environment = {**NO_NETWORK, "HOME": str(home), "PATH": str(path), "LANG": "C.UTF-8"}
    own(home, user)
    do = functools.partial(run, cwd=home, environment=environment, user=user)

    def labelled(tlcli: Path) -> str:
        return do(tlcli, "label", "--graph", "output_graph.pb", "--image", "new.jpg")

    do(python, "-m", "venv", "environment")
    add_dependencies(home / "environment")
    build = "import setuptools.build_meta as b; print(b.build_sdist('..'))"
    archive = home / do(home / "environment/bin/python", "-c", build, cwd=source).split()[-1]
    do(home / "environment/bin/pip", "install", archive)
    assert not list((home / "environment").rglob("_bilinear*.so"))
    first = labelled(home / "environment" / "bin" / "tlcli")
    assert first.startswith("house with")

    do(home / "environment/bin/pip", "wheel", "--wheel-dir", home, archive)
    [wheel] = home.glob("tlcli-*.whl")
    user_site = {**environment, "PYTHONUSERBASE": str(home / "base")}
    install = ("-m", "pip", "install", "--user", "--break-system-packages", wheel)
    do(python, *install, environment=user_site)
    add_dependencies(home / "base")
    environment["PYTHONUSERBASE"] = str(home / "base")
    assert labelled(home / "base" / "bin" / "tlcli") == first


class Builder:
    """A program that builds an image of the Dockerfile and runs commands in it."""

    image = "tlcli-test"

    def __init__(self, program: str) -> None:
        self.program = program
        # Without a daemon: neither namespaces nor a file system of layers are needed.
        self._options = ["--storage-driver", "vfs"] if program == "buildah" else []
        self._isolation = ["--isolation", "chroot"] if program == "buildah" else []
        self._container = ""

    @classmethod
    def find(cls) -> Builder | None:
        """Return one that works here, None without any."""
        for name in ("docker", "podman", "buildah"):
            if shutil.which(name) and not cls(name).call("info").returncode:
                return cls(name)
        return None

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [self.program, *self._options, *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    def has(self, base: str) -> bool:
        """Return whether an image is here or can be fetched."""
        return not self.call("inspect", base).returncode or not self.call("pull", base).returncode

    def build(self, folder: Path) -> None:
        done = self.call("build", *self._isolation, "--tag", self.image, str(folder))
        assert done.returncode == 0, done.stderr
        if self.program == "buildah":
            self._container = self.call("from", self.image).stdout.strip()

    def run(self, volume: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Return what a command gives in the image, with the folder of ``volume`` in it."""
        if self.program == "buildah":
            return self.call(
                *("run", *self._isolation, "--volume", volume, self._container, "--", *command)
            )
        program, *arguments = command
        return self.call(
            *("run", "--rm", "--volume", volume, "--entrypoint", program, self.image, *arguments)
        )

    def remove(self) -> None:
        if self._container:
            self.call("rm", self._container)
        remove = ["rmi"] if self.program == "buildah" else ["image", "rm"]
        self.call(*remove, "--force", self.image)


@pytest.mark.slow
def test_the_image(trained: Trained) -> None:
    found = Builder.find()
    if found is None:
        pytest.skip("no docker, podman or buildah runs here; see the following test")
    base = "docker.io/library/python:3.12-slim"
    if not found.has(base):
        pytest.skip(f"{found.program} cannot fetch {base}; see the following test")
    volume = f"{trained.folder}:/work:ro"
    label = ["label", "--graph", "output_graph.pb", "--image", "photos", "--format", "csv"]
    try:
        found.build(ROOT)
        done = found.run(volume, "tlcli", *label)
        # One of the photos is damaged.
        assert done.returncode == 1, done.stderr
        assert "house with pool" in done.stdout
        assert found.run(volume, "id", "-u").stdout.strip() == "1000"
    finally:
        found.remove()


@pytest.mark.slow
def test_the_steps_of_the_image(ordinary: tuple[Path, int | None], trained: Trained) -> None:
    """Each step of the Dockerfile below a folder, and the result as a user without privileges."""
    home, user = ordinary
    python = python_of_the_system(user)
    if python is None:
        pytest.skip("no Python of this version that another user may start")
    steps = re.findall(
        r"^(RUN|COPY|ENV|WORKDIR|USER|ENTRYPOINT) (.*)$",
        re.sub(r"\\\n\s*", "", DOCKERFILE),
        re.MULTILINE,
    )
    environment = {**NO_NETWORK, "HOME": str(home), "PATH": os.environ["PATH"]}
    programs(home / "programs", ())
    (home / "programs" / "python").symlink_to(python)
    environment["PATH"] = f"{home / 'programs'}{os.pathsep}{environment['PATH']}"
    (home / "opt").mkdir()
    work, done = home, 0
    as_user: int | None = None

    def below(text: str) -> str:
        return re.sub(r"(?<![\w./])/(opt|source|cache|work)\b", rf"{home}/\1", text)

    for kind, text in steps:
        if kind == "WORKDIR":
            work = Path(below(text))
            work.mkdir(exist_ok=True)
        elif kind == "COPY" and not text.startswith("--from"):
            assert text == ". ."
            context(work)
        elif kind == "ENV":
            for name, value in (each.split("=", 1) for each in shlex.split(text)):
                environment[name] = below(value).replace("$PATH", environment["PATH"])
        elif kind == "USER":
            as_user = user
        elif kind == "RUN":
            # Users and packages of the system are not changed by a test.
            kept = [
                each
                for each in below(text).split("&& ")
                if not each.startswith(("apt-get", "rm -rf /var", "useradd"))
            ]
            if kept:
                run("sh", "-ec", "&& ".join(kept), cwd=work, environment=environment)
                done += 1
            if "venv" in text:
                add_dependencies(home / "opt" / "tlcli")
    assert done == 3
    home.chmod(0o755)
    photo = trained.photo
    for path in (trained.graph, trained.graph.with_suffix(".json"), photo):
        shutil.copy(path, work)
    out = run(
        *("tlcli", "label", "--graph", "output_graph.pb", "--image", photo.name),
        cwd=work,
        environment=environment,
        user=as_user,
    )
    assert out.startswith("house with")
    assert steps[-1] == ("ENTRYPOINT", '["tlcli"]')
    # The cache is written by whoever runs it.
    made = [path for path in (home / "cache").rglob("*") if path.is_file()]
    assert made
    assert user is None or {path.stat().st_uid for path in made} == {user}
