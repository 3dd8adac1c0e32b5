"""Where stages run, what they prepare, and how contenders take turns.

A contender that cannot run never ends a stage: the tables show its reason.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measuring import ROOT, Contender, ContenderError, alternate, run

Stage = dict[str, Any]


@dataclass
class Bench:
    """Where and how the stages run.

    Attributes:
        data: folder of the reference data.
        work: a folder of this run alone.
        python: runs tlcli.
        peers_python: runs peers that tlcli does not bring along.
        quick: fewer images and rounds, fewer stages.
        growth: sizes of the stage of that name.
        deadline: moment of `time.perf_counter` from which each contender runs once only.
        files: what was prepared, by network and kind.
        failed: why a preparation failed, by name.
    """

    data: Path
    work: Path
    python: str
    peers_python: str
    quick: bool
    growth: tuple[int, ...]
    say: Callable[[str], None]
    deadline: float = float("inf")
    files: dict[str, dict[str, str]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def photos(self) -> Path:
        """The real flower photos."""
        return self.data / "flowers" / "photos"

    @property
    def env(self) -> dict[str, str]:
        """Caches of this run alone, and the code of this repository, compiled as if installed."""
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        return {
            "TLCLI_CACHE_DIR": str(self.work / "cache"),
            "PYTHONPATH": path,
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": str(self.work / "compiled"),
        }

    def tlcli(self, *arguments: object) -> list[str]:
        """Return a command line of the installed tool."""
        script = Path(self.python).with_name("tlcli")
        start = [str(script)] if script.is_file() else [self.python, "-m", "tlcli"]
        return [*start, *map(str, arguments)]

    def task(self, name: str, *, peers: bool = False, **options: object) -> list[str]:
        """Return a command line of a task of `benchmarks.peers`."""
        python = self.peers_python if peers else self.python
        return [python, "-m", "benchmarks.peers", name, json.dumps(options, default=str)]

    def contender(self, name: str, command: list[str], **settings: Any) -> Contender:
        """Return a contender with this run's environment."""
        return Contender(name, command, env=self.env, cwd=self.work, **settings)

    def prepare(self, name: str, command: list[str], timeout: float = 900) -> bool:
        """Run a preparation once; its failure is reported and remembered."""
        try:
            run(command, env=self.env, cwd=self.work, timeout=timeout)
        except ContenderError as error:
            self.failed[name] = str(error)
            self.say(f"  {name}: {error}")
            return False
        return True

    def network(self, name: str) -> dict[str, str]:
        """Return the exported files of a network, made once; empty where that failed."""
        if name in self.files:
            return self.files[name]
        folder = self.work / name
        folder.mkdir()
        found: dict[str, str] = {}
        module: list[object] = []
        photos, steps = self.links("few", 20), 20
        if name == "efficientnet_lite0":
            photos, steps = self.links("some", 100 if self.quick else 500), 500
        else:
            keras = folder / "network.keras"
            if not self.prepare(keras.name, self.task("write_keras", network=name, path=keras)):
                self.files[name] = {}
                return {}
            found["keras"] = str(keras)
            module = ["--module", keras, "--output_tflite", folder / "output_graph.tflite"]
        graph = folder / "output_graph.pb"
        command = self.tlcli("retrain", "--image_dir", photos, "--output_graph", graph, *module)
        command += ["--how_many_training_steps", str(steps), "--quiet", "--no_report"]
        self.say(f"  preparing {name}")
        if self.prepare(f"{name} exported", command):
            onnx = folder / "output_graph.onnx"
            found |= {"graph": str(graph), "labels": str(folder / "output_labels.txt")}
            found |= {"tflite": str(graph.with_suffix(".tflite")), "onnx": str(onnx)}
            self.prepare(
                f"{name} as ONNX", self.task("write_onnx", peers=True, graph=graph, path=onnx)
            )
        self.files[name] = found
        return found

    def links(self, name: str, count: int) -> Path:
        """Return a folder of folders with ``count`` of the real photos."""
        folder = self.work / name
        if not folder.is_dir():
            labels = sorted(path for path in self.photos.iterdir() if path.is_dir())
            for label in labels:
                (folder / label.name).mkdir(parents=True)
                for path in sorted(label.glob("*.jpg"))[: count // len(labels)]:
                    (folder / label.name / path.name).symlink_to(path.resolve())
        return folder

    def one_photo(self) -> Path:
        """Return the first real photo."""
        return next(iter(sorted((self.photos / "daisy").glob("*.jpg"))))


def measured(
    bench: Bench,
    name: str,
    title: str,
    unit: str,
    contenders: list[Contender],
    *,
    repeats: int,
    seconds: float,
    note: str = "",
    **more: Any,
) -> Stage:
    """Let contenders take turns and return the stage's entry in the file of figures."""
    bench.say(f"{title} ...")
    left = max(0.0, bench.deadline - time.perf_counter())
    rounds = alternate(contenders, repeats, min(seconds, left))
    entries = [contender.entry() for contender in contenders]
    for entry in entries:
        if "failed" in entry:
            bench.say(f"  {entry['name']}: {entry['failed']}")
        else:
            bench.say(f"  {entry['name']}: {entry['value']:.4g} {unit}")
    return {
        "name": name,
        "title": title,
        "unit": unit,
        "note": note,
        "rounds": rounds,
        # Whole processes were timed, so that their processor time says something too.
        "whole": all(contender.value == "wall" for contender in contenders),
        "entries": entries,
        **more,
    }
