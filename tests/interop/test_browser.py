"""The pages of examples/clients/browser in Chromium: the scores of `tlcli label`."""

from __future__ import annotations

import functools
import http.server
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tlcli
from tests.chromium import Chromium, find
from tests.interop.agreement import CLIENTS, Floats, check
from tests.interop.conftest import Flowers
from tests.support import ROOT

pytestmark = pytest.mark.slow

FOLDER = ROOT / "examples" / "clients" / "browser"
PAGES = {"onnx_runtime_web": "onnx.html", "mediapipe_web": "mediapipe.html"}
# What MediaPipe writes to the console about itself.
CHATTER = re.compile(
    r"OpenGL|WebGL|GL Driver|Created TensorFlow Lite XNNPACK|Graph (successfully|f)"
)
STATUS = "document.getElementById('status').textContent"
PAIRS = """Array.from(document.querySelectorAll("#scores li"),
    (each) => [each.firstChild.textContent.trim(), Number(each.lastChild.value)])"""


@contextmanager
def website(folder: Path) -> Iterator[str]:
    """Serve a folder, and yield its address."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            return

    make = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), make) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{web.server_port}"
        web.shutdown()
        thread.join()


@pytest.fixture(params=PAGES)
def client(request: pytest.FixtureRequest) -> str:
    """Return the name of the client in docs/clients.json."""
    return str(request.param)


@pytest.fixture
def opened(
    client: str, flowers: Flowers, npm_package: Callable[[str], Path], tmp_path: Path
) -> Iterator[tuple[str, Chromium]]:
    """Open the page of a client in a folder with its files, as the README has it."""
    program = find()
    if program is None:
        pytest.skip("no Chromium on this machine")
    row = next(line for line in readme().splitlines() if f"[{PAGES[client]}]" in line)
    [package] = re.findall(r"npm install (\S+)`", row)
    folder = tmp_path / "browser"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("node_modules"))
    (folder / "node_modules").symlink_to(npm_package(package))
    for name in re.findall(r"`(output_\S+)`", row):
        shutil.copyfile(flowers.folder / name, folder / name)
    with website(folder) as address, Chromium(program, tmp_path / "profile") as page:
        page.open(f"{address}/{PAGES[client]}")
        page.wait(f"{STATUS} !== 'Loading the network ...'")
        assert page.run(STATUS) == "Ready"
        yield address, page


def readme() -> str:
    return (FOLDER / "README.md").read_text(encoding="utf-8")


def scores(page: Chromium, flowers: Flowers, *pictures: Path) -> Floats:
    """Choose each picture and return what the page shows, [pictures, labels]."""
    found = []
    for path in pictures:
        page.run(f"{STATUS} = ''")
        page.choose_files("#file", path)
        page.wait(f"{STATUS} !== ''")
        pairs = page.run(PAIRS)
        assert page.run(STATUS) == pairs[0][0]
        found.append(dict(pairs))
    return flowers.rows(found)


def test_a_page_shows_the_scores_of_label(
    client: str, opened: tuple[str, Chromium], flowers: Flowers, tmp_path: Path
) -> None:
    address, page = opened
    same = [same_pixels(flowers, path, tmp_path) for path in flowers.photos[::10]]
    np.testing.assert_allclose(
        scores(page, flowers, *same), flowers.scores[::10], atol=CLIENTS[client]["pixels"], rtol=0
    )
    check(client, scores(page, flowers, *flowers.photos), flowers.scores)
    others = list(pictures_of_other_kinds(flowers.photos[0], tmp_path))
    np.testing.assert_allclose(
        scores(page, flowers, *others), flowers.label(*others), atol=0.02, rtol=0
    )
    (tmp_path / "text.jpg").write_text("text")
    page.run(f"{STATUS} = ''")
    page.choose_files("#file", tmp_path / "text.jpg")
    page.wait(f"{STATUS}.startsWith('Cannot label it: ')")
    assert [each for each in page.complaints if not CHATTER.search(each)] == []
    assert all(url.startswith((address, "about:", "data:", "blob:")) for url in page.requested)


def same_pixels(flowers: Flowers, path: Path, folder: Path) -> Path:
    """Write a photo in the network's size, with the pixels that `tlcli label` computes."""
    with tlcli.load(flowers.folder / "output_graph.pb") as classifier:
        [pixels] = classifier.read(path)
    target = folder / f"{path.stem}.png"
    Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(target)
    return target


def pictures_of_other_kinds(path: Path, folder: Path) -> Iterator[Path]:
    """Yield a large photo, one that lies on its side, and a transparent one."""
    with Image.open(path) as photo:
        yield saved(photo.resize((3000, 2000)), folder / "large.jpg", quality=95)
        exif = Image.Exif()
        exif[0x0112] = 6  # the camera was turned
        yield saved(photo.rotate(90, expand=True), folder / "turned.jpg", exif=exif, quality=95)
        photo.putalpha(Image.linear_gradient("L").resize(photo.size))
        yield saved(photo, folder / "transparent.png")


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


def test_a_page_says_that_the_network_is_missing(tmp_path: Path) -> None:
    program = find()
    if program is None:
        pytest.skip("no Chromium on this machine")
    shutil.copytree(FOLDER, tmp_path / "browser", ignore=shutil.ignore_patterns("node_modules"))
    module = tmp_path / "browser/node_modules/onnxruntime-web/dist/ort.wasm.min.mjs"
    module.parent.mkdir(parents=True)
    module.write_text("export const InferenceSession = {create: async () => { throw Error('no') }}")
    with website(tmp_path / "browser") as address, Chromium(program, tmp_path / "profile") as page:
        page.open(f"{address}/onnx.html")
        page.wait(f"{STATUS} === 'Cannot load the network: no'")
