"""Only formats that decode in this process are read: none starts a program."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.pictures import encoded
from tlcli.core.images.decoding import open_image
from tlcli.core.images.formats import ALLOWED_FORMATS
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.core.images.thumbnails import picture
from tlcli.errors import ImageError

EPS = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%Pages: 1\n%%EndComments\n"
    b"%%EndProlog\n%%Page: 1 1\n0 0 9 9 rectfill\nshowpage\n%%Trailer\n%%EOF\n"
)


def iptc(content: bytes) -> bytes:
    """Return an IPTC file that holds another file."""

    def field(record: int, number: int, data: bytes) -> bytes:
        return struct.pack(">BBBH", 0x1C, record, number, len(data)) + data

    return b"".join(
        (
            field(3, 20, b"\0\x09"),
            field(3, 30, b"\0\x09"),
            field(3, 60, b"\x01\x00"),
            field(3, 65, b"\x01"),
            field(3, 120, b"\x05"),  # JPEG, says the header
            *(
                field(8, 10, content[start : start + 8192])
                for start in range(0, len(content), 8192)
            ),
        )
    )


def icon(content: bytes) -> bytes:
    entry = struct.pack("<BBBBHHII", 9, 9, 0, 0, 1, 32, len(content), 22)
    return struct.pack("<HHH", 0, 1, 1) + entry + content


def cursor(content: bytes) -> bytes:
    return icon(content).replace(b"\0\0\1\0", b"\0\0\2\0", 1)


def mac_icon(content: bytes) -> bytes:
    inner = b"ic10" + struct.pack(">I", 8 + len(content)) + content
    return b"icns" + struct.pack(">I", 8 + len(inner)) + inner


def tiff_holding(content: bytes) -> bytes:
    """Return a TIFF whose one strip, said to be a JPEG, is another file."""
    entries = [(256, 9), (257, 9), (258, 8), (259, 7), (262, 1), (273, 134), (277, 1)]
    entries += [(278, 9), (279, len(content)), (0x0201, 134)]
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries))
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + bytes(4) + content


def blp(content: bytes) -> bytes:
    head = b"BLP1" + struct.pack("<iiIIii", 0, 0, 9, 9, 0, 0)
    offsets = struct.pack("<16I", 160, *[0] * 15) + struct.pack("<16I", len(content), *[0] * 15)
    return head + offsets + struct.pack("<I", 0) + content


CONTAINERS = {
    "iptc": iptc,
    "ico": icon,
    "cur": cursor,
    "icns": mac_icon,
    "tiff": tiff_holding,
    "blp": blp,
    "jpeg": lambda content: encoded(Image.new("RGB", (9, 9)), "JPEG", exif=b"Exif\0\0" + content),
    "after a jpeg": lambda content: encoded(Image.new("RGB", (9, 9)), "JPEG") + content,
}
_SIGNATURES = {
    "bufr": b"BUFR\0\0\0\4",
    "grib": b"GRIB\0\0\0\1",
    "hdf5": b"\x89HDF\r\n\x1a\n",
    "wmf": b"\xd7\xcd\xc6\x9a\0\0"
    + struct.pack("<4hH", 0, 0, 9, 9, 96)
    + b"\1\0\x09\0"
    + bytes(40),
    "emf": struct.pack("<II", 1, 108) + bytes(32) + b" EMF" + bytes(64),
    "mpeg": b"\0\0\1\xb3\0\x90\x09" + bytes(20),
    "fpx": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
    "pdf": b"%PDF-1.4\n",
    "fits": b"SIMPLE  =                    T".ljust(80) + b"END".ljust(80),
    "eps": EPS,
    "binary eps": b"\xc5\xd0\xd3\xc6" + struct.pack("<II", 30, len(EPS)) + bytes(18) + EPS,
}


def crafted() -> dict[str, bytes]:
    """Return a file for each format that Pillow writes or recognises, and EPS inside of each."""
    Image.init()
    found = dict(_SIGNATURES)
    for name in sorted(set(Image.SAVE) - {"PDF"}):
        for mode in ("RGB", "RGBA", "L", "1", "P", "F"):
            try:
                found[name.lower()] = encoded(Image.new(mode, (16, 16)), name)
            except Exception:  # another mode, or a library that is not there
                continue
            break
    for name, make in CONTAINERS.items():
        found[f"eps in {name}"] = make(EPS)
        found[f"eps in iptc in {name}"] = make(iptc(EPS))
    return found


# Runs each reader on each file of a folder while the process cannot start another program.
_READ = """
import sys
from pathlib import Path
from tests.core.images.test_formats import forbid_programs, read
forbid_programs()
for path in sorted(Path(sys.argv[1]).iterdir()):
    print(path.name, read(path), sep=": ")
