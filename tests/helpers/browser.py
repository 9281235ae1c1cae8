"""A real browser for tests of pages: headless Chromium that fails a test on console errors and on network requests.

A test file says ``pytest_plugins = ["browser"]`` and takes the fixture ``browser``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


class Browser:
    """Chromium, driven by Selenium (``driver``)."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, path: Path, hash: str = "") -> None:
        """Show a file, from ``file://``; with a hash, the same page at another place."""
        self.driver.get("about:blank")
        self.driver.get(path.resolve().as_uri() + hash)

    def run(self, script: str, *arguments: Any) -> Any:
        """What a piece of JavaScript returns."""
        return self.driver.execute_script(script, *arguments)

    def keys(self, *keys: str) -> None:
        """Press keys, one after the other, on whatever has the focus: "a", "ArrowRight", "Home", " "."""
        names = {" ": ("Space", 32, " "), "Enter": ("Enter", 13, "\r")}
        for key in keys:
            code, number, text = names.get(key, (key, 0, key if len(key) == 1 else ""))
            event = {"key": key, "code": code, "text": text, "windowsVirtualKeyCode": number}
            self.driver.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": "keyDown", **event})
            self.driver.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": "keyUp", **event, "text": ""})

    def text(self, selector: str) -> str:
        """The text of the first element that a CSS selector finds."""
        return self.run("return document.querySelector(arguments[0]).innerText", selector)

    def click(self, selector: str) -> None:
        """Click the first element that a CSS selector finds."""
        self.run("document.querySelector(arguments[0]).click()", selector)

    def complaints(self) -> list[str]:
        """What went wrong since the last call: errors in the console, and requests that left the file."""
        found = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                if not url.startswith(("file:", "data:", "blob:", "about:")):
                    found.append(f"a request to {url}")
        return found


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
