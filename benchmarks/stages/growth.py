"""Warm retrainings of more and more images."""

from __future__ import annotations

import os

from benchmarks.stages.bench import Bench, Stage, measured


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
        command += ["--preset", "original", "--bottleneck_dir", str(bench.work / "growth")]
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
        "If paths are new, each file is read once to compute its key.",
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