"""


def read(path: Path) -> str:
    """Return what each way of reading a file comes to, a format or a reason."""
    results = []
    picture(path, 16)
    for preprocessing in ("tlcli-1", "label_image"):
        try:
            Preprocessing(preprocessing, 8, 8).read(path)
            with open_image(path) as image:
                results.append(str(image.format))
        except ImageError as error:
            results.append(str(error))
    return " / ".join(results)


def forbid_programs() -> None:
    """End this process when it starts a program, by Python or, on Linux, in any other way."""

    def stop(event: str, _: object) -> None:
        if event in {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork"}:
            print("PROGRAM STARTED", event, flush=True)
            os._exit(1)

    sys.addaudithook(stop)
    if sys.platform == "linux" and os.uname().machine == "x86_64":
        import ctypes

        # The kernel kills the process at execve (59) and execveat (322).
        load, jump, give = 0x20, 0x15, 0x06
        kill, allow = 0x80000000, 0x7FFF0000
        steps = [
            (load, 0, 0, 0),
            (jump, 1, 0, 59),
            (jump, 0, 1, 322),
            (give, 0, 0, kill),
            (give, 0, 0, allow),
        ]
        code = b"".join(struct.pack("<HBBI", *step) for step in steps)
        keep = ctypes.create_string_buffer(code)
        program = struct.pack("<HxxxxxxQ", len(steps), ctypes.addressof(keep))
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.prctl(38, 1, 0, 0, 0) == 0  # no new privileges
        assert libc.prctl(22, 2, ctypes.create_string_buffer(program)) == 0  # seccomp filter


@pytest.mark.skipif(os.name == "nt", reason="the fake Ghostscript is a shell script")
def test_no_format_starts_a_program(tmp_path: Path) -> None:
    folder, programs = tmp_path / "images", tmp_path / "programs"
    for each in (folder, programs):
        each.mkdir()
    for name in ("gs", "djpeg", "xv", "display"):
        (programs / name).write_text(f"#!/bin/sh\ntouch {tmp_path / 'started'}\nexit 1\n")
        (programs / name).chmod(0o755)
    for name, content in crafted().items():
        (folder / name).write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", _READ, str(folder)],
        env=os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"},
        cwd=Path(__file__).resolve().parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    assert not (tmp_path / "started").exists()
    results = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert results["eps"] == results["eps in iptc"] == "not an image / not an image"
    assert results["eps in after a jpeg"] == results["jpeg"] == "JPEG / JPEG"
    formats = {part for result in results.values() for part in result.split(" / ")}
    assert not formats & (set(Image.ID) - ALLOWED_FORMATS)


def test_the_filter_of_this_test_works() -> None:
    """A process that starts a program dies in it."""
    start = (
        "import ctypes; from tests.core.images.test_formats import forbid_programs; "
        "forbid_programs(); ctypes.CDLL(None).execv(b'/bin/true', None)"
    )
    done = subprocess.run(
        [sys.executable, "-c", start], cwd=Path(__file__).resolve().parents[3], check=False
    )
    if sys.platform == "linux" and os.uname().machine == "x86_64":
        assert done.returncode < 0


@pytest.mark.parametrize("name", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA", "ICO"])
def test_formats_of_photos_are_read(name: str) -> None:
    data = encoded(Image.new("RGB", (32, 32), "red"), name)
    assert (Preprocessing("tlcli-1", 8, 8).read(data)[4, 4] > (200, -1, -1)).all()


def test_every_plugin_that_opens_another_image_is_left_out() -> None:
    """By the source: none of the formats calls ``Image.open`` or starts a program to be read."""
    Image.init()
    for name in ALLOWED_FORMATS & set(Image.OPEN):
        module = sys.modules[getattr(Image.OPEN[name][0], "__module__", "")]
        source = Path(str(module.__file__)).read_text(encoding="utf-8")
        calls = [line.strip() for line in source.splitlines() if "Image.open(" in line]
        calls = [line for line in calls if not line.startswith("#")]
        # JPEG: a method that nobody calls, which wants the program djpeg.
        assert len(calls) <= (name == "JPEG"), (name, calls)
