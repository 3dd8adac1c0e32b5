"""What runs in the child of a trial: a model is loaded as the caller would, and run.

A LiteRT file needs its interpreter alone, and nothing else is imported for it: the caller waits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tlcli.errors import BackboneError, GraphError, TlcliError
from tlcli.runtime.watchdog import unusable

# Of the images: the network's own size follows from resizing.
_SIDE = 64


def run_trial(request: dict[str, Any]) -> dict[str, Any]:
    """Load a model and run it on a blank, a white and a noise image.

    Args:
        request: "graph", its path; "litert", whether it is a LiteRT file; and "options", those
            of `tlcli.load`.

    Returns:
        Nothing where it passed, else "error" and "text" (see `trial.failure`).
    """
    graph, options = request["graph"], request["options"]
    run = _run_litert if request["litert"] else _label_images
    return answered(lambda: run(graph, options), graph)


def answered(work: Callable[[], object], model: str) -> dict[str, str]:
    """Return the answer of a child: nothing, or what ``work`` raised about ``model``."""
    # Nobody reads what native code writes here: it need not be filtered.
    logging.getLogger("tlcli").setLevel(logging.DEBUG)
    logging.getLogger("tlcli").addHandler(logging.NullHandler())
    try:
        work()
    except TlcliError as error:
        text = str(error)
        if isinstance(error, (BackboneError, GraphError)) and model not in text:
            text = f"{model} cannot be used: {text}"
        return {"error": type(error).__name__, "text": text}
    except Exception as error:  # whatever it raises is an answer
        return {"error": "GraphError", "text": unusable(error, model)}
    return {}


def _run_litert(graph: str, options: dict[str, Any]) -> None:
    from tlcli.litert.interpreter import LiteRTEngine

    engine = LiteRTEngine(graph)
    given = (1, options["input_height"], options["input_width"])
    free = (*given, *(None for _ in engine.input_shape))
    shape = [size or other or 1 for size, other in zip(engine.input_shape, free, strict=False)]
    for values in trial_values(shape, engine.input_type):
        engine.run(values)


def trial_values(shape: list[int], dtype: str) -> Iterator[Any]:
    """Yield a blank, a white and a noise input, each of the shape and NumPy type given."""
    highest = 1 if dtype == "bool" else 255 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    noise = np.random.default_rng(0).random(shape) * highest
    for values in (np.zeros(shape), np.full(shape, highest), noise):
        yield values.astype(dtype)


def _label_images(graph: str, options: dict[str, Any]) -> None:
    import io

    from PIL import Image

    from tlcli.core.classifier.loading import load_untried

    files = []
    for values in trial_values([_SIDE, _SIDE, 3], "uint8"):
        file = io.BytesIO()
        Image.fromarray(values).save(file, "PNG")
        files.append(file.getvalue())
    load_untried(graph, **options).label(files)
