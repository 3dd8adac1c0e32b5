"""The page in a real browser: choose, drop, paste, camera, keys, three widths, light and dark."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chromium import Chromium, find
from tests.serve.running import Server, running
from tests.support import Trained, tlcli

pytestmark = pytest.mark.slow

CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
ANSWERED = "document.querySelectorAll('#list [aria-busy=false]').length === {}"
# Makes a file out of base64 and gives it to the page as `event` has it.
GIVE = """(() => {{
  const bytes = Uint8Array.from(atob({content}), (each) => each.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], {name}, {{type: "image/jpeg"}}));
  const given = {{dataTransfer: transfer, clipboardData: transfer,
                  bubbles: true, cancelable: true}};
  for (const kind of {events}) {{
    document.body.dispatchEvent(kind === "paste" ? new ClipboardEvent(kind, given)
                                                 : new DragEvent(kind, given));
  }}
}})()"""


@pytest.fixture(scope="module")
def axe() -> str:
    package = pytest.importorskip("axe_core_python")
    return Path(package.__path__[0], "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def server(trained: Trained) -> Iterator[Server]:
    with running("--graph", trained.graph) as found:
        yield found


@pytest.fixture
def page(server: Server, tmp_path: Path) -> Iterator[Chromium]:
    program = find()
    if program is None:
        pytest.skip("no Chromium on this machine")
    with Chromium(program, tmp_path / "profile", *CAMERA) as browser:
        browser.screen(1280)
        browser.open(server.url)
        yield browser
        # All that it ever asked for is this server and what it holds itself.
        places = {
            url.partition("?")[0]
            for url in browser.requested
            if not url.startswith(("data:", "blob:"))
        }
        assert places <= {server.url + "/", server.url + "/page/label", "about:blank"}
        assert browser.complaints == []


def photos(trained: Trained) -> list[Path]:
    found = sorted(path for path in trained.photos.rglob("*.jpg") if path.stat().st_size)
    return [found[0], found[-1]]


def test_chosen_files_get_scores_and_heat_maps(
    page: Chromium, trained: Trained, axe: str, tmp_path: Path
) -> None:
    assert page.accessibility(axe) == []
    bad = tmp_path / "no <b>image.jpg"
    bad.write_text("text")
    page.choose_files("#files", *photos(trained), bad)
    page.wait(ANSWERED.format(3))
    # The newest first.
    wrong, without, with_pool = page.run(
        "[...document.querySelectorAll('#list .card')].map(card => card.innerText)"
    )
    assert "no <b>image.jpg" in wrong
    assert "not an image" in wrong
    page.wait("document.getElementById('said').textContent === '2 of 3 pictures labelled'")
    for text, label in ((without, "house without pool"), (with_pool, "house with pool")):
        assert text.index(f"where it saw {label}") < text.index("%")
    pictures = page.run(
        "[...document.querySelectorAll('#list img')].map(e => [e.naturalWidth > 50, e.alt])"
    )
    assert [shown for shown, _ in pictures] == [True] * 4
    assert pictures[1][1] == "Heat map: where it saw house without pool"
    bars = page.run(
        "[...document.querySelectorAll('#list .score')].map(each => "
        "[each.querySelector('i').offsetWidth / each.clientWidth, parseFloat(each.innerText.match"
        "(/([\\d.]+)%/)[1]) / 100])"
    )
    for width, score in bars:
        assert width == pytest.approx(score, abs=0.02)
    for width in (1280, 768, 360):
        for dark in (False, True):
            page.screen(width, dark=dark)
            assert page.fits(), width
            assert page.accessibility(axe) == [], (width, dark)
    # Another label's map.
    before = page.run("document.querySelectorAll('#list img')[1].src")
    page.run("document.querySelectorAll('#list .score')[1].click()")
    page.wait(f"document.querySelectorAll('#list img')[1].src !== {json.dumps(before)}")
    assert page.run(
        "[...document.querySelectorAll('#list .score')].map(e => e.ariaPressed).slice(0, 2)"
    ) == ["false", "true"]
    page.run("document.getElementById('clear').click()")
    assert page.run("document.getElementById('answers').hidden")


@pytest.mark.parametrize("events", [["paste"], ["dragenter", "dragover", "drop"]])
def test_pasted_and_dropped_files(page: Chromium, trained: Trained, events: list[str]) -> None:
    content = base64.b64encode(photos(trained)[0].read_bytes()).decode()
    page.run(
        GIVE.format(
            content=json.dumps(content), name=json.dumps("given.jpg"), events=json.dumps(events)
        )
    )
    page.wait(ANSWERED.format(1))
    assert page.run("document.querySelector('#list h3').innerText") == "given.jpg"
    assert page.run("document.querySelectorAll('#list .score').length") == 2
    assert page.run("document.getElementById('drop').hidden")
    assert "given.jpg: house with" in page.run("document.getElementById('said').innerText")


def drop(page: Chromium, *paths: Path) -> None:
    """Drop files or folders on the page as the system does."""
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        page.call("Input.dispatchDragEvent", type=kind, x=300, y=300, data=data)


def test_a_dropped_folder(page: Chromium, trained: Trained, axe: str, tmp_path: Path) -> None:
    """Nested, of more files than a browser lists at once, with others between them."""
    folder = tmp_path / "my photos"
    contents = [path.read_bytes() for path in photos(trained)]
    for number in range(120):
        inner = folder / ("deep" if number % 12 else "deep/deeper")
        inner.mkdir(parents=True, exist_ok=True)
        (inner / f"{number:03}.JPG").write_bytes(contents[number % 2])
    (folder / "deep" / "broken.jpg").write_text("text")
    (folder / "notes.txt").write_text("text")
    (folder / "empty").mkdir()
    drop(page, folder)
    # While it works, the page takes clicks and shows how far it is.
    page.wait("document.querySelectorAll('#list [aria-busy=false]').length > 5")
    assert not page.run("document.getElementById('progress').hidden")
    assert page.run("document.getElementById('count').innerText").endswith(" of 121")
    page.run("document.querySelector('summary').click()")
    said = "120 of 121 pictures labelled; 1 other file in the folder left out"
    page.wait(f"document.getElementById('said').innerText === {json.dumps(said)}", 240)
    assert page.run("document.getElementById('progress').hidden")
    assert "my photos/deep/broken.jpg: not an image" in page.run(
        "document.getElementById('failed').textContent"
    )
    names = page.run("[...document.querySelectorAll('#list h3')].map(each => each.textContent)")
    assert len(names) == 121
    assert {"my photos/deep/deeper/000.JPG", "my photos/deep/119.JPG"} <= set(names)
    page.screen(390, dark=True)
    assert page.fits()
    page.run("document.getElementById('clear').click()")
    drop(page, folder / "empty")
    page.wait("document.getElementById('said').innerText === 'There is no picture in the folder'")
    # Dropped files need no known name.
    drop(page, folder / "notes.txt", folder / "deep" / "119.JPG")
    page.wait("document.getElementById('said').innerText === '1 of 2 pictures labelled'")


def test_pictures_can_be_unsure_and_the_table_downloaded(
    page: Chromium, trained: Trained, axe: str, tmp_path: Path
) -> None:
    page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    bad, formula = tmp_path / 'a, "b".jpg', tmp_path / "=1+1.jpg"
    bad.write_text("text")
    formula.write_bytes(photos(trained)[0].read_bytes())
    page.choose_files("#files", *photos(trained), formula, bad)
    page.wait("document.getElementById('said').innerText === '3 of 4 pictures labelled'")
    unsure = "[...document.querySelectorAll('.verdict')].filter(each => !each.hidden)"
    assert page.run(f"{unsure}.length") == 0

    def table() -> list[dict[str, str]]:
        target = tmp_path / "labels.csv"
        target.unlink(missing_ok=True)
        page.run("document.getElementById('save').click()")
        page.wait_for(lambda: target.is_file() and target.stat().st_size > 0, "the CSV file")
        text = target.read_text(encoding="utf-8-sig")
        assert target.read_bytes().startswith(b"\xef\xbb\xbf")
        return list(csv.DictReader(text.splitlines()))

    found = {row["image"]: row for row in table()}
    assert set(found) == {*(path.name for path in photos(trained)), "'=1+1.jpg", bad.name}
    assert found[bad.name]["error"] == "not an image"
    run = tlcli("label", "--graph", trained.graph, "--top_k", 1, "--format", "csv", formula)
    [expected] = csv.DictReader(run.out.splitlines())
    assert found["'=1+1.jpg"] == {**expected, "image": "'=1+1.jpg"}
    # 100%: nothing reaches it.
    page.run(
        "(each => { each.value = '100'; each.dispatchEvent(new Event('input')); })"
        "(document.getElementById('threshold'))"
    )
    assert page.run(f"{unsure}.length") == 3
    assert page.run(f"{unsure}[0].innerText").startswith("unsure (best: house with")
    assert page.run("document.getElementById('tally').innerText") == (
        "0 labelled, 3 unsure, 1 without labels"
    )
    for row in table():
        assert not row["label"]
        assert bool(row["error"]) == (row["image"] == bad.name)
    for dark in (False, True):
        page.screen(390, dark=dark)
        assert page.fits()
        assert page.accessibility(axe) == []


def test_the_camera_by_keys_alone(page: Chromium, axe: str) -> None:
    focus = "document.activeElement.id"
    page.press("Tab")
    assert page.run(focus) == "choose"
    page.press("Tab")
    assert page.run(focus) == "choose-folder"
    page.press("Tab")
    assert page.run(focus) == "camera-on"
    page.press("Enter")
    page.wait("document.getElementById('video').videoWidth > 0")
    page.wait(f"{focus} === 'shoot'")
    page.press("Enter")
    page.wait(ANSWERED.format(1))
    assert page.run("document.querySelectorAll('#list .score').length") == 2
    page.run("document.getElementById('live').click()")
    page.wait("document.querySelectorAll('#live-answer .score').length === 2")
    assert page.accessibility(axe) == []
    page.screen(360)
    assert page.fits()
    page.run("document.getElementById('camera-off').click()")
    assert page.run("document.getElementById('camera').hidden")
    assert page.run(focus) == "camera-on"


def test_the_checks_above_can_fail(server: Server, axe: str, tmp_path: Path) -> None:
    program = find()
    if program is None:
        pytest.skip("no Chromium on this machine")
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<!doctype html><img src='http://127.0.0.1:9/x.png'><p style='width: 3000px'>x</p>"
        "<script>console.error('seen')</script>"
    )
    with Chromium(program, tmp_path / "profile") as browser:
        browser.screen(360)
        browser.open(bad.as_uri())
        assert any("seen" in each for each in browser.complaints)
        assert "http://127.0.0.1:9/x.png" in browser.requested
        assert not browser.fits()
        assert any(each.startswith("image-alt") for each in browser.accessibility(axe))
