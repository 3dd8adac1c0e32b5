"""Labelling: one image in a fresh process, and a folder at a steady pace."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks.measuring import UnavailableError


def import_tensorflow() -> dict[str, Any]:
    """Import TensorFlow and nothing else."""
    started = time.perf_counter()
    import tensorflow

    return {"seconds": time.perf_counter() - started, "version": tensorflow.__version__}


def label_image(
    graph: str,
    labels: str,
    image: str,
    height: int,
    width: int,
    mean: float = 0.0,
    std: float = 255.0,
    input: str = "Placeholder",
    output: str = "final_result",
) -> dict[str, Any]:
    """Do as label_image.py did: load the graph, decode by TensorFlow, run, print five labels."""
    import numpy as np
    import tensorflow as tf

    v1 = tf.compat.v1
    v1.disable_eager_execution()
    graph_def = v1.GraphDef()
    graph_def.ParseFromString(Path(graph).read_bytes())
    holder = tf.Graph()
    with holder.as_default():
        tf.import_graph_def(graph_def, name="import")
    with tf.Graph().as_default(), v1.Session() as session:
        pixels = tf.image.decode_jpeg(tf.io.read_file(image), channels=3)
        resized = v1.image.resize_bilinear(tf.cast(pixels, tf.float32)[None], [height, width])
        value = session.run((resized - mean) / std)
    with v1.Session(graph=holder) as session:
        scores = np.squeeze(session.run(f"import/{output}:0", {f"import/{input}:0": value}))
    names = Path(labels).read_text(encoding="utf-8").splitlines()
    for place in scores.argsort()[-5:][::-1]:
        print(names[place], scores[place])
    return {"best": names[int(scores.argmax())]}


def label_once(
    engine: str, files: dict[str, str], labels: str, image: str, height: int, width: int
) -> dict[str, Any]:
    """Label one image by a runtime alone and Pillow."""
    import numpy as np
    from PIL import Image

    from benchmarks.peers.engines import open_engine

    opened: Any = open_engine(engine, files)
    with Image.open(image) as photo:
        photo.draft("RGB", (width, height))
        small = photo.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    opened.submit(np.asarray(small, np.float32)[None] / 255)
    opened.wait()
    return {"labels": len(Path(labels).read_text(encoding="utf-8").splitlines())}


def folder(graph: str, folder: str, count: int, rounds: int = 3) -> dict[str, Any]:
    """Label photos with ``tlcli.load``; compare the rate with bare inference by its engine.

    Bare inference and labelling take turns in this process, so that both meet the same pace.
    """
    import numpy as np

    import tlcli
    from benchmarks.peers.extraction import photos

    paths = photos(folder, count)
    with tlcli.load(graph) as classifier:
        engine = getattr(classifier, "_engine", None)
        if engine is None:
            raise UnavailableError("the classifier shows no engine to run alone")
        read, scale = classifier.preprocessing.read, classifier.preprocessing.scale
        # A pool of interpreters spreads a batch over them, and needs several for each.
        size = max(classifier.batch_size, 16 * getattr(engine, "workers", 0))
        sample = scale(np.stack([read(path) for path in paths[: max(size, 32)]]))
        size = min(size, len(sample))
        # More interpreters are made when images have waited for a while.
        list(classifier.stream(paths[:64]))
        for _ in range(3):
            engine.run(sample[:size])
        # As long as labelling takes, about.
        calls = max(1, len(paths) // size)
        memory: list[int] = []
        bare: list[float] = []
        labelled: list[float] = []
        for _ in range(rounds):
            started = time.perf_counter()
            for call in range(calls):
                start = call * size % (len(sample) - size + 1)
                engine.run(sample[start : start + size])
            bare.append(calls * size / (time.perf_counter() - started))
            started = time.perf_counter()
            for _prediction in classifier.stream(paths):
                pass
            labelled.append(len(paths) / (time.perf_counter() - started))
            memory.append(resident())
    return {
        "rate": float(np.median(labelled)),
        "bare": float(np.median(bare)),
        "share": float(np.median(np.array(labelled) / np.array(bare))),
        "batch": size,
        "growth": memory[-1] - memory[0],
        "engine": type(engine).__name__,
    }


def resident() -> int:
    """Return the resident memory of this process in bytes, 0 if unknown."""
    import resource

    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * resource.getpagesize()
