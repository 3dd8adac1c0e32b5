"""The formats that a graph can be exported to, and the packages that each needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tlcli.errors import OutputError, UsageError
from tlcli.storage.locations import is_url


@dataclass(frozen=True)
class Kind:
    """One format.

    Attributes:
        name: as ``--to`` takes it.
        ending: what follows the graph's name without its suffix.
        text: of the files, for people.
        is_exact: the file computes what the graph does, in float32; otherwise its accuracy is
            compared too.
        modules: that Python must find.
        extra: of tlcli that installs them.
        calibrated: images are needed to make it.
        is_folder: the output is a folder.
    """

    name: str
    ending: str
    text: str
    is_exact: bool = True
    modules: tuple[str, ...] = ()
    extra: str = ""
    calibrated: bool = False
    is_folder: bool = False

    def path_beside(self, graph: Path) -> Path:
        """Return where the file lies by default: ``flowers.onnx`` for ``flowers.pb``.

        Never the graph itself.
        """
        path = graph.with_name(graph.stem + self.ending)
        return graph.with_name(f"{graph.stem}-exported{self.ending}") if path == graph else path

    def files_at(self, path: Path) -> tuple[Path, ...]:
        """Return the files or the folder of an output at ``path``, that first."""
        return (path, path.with_suffix(".bin")) if self.name == "openvino" else (path,)


_QUANTIZER = ("ai_edge_quantizer",)
KINDS = {
    kind.name: kind
    for kind in (
        Kind("onnx", ".onnx", "ONNX", modules=("tf2onnx", "onnxruntime"), extra="onnx"),
        Kind("tflite", ".tflite", "LiteRT, float32"),
        Kind(
            *("tflite-float16", "-float16.tflite", "LiteRT, float16 weights"),
            *(False, _QUANTIZER, "int8"),
        ),
        Kind(
            *("tflite-int8", "-int8.tflite", "LiteRT, 8-bit integers"),
            *(False, _QUANTIZER, "int8"),
            calibrated=True,
        ),
        Kind(
            *("tflite-edgetpu", "-edgetpu.tflite", "LiteRT, 8-bit integers to the last operator"),
            *(False, _QUANTIZER, "int8"),
            calibrated=True,
        ),
        Kind("saved_model", "_saved_model", "TensorFlow SavedModel", is_folder=True),
        Kind("openvino", ".xml", "OpenVINO IR", modules=("openvino",), extra="openvino"),
        Kind(
            *("coreml", ".mlpackage", "Core ML"),
            modules=("coremltools",),
            extra="coreml",
            is_folder=True,
        ),
    )
}
"""All formats by name, in the order of the help."""

# By this file the folder of a format is known.
_MARKS = {"saved_model": "saved_model.pb", "coreml": "Manifest.json"}


def parse_kinds(text: str | Iterable[str]) -> tuple[str, ...]:
    """Return the formats that a text such as "onnx,tflite-int8" names, each once.

    Raises:
        UsageError: one is unknown, or there is none.
    """
    parts = text.split(",") if isinstance(text, str) else list(text)
    names = [part.strip().lower().replace("savedmodel", "saved_model") for part in parts]
    names = list(dict.fromkeys(name for name in names if name))
    for name in names:
        if name not in KINDS:
            raise UsageError(f"there is no format {name!r}; choose from {', '.join(KINDS)}")
    if not names:
        raise UsageError(f"no format is given; choose from {', '.join(KINDS)}")
    return tuple(names)


def check_packages(names: Iterable[str]) -> None:
    """Check that the packages of formats are installed, without importing them.

    Raises:
        OutputError: one is not.
    """
    for name in names:
        kind = KINDS[name]
        missing = [module for module in kind.modules if find_spec(module) is None]
        if missing:
            raise OutputError(
                f"the format {name} needs {' and '.join(missing)}: pip install "
                f"'tlcli[{kind.extra}]'"
            )


def check_target(name: str, path: Path) -> None:
    """Check that the output of a format may be written to a path.

    Raises:
        OutputError: it would replace something else than an older output.
        UsageError: the name does not end as the format demands.
    """
    kind = KINDS[name]
    if name in ("openvino", "coreml") and path.suffix != kind.ending:
        raise UsageError(f"the output of {name} is named NAME{kind.ending}, not {path.name}")
    if is_url(path) or not path.exists():
        return
    if path.is_dir() and not kind.is_folder:
        raise OutputError(f"cannot write {path}: it is a folder; give the name of a file")
    if kind.is_folder and not path.is_dir():
        raise OutputError(f"cannot write {path}: it is a file; give the name of a folder")
    if kind.is_folder and any(path.iterdir()) and not (path / _MARKS[name]).is_file():
        raise OutputError(
            f"cannot write {path}: it is a folder and no older {kind.text}; give a new name"
        )
