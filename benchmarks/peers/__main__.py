"""Run one task; see the package."""

from __future__ import annotations

import importlib
import json
import os
import sys

from benchmarks.measuring import NOT_HERE, UnavailableError

# task -> module that holds a function of that name
TASKS = {
    "decode": "decoding",
    "tune": "extraction",
    "peer": "extraction",
    "one_image_loop": "extraction",
    "own": "extraction",
    "keras_predict": "extraction",
    "sgd": "final_layer",
    "plain_sgd": "final_layer",
    "text_sgd": "final_layer",
    "lbfgs": "final_layer",
    "label_image": "labelling",
    "label_once": "labelling",
    "folder": "labelling",
    "write_keras": "preparation",
    "write_onnx": "preparation",
    "write_distinct": "preparation",
    "fill_cache": "preparation",
    "open_cache": "preparation",
    "import_tensorflow": "labelling",
}


def main(arguments: list[str]) -> int:
    """Run a task and print its answer."""
    task, options = arguments[0], json.loads(arguments[1])
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    module = importlib.import_module(f"benchmarks.peers.{TASKS[task]}")
    try:
        answer = getattr(module, task)(**options)
    except ModuleNotFoundError as error:
        name = (error.name or str(error)).split(".")[0]
        print(f"{name} is not installed", file=sys.stderr)
        return NOT_HERE
    except UnavailableError as error:
        print(error, file=sys.stderr)
        return NOT_HERE
    print(json.dumps(answer))
    if TASKS[task] == "extraction":
        # Some runtimes crash while they are unloaded, after all that is measured.
        sys.stdout.flush()
        os._exit(0)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
