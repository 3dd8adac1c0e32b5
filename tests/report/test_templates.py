"""Compiled templates are used again, and only where nobody else could have put them."""

from __future__ import annotations

import os
from pathlib import Path

import jinja2
import pytest

from tlcli.report import templates

posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="folders have no owner here")


def render(text: str) -> str:
    loader = jinja2.DictLoader({"page": text})
    environment = jinja2.Environment(loader=loader, bytecode_cache=templates.compiled())
    return environment.get_template("page").render(name="oak")


def folder() -> Path:
    return Path(os.environ["TLCLI_CACHE_DIR"]) / templates.FOLDER


@posix
def test_a_template_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert render("One {{ name }}") == "One oak"
    [kept] = folder().iterdir()

    def refuse(*_: object, **__: object) -> str:
        raise AssertionError("it was compiled again")

    monkeypatch.setattr(jinja2.Environment, "_generate", refuse)
    assert render("One {{ name }}") == "One oak"
    kept.write_bytes(kept.read_bytes()[:-1] + b"?")
    with pytest.raises(AssertionError, match="again"):
        render("One {{ name }}")
    with pytest.raises(AssertionError, match="again"):
        render("Another {{ name }}")


@posix
@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_folder_that_others_can_write_is_left_alone(mode: int) -> None:
    folder().mkdir(parents=True)
    folder().chmod(mode)
    assert templates.compiled() is None
    assert render("One {{ name }}") == "One oak"
    assert not list(folder().iterdir())
    folder().chmod(0o700)
    assert templates.compiled() is not None


@posix
def test_a_link_and_a_file_in_its_place_are_left_alone(tmp_path: Path) -> None:
    folder().parent.mkdir(exist_ok=True)
    folder().symlink_to(tmp_path)
    assert templates.compiled() is None
    folder().unlink()
    folder().write_text("")
    assert templates.compiled() is None
    assert render("One {{ name }}") == "One oak"


def test_a_full_disk_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert render("Two {{ name }}") == "Two oak"
