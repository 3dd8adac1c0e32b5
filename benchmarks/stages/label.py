"""Labelling: one photo in a fresh process, and many in one."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from benchmarks.stages.bench import Bench, Stage, measured


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
    """Measure labelling many images in one process, as a fraction of bare inference."""
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
        note="Bare inference runs the same engine at the same batch size on decoded "
        "pixels, alternating with labelling in the same process.",
    )
    entry = stage["entries"][0]
    if "bare" in entry:
        bare = {"name": "bare inference, no decoding", "own": False, "value": entry["bare"]}
        stage["entries"].append({**bare, "values": [entry["bare"]], "memory": entry["memory"]})
    return [stage]
