"""The page of a review in a real browser: buttons and keys, three widths, light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chromium import Chromium, find
from tests.review.reviewing import Client, files

pytestmark = pytest.mark.slow

SAID = "document.getElementById('said').textContent"
BUTTONS = "[...document.querySelectorAll('#list button')].filter(e => e.textContent === {!r})"


@pytest.fixture(scope="module")
def axe() -> str:
    package = pytest.importorskip("axe_core_python")
    return Path(package.__path__[0], "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture
def page(client: Client, tmp_path: Path) -> Iterator[Chromium]:
    program = find()
    if program is None:
        pytest.skip("no Chromium on this machine")
    with Chromium(program, tmp_path / "profile") as browser:
        browser.screen(1280)
        browser.open(client.url)
        browser.wait("document.querySelectorAll('#list .card').length > 0")
        yield browser
        asked = [url for url in browser.requested if not url.startswith("data:")]
        assert all(url == "about:blank" or url.startswith(client.home) for url in asked)
        assert browser.complaints == []


def choose(page: Chromium, kind: str) -> None:
    page.run(f"document.querySelector('[data-key=tab-{kind}]').click()")
    current = f"document.querySelector('[data-key=tab-{kind}]').ariaCurrent === 'true'"
    page.wait(f"{current} && document.querySelectorAll('#list .card').length > 0")


def test_move_keep_remove_and_undo_by_clicks(
    page: Chromium, client: Client, photos: Path, axe: str
) -> None:
    before = files(photos)
    assert "key=" not in page.run("location.href")
    assert page.run("document.getElementById('title').textContent") == "Probably wrong labels"
    assert page.run("[...document.images].slice(0, 4).every(e => e.alt)")
    page.run("document.querySelector('#list details').open = true")
    for width in (1280, 768, 360):
        for dark in (False, True):
            page.screen(width, dark=dark)
            assert page.fits(), width
            assert page.accessibility(axe) == [], (width, dark)
    page.screen(1280)
    cards = len(client.cards("wrong_labels")["cards"])
    # By keys: the focus follows to Undo, and back.
    page.run("document.querySelector('#list button.main').focus()")
    page.press("Enter")
    page.wait(f"{SAID}.includes('was moved to')")
    assert page.run("document.activeElement.textContent") == "Undo"
    assert files(photos) != before
    retrain = page.run("document.querySelector('#changed pre').innerText")
    assert retrain.startswith("tlcli retrain --image_dir photos ")
    assert "--preset original" in retrain
    page.press("Enter")
    page.wait(f"{SAID}.includes('is back in its place')")
    assert page.run("document.activeElement.textContent").startswith("Move to ")
    assert files(photos) == before
    page.run(BUTTONS.format("Keep the label") + "[0].click()")
    page.wait(f"{SAID}.includes('kept as it is')")
    page.run(BUTTONS.format("Remove") + "[0].click()")
    page.wait(f"{SAID}.includes('was removed')")
    # To any label: the choice stands behind the proposal.
    page.run("document.querySelector('#list details').open = true")
    page.wait("document.querySelector('#list select').options.length === 1")
    choose(page, "copies")
    assert page.run("document.querySelectorAll('#list .photos > li').length") == 2
    page.run(BUTTONS.format("Keep all") + "[0].click()")
    page.wait(f"{SAID}.includes('kept as it is')")
    choose(page, "changes")
    assert page.run("document.querySelectorAll('#list .card').length") == 3
    for width in (1280, 360):
        page.screen(width)
        assert page.fits(), width
        assert page.accessibility(axe) == [], width
    for left in (2, 1, 0):
        page.run(BUTTONS.format("Undo") + "[0].click()")
        page.wait(f"document.querySelectorAll('#list .card').length === {left}")
    assert files(photos) == before
    assert len(client.cards("wrong_labels")["cards"]) == cards


def test_another_window_and_another_check(page: Chromium, client: Client) -> None:
    wrong = client.find("wrong_labels", "moved_")
    assert "said" in client.decide(**wrong, action="remove")
    key = f"{wrong['card']}-0"
    page.run(f"document.querySelector('[data-key=\"{key}\"]').click()")
    page.wait(f"{SAID} === 'Not done: this photo was changed in another window'")
    assert page.run(f"document.querySelector('[data-key=\"{key}\"]').textContent") == "Undo"
    page.run("document.getElementById('check').click()")
    page.wait(f"{SAID} === 'The photos were checked again'")
    assert client.cards("wrong_labels")["check"] != wrong["check"]
    assert client.process.poll() is None
    assert not page.run("document.getElementById('check').disabled")
