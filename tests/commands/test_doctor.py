from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tlcli.commands import doctor, self_test
from tlcli.core.images import fast_jpeg
from tlcli.system import machine


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(doctor.command, arguments, standalone_mode=False)


def test_text_without_the_self_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLCLI_CACHE_DIR", str(tmp_path))
    (tmp_path / "bottlenecks").mkdir()
    (tmp_path / "bottlenecks" / "a").write_bytes(bytes(1500))
    done = invoke("--no_self_test")
    assert done.return_value == 0, done.output
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "numpy " + machine.versions()["numpy"] in lines  # type: ignore[operator]
    assert f"Bottlenecks {tmp_path / 'bottlenecks'} (1 file, 1.5 KB)" in lines
    assert f"Models {tmp_path / 'models'} (not there yet)" in lines
    assert f"Exported {tmp_path / 'graphs'} (not there yet)" in lines
    assert any(line.startswith("Backbones") and "efficientnet_lite0" in line for line in lines)
    assert "Self-test" not in done.stdout


def test_locks_of_downloads_are_no_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLCLI_CACHE_DIR", str(tmp_path))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / ".resnet50.h5.lock").touch()
    lines = [" ".join(line.split()) for line in invoke("--no_self_test").stdout.splitlines()]
    assert f"Models {tmp_path / 'models'} (0 files, 0 bytes)" in lines
    (tmp_path / "models" / "net.pb").write_bytes(b"1")
    lines = [" ".join(line.split()) for line in invoke("--no_self_test").stdout.splitlines()]
    assert f"Models {tmp_path / 'models'} (1 file, 1 byte)" in lines


@pytest.mark.parametrize(
    ("instructions", "gpu", "shown"),
    [
        ("amx_bf16", False, "yes, by amx_bf16"),
        (None, False, "no"),
        (None, True, "no; the GPU may have it"),
        ("avx512_bf16", True, "yes, by avx512_bf16"),
    ],
)
def test_bfloat16(
    instructions: str | None, gpu: bool, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "bfloat16_instructions", lambda: instructions)
    monkeypatch.setattr(machine, "has_gpu", lambda: gpu)
    lines = [" ".join(line.split()) for line in doctor.to_text(doctor.examine()).splitlines()]
    assert f"bfloat16 {shown}" in lines


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ({"used": True, "instructions": "avx2", "reason": None}, "yes, by avx2"),
        ({"used": True, "instructions": "plain", "reason": None}, "yes"),
        (
            {"used": False, "instructions": None, "reason": "simplejpeg is missing"},
            "no: simplejpeg is missing",
        ),
    ],
)
def test_quick_jpegs(state: dict[str, Any], shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_jpeg, "state", lambda: state)
    lines = [" ".join(line.split()) for line in doctor.to_text(doctor.examine()).splitlines()]
    assert f"Quick JPEGs {shown}" in lines


def outcome(ok: bool, sentence: str, seconds: Any) -> dict[str, Any]:
    return {"ok": ok, "sentence": sentence, "seconds": seconds}


def test_json_with_the_self_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_test, "run", lambda: outcome(True, "all is well", 1.23))
    done = invoke("--format", "json")
    assert done.return_value == 0
    found = json.loads(done.stdout)
    assert found["self_test"] == {"ok": True, "sentence": "all is well", "seconds": 1.23}
    assert found["processor"]["cores"] >= 1
    assert found["memory"]["total"] is None or found["memory"]["total"] > 1 << 20
    assert set(found) == {
        *("versions", "system", "processor", "memory", "quick_jpegs", "folders", "backbones"),
        *("environment", "self_test"),
    }


def test_a_failed_self_test_is_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_test, "run", lambda: outcome(False, "no weights", 0.5))
    done = invoke()
    assert done.return_value == 1
    assert done.stdout.splitlines()[-1] == "Self-test: FAILED, no weights (0.5 s)"


def test_tensorflow_is_not_imported() -> None:
    code = (
        "import sys\n"
        "from tlcli.commands.doctor import examine, to_text\n"
        "to_text(examine())\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def finished(returncode: int, out: str = "", err: str = "") -> Any:
    return subprocess.CompletedProcess([], returncode, out, err)


@pytest.mark.parametrize(
    ("done", "ok", "words"),
    [
        (finished(0, 'chatter\n{"ok": true, "sentence": "fine"}\n'), True, "fine"),
        (finished(0, '{"ok": false, "sentence": "no weights"}'), False, "no weights"),
        (finished(-4), False, "SIGILL: this processor lacks"),
        (finished(-9), False, "too little memory"),
        (finished(1, "", "Traceback\nImportError: no numpy\n"), False, "ImportError: no numpy"),
        (finished(3), False, "exit code 3: no message"),
    ],
)
def test_outcomes(done: Any, ok: bool, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_test.subprocess, "run", lambda *_, **__: done)
    found = self_test.run()
    assert found["ok"] is ok
    assert words in found["sentence"]


def test_a_self_test_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: Any, timeout: float, **__: Any) -> Any:
        raise subprocess.TimeoutExpired("python", timeout)

    monkeypatch.setattr(self_test.subprocess, "run", hang)
    assert self_test.run(limit=7) == outcome(
        False, "did not end within 7 seconds", pytest.approx(0, abs=5)
    )


def test_what_stands_in_the_way_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(folder: Path) -> str:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(self_test, "check", check)
    assert self_test.main([str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "ok": False,
        "sentence": "first line second line",
    }


def test_drawn_images(tmp_path: Path) -> None:
    from PIL import Image

    new = self_test.draw(tmp_path)
    with Image.open(new) as image:
        assert image.size == (96, 96)
    for label in self_test.LABELS:
        files = sorted((tmp_path / "photos" / label).iterdir())
        assert len(files) == self_test.IMAGES
        assert len({file.read_bytes() for file in files}) == self_test.IMAGES


@pytest.mark.slow
def test_the_self_test_itself() -> None:
    found = self_test.run()
    assert found["ok"], found["sentence"]


def test_processor_of_other_machines(tmp_path: Path) -> None:
    x86 = tmp_path / "x86"
    x86.write_text("model name\t: Some CPU @ 2 GHz\nflags\t\t: fpu sse4_1 avx2 avx512f\n")
    assert machine._from_cpuinfo(x86) == ("Some CPU @ 2 GHz", ["sse4_1", "avx2", "avx512f"])
    arm = tmp_path / "arm"
    arm.write_text("processor : 0\nFeatures : fp asimd bf16\n")
    assert machine._from_cpuinfo(arm) == (None, ["asimd", "bf16"])
    assert machine._from_cpuinfo(tmp_path / "absent") == (None, None)


def test_text_where_little_is_known() -> None:
    found = doctor.examine()
    found["processor"] = {"name": "unknown", "features": None, "cores": 1, "bfloat16": None}
    found["memory"] = {"total": None, "available": None, "limit": None}
    found["backbones"] = []
    text = doctor.to_text(found)
    assert "Features" in text
    assert "none on this machine" in text
    found["memory"] = {"total": 8 * 10**9, "available": None, "limit": 2 * 10**9}
    assert "8.0 GB, limited to 2.0 GB" in doctor.to_text(found)
