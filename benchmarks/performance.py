"""Measure every stage and its peers on real images, in one run.

    make bench                                      all of it, up to 15 minutes
    python -m benchmarks.performance --quick        two minutes, prints only
    python -m benchmarks.performance --redraw       tables and plots from the stored figures

Prints tables of ratios, writes them and the plots into docs/performance.md and keeps the raw
figures in docs/performance.json. A peer that is not installed or fails is named with its reason.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import plots, tables
from benchmarks.measuring import ROOT, ContenderError, run
from benchmarks.stages import FULL, QUICK, STAGES, Bench

PACKAGES = ("tlcli", "tensorflow", "keras", "numpy", "pillow", "ai-edge-litert")
PEERS = ("openvino", "onnxruntime", "tf2onnx", "opencv-contrib-python")
_VERSIONS = """
import importlib.metadata as m, json, sys
found = {}
for name in sys.argv[1:]:
    try: found[name] = m.version(name)
    except m.PackageNotFoundError: found[name] = None
print(json.dumps(found))
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    options = _options(arguments)
    document, raw = options.document, options.document.with_suffix(".json")
    if options.redraw:
        figures = json.loads(raw.read_text(encoding="utf-8"))
        _write(figures, document, raw)
        return 0
    names = options.stages or (QUICK if options.quick else FULL)
    figures = measure(options, names)
    print(f"\n{tables.summary(figures)}\n\n{tables.machine(figures)}\n")
    print(tables.details(figures))
    if options.write or not (options.quick or options.stages):
        if options.stages and raw.is_file():
            figures = merged(json.loads(raw.read_text(encoding="utf-8")), figures)
        _write(figures, document, raw)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--quick", action="store_true", help="fewer images, rounds and stages")
    parser.add_argument("--stages", nargs="+", choices=STAGES, help="only these")
    parser.add_argument(
        "--write", action="store_true", help="write the document in quick or partial runs too"
    )
    parser.add_argument("--redraw", action="store_true", help="draw the stored figures")
    parser.add_argument("--document", type=Path, default=ROOT / "docs" / "performance.md")
    parser.add_argument(
        "--peers-python",
        default=sys.executable,
        help="interpreter of an environment that has the peers [default: this one]",
    )
    parser.add_argument(
        "--growth", nargs="+", type=int, default=[1_000, 10_000, 100_000], metavar="N",
        help="sizes of the stage of that name, which runs only when it is named",
    )  # fmt: skip
    parser.add_argument(
        "--minutes", type=float, default=12, help="after these all is measured once only [12]"
    )
    parser.add_argument("--work", type=Path, help="where temporary files go")
    options = parser.parse_args(arguments)
    if not (options.data / "flowers" / "photos").is_dir():
        parser.error(f"the reference data are not at {options.data}; name their folder by --data")
    return options


def measure(options: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """Return the figures of the named stages."""
    machine = _machine(os.getloadavg()[0])
    started = time.perf_counter()
    stages: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="tlcli-bench-", dir=options.work) as work:
        bench = Bench(
            data=options.data.resolve(),
            work=Path(work),
            python=sys.executable,
            peers_python=options.peers_python,
            quick=options.quick,
            growth=tuple(options.growth),
            say=_say,
            deadline=started + 60 * options.minutes,
        )
        for name in names:
            try:
                stages += STAGES[name](bench)
            except Exception as error:  # one stage must not take the others with it
                _say(f"  {name} could not be measured: {type(error).__name__}: {error}")
        figures = {
            "format": 1,
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
            "quick": options.quick,
            "machine": {**machine, "load_after": os.getloadavg()[0]},
            "versions": _versions(bench),
            "stages": stages,
            "not_prepared": bench.failed,
        }
        hidden = {str(Path(work).resolve()): "WORK", work: "WORK", str(bench.data): "DATA"}
        hidden |= {str(Path(bench.peers_python).parents[1]): "PREFIX", sys.prefix: "PREFIX"}
        hidden[str(ROOT)] = "ROOT"
    figures["seconds"] = round(time.perf_counter() - started, 1)
    _say(f"{figures['seconds']:.0f} s in all")
    text = json.dumps(figures)
    for path, name in hidden.items():
        text = text.replace(json.dumps(path)[1:-1], name)
    found: dict[str, Any] = json.loads(text)
    return found


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return new figures with those stages of an old run that were not measured again."""
    if old["machine"]["processor"] != new["machine"]["processor"]:
        raise SystemExit("the stored figures are of another processor; measure all stages")
    again = {stage["name"]: stage for stage in new["stages"]}
    kept = [again.pop(stage["name"], stage) for stage in old["stages"]]
    return {**new, "quick": old["quick"] or new["quick"], "stages": [*kept, *again.values()]}


def _write(figures: dict[str, Any], document: Path, raw: Path) -> None:
    plots.draw(figures, document.parent / "images")
    tables.write_document(document, figures)
    raw.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    _say(f"wrote {document}, {raw.name} and images/")


def _machine(load_before: float) -> dict[str, Any]:
    from tlcli.system import machine
    from tlcli.system.memory import memory

    processor = machine.processor()
    return {
        "processor": processor["name"],
        "cores": processor["cores"],
        "features": " ".join(processor["features"] or ()),
        "memory": memory()["total"] or 0,
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "load_before": load_before,
    }


def _versions(bench: Bench) -> dict[str, str | None]:
    found: dict[str, str | None] = {"Python": platform.python_version()}
    for python, names in ((bench.python, PACKAGES), (bench.peers_python, PEERS)):
        try:
            found |= run([python, "-c", _VERSIONS, *names], timeout=60).answer
        except ContenderError as error:
            found |= dict.fromkeys(names)
            _say(f"versions: {error}")
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
