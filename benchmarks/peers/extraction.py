"""Images in, predictions out: this tool and its peers on the same photos and the same network.

All are timed in the same way, by the moments at which batches were done: what comes before the
first tenth (imports, loading, filling the queues) is left out, decoding is not.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import UnavailableError
from benchmarks.peers.engines import (
    OUTPUT,
    bare_rate,
    open_engine,
    processors,
    settings_of,
)

Array = np.ndarray[Any, Any]
Mark = tuple[int, float, float]


def photos(folder: str, count: int) -> list[Path]:
    """Return the first ``count`` photos, taken from all labels in turn."""
    labels = [sorted(label.glob("*.jpg")) for label in sorted(Path(folder).iterdir())]
    turns = [path for row in zip(*labels, strict=False) for path in row]
    return turns[:count]


def mark(done: int) -> Mark:
    """Return how many images were done at this moment, in wall and in processor time."""
    return done, time.perf_counter(), time.process_time()


def steady_rate(marks: Sequence[Mark]) -> dict[str, float]:
    """Return images per second ("rate") and per second of processor time ("busy_rate").

    Both are taken from the first mark beyond a tenth of all images to the last one. The
    second is of all threads and says more than the first on a machine that has other work.
    """
    total = marks[-1][0]
    first = next(mark for mark in marks if mark[0] >= total / 10)
    last = next(mark for mark in marks if mark[0] == total)
    if last[0] == first[0]:
        raise UnavailableError("too few images to measure a rate")
    count = last[0] - first[0]
    return {"rate": count / (last[1] - first[1]), "busy_rate": count / (last[2] - first[2])}


def decoded(paths: Sequence[Path], height: int, width: int, threads: int) -> Iterator[Array]:
    """Yield uint8 pixels in order by tlcli's own preprocessing, with ``threads`` or without any."""
    from tlcli.core.images.preprocessing import Preprocessing

    read = Preprocessing("tlcli-1", height, width).read
    if not threads:
        yield from map(read, paths)
        return
    ahead: deque[Future[Array]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        rest = iter(paths)
        for path in islice(rest, 40):
            ahead.append(pool.submit(read, path))
        while ahead:
            yield ahead.popleft().result()
            for path in islice(rest, 1):
                ahead.append(pool.submit(read, path))


def batches(pixels: Iterator[Array], size: int) -> Iterator[Array]:
    """Yield float32 batches in [0, 1]."""
    while chunk := list(islice(pixels, size)):
        yield np.stack(chunk).astype(np.float32) / np.float32(255)


def tune(
    engine: str,
    files: dict[str, str],
    folder: str,
    height: int,
    width: int,
    precision: str | None = None,
    trial: int = 32,
) -> dict[str, Any]:
    """Return a runtime's quickest settings and batch size, and its images per second, bare.

    Batches of 1, 8 and 32 are tried, up to ``trial``, on decoded pixels. This
    has a process of its own, so that what is tried does not count as memory of what is run.
    """
    paths = photos(folder, trial)
    [sample] = batches(decoded(paths, height, width, processors()), trial)
    best: dict[str, Any] = {"bare": 0.0}
    for settings in settings_of(engine, precision):
        opened = open_engine(engine, files, **settings)
        for size in (1, 8, 32):
            if size > len(sample):
                continue
            rate = bare_rate(opened, sample, size)
            if rate > best["bare"]:
                best = {"bare": rate, "batch": size, "settings": settings}
    return best


def peer(
    engine: str,
    files: dict[str, str],
    folder: str,
    count: int,
    height: int,
    width: int,
    batch: int,
    settings: dict[str, str],
    loop: bool = True,
) -> dict[str, Any]:
    """Run a runtime over photos, decoded by threads and, with ``loop``, also without."""
    paths = photos(folder, count)
    opened = open_engine(engine, files, **settings)
    answer: dict[str, Any] = {}
    ways = {"threads": processors(), "loop": 0} if loop else {"threads": processors()}
    for way, threads in ways.items():
        marks: list[Mark] = []
        done = 0
        for pixels in batches(decoded(paths, height, width, threads), batch):
            if len(pixels) < batch:
                continue  # another shape would be planned again, which is not measured
            opened.submit(pixels)
            done += len(pixels)
            marks.append(mark(done))
        opened.wait()
        marks[-1] = mark(done)
        found = steady_rate(marks)
        answer[way] = found["rate"]
        # Most users of a runtime decode without threads; the better of the two counts.
        if found["rate"] > answer.get("rate", 0):
            answer |= found
    return answer


def one_image_loop(graph: str, folder: str, count: int, height: int, width: int) -> dict[str, Any]:
    """Do as the original did: decode a JPEG in one session call, run one image in another."""
    import tensorflow as tf

    v1 = tf.compat.v1
    message = v1.GraphDef()
    message.ParseFromString(Path(graph).read_bytes())
    holder = tf.Graph()
    with holder.as_default():
        tf.import_graph_def(message, name="")
        jpeg = v1.placeholder(tf.string)
        pixels = tf.cast(tf.io.decode_jpeg(jpeg, channels=3), tf.float32)
        resized = v1.image.resize_bilinear(pixels[None], [height, width])
        image = resized / 255.0
    marks: list[Mark] = []
    with v1.Session(graph=holder) as session:
        for done, path in enumerate(photos(folder, count), 1):
            value = session.run(image, {jpeg: path.read_bytes()})
            np.squeeze(session.run(f"{OUTPUT}:0", {"Placeholder:0": value}))
            marks.append(mark(done))
    return dict(steady_rate(marks))


def keras_predict(
    model: str, folder: str, count: int, height: int, width: int, batch: int
) -> dict[str, Any]:
    """Run ``Model.predict`` on batches that threads decode."""
    import keras

    loaded = keras.saving.load_model(model)
    marks: list[Mark] = []
    done = 0
    for values in batches(decoded(photos(folder, count), height, width, processors()), batch):
        if len(values) < batch:
            continue
        loaded.predict(values, verbose=0)
        done += len(values)
        marks.append(mark(done))
    return {**steady_rate(marks), "batch": batch}


def own(
    folder: str, count: int, work: str, module: str | None = None, **options: Any
) -> dict[str, Any]:
    """Run ``tlcli.retrain`` with an empty cache and then with a full one."""
    import tempfile

    import tlcli
    from tlcli.system.machine import bfloat16_instructions

    if options.get("precision") == "bfloat16" and bfloat16_instructions() is None:
        # It would run all the same, but that is no figure to compare.
        raise UnavailableError("this processor has no bfloat16")
    with tempfile.TemporaryDirectory(dir=work) as temporary:
        place = Path(temporary)
        for path in photos(folder, count):
            link = place / "photos" / path.parent.name / path.name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.resolve())
        marks: list[Mark] = []
        passes = [0]  # vectors of earlier passes: test images may be computed once more

        def progress(stage: str, done: int, total: int) -> None:
            if stage == "bottlenecks":
                if marks and passes[0] + done < marks[-1][0]:
                    passes[0] = marks[-1][0]
                marks.append(mark(passes[0] + done))

        def once(callback: Any) -> Any:
            return tlcli.retrain(
                place / "photos",
                output_graph=place / "graph.pb",
                bottleneck_dir=place / "cache",
                module=module,
                how_many_training_steps=1,
                final_layer_only=True,
                no_report=True,
                progress=callback,
                **options,
            )

        started = time.perf_counter()
        cold = once(progress)
        whole = time.perf_counter() - started
        warm = once(None)
    if cold.cache["computed"] < count or warm.cache["computed"]:
        raise UnavailableError(f"cache of {cold.cache} and {warm.cache} for {count} images")
    seconds = sum(warm.seconds[stage] for stage in ("images", "backbone", "bottlenecks"))
    rates = steady_rate(marks)
    return {
        # Images, not vectors.
        **{name: rate * count / marks[-1][0] for name, rate in rates.items()},
        "with_start": count / whole,
        "warm": count / seconds,
        "precision": cold.backbone.get("precision"),
        "engine": cold.backbone.get("engine"),
    }
