"""A real browser for tests of pages; a test is skipped where the machine has none."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def opened(path: Path, width: int = 1440, scheme: str = "light") -> Iterator[Any]:
    """The page of a file in Chromium; fails where it takes two seconds to open, or writes to the console."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no Chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    said = []
    with playwright.sync_playwright() as driver:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = driver.chromium.launch(executable_path=found, args=options)
        page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url) if not request.url.startswith("file:") else None)
        page.goto(path.as_uri())
        page.evaluate("document.body.offsetHeight")
        loaded = page.evaluate("performance.getEntriesByType('navigation')[0].duration")
        assert loaded < 2000, f"the page took {loaded:.0f} ms to open"
        yield page
        browser.close()
    assert not said
