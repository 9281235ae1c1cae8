"""A real browser for tests of pages: headless Chromium that fails a test on console errors and on network requests.

A test file says ``pytest_plugins = ["browser"]`` and takes the fixture ``browser``.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from paths import ROOT

PATIENCE = 20  # seconds, for a machine that is busy with other things
AXE = Path(os.environ.get("AXE", ROOT / "node_modules" / "axe-core" / "axe.min.js"))  # npm install --no-save axe-core
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]


class Browser:
    """Chromium, driven by Selenium (``driver``)."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.marks = itertools.count()

    def open(self, path: Path, hash: str = "") -> None:
        """Show a file, from ``file://``; with a hash, the same page at another place."""
        self.driver.get("about:blank")
        self.driver.get(path.resolve().as_uri() + hash)
        ready = "return document.readyState === 'complete' && location.protocol === 'file:'"
        ready += "&& (!document.getElementById('data') || document.documentElement.dataset.ready === 'yes')"
        self.until(lambda: self.run(ready))

    def run(self, script: str, *arguments: Any) -> Any:
        """What a piece of JavaScript returns."""
        return self.driver.execute_script(script, *arguments)

    def keys(self, *keys: str) -> None:
        """Press keys, one after the other, on whatever has the focus: "a", "ArrowRight", "Home", " "."""
        names = {" ": ("Space", 32, " "), "Enter": ("Enter", 13, "\r")}
        count = (
            "return window.keysSeen ??"
            "(addEventListener('keydown', () => { window.keysSeen++; }, true), window.keysSeen = 0)"
        )
        for key in keys:
            before = self.run(count)
            code, number, text = names.get(key, (key, 0, key if len(key) == 1 else ""))
            event = {"key": key, "code": code, "text": text, "windowsVirtualKeyCode": number}
            self.driver.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": "keyDown", **event})
            self.driver.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": "keyUp", **event, "text": ""})
            self.until(lambda before=before: self.run(count) > before)

    def until(self, is_so: Any) -> None:
        """Wait for what a busy browser does a little later; fail where it does not come."""
        end = time.monotonic() + PATIENCE
        while not is_so():
            assert time.monotonic() < end, "it did not come in time"
            time.sleep(0.01)

    def text(self, selector: str) -> str:
        """The text of the first element that a CSS selector finds."""
        return self.run("return document.querySelector(arguments[0]).innerText", selector)

    def click(self, selector: str) -> None:
        """Click the first element that a CSS selector finds."""
        self.run("document.querySelector(arguments[0]).click()", selector)

    def complaints(self) -> list[str]:
        """What went wrong since the last call: errors in the console, and requests that left the file.

        The browser reports what happens a little later, in order: a mark in the console says that all has come.
        """
        mark, entries = f"mark {next(self.marks)}", []
        self.run("console.info(arguments[0])", mark)

        def come() -> bool:
            entries.extend(self.driver.get_log("browser"))
            return any(mark in entry["message"] for entry in entries)

        self.until(come)
        found = [entry["message"] for entry in entries if entry["level"] == "SEVERE"]
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                if not url.startswith(("file:", "data:", "blob:", "about:")):
                    found.append(f"a request to {url}")
        return found

    @contextmanager
    def seen(self, width: int = 1280, height: int = 900, dark: bool = False, media: str = "") -> Iterator[None]:
        """A screen of another size while it lasts, light or dark; ``media`` may be "print"."""
        command = self.driver.execute_cdp_cmd
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        command("Emulation.setDeviceMetricsOverride", size)
        command("Emulation.setEmulatedMedia", {"media": media, "features": features})
        try:
            yield
        finally:
            command("Emulation.setEmulatedMedia", {"media": "", "features": []})
            command("Emulation.clearDeviceMetricsOverride", {})

    def picture(self, path: Path) -> None:
        """A screenshot, to look at."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(path))

    def barriers(self) -> list[str]:
        """What axe finds on the page as it stands, at WCAG 2.1 AA. Skips the test where axe-core is not there."""
        if not AXE.is_file():
            pytest.skip("axe-core is not there: npm install --no-save axe-core")
        if not self.run("return Boolean(window.axe)"):
            self.run(AXE.read_text(encoding="utf-8"))
        found = self.driver.execute_async_script(
            "const done = arguments[1]; axe.run({runOnly: arguments[0]}).then(r => done(r.violations.flatMap(v => "
            "v.nodes.map(n => `${v.id}: ${n.target} ${n.any.map(a => a.message)}`))), e => done([String(e)]))",
            RULES,
        )
        return list(found)


@pytest.fixture(scope="session")
def _chromium() -> Iterator[Browser]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    service = shutil.which("chromedriver")
    if not program or not service:
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1200,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(service))
    try:
        yield Browser(driver)
    finally:
        driver.quit()


@pytest.fixture
def browser(_chromium: Browser) -> Iterator[Browser]:
    """The browser; after the test, errors in the console and network requests fail it."""
    _chromium.driver.get("about:blank")
    _chromium.complaints()
    yield _chromium
    assert _chromium.complaints() == []
