"""Extraction of bottleneck vectors, beside other runtimes on the same network."""

from __future__ import annotations

from typing import Any

from benchmarks.measuring import Contender, ContenderError, run
from benchmarks.stages.bench import Bench, Stage, measured


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
