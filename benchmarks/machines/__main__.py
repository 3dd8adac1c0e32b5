"""Measure what many machines need, and simulate runs on 1 to 1,000 workers.

    python -m benchmarks.machines entries --entries 10000000
    python -m benchmarks.machines costs --data ../shared
    python -m benchmarks.machines simulate

``entries`` prints what planning, listing, opening and merging take in one process; Linux only. The
images do not exist, the listing is sent over HTTP by a server on loopback, and the vectors are
random: 16 values each, unless --width says otherwise. ``costs`` measures the stages of a run here,
on one core, and prints them as JSON. ``simulate`` prints the hours of runs with such costs (--costs
FILE), and what holds each of them up. Without a file the costs are those of
``benchmarks/machines/costs.json``, measured on two busy cores; its ``read`` and ``fit`` come
from a whole training on a million images by ``benchmarks/large_fit.py``, which takes longer than
its parts.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks.machines import costs, entries, simulation

IMAGES = [100_000, 1_000_000, 10_000_000, 50_000_000]
WORKERS = [1, 10, 100, 1000]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    sizes = commands.add_parser("entries")
    sizes.add_argument("--entries", type=int, default=10_000_000)
    sizes.add_argument("--width", type=int, default=16, help="values of a vector")
    sizes.add_argument("--folder", type=Path, help="for the parts, instead of the temporary one")
    sizes.add_argument("--steps", nargs="+", choices=entries.STEPS, default=list(entries.STEPS))
    stages = commands.add_parser("costs")
    stages.add_argument("--data", type=Path, default=Path("../shared"))
    stages.add_argument("--photos", type=int, default=200)
    runs = commands.add_parser("simulate")
    runs.add_argument("--costs", type=Path, default=Path(__file__).with_name("costs.json"))
    runs.add_argument("--images", type=int, nargs="+", default=IMAGES)
    runs.add_argument("--workers", type=int, nargs="+", default=WORKERS)
    options = parser.parse_args()
    if options.command == "entries":
        show_entries(options.entries, options.width, options.folder, options.steps)
    elif options.command == "costs":
        print(json.dumps(costs.measure(options.data, options.photos), indent=2, sort_keys=True))
    else:
        known = simulation.Costs.from_json(json.loads(options.costs.read_text(encoding="utf-8")))
        print(simulation.table(simulation.curve(options.images, options.workers, known)))


def show_entries(count: int, width: int, folder: Path | None, steps: list[str]) -> None:
    print("| what | entries | wall s | CPU s | µs of CPU each | peak MB | of it before, MB |")
    print(f"|---|{'---:|' * 6}", flush=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="tlcli-machines-") as name:
        for step in steps:
            found = entries.measured(step, entries.Size(count, width, Path(name)))
            print(
                f"| {entries.STEPS[step][0]} | {found.entries:,} | {found.wall:.1f} "
                f"| {found.cpu:.1f} | {found.cpu / found.entries * 1e6:.2f} "
                f"| {found.memory:,.0f} | {found.start:,.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
