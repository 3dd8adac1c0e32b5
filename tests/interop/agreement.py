"""What docs/clients.json states about clients, compared with what tests install and measure."""

from __future__ import annotations

import importlib.metadata
import json
from typing import Any

import numpy as np
import numpy.typing as npt
from packaging.requirements import Requirement
from packaging.version import Version

from tests.support import ROOT

Floats = npt.NDArray[np.floating[Any]]

TABLE = json.loads((ROOT / "docs" / "clients.json").read_text(encoding="utf-8"))
CLIENTS: dict[str, dict[str, Any]] = {each["id"]: each for each in TABLE["clients"]}
# A figure is stated as an upper bound with one digit; one that is further from what is measured
# is of another time. Below, single roundings of pixels decide.
_LOOSE, _TINY = 4, 0.001
_EXTRAS = ("interop", "onnx", "openvino", "coreml")


def check(name: str, scores: Floats, expected: Floats) -> None:
    """Compare scores of photos, [photos, labels], and the installed version, with the table.

    Args:
        name: of the client, as ``id`` in the table.
        scores: of the client.
        expected: of ``tlcli label``.
    """
    stated = CLIENTS[name]
    assert len(scores) == TABLE["photos"], "the number of photos in docs/clients.json"
    assert (scores.argmax(axis=1) == expected.argmax(axis=1)).all(), "other first labels"
    differences = np.abs(scores - expected).max(axis=1)
    measured = {"median": float(np.median(differences)), "largest": float(differences.max())}
    report = f"docs/clients.json, {name}: measured {measured}"
    for key, value in measured.items():
        assert value <= stated[key], report
        assert stated[key] <= max(_LOOSE * value, _TINY), report
    check_version(name)


def check_version(name: str) -> None:
    """Compare the installed version of a client from PyPI with the table.

    Where the newest version is newer, the table is still true; a new major version is tried
    before it is stated.
    """
    stated = CLIENTS[name]
    if "@" in stated["package"] or stated["package"] not in requirements():
        return
    installed, tested = Version(importlib.metadata.version(stated["package"])), stated["version"]
    report = f"docs/clients.json, {name}: tested with {tested}, installed {installed}"
    assert installed >= Version(tested), report
    assert installed.major == Version(tested).major, report


def requirements() -> dict[str, list[Requirement]]:
    """Return the requirements of tlcli and of its extra ``interop``, which has others in it."""
    found: dict[str, list[Requirement]] = {}
    for text in importlib.metadata.requires("tlcli") or []:
        each = Requirement(text)
        marker = each.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in _EXTRAS):
            found.setdefault(each.name, []).append(each)
    return found
