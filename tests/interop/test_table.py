"""docs/clients.json against pyproject.toml, the examples and the tests that it names."""

from __future__ import annotations

import re
from typing import Any

import pytest
from packaging.version import Version

from tests.interop.agreement import CLIENTS, requirements
from tests.support import ROOT

EXAMPLES = ROOT / "examples" / "clients"
# The versions that examples name, each with its package.
NAMED = {
    "android": r'implementation\("(.+):(.+?)"\)',
    "ios": r"pod '(.+)', '~> (.+)'",
    "onnx_runtime_web": r"npm install (onnxruntime-web)@([\d.]+)",
    "mediapipe_web": r"npm install (@.+)@([\d.]+)",
}


@pytest.mark.parametrize("client", CLIENTS.values(), ids=lambda client: client["id"])
def test_a_client_names_its_test_or_was_not_run(client: dict[str, Any]) -> None:
    measured = {"pixels", "median", "largest"} & set(client)
    if "untested" in client:
        assert not measured
        # The page that it links to says so.
        [link] = re.findall(r"\]\((.+)\)", client["client"])
        page = ROOT / "docs" / link
        text = (page / "README.md" if page.is_dir() else page).read_text(encoding="utf-8")
        assert client["untested"] in " ".join(text.split())
        return
    assert measured
    text = (ROOT / client["tested_by"]).read_text(encoding="utf-8")
    assert "median" not in client or f'"{client["id"]}"' in text


@pytest.mark.parametrize("name", NAMED)
def test_an_example_names_the_version_of_the_table(name: str) -> None:
    texts = "".join(path.read_text() for path in sorted(EXAMPLES.glob("*/README.md")))
    assert re.findall(NAMED[name], texts) == [(CLIENTS[name]["package"], CLIENTS[name]["version"])]


def test_a_version_from_pypi_is_one_that_is_installed_for_tests() -> None:
    tested = {client["package"]: client["version"] for name, client in CLIENTS.items()
              if name not in NAMED}  # fmt: skip
    found = requirements()
    for package, version in tested.items():
        assert package in found, package
        assert all(each.specifier.contains(Version(version)) for each in found[package]), package


def test_every_example_is_a_row_of_the_table_or_a_server() -> None:
    linked = {
        name for each in CLIENTS.values() for name in re.findall(r"clients/(\w+)", each["client"])
    }
    assert {path.name for path in EXAMPLES.iterdir() if path.is_dir()} == linked | {"serving"}
