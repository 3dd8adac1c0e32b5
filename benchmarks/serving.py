"""Measure how long requests to `tlcli serve` take, with one client and with several at once.

    python benchmarks/serving.py
    python benchmarks/serving.py --graph output_graph.pb --image photo.jpg --clients 1 2 8 16

Every client sends the same photo again and again over a connection of its own. Without --graph, a
network is retrained on drawn photos. Prints a Markdown table: the median time of a request, its
ratio to that of one client and to that of one client per processor, and requests per second.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tlcli.system.cpus import available_cpus

ROOT = Path(__file__).resolve().parents[1]
WARM_UP = 40  # requests: the interpreters of a crowd are made when images have had to wait


@dataclass(frozen=True)
class Request:
    """What is sent: an address, a body and its type."""

    name: str
    path: str
    body: bytes
    type: str


def requests(photo: bytes) -> list[Request]:
    """Return the requests that are measured."""
    rows = json.dumps({"instances": [{"b64": base64.b64encode(photo).decode()}]}).encode()
    predict = "/v1/models/model:predict"
    return [
        Request("predict, JSON", predict, rows, "application/json"),
        Request("predict, image file", predict, photo, "image/jpeg"),
        Request("the page", "/page/label", photo, "image/jpeg"),
    ]


def measure(url: str, request: Request, clients: int, seconds: float) -> tuple[list[float], float]:
    """Return the time of each request that ``clients`` sent within ``seconds``, and all per s."""
    times: list[float] = []
    failures: list[str] = []
    start = threading.Barrier(clients + 1)
    end = 0.0

    def ask() -> None:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        start.wait()
        while time.perf_counter() < end and not failures:
            begun = time.perf_counter()
            connection.request("POST", request.path, request.body, {"Content-Type": request.type})
            answer = connection.getresponse()
            body = answer.read()
            times.append(time.perf_counter() - begun)
            if answer.status != 200:
                failures.append(f"status {answer.status}: {body[:200]!r}")
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    begun = time.perf_counter()
    end = begun + seconds
    start.wait()
    for thread in threads:
        thread.join()
    if failures:
        raise SystemExit(f"{request.path}: {failures[0]}")
    return times, len(times) / (time.perf_counter() - begun)


@contextmanager
def serving(program: Path, graph: Path) -> Iterator[str]:
    """Yield the address of a server."""
    command = [str(program), "serve", "--port", "0", "--graph", str(graph)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(command)} ended with {process.wait()}")
        yield line.split()[1]
    finally:
        process.terminate()
        process.wait()


def retrained(folder: Path, program: Path) -> tuple[Path, Path]:
    """Return a graph that was retrained on drawn photos, and a photo."""
    draw = [sys.executable, str(ROOT / "examples" / "draw_houses.py")]
    subprocess.run([*draw, "--output", "photos", "--count", "40"], cwd=folder, check=True)
    retrain = [str(program), "retrain", "--image_dir", "photos", "--quiet"]
    subprocess.run(retrain, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return folder / "output_graph.pb", next((folder / "photos" / "house_with_pool").iterdir())


def table(photo: bytes, url: str, clients: Sequence[int], rounds: int, seconds: float) -> str:
    """Return the measured table."""
    processors = available_cpus()
    lines = [
        f"| request | clients | median, ms | to 1 client | to {processors} clients "
        "(1 per processor) | requests/s |",
        "|---|---|---|---|---|---|",
    ]
    for request in requests(photo):
        for count in clients:
            measure(url, request, count, WARM_UP / 80)
        # In turn, so that a change of the machine's pace meets all alike.
        found: dict[int, list[tuple[float, float]]] = {count: [] for count in clients}
        for _ in range(rounds):
            for count in clients:
                times, rate = measure(url, request, count, seconds)
                found[count].append((statistics.median(times), rate))
        medians = {n: statistics.median(each[0] for each in found[n]) for n in clients}
        for count in clients:
            ratios = [
                f"{medians[count] / medians[base]:.2f}" if base in medians else ""
                for base in (1, processors)
            ]
            rate = statistics.median(each[1] for each in found[count])
            lines.append(
                f"| {request.name} | {count} | {medians[count] * 1000:.1f} | {ratios[0]} | "
                f"{ratios[1]} | {rate:.0f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--graph", type=Path, help="default: retrained on drawn photos")
    parser.add_argument("--image", type=Path, help="photo to send, with --graph")
    parser.add_argument("--clients", type=int, nargs="+", default=sorted({1, available_cpus(), 8}))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="per round and kind")
    parser.add_argument(
        "--tlcli", type=Path, default=Path(sys.executable).parent / "tlcli", help="the program"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.graph is None:
            graph, image = retrained(Path(folder), given.tlcli)
        elif given.image is None:
            parser.error("give --image too")
        else:
            graph, image = given.graph, given.image
        with serving(given.tlcli, graph) as url:
            content = image.read_bytes()
            print(table(content, url, given.clients, given.rounds, given.seconds))


if __name__ == "__main__":
    main()
