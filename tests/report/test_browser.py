"""The page in a real browser: nothing on the console, nothing fetched, nothing cut off."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.chromium import OWN_ERRANDS, Chromium, find
from tests.report import samples
from tlcli.report.data import Comparison, TestImage
from tlcli.report.page import render


@pytest.fixture(scope="module")
def browser() -> str:
    found = find()
    if found is None:
        pytest.skip("no Chromium on this machine")
    return found


def run(browser: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update"),
            *(f"--user-data-dir={folder / 'profile'}", *arguments),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )


def fetched(log: Path) -> set[str]:
    """Return the addresses that the page asked for; the browser's own errands are left out."""
    urls = set(re.findall(r'"url":"(https?://[^"]*)"', log.read_text("utf-8")))
    return {url for url in urls if not OWN_ERRANDS.match(url)}


def looked_at(browser: str, page: Path) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """Return what the browser says of a page, and the addresses that the page asked for."""
    log = page.with_name("net.json")
    options = ["--enable-logging=stderr", f"--log-net-log={log}", "--dump-dom"]
    return run(browser, page.parent, *options, page.as_uri()), fetched(log)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["usual", "hostile"])
def test_console_is_silent_and_nothing_is_fetched(browser: str, tmp_path: Path, kind: str) -> None:
    page = tmp_path / "report.html"
    page.write_text(render(getattr(samples, kind)()), encoding="utf-8")
    done, urls = looked_at(browser, page)
    assert ":CONSOLE" not in done.stderr
    assert 'id="report-data"' in done.stdout
    assert urls == set()


@pytest.mark.slow
def test_the_checks_above_can_fail(browser: str, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(
        "<!doctype html><img src='http://127.0.0.1:9/x.png'><script>console.error('seen')</script>"
    )
    done, urls = looked_at(browser, page)
    assert ":CONSOLE" in done.stderr
    assert urls == {"http://127.0.0.1:9/x.png"}


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_is_wider_than_the_screen(browser: str, tmp_path: Path, width: int) -> None:
    page = tmp_path / "report.html"
    page.write_text(render(samples.usual()), encoding="utf-8")
    with Chromium(browser, tmp_path / "profile") as opened:
        opened.screen(width)
        opened.open(page.as_uri())
        assert width - 30 <= opened.run("document.documentElement.clientWidth") <= width
        assert opened.fits()
        # To see that it would be found.
        opened.run("document.querySelector('.page').style.minWidth = '2000px'")
        assert not opened.fits()


CUT_OFF = """[...document.querySelectorAll('.scroll')].filter(box =>
  box.clientWidth && box.scrollWidth > box.clientWidth + 1).map(box => box.ariaLabel)"""


@pytest.mark.slow
def test_on_a_phone_every_column_is_in_sight(browser: str, tmp_path: Path) -> None:
    names = [f"a label with a name of {'many words ' * (n % 3)}{n}" for n in range(20)]
    matrix = np.eye(20, dtype=int) * 1200
    matrix[2, 5], matrix[5, 2:9] = 17, 3
    long = dataclasses.replace(samples.usual().labels[0], label="x" * 80)
    pages = {
        "usual": samples.usual(),
        "hostile": samples.hostile(),
        "folds": samples.folds(),
        "long names": samples.usual(labels=[long, samples.usual().labels[1]]),
        "20 labels": samples.usual(
            labels=[dataclasses.replace(long, label=name) for name in names],
            confusion=samples.confusion_of(matrix),
            comparisons=[],
        ),
    }
    with Chromium(browser, tmp_path / "profile") as opened:
        opened.screen(390)
        for kind, data in pages.items():
            page = tmp_path / "report.html"
            page.write_text(render(data), encoding="utf-8")
            opened.open(page.as_uri())
            opened.run("document.querySelectorAll('details').forEach(each => each.open = true)")
            assert opened.run("document.querySelectorAll('.scroll').length") > 5
            assert opened.run(CUT_OFF) == [], kind
            assert opened.fits(), kind
        # Each number has its heading next to it, and zeros of a large matrix are left out.
        assert opened.run(
            "getComputedStyle(document.querySelector('.matrix td.wrong'), '::before').content"
        ).startswith('"a label with')
        assert opened.run("document.querySelector('.matrix td.zero').clientWidth") == 0
        opened.run("document.querySelector('.scroll table').style.minWidth = '2000px'")
        assert len(opened.run(CUT_OFF)) == 1


@pytest.mark.slow
def test_a_cell_of_the_matrix_jumps_to_its_images(browser: str, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(render(samples.usual()), encoding="utf-8")
    with Chromium(browser, tmp_path / "profile") as opened:
        opened.screen(1280)
        opened.open(page.as_uri())
        opened.run("document.querySelector('.matrix td.wrong a').click()")
        opened.wait("document.querySelector('.group:target') !== null")
        top = "document.querySelector('.group:target').getBoundingClientRect().top"
        opened.wait(f"{top} > -5 && {top} < innerHeight / 2")


@pytest.mark.slow
def test_cards_keep_their_words_on_paper(browser: str, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    figures = samples.usual().labels
    labels = [
        dataclasses.replace(each, label=label)
        for each, label in zip(figures, ("chrysanthemum", "sunflowers"), strict=True)
    ]
    image = TestImage("a.jpg", "chrysanthemum", "chrysanthemum", 0.9, 0.9)
    compared = Comparison("a.jpg", "chrysanthemum", [0.5, 0.5], [1.0, 1.0])
    data = samples.usual(
        labels=labels,
        misclassified=[dataclasses.replace(image, predicted="sunflowers")],
        most_confident=[image] * 3,
        least_confident=[],
        comparisons=[compared] * 3,
    )
    page.write_text(render(data), encoding="utf-8")
    with Chromium(browser, tmp_path / "profile") as chromium:
        chromium.screen(718)  # A4 less its margins
        chromium.call("Emulation.setEmulatedMedia", media="print")
        chromium.open(page.as_uri())
        assert chromium.run("matchMedia('print').matches")
        # What is folded is not printed, unless it is opened before.
        folded = "document.querySelector('details.part').clientHeight"
        assert chromium.run(folded) == 0
        chromium.run("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert chromium.run(folded) > 100
        lines = chromium.run(
            "[...document.querySelectorAll('.card dd strong, .card th[scope=row]')].map(e => {"
            " const range = document.createRange(); range.selectNodeContents(e);"
            " return new Set([...range.getClientRects()].map(box => Math.round(box.top))).size })"
        )
        assert set(lines) == {1}
        beyond = chromium.run(
            "[...document.querySelectorAll('.card table')].map(e =>"
            " e.getBoundingClientRect().right"
            " - e.parentNode.querySelector('.file').getBoundingClientRect().right)"
        )
        assert len(beyond) == 3
        assert max(beyond) < 1
