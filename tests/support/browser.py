"""A real headless Chromium, driven through chromedriver's WebDriver (W3C WebDriver) over HTTP: no package of the language's.

The browser resolves no name: whatever a page wants from elsewhere fails, and is seen in `messages`.
"""

from __future__ import annotations

import base64
import io
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.support.streamer import free_port

_ARGUMENTS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    "--force-color-profile=srgb",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
_ELEMENT: Final = "element-6066-11e4-a52e-4f735466cecf"
WITH_WEBGL: Final = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
WITHOUT_WEBGL: Final = ("--disable-gpu", "--disable-3d-apis")


class Browser:
    """One window of a browser."""

    def __init__(self, http: httpx.Client, session: str) -> None:
        self._http = http
        self._session = session

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = self._http.request(method, f"/session/{self._session}{path}", json=body)
        value = answer.json()["value"]
        assert answer.status_code == 200, value
        return value

    def go(self, url: str) -> None:
        """Load a page."""
        self._call("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: object) -> Any:
        """What a function's body returns; a promise is waited for."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, condition: str, *arguments: object, seconds: float = 30) -> Any:
        """What an expression is, once it is true."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.run(f"return ({condition})", *arguments)
            if found:
                return found
            if time.monotonic() > deadline:
                page = self.run("return document.body.innerText.slice(0, 600)")
                raise AssertionError(f"not after {seconds} s: {condition}\n{page}\n{self.messages()}")
            time.sleep(0.05)

    def press(self, *keys: str) -> None:
        """Keys, one after the other."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def drag(self, start: tuple[int, int], to: tuple[int, int], *, button: int = 0) -> None:
        """The pointer from one place of the page to another, with a button down."""
        move = {"type": "pointerMove", "duration": 50, "origin": "viewport"}
        actions = [
            {**move, "x": start[0], "y": start[1]},
            {"type": "pointerDown", "button": button},
            {**move, "x": to[0], "y": to[1]},
            {"type": "pointerUp", "button": button},
        ]
        pointer = {
            "type": "pointer",
            "id": "mouse",
            "parameters": {"pointerType": "mouse"},
            "actions": actions,
        }
        self._call("POST", "/actions", {"actions": [pointer]})

    def wheel(self, at: tuple[int, int], by: int) -> None:
        """The wheel over a place of the page."""
        turn = {"type": "scroll", "x": at[0], "y": at[1], "deltaX": 0, "deltaY": by, "origin": "viewport"}
        self._call("POST", "/actions", {"actions": [{"type": "wheel", "id": "wheel", "actions": [turn]}]})

    def screenshot(self, path: Path | None = None) -> np.ndarray:
        """What is seen, as rows, columns and red, green, blue; kept as a file if a path is given."""
        png = base64.b64decode(self._call("GET", "/screenshot"))
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png)
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))

    def messages(self) -> list[str]:
        """What the page and the browser complained of since the last time this was asked."""
        return [entry["message"] for entry in self._call("POST", "/se/log", {"type": "browser"})]

    def command(self, name: str, **parameters: object) -> Any:
        """A command of the Chrome DevTools protocol."""
        return self._call("POST", "/goog/cdp/execute", {"cmd": name, "params": parameters})


@contextmanager
def running_browser(
    *,
    size: tuple[int, int] = (1200, 800),
    arguments: tuple[str, ...] = WITH_WEBGL,
    downloads: Path | None = None,
) -> Iterator[Browser]:
    """A browser until the block ends. Skips where there is none; in CI that is a failure."""
    chromium, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        words = "needs Chromium and its driver: apt install chromium chromium-driver"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(words)
    port = free_port()
    options: dict[str, Any] = {
        "binary": chromium,
        "args": [*_ARGUMENTS, *arguments, f"--window-size={size[0]},{size[1]}"],
    }
    if downloads is not None:
        options["prefs"] = {"download.default_directory": str(downloads)}
    process = subprocess.Popen(
        [driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
            _ready(http)
            wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            answer = http.post("/session", json={"capabilities": {"alwaysMatch": wanted}})
            assert answer.status_code == 200, answer.text[:500]
            session = answer.json()["value"]["sessionId"]
            try:
                yield Browser(http, session)
            finally:
                http.delete(f"/session/{session}")
    finally:
        process.terminate()
        process.wait(20)


def _ready(http: httpx.Client) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            if http.get("/status").json()["value"]["ready"]:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, "chromedriver does not answer"
        time.sleep(0.05)
