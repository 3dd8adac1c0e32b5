"""The final layer alone, in time and in instructions, and whole retrainings."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import Any

from benchmarks.measuring import Contender, ContenderError
from benchmarks.stages.bench import Bench, Stage, measured

# What the original took for 4000 steps on 3670 photos with warm text caches, as reported for
# it; the machine no longer exists.
ORIGINAL_SECONDS = 200.0


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
            "text files read in each step (20 steps, scaled)",
            bench.task("text_sgd", data=data, measured=20),
            once=True,
        ),
        contender("tlcli, lbfgs with its choice of regularisation", bench.task("lbfgs", data=data)),
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
            "note": f"{high} steps minus {low} steps, divided by {high - low}; counted by "
            "perf, else by valgrind.",
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
    command += ["--preset", "original"]
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
