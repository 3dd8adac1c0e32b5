"""What is measured: each stage prepares its files, lets its contenders take turns and reports.

A stage never raises for a contender that cannot run: its reason stands in the tables.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measuring import ROOT, Contender, ContenderError, alternate, run

Stage = dict[str, Any]
# What the original took for 4000 steps on 3670 photos with warm text caches, as reported for
# it; nobody has the machine any more.
ORIGINAL_SECONDS = 200.0


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
        """Caches of this run alone, and the code beside this file."""
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        return {"TLCLI_CACHE_DIR": str(self.work / "cache"), "PYTHONPATH": path}

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
        """Run a preparation once; its failure is said and remembered."""
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


def start(bench: Bench) -> list[Stage]:
    """Measure how long processes take before they do anything."""
    contenders = [
        bench.contender("tlcli --help", bench.tlcli("--help"), own=True),
        bench.contender("tlcli label --help", bench.tlcli("label", "--help"), own=True),
        bench.contender("python -c pass", [bench.python, "-c", "pass"]),
        bench.contender("import tensorflow", bench.task("import_tensorflow")),
    ]
    contenders[-1].once = bench.quick
    repeats = 3 if bench.quick else 5
    return [measured(bench, "start", "Start-up", "s", contenders, repeats=repeats, seconds=25)]


def decode(bench: Bench) -> list[Stage]:
    """Measure decoding and resizing alone."""
    stages = []
    large = bench.work / "large"
    enlarge = (
        "import sys, pathlib, PIL.Image as I\n"
        "for n, p in enumerate(sys.argv[2:]):\n"
        "    d = pathlib.Path(sys.argv[1], f'label{n % 4}'); d.mkdir(parents=True, exist_ok=True)\n"
        "    I.open(p).convert('RGB').resize((4000, 3000)).save(d / f'{n}.jpg', quality=90)\n"
    )
    real = [str(path) for path in sorted((bench.photos / "roses").glob("*.jpg"))[:8]]
    sources = [("decode", "Decode to 224 x 224, photos of about 500 x 333", bench.photos)]
    if not bench.quick and bench.prepare(
        "photos of 12 megapixels", [bench.python, "-c", enlarge, str(large), *real]
    ):
        sources.append(("decode_large", "Decode to 224 x 224, photos of 12 megapixels", large))
    readers = [
        ("tlcli", "tlcli", False),
        ("pillow", "Pillow, no draft scaling", False),
        ("opencv", "OpenCV", True),
        ("tensorflow", "TensorFlow, one session call an image", False),
    ]
    for name, title, folder in sources:
        count = 8 if folder == large else 150 if bench.quick else 500
        contenders = []
        for reader, what, peers in readers:
            for threads in (True, False):
                if reader == "tensorflow" and (threads or bench.quick):
                    continue  # the original decoded one by one
                command = bench.task(
                    "decode",
                    peers=peers,
                    reader=reader,
                    folder=folder,
                    count=count,
                    threads=threads,
                )
                shown = f"{what}, {'a thread a core' if threads else 'one thread'}"
                shown = what if reader == "tensorflow" else shown
                contenders.append(
                    bench.contender(shown, command, value="rate", own=reader == "tlcli")
                )
        repeats = 1 if bench.quick else 3
        stages.append(
            measured(bench, name, title, "images/s", contenders, repeats=repeats, seconds=30)
        )
    return stages


def _tuned(
    bench: Bench,
    kind: tuple[str, dict[str, str], bool],
    files: dict[str, str],
    sizes: dict[str, Any],
    trial: int,
    loop: bool,
) -> Contender:
    """Return a runtime at its quickest settings, which a process of its own finds."""
    shown, options, outside = kind
    place = {name: value for name, value in sizes.items() if name != "count"}
    command = bench.task("tune", peers=outside, files=files, trial=trial, **options, **place)
    try:
        best = run(command, env=bench.env, cwd=bench.work).answer
        chosen = {"batch": best["batch"], "settings": best["settings"]}
    except (ContenderError, KeyError) as error:
        return bench.contender(shown, command, value="rate", failed=str(error))
    engine = options["engine"]
    command = bench.task(
        "peer", peers=outside, engine=engine, files=files, loop=loop, **chosen, **sizes
    )
    made = bench.contender(shown, command, value="rate", keep=("threads", "loop", "busy_rate"))
    made.facts = {"bare": best["bare"], **chosen}
    return made


def _extraction(
    bench: Bench,
    network: str,
    title: str,
    side: int,
    count: int,
    *,
    repeats: int,
    seconds: float,
    peers: tuple[str, ...],
    trial: int,
    loop: bool,
) -> list[Stage]:
    files = bench.network(network)
    keras = files.get("keras")
    sizes: dict[str, Any] = {"folder": bench.photos, "count": count, "height": side, "width": side}
    own = bench.task("own", folder=bench.photos, count=count, work=bench.work, module=keras)
    keep = ("with_start", "warm", "precision", "engine", "busy_rate")
    contenders = [bench.contender("tlcli", own, value="rate", own=True, keep=keep)]
    if "openvino bf16" in peers:
        place: dict[str, Any] = {"folder": bench.photos, "count": count, "work": bench.work}
        low = bench.task("own", **place, module=keras, precision="bfloat16")
        contenders.append(bench.contender("tlcli bfloat16", low, value="rate", own=True, keep=keep))
    kinds: dict[str, tuple[str, dict[str, str], bool]] = {
        "openvino": ("OpenVINO float32", {"engine": "openvino", "precision": "f32"}, True),
        "openvino bf16": ("OpenVINO bfloat16", {"engine": "openvino", "precision": "bf16"}, True),
        "onnxruntime": ("ONNX Runtime", {"engine": "onnxruntime"}, True),
        "litert": ("LiteRT", {"engine": "litert"}, False),
        "tensorflow": ("TensorFlow session, batches", {"engine": "tensorflow"}, False),
    }
    ours = {key: path for key, path in files.items() if key in ("graph", "tflite", "onnx")}
    if ours:
        bench.say(f"Trying the runtimes' settings for {title} ...")
        for kind in peers:
            contenders.append(_tuned(bench, kinds[kind], ours, sizes, trial, loop))
        command = bench.task("one_image_loop", graph=files["graph"], **sizes)
        contenders.append(
            bench.contender(
                "TensorFlow, one image a call", command, value="rate", keep=("busy_rate",)
            )
        )
    if keras is not None:
        # Its default, where there are photos for several of them.
        size = 32 if count >= 100 else 8
        command = bench.task("keras_predict", model=keras, batch=size, **sizes)
        kept = ("batch", "busy_rate")
        contenders.append(bench.contender("Keras predict", command, value="rate", keep=kept))
    stage = measured(
        bench,
        f"extraction_{network}",
        f"Extraction, {title}",
        "images/s",
        contenders,
        repeats=repeats,
        seconds=seconds,
        note=f"{count} photos, decoding included; tlcli starts with an empty cache.",
    )
    stages = [stage]
    first = stage["entries"][0]
    # With few photos the start is all there is to see.
    if "warm" in first and network == "efficientnet_lite0":
        entry = {"name": "tlcli, cache warm", "own": True, "value": first["warm"]}
        entries = [{**entry, "values": [first["warm"]], "memory": first["memory"]}]
        for other in stage["entries"]:
            if "value" in other:
                plain = {key: other[key] for key in ("name", "value", "values", "memory")}
                entries.append({**plain, "own": False})
        entries[1]["name"] = "tlcli, cache empty"
        stages.append(
            {
                "name": f"warm_{network}",
                "title": f"Extraction, {title}, cache warm",
                "unit": "images/s",
                "note": "The same photos once more: nothing is decoded, nothing is run.",
                "rounds": stage["rounds"],
                "entries": entries,
            }
        )
    return stages


ALL_PEERS = ("openvino", "openvino bf16", "onnxruntime", "litert", "tensorflow")


def extraction(bench: Bench) -> list[Stage]:
    """Measure the default backbone."""
    return _extraction(
        bench,
        "efficientnet_lite0",
        "EfficientNet-Lite0",
        224,
        100 if bench.quick else 300,
        repeats=1 if bench.quick else 3,
        seconds=180,
        peers=ALL_PEERS[:4] if bench.quick else ALL_PEERS,
        trial=8 if bench.quick else 32,
        loop=not bench.quick,
    )


def inception(bench: Bench) -> list[Stage]:
    """Measure Inception-v3 with random weights, out of a Keras file."""
    return _extraction(
        bench,
        "InceptionV3",
        "Inception-v3 (random weights)",
        299,
        20 if bench.quick else 40,
        repeats=1 if bench.quick else 2,
        seconds=140,
        peers=("openvino", "openvino bf16", "onnxruntime", "litert"),
        trial=8,
        loop=False,
    )


def mobilenet(bench: Bench) -> list[Stage]:
    """Measure MobileNetV2 with random weights, out of a Keras file."""
    return _extraction(
        bench,
        "MobileNetV2",
        "MobileNetV2 (random weights)",
        224,
        100 if bench.quick else 250,
        repeats=1 if bench.quick else 2,
        seconds=45,
        peers=(),
        trial=8,
        loop=False,
    )


def final_layer(bench: Bench) -> list[Stage]:
    """Measure the fit alone, on one processor."""
    one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    data = bench.data

    def contender(name: str, command: list[str], **settings: Any) -> Contender:
        made = bench.contender(name, command, value="seconds", keep=("loss", "busy"), **settings)
        made.env = {**bench.env, **one}
        return made

    contenders = [
        contender("tlcli, sgd", bench.task("sgd", data=data), own=True),
        contender("NumPy, take into a buffer", bench.task("plain_sgd", data=data)),
        contender("NumPy, indexing", bench.task("plain_sgd", data=data, buffer=False)),
        contender(
            "text files read at each step (20 steps, scaled)",
            bench.task("text_sgd", data=data, measured=20),
            once=True,
        ),
        contender("tlcli, lbfgs with its choice of strength", bench.task("lbfgs", data=data)),
    ]
    contenders[-1].own = True
    return [
        measured(
            bench,
            "final_layer",
            "Final layer: 4000 steps, 3670 x 2048 vectors, 5 labels, one core",
            "s",
            contenders,
            repeats=2 if bench.quick else 5,
            seconds=20 if bench.quick else 45,
            note="Loading the vectors is not counted.",
        )
    ]


def instructions(bench: Bench) -> list[Stage]:
    """Count the instructions of one step of the final layer, which repeat exactly."""
    title = "Instructions of one step of the final layer"
    bench.say(f"{title} ...")
    entries: list[dict[str, Any]] = []
    low, high = 10, 60
    for name, task, own in (
        ("tlcli, sgd", "sgd", True),
        ("NumPy, take into a buffer", "plain_sgd", False),
    ):
        entry: dict[str, Any] = {"name": name, "own": own}
        try:
            counts = [
                count_instructions(bench, bench.task(task, data=bench.data, steps=steps))
                for steps in (low, high)
            ]
            per_step = (counts[1] - counts[0]) / (high - low) / 1e6
            entry |= {"value": per_step, "values": [per_step]}
            bench.say(f"  {name}: {per_step:.4g} million")
        except ContenderError as error:
            entry["failed"] = str(error)
            bench.say(f"  {name}: {error}")
        entries.append(entry)
    return [
        {
            "name": "instructions",
            "title": title,
            "unit": "million",
            "note": f"{high} steps less {low} steps, over {high - low}; perf where it counts, "
            "else valgrind.",
            "rounds": 1,
            "entries": entries,
        }
    ]


def count_instructions(bench: Bench, command: list[str]) -> int:
    """Return the instructions of a command, by perf or by valgrind.

    Raises:
        ContenderError: neither can count here.
    """
    env = {**os.environ, **bench.env, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    tools = {
        "perf": (["perf", "stat", "-x,", "-e", "instructions:u"], r"^(\d+),.*instructions"),
        "valgrind": (
            ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"],
            r"I\s+refs:\s+([\d,]+)",
        ),
    }
    reasons = []
    for tool, (start, pattern) in tools.items():
        if shutil.which(tool) is None:
            reasons.append(f"{tool} is not installed")
            continue
        try:
            done = subprocess.run(
                [*start, *command],
                capture_output=True,
                text=True,
                env=env,
                cwd=bench.work,
                timeout=300,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            reasons.append(f"{tool}: {type(error).__name__}")
            continue
        match = re.search(pattern, done.stderr, re.MULTILINE)
        if match is not None and done.returncode == 0:
            return int(match.group(1).replace(",", ""))
        reasons.append(f"{tool} cannot count here")
    raise ContenderError("; ".join(reasons))


def retrain(bench: Bench) -> list[Stage]:
    """Measure whole retrainings of 3670 photos, cold once and warm."""
    count = 100 if bench.quick else 3670
    folder = bench.work / "many"
    made = bench.task("write_distinct", folder=folder, source=bench.photos, count=count)
    if not bench.prepare("distinct photos", made):
        return []
    command = bench.tlcli("retrain", "--image_dir", folder, "--quiet", "--format", "json")
    command += ["--output_graph", str(bench.work / "retrained" / "output_graph.pb")]
    (bench.work / "retrained").mkdir()
    cold = bench.contender("tlcli, cold cache", command, own=True, once=True, timeout=1200)
    bench.say(f"Retrain {count} photos, whole process ...")
    cold.go()
    warm = bench.contender("tlcli, warm cache", command, own=True)
    only = bench.contender(
        "tlcli, warm cache, --solver lbfgs", [*command, "--solver", "lbfgs"], own=True
    )
    contenders = [warm, only]
    stage = measured(
        bench,
        "retrain",
        f"Retrain, whole process: {count} photos, 5 labels, 4000 steps",
        "s",
        contenders,
        repeats=2 if bench.quick else 5,
        seconds=45,
        note="Graph, labels, LiteRT file, model card and report are written. The photos are the "
        "500 real ones made distinct by a number after their end. D = 1280; the original had 2048.",
        count=count,
    )
    stage["entries"].insert(1, cold.entry())
    if count == 3670:
        stage["entries"].append(
            {
                "name": "the original, warm text caches, 3670 photos (as reported, not run here)",
                "own": False,
                "value": ORIGINAL_SECONDS,
                "values": [ORIGINAL_SECONDS],
                "given": True,
            }
        )
    return [stage]


def _cold_label(
    bench: Bench, name: str, title: str, files: Mapping[str, str], side: int, **more: Any
) -> Stage | None:
    if not files.get("graph"):
        return None
    image = bench.one_photo()
    ours = bench.tlcli("label", "--image", image, "--graph", files["graph"])
    contenders = [bench.contender("tlcli label", ours, own=True)]
    sizes: dict[str, Any] = {
        "labels": files["labels"],
        "image": image,
        "height": side,
        "width": side,
    }
    if "first" in more:
        contenders[0].name = "tlcli label, later times"
        first = bench.contender("tlcli label, first time", ours, own=True, once=True)
        contenders.append(first)
        # The first time must come first: it may leave a copy in the cache.
        first.go()
    slow = bench.task("label_image", graph=files["graph"], **sizes, **more.get("feed", {}))
    contenders.append(bench.contender("as label_image.py (TensorFlow)", slow))
    if "first" not in more:
        kinds = [("LiteRT", "litert", False), ("ONNX Runtime", "onnxruntime", True)]
        kinds.append(("OpenVINO", "openvino", True))
        given = {key: files[key] for key in ("graph", "tflite", "onnx")}
        for shown, engine, outside in kinds:
            command = bench.task("label_once", peers=outside, engine=engine, files=given, **sizes)
            contenders.append(bench.contender(f"{shown} alone", command))
    return measured(
        bench,
        name,
        title,
        "s",
        contenders,
        repeats=2 if bench.quick else 5,
        seconds=50,
        note="Wall time of the whole process.",
    )


def cold_label(bench: Bench) -> list[Stage]:
    """Measure one image in a fresh process."""
    default = bench.network("efficientnet_lite0")
    stages = [_cold_label(bench, "label_cold", "Label one photo, EfficientNet-Lite0", default, 224)]
    legacy = bench.work / "legacy"
    source = bench.data / "legacy" / "plates_128"
    if source.is_dir() and not bench.quick:
        legacy.mkdir(exist_ok=True)
        for name in ("graph.pb", "labels.txt"):
            shutil.copyfile(source / name, legacy / name)
        files = {"graph": str(legacy / "graph.pb"), "labels": str(legacy / "labels.txt")}
        feed = {"mean": 128.0, "std": 128.0, "input": "input"}
        stages.append(
            _cold_label(
                bench,
                "label_legacy",
                "Label one photo, an old graph without a LiteRT file",
                files,
                128,
                first=True,
                feed=feed,
            )
        )
    if not bench.quick:
        files = bench.network("InceptionV3")
        stages.append(
            _cold_label(bench, "label_inception", "Label one photo, Inception-v3", files, 299)
        )
    return [stage for stage in stages if stage is not None]


def folder_label(bench: Bench) -> list[Stage]:
    """Measure labelling many images in one process, as a share of bare inference."""
    files = bench.network("efficientnet_lite0")
    if not files:
        return []
    count = 100 if bench.quick else 500
    task = bench.task(
        "folder", graph=files["graph"], folder=bench.photos, count=count,
        rounds=2 if bench.quick else 4,
    )  # fmt: skip
    keep = ("bare", "share", "batch", "growth", "engine")
    contenders = [
        bench.contender("tlcli.load(...).stream", task, value="rate", own=True, keep=keep)
    ]
    stage = measured(
        bench,
        "label_folder",
        f"Label {count} photos in one process",
        "images/s",
        contenders,
        repeats=1 if bench.quick else 2,
        seconds=60,
        note="Bare inference runs the same engine at the same batch size on pixels that are "
        "already there, in turn with labelling in the same process.",
    )
    entry = stage["entries"][0]
    if "bare" in entry:
        bare = {"name": "bare inference, no decoding", "own": False, "value": entry["bare"]}
        stage["entries"].append({**bare, "values": [entry["bare"]], "memory": entry["memory"]})
    return [stage]


def growth(bench: Bench) -> list[Stage]:
    """Measure warm retrainings of more and more images, in time, memory and size of the cache."""
    largest = max(bench.growth)
    pool = bench.work / "pool"
    bench.say(f"Writing {largest} small photos and their vectors ...")
    made = bench.task("write_distinct", folder=pool, source=bench.photos, count=largest, side=48)
    filled = bench.task("fill_cache", folder=pool, cache=bench.work / "growth")
    if not bench.prepare("small photos", made, 3600):
        return []
    if not bench.prepare("filled cache", filled, 3600):
        return []
    contenders = []
    out = bench.work / "grown"
    out.mkdir()
    for size in bench.growth:
        folder = bench.work / f"pool_{size}"
        for path in sorted(pool.glob("*/*.jpg"), key=lambda path: path.name)[:size]:
            (folder / path.parent.name).mkdir(parents=True, exist_ok=True)
            os.link(path, folder / path.parent.name / path.name)
        command = bench.tlcli("retrain", "--image_dir", folder, "--quiet", "--no_report")
        command += ["--bottleneck_dir", str(bench.work / "growth")]
        command += ["--output_graph", str(out / f"graph_{size}.pb")]
        new = bench.contender(
            f"tlcli, {size:,} images, paths new", command, own=True, once=True, timeout=3600
        )
        bench.say(f"  {size:,} images")
        new.go()
        contenders += [new, bench.contender(f"tlcli, {size:,} images", command, own=True)]
    stage = measured(
        bench,
        "growth",
        "Retrain on cached vectors, whole process, 4000 steps",
        "s",
        contenders,
        repeats=2,
        seconds=600,
        note=f"Hard links of {largest:,} small photos of distinct content, D = 1280. "
        "Where paths are new each file is read once for its key.",
    )
    cache = sum(p.stat().st_size for p in (bench.work / "growth").rglob("*") if p.is_file())
    stage["note"] += f" The cache of {largest:,} vectors has {cache / 1e6:,.0f} MB."
    opened = bench.contender(
        f"cache of {largest:,} vectors",
        bench.task("open_cache", cache=bench.work / "growth"),
        value="seconds",
        own=True,
    )
    return [
        stage,
        measured(
            bench, "open_cache", "Open the cache and read one vector", "s", [opened],
            repeats=3, seconds=30,
        ),
    ]  # fmt: skip


STAGES: dict[str, Callable[[Bench], list[Stage]]] = {
    "start": start,
    "final_layer": final_layer,
    "decode": decode,
    "extraction": extraction,
    "cold_label": cold_label,
    "folder_label": folder_label,
    "retrain": retrain,
    "mobilenet": mobilenet,
    "inception": inception,
    "instructions": instructions,
    "growth": growth,
}
QUICK = ("start", "final_layer", "decode", "extraction", "cold_label", "folder_label", "retrain")
FULL = (*QUICK[:-1], "retrain", "mobilenet", "inception", "instructions")
