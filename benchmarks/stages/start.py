"""How long processes take to start, and decoding alone."""

from __future__ import annotations

from benchmarks.stages.bench import Bench, Stage, measured


def start(bench: Bench) -> list[Stage]:
    """Measure how long processes take before they do anything."""
    contenders = [
        bench.contender("tlcli --help", bench.tlcli("--help"), own=True),
        bench.contender("tlcli label --help", bench.tlcli("label", "--help"), own=True),
        bench.contender("python -c pass", [bench.python, "-c", "pass"]),
        bench.contender("import tensorflow", bench.task("import_tensorflow")),
    ]
    contenders[-1].once = bench.quick
    for contender in contenders:  # compiles what an installation has compiled
        bench.prepare(contender.name, contender.command)
    repeats = 3 if bench.quick else 5
    return [measured(bench, "start", "Start-up", "s", contenders, repeats=repeats, seconds=40)]


def decode(bench: Bench) -> list[Stage]:
    """Measure decoding and resizing alone."""
    stages = []
    large = bench.work / "large"
    enlarge = (
        "import sys, pathlib, PIL.Image as I\n"
        "for n, p in enumerate(sys.argv[2:]):\n"
        "    d = pathlib.Path(sys.argv[1], f'label{n % 4}'); d.mkdir(parents=True, exist_ok=True)\n"
        "    I.open(p).convert('RGB').resize((4000, 3000)).save(d / f'{n}.jpg', quality=90)\n"
    )
    real = [str(path) for path in sorted((bench.photos / "roses").glob("*.jpg"))[:8]]
    sources = [("decode", "Decode to 224 x 224, photos of about 500 x 333", bench.photos)]
    if not bench.quick and bench.prepare(
        "photos of 12 megapixels", [bench.python, "-c", enlarge, str(large), *real]
    ):
        sources.append(("decode_large", "Decode to 224 x 224, photos of 12 megapixels", large))
    readers = [
        ("tlcli", "tlcli", False),
        ("pillow", "Pillow, no draft scaling", False),
        ("opencv", "OpenCV", True),
        ("tensorflow", "TensorFlow, one session call per image", False),
    ]
    for name, title, folder in sources:
        count = 8 if folder == large else 150 if bench.quick else 500
        contenders = []
        for reader, what, peers in readers:
            for threads in (True, False):
                if reader == "tensorflow" and (threads or bench.quick):
                    continue  # the original decoded one by one
                command = bench.task(
                    "decode",
                    peers=peers,
                    reader=reader,
                    folder=folder,
                    count=count,
                    threads=threads,
                )
                shown = f"{what}, {'one thread per core' if threads else 'one thread'}"
                shown = what if reader == "tensorflow" else shown
                contenders.append(
                    bench.contender(shown, command, value="rate", own=reader == "tlcli")
                )
        repeats = 1 if bench.quick else 3
        stages.append(
            measured(bench, name, title, "images/s", contenders, repeats=repeats, seconds=30)
        )
    return stages
