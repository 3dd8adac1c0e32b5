"""Headless Chromium over its DevTools pipe, without any package: open, click, look, listen."""

from __future__ import annotations

import base64
import fcntl
import itertools
import json
import os
import re
import select
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# The browser's own, whatever the page does.
OWN_ERRANDS = re.compile(r"https?://[\w.-]+\.(google|googleapis|gvt1|gstatic)\.com/")

_PATIENCE = 120  # seconds; loaded machines take their time


def find() -> str | None:
    """Return the browser's program, or None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def _pipe() -> tuple[int, int]:
    """Return the ends of a pipe, both above the descriptors that a shell and the browser use."""
    ends = os.pipe()
    reading, writing = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 20) for end in ends)
    for end in ends:
        os.close(end)
    return reading, writing


class Chromium:
    """One browser with one page.

    Attributes:
        complaints: what the page wrote to the console as an error or a warning, and what it threw.
        requested: every address that the page asked for.
    """

    def __init__(self, program: str, profile: Path, *arguments: str) -> None:
        commands, self._out = _pipe()
        self._in, events = _pipe()
        line = shlex.join(
            [
                *(program, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update"),
                *("--remote-debugging-pipe", f"--user-data-dir={profile}", *arguments),
                "about:blank",
            ]
        )
        # DevTools reads commands at descriptor 3 and writes at 4.
        self._process = subprocess.Popen(
            ["bash", "-c", f"exec {line} 3<&{commands} 4>&{events} {commands}<&- {events}>&-"],
            pass_fds=(commands, events),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(events)
        self._reader = os.fdopen(self._in, "rb")
        self._buffer = b""
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self.complaints: list[str] = []
        self.requested: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *exception: object) -> None:
        self._session = None
        try:
            self.call("Browser.close")
        except (EOFError, BrokenPipeError):
            pass
        finally:
            try:
                self._process.wait(timeout=300)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            os.close(self._out)
            self._reader.close()

    def call(self, method: str, **params: Any) -> Any:
        """Run one DevTools command and return its result."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def open(self, url: str) -> None:
        """Go to an address."""
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def run(self, expression: str) -> Any:
        """Return the value of a JavaScript expression; promises are waited for."""
        answer = self.call(
            "Runtime.evaluate",
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, expression: str, seconds: float = 300) -> None:
        """Wait until a JavaScript expression is true."""
        self.wait_for(lambda: bool(self.run(expression)), expression, seconds)

    def wait_for(self, condition: Callable[[], bool], what: str, seconds: float = 300) -> None:
        """Wait until ``condition`` holds."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited in vain for {what}: {self.complaints}"
            time.sleep(0.05)

    def screen(self, width: int, height: int = 900, dark: bool = False) -> None:
        """Set the size of the window in pixels, and the colours that its user likes."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = "dark" if dark else "light"
        self.call(
            "Emulation.setEmulatedMedia",
            features=[
                {"name": "prefers-color-scheme", "value": scheme},
                {"name": "prefers-reduced-motion", "value": "reduce"},
            ],
        )

    def choose_files(self, selector: str, *paths: Path) -> None:
        """Choose files in an ``<input type=file>``."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])

    def press(self, key: str) -> None:
        """Press a key, "Tab" or "Enter"."""
        text = {"Enter": "\r"}.get(key, "")
        code = {"Tab": 9, "Enter": 13}[key]
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def accessibility(self, axe: str) -> list[str]:
        """Return what axe-core, given as its program text, finds wrong with the page."""
        self.call("Runtime.evaluate", expression=axe)
        found = self.run("axe.run().then(result => JSON.stringify(result.violations))")
        return [
            f"{each['id']}: {node['html']}" for each in json.loads(found) for node in each["nodes"]
        ]

    def fits(self) -> bool:
        """Return whether nothing is wider than the window."""
        return bool(
            self.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        )

    def picture(self, path: Path) -> None:
        """Write a screenshot of the whole page."""
        content = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(content))

    def _next(self) -> Any:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], _PATIENCE)
            assert ready, "the browser says nothing any more"
            chunk = self._reader.read1(1 << 20)
            if not chunk:
                raise EOFError("the browser ended")
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\0")
        answer = json.loads(line)
        self._note(answer.get("method", ""), answer.get("params", {}))
        return answer

    def _note(self, method: str, params: Any) -> None:
        if method == "Network.requestWillBeSent":
            url = params["request"]["url"]
            if not OWN_ERRANDS.match(url):
                self.requested.append(url)
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.complaints.append(json.dumps(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
