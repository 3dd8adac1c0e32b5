"""A small retraining on drawn images, in a separate process.

Separate, because a fault of the machine may end the process: a processor without an instruction
that TensorFlow was built for, or too little memory.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LABELS = ("disc", "square")
IMAGES = 8
STEPS = 20
# Two cores need less than ten seconds.
LIMIT_SECONDS = 120


def run(limit: float = LIMIT_SECONDS) -> dict[str, Any]:
    """Draw images, retrain on them and label one; a failure is returned, not raised.

    Returns:
        "ok", "sentence", and the duration in "seconds", as JSON values.
    """
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tlcli-doctor-", ignore_cleanup_errors=True) as folder:
        try:
            done = subprocess.run(
                [sys.executable, "-m", "tlcli.commands.self_test", folder],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=limit,
                # In another folder, a retrain.py of the user would be imported first.
                cwd=folder,
            )
            ok, sentence = _outcome(done)
        except subprocess.TimeoutExpired:
            ok, sentence = False, f"did not end within {limit:g} seconds"
        except OSError as error:
            ok, sentence = False, f"could not be started: {error.strerror or error}"
    seconds = round(time.monotonic() - start, 2)
    return {"ok": ok, "sentence": sentence, "seconds": seconds}


def _outcome(done: subprocess.CompletedProcess[str]) -> tuple[bool, str]:
    try:
        found = json.loads(done.stdout.strip().splitlines()[-1])
        return bool(found["ok"]), str(found["sentence"])
    except (ValueError, IndexError, KeyError, TypeError):
        pass
    if done.returncode < 0:
        try:
            name = signal.Signals(-done.returncode).name
        except ValueError:
            name = f"signal {-done.returncode}"
        hint = {
            "SIGILL": ": this processor lacks an instruction that TensorFlow was built for",
            "SIGKILL": ": most likely there was too little memory",
        }.get(name, "")
        return False, f"ended by {name}{hint}"
    last = done.stderr.strip().rpartition("\n")[2] or "no message"
    return False, f"ended with exit code {done.returncode}: {last}"


def draw(folder: Path) -> Path:
    """Draw `IMAGES` discs and squares each into ``folder/LABEL``; return one for labelling."""
    from PIL import Image, ImageDraw

    new = folder / "new.png"
    for index in range(IMAGES + 1):
        for label in LABELS:
            image = Image.new("RGB", (96, 96), (235, 238 - 6 * index, 225))
            pen = ImageDraw.Draw(image)
            box = (14 + 2 * index, 20 + index, 70 + 2 * index, 76 + index)
            if label == "disc":
                pen.ellipse(box, fill=(200, 40 + 10 * index, 30))
            else:
                pen.rectangle(box, fill=(30, 60 + 10 * index, 190))
            if index < IMAGES:
                path = folder / "photos" / label / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                image.save(path)
            elif label == LABELS[0]:
                image.save(new)
    return new


def check(folder: Path) -> str:
    """Retrain in ``folder`` and label one image; return a sentence on success.

    Raises:
        Exception: any failure.
    """
    import tlcli

    new = draw(folder)
    graph = folder / "graph.pb"
    result = tlcli.retrain(
        folder / "photos",
        output_graph=graph,
        bottleneck_dir=folder / "bottlenecks",
        how_many_training_steps=STEPS,
        learning_rate=0.1,
        no_report=True,
    )
    with tlcli.load(graph) as classifier:
        prediction = classifier.label([new])[0]
    if prediction.error is not None:
        raise RuntimeError(f"the drawn image could not be labelled: {prediction.error}")
    best = prediction.scores[0]
    if best.label != LABELS[0]:
        raise RuntimeError(
            f"a drawn {LABELS[0]} was labelled {best.label} (score={best.score:.5f}), "
            f"with a test accuracy of {result.test_accuracy}"
        )
    return f"retrained on {2 * IMAGES} drawn images and labelled one correctly"


def main(arguments: list[str]) -> int:
    """Run the check in the folder named by the first argument; print the outcome as JSON."""
    try:
        ok, sentence = True, check(Path(arguments[0]))
    except Exception as error:
        ok, sentence = False, " ".join(str(error).split()) or type(error).__name__
    print(json.dumps({"ok": ok, "sentence": sentence}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
