"""Extraction of bottleneck vectors, compared with other runtimes on the same network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.measuring import Contender, ContenderError, run
from benchmarks.stages.bench import Bench, Stage, measured

ALL_PEERS = (
    *("openvino", "openvino bf16", "openvino int8", "onnxruntime", "litert", "tensorflow"),
)
# How each is shown and run, and whether outside tlcli's own environment.
_KINDS: dict[str, tuple[str, dict[str, str], bool]] = {
    "openvino": ("OpenVINO float32", {"engine": "openvino", "precision": "f32"}, True),
    "openvino bf16": ("OpenVINO bfloat16", {"engine": "openvino", "precision": "bf16"}, True),
    "openvino int8": ("OpenVINO int8 (NNCF)", {"engine": "openvino", "precision": "int8"}, True),
    "onnxruntime": ("ONNX Runtime", {"engine": "onnxruntime"}, True),
    "litert": ("LiteRT", {"engine": "litert"}, False),
    "tensorflow": ("TensorFlow session, batches", {"engine": "tensorflow"}, False),
}


@dataclass(frozen=True)
class Extraction:
    """What is measured of one network, and for how long.

    Attributes:
        network: its name, as `Bench.network` takes it.
        title: what people call it.
        side: of its square input, in pixels.
        count: photos of a round.
        repeats: rounds.
        seconds: after which no round begins.
        peers: other runtimes, of `ALL_PEERS`.
        trial: photos on which a runtime's settings are tried.
        loop: let runtimes also decode without threads.
    """

    network: str
    title: str
    side: int
    count: int
    repeats: int
    seconds: float
    peers: tuple[str, ...] = ()
    trial: int = 8
    loop: bool = False

    def sizes(self, bench: Bench) -> dict[str, Any]:
        """Return the photos and their size, as the tasks of `benchmarks.peers` take them."""
        return {
            "folder": bench.photos,
            "count": self.count,
            "height": self.side,
            "width": self.side,
        }


def _tuned(bench: Bench, asked: Extraction, peer: str, files: dict[str, str]) -> Contender:
    """Return a runtime at its quickest settings, which a process of its own finds."""
    shown, options, outside = _KINDS[peer]
    sizes = asked.sizes(bench)
    place = {name: value for name, value in sizes.items() if name != "count"}
    command = bench.task("tune", peers=outside, files=files, trial=asked.trial, **options, **place)
    try:
        best = run(command, env=bench.env, cwd=bench.work).answer
        chosen = {"batch": best["batch"], "settings": best["settings"]}
    except (ContenderError, KeyError) as error:
        return bench.contender(shown, command, value="rate", failed=str(error))
    engine = options["engine"]
    command = bench.task(
        "peer", peers=outside, engine=engine, files=files, loop=asked.loop, **chosen, **sizes
    )
    made = bench.contender(shown, command, value="rate", keep=("threads", "loop", "busy_rate"))
    made.facts = {"bare": best["bare"], **chosen}
    return made


def _extraction(bench: Bench, asked: Extraction) -> list[Stage]:
    files = bench.network(asked.network)
    keras = files.get("keras")
    sizes = asked.sizes(bench)
    place: dict[str, Any] = {"folder": bench.photos, "count": asked.count, "work": bench.work}
    own = bench.task("own", **place, module=keras)
    keep = ("with_start", "warm", "precision", "engine", "busy_rate")
    contenders = [bench.contender("tlcli", own, value="rate", own=True, keep=keep)]
    if "openvino bf16" in asked.peers:
        low = bench.task("own", **place, module=keras, precision="bfloat16")
        contenders.append(bench.contender("tlcli bfloat16", low, value="rate", own=True, keep=keep))
    if "openvino int8" in asked.peers:
        low = bench.task("own", **place, module=keras, precision="int8")
        contenders.append(bench.contender("tlcli int8", low, value="rate", own=True, keep=keep))
    ours = {key: path for key, path in files.items() if key in ("graph", "tflite", "onnx")}
    if ours:
        bench.say(f"Trying the runtimes' settings for {asked.title} ...")
        contenders += [_tuned(bench, asked, peer, ours) for peer in asked.peers]
        command = bench.task("one_image_loop", graph=files["graph"], **sizes)
        contenders.append(
            bench.contender(
                "TensorFlow, one image per call", command, value="rate", keep=("busy_rate",)
            )
        )
    if keras is not None:
        # Its default, where there are photos for several of them.
        size = 32 if asked.count >= 100 else 8
        command = bench.task("keras_predict", model=keras, batch=size, **sizes)
        kept = ("batch", "busy_rate")
        contenders.append(bench.contender("Keras predict", command, value="rate", keep=kept))
    stage = measured(
        bench,
        f"extraction_{asked.network}",
        f"Extraction, {asked.title}",
        "images/s",
        contenders,
        repeats=asked.repeats,
        seconds=asked.seconds,
        note=f"{asked.count} photos, decoding included; tlcli starts with an empty cache.",
    )
    stages = [stage]
    first = stage["entries"][0]
    # With few photos only the start would be measured.
    if "warm" in first and asked.network == "efficientnet_lite0":
        entry = {"name": "tlcli, cache warm", "own": True, "value": first["warm"]}
        entries = [{**entry, "values": [first["warm"]], "memory": first["memory"]}]
        for other in stage["entries"]:
            if "value" in other:
                plain = {key: other[key] for key in ("name", "value", "values", "memory")}
                entries.append({**plain, "own": False})
        entries[1]["name"] = "tlcli, cache empty"
        stages.append(
            {
                "name": f"warm_{asked.network}",
                "title": f"Extraction, {asked.title}, cache warm",
                "unit": "images/s",
                "note": "The same photos again: nothing is decoded or computed.",
                "rounds": stage["rounds"],
                "entries": entries,
            }
        )
    return stages


def extraction(bench: Bench) -> list[Stage]:
    """Measure the default backbone."""
    asked = Extraction(
        network="efficientnet_lite0",
        title="EfficientNet-Lite0",
        side=224,
        count=100 if bench.quick else 500,
        repeats=1 if bench.quick else 5,
        seconds=240,
        peers=ALL_PEERS[:5] if bench.quick else ALL_PEERS,
        trial=8 if bench.quick else 32,
        loop=not bench.quick,
    )
    return _extraction(bench, asked)


def inception(bench: Bench) -> list[Stage]:
    """Measure Inception-v3 with random weights, out of a Keras file."""
    asked = Extraction(
        network="InceptionV3",
        title="Inception-v3 (random weights)",
        side=299,
        # Runtimes prefetch 40 photos, which must be a small part of the whole.
        count=20 if bench.quick else 120,
        repeats=1 if bench.quick else 3,
        seconds=240,
        peers=ALL_PEERS[:4],
    )
    return _extraction(bench, asked)


def mobilenet(bench: Bench) -> list[Stage]:
    """Measure MobileNetV2 with random weights, out of a Keras file."""
    asked = Extraction(
        network="MobileNetV2",
        title="MobileNetV2 (random weights)",
        side=224,
        count=100 if bench.quick else 250,
        repeats=1 if bench.quick else 2,
        seconds=45,
    )
    return _extraction(bench, asked)
