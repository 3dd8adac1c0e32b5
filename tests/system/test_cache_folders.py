"""Where caches lie."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from tlcli.system.cache_folders import bottleneck_folder, cache_folder, model_folder


def test_the_variable_moves_all_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TLCLI_CACHE_DIR", str(tmp_path))
    assert cache_folder() == tmp_path
    assert bottleneck_folder().parent == model_folder().parent == tmp_path
    assert bottleneck_folder() != model_folder()


@pytest.mark.parametrize("value", [None, ""])
def test_without_the_variable_the_users_cache_is_taken(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("TLCLI_CACHE_DIR")
    if value is not None:
        monkeypatch.setenv("TLCLI_CACHE_DIR", value)
    assert cache_folder() == Path(platformdirs.user_cache_dir("tlcli"))


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLCLI_CACHE_DIR", "~/photos")
    assert cache_folder() == Path.home() / "photos"
