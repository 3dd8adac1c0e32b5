"""The page in a real browser: nothing on the console, nothing fetched, nothing cut off."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.report import samples
from tlcli.report import render

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OWN_ERRANDS = re.compile(r"https?://[\w.-]+\.(google|googleapis|gvt1|gstatic)\.com/")


@pytest.fixture(scope="module")
def browser() -> str:
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
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
        timeout=120,
    )


def fetched(log: Path) -> set[str]:
    """Return the addresses that the page asked for; the browser's own errands are left out."""
    urls = set(re.findall(r'"url":"(https?://[^"]*)"', log.read_text("utf-8")))
    return {url for url in urls if not OWN_ERRANDS.match(url)}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["usual", "hostile"])
def test_console_is_silent_and_nothing_is_fetched(browser: str, tmp_path: Path, kind: str) -> None:
    page = tmp_path / "report.html"
    page.write_text(render(getattr(samples, kind)()), encoding="utf-8")
    log = tmp_path / "net.json"
    done = run(
        browser,
        tmp_path,
        "--enable-logging=stderr",
        f"--log-net-log={log}",
        "--dump-dom",
        page.as_uri(),
    )
    assert ":CONSOLE" not in done.stderr
    assert 'id="report-data"' in done.stdout
    assert fetched(log) == set()


@pytest.mark.slow
def test_the_checks_above_can_fail(browser: str, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(
        "<!doctype html><img src='http://127.0.0.1:9/x.png'><script>console.error('seen')</script>"
    )
    log = tmp_path / "net.json"
    done = run(
        browser,
        tmp_path,
        "--enable-logging=stderr",
        f"--log-net-log={log}",
        "--dump-dom",
        page.as_uri(),
    )
    assert ":CONSOLE" in done.stderr
    assert fetched(log) == {"http://127.0.0.1:9/x.png"}


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_is_wider_than_the_screen(browser: str, tmp_path: Path, width: int) -> None:
    inner = tmp_path / "report.html"
    inner.write_text(render(samples.usual()), encoding="utf-8")
    # A frame of the wanted width: a headless window is never narrower than 500 pixels.
    outer = tmp_path / "outer.html"
    outer.write_text(
        f"<!doctype html><iframe id=f width={width} height=800 src=report.html></iframe><pre></pre>"
        "<script>onload=()=>{const e=document.getElementById('f').contentDocument.documentElement;"
        "document.querySelector('pre').textContent=JSON.stringify([e.scrollWidth,e.clientWidth])}"
        "</script>"
    )
    done = run(browser, tmp_path, "--allow-file-access-from-files", "--dump-dom", outer.as_uri())
    found = re.search(r"<pre>(.*?)</pre>", done.stdout)
    assert found is not None
    scroll, client = json.loads(found[1])
    assert width - 30 <= client <= width
    assert scroll <= client
