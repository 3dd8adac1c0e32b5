"""Print pip constraints that hold every dependency of pyproject.toml at its lower bound."""

from __future__ import annotations

import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
# The extras that the fast tests need; the others are tools and peers.
_EXTRAS = ("lite", "s3", "shards", "ray", "summaries", "serve", "notebook", "test")


def requirements(text: str) -> list[Requirement]:
    """Return the dependencies and those of the extras, in a pyproject.toml's order.

    Python 3.10 has no reader of TOML; ours holds one quoted requirement after another.
    """
    found = []
    for name, block in re.findall(r"^([\w-]+) = \[(.*?)\]$", text, re.MULTILINE | re.DOTALL):
        if name not in ("dependencies", *_EXTRAS):
            continue
        lines = "\n".join(line for line in block.splitlines() if not line.strip().startswith("#"))
        found += [Requirement(each) for each in re.findall(r'"([^"]+)"', lines)]
    return [each for each in found if each.name != "tlcli"]


def lowest(requirement: Requirement) -> str | None:
    """Return the lowest version that is allowed, None where none is said."""
    for specifier in requirement.specifier:
        if specifier.operator in (">=", "=="):
            return specifier.version
    return None


def installed() -> str:
    """Return one line with Python's version and that of every dependency that is installed."""
    found = [f"Python {platform.python_version()}"]
    for each in requirements(PROJECT.read_text(encoding="utf-8")):
        try:
            found.append(f"{each.name} {version(each.name)}")
        except PackageNotFoundError:
            found.append(f"no {each.name}")
    return ", ".join(found)


if __name__ == "__main__":
    for each in requirements(PROJECT.read_text(encoding="utf-8")):
        bound = lowest(each)
        if bound is not None:
            print(f"{each.name}=={bound}")
