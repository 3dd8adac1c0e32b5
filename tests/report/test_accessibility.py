"""The page under axe-core: three widths, in the light, in the dark and as it is printed."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from importlib import resources, util
from pathlib import Path
from typing import Any

import pytest

from tests.report import samples
from tests.report.test_browser import browser, run
from tlcli.report import check_page
from tlcli.report.page import render

__all__ = ["browser"]

CHANGES = {
    "light": [],
    "dark": [("(prefers-color-scheme: dark)", "all")],
    "print": [("@media print", "@media all")],
}
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
CHECK = """
<script>%s</script>
<script>
addEventListener("load", () => axe.run(document, {resultTypes: ["violations"]}).then(
  found => parent.postMessage([KEY, found.passes.length, found.violations.map(
    rule => [rule.id, rule.nodes.map(node => node.html.slice(0, 200))])], "*"),
  error => parent.postMessage([KEY, 0, String(error)], "*")));
</script>
</html>
"""
COLLECT = """<!doctype html><pre></pre><script>
const found = {};
addEventListener("message", event => {
  found[event.data[0]] = event.data.slice(1);
  document.querySelector("pre").textContent = JSON.stringify(found);
});
</script>
"""


@pytest.fixture(scope="module")
def axe() -> str:
    if util.find_spec("axe_core_python") is None:
        pytest.skip("axe-core is not here: pip install axe-core-python")
    return resources.files("axe_core_python").joinpath("axe.min.js").read_text("utf-8")


def findings(
    browser: str, axe: str, folder: Path, page: str, views: Sequence[tuple[str, int]]
) -> dict[str, Any]:
    """Return, for each medium and width, how many rules passed and those that did not."""
    outer = COLLECT
    for medium, width in views:
        inner = POLICY.sub("", page)  # it lets no script run, axe's neither
        for before, after in CHANGES[medium]:
            assert before in inner
            inner = inner.replace(before, after)
        script = CHECK.replace("KEY", json.dumps(f"{medium} {width}")) % axe
        file = folder / f"{medium}-{width}.html"
        file.write_text(inner.replace("</html>", script), encoding="utf-8")
        outer += f"<iframe width={width} height=900 src='{file.name}'></iframe>"
    (folder / "outer.html").write_text(outer, encoding="utf-8")
    done = run(
        browser,
        folder,
        "--virtual-time-budget=60000",
        "--dump-dom",
        (folder / "outer.html").as_uri(),
    )
    said = re.search(r"<pre>(.*?)</pre>", done.stdout, re.DOTALL)
    assert said is not None
    found: dict[str, Any] = json.loads(html.unescape(said[1]) or "{}")
    assert set(found) == {f"{medium} {width}" for medium, width in views}
    return found


# Each view is a page for axe to walk through, so not every one is of every kind.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "views"),
    [
        ("usual", [("light", 360), ("light", 800), ("light", 1400), ("dark", 800), ("print", 800)]),
        ("hostile", [("light", 360)]),
        ("folds", [("light", 390), ("dark", 1280)]),
        ("squares", [("light", 1280)]),
    ],
)
def test_axe_finds_nothing(
    browser: str, axe: str, tmp_path: Path, kind: str, views: list[tuple[str, int]]
) -> None:
    found = findings(browser, axe, tmp_path, render(getattr(samples, kind)()), views)
    for key, (passed, violations) in found.items():
        assert violations == [], key
        assert passed > 20, key


@pytest.mark.slow
def test_axe_finds_nothing_on_the_page_of_a_check(browser: str, axe: str, tmp_path: Path) -> None:
    page = check_page.render(samples.findings(), "photos", "tlcli check --image_dir photos", None)
    views = [("light", 360), ("light", 1280), ("dark", 800)]
    for key, (passed, violations) in findings(browser, axe, tmp_path, page, views).items():
        assert violations == [], key
        assert passed > 15, key


@pytest.mark.slow
def test_axe_would_find_something(browser: str, axe: str, tmp_path: Path) -> None:
    page = render(samples.usual())
    page = page.replace('<html lang="en">', "<html>").replace("--soft: #545d69", "--soft: #b0b5bb")
    found = findings(browser, axe, tmp_path, page, [("light", 360)])
    assert {rule for rule, _ in found["light 360"][1]} == {"html-has-lang", "color-contrast"}
