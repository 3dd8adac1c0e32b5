"""The features of a CPU, read from Linux's description of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlcli.system import machine

SAPPHIRE_RAPIDS = "fpu avx avx2 fma avx512f avx512_bf16 amx_bf16 avx512_fp16 amx_tile amx_int8"


def described(folder: Path, text: str) -> Path:
    path = folder / "cpuinfo"
    path.write_text(text, encoding="ascii")
    return path


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"processor\t: 0\nflags\t\t: {SAPPHIRE_RAPIDS}\n", "amx_bf16"),
        # Zen 4: no AMX.
        ("vendor_id : AuthenticAMD\nflags : avx2 avx512f avx512_bf16 avx512_vnni\n", "avx512_bf16"),
        # Zen 3 and Skylake-X: TensorFlow computes bfloat16 there, but no faster.
        ("vendor_id : AuthenticAMD\nflags : avx avx2 fma f16c\n", None),
        ("flags : avx2 avx512f avx512_vnni amx_int8 amx_tile\n", None),
        # Part of another word, or of another line.
        ("flags : xamx_bf16 avx512_bf16x\nbugs : amx_bf16\n", None),
        # ARM's own feature is not used by TensorFlow's kernels.
        ("processor : 0\nFeatures : fp asimd bf16 i8mm sve\n", None),
        ("", None),
    ],
)
def test_bfloat16_by_the_features_that_linux_lists(
    text: str, found: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    assert machine.bfloat16_instructions(described(tmp_path, text)) == found


def test_no_bfloat16_without_a_description(tmp_path: Path) -> None:
    assert machine.bfloat16_instructions(tmp_path / "absent") is None


@pytest.mark.parametrize(("value", "found"), [("0", None), ("false", None), ("1", "amx_bf16")])
def test_no_bfloat16_where_onednn_is_off(
    value: str, found: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", value)
    path = described(tmp_path, f"flags : {SAPPHIRE_RAPIDS}\n")
    assert machine.bfloat16_instructions(path) == found


def test_bfloat16_is_a_fact_of_the_processor() -> None:
    assert machine.processor()["bfloat16"] == machine.bfloat16_instructions()
