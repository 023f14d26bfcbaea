"""A headless Chromium for tests, of the machine; nothing is downloaded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from playhead.config import PROJECT

SCREENSHOTS = Path(os.environ.get("CI_ARTEFACTS", PROJECT / "build")) / "screenshots"
"""Where CI, or a person, finds what the pages look like."""

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    # Root may not have a sandbox; the page is ours.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser; a test without one fails, because it would have checked nothing."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.fail("no Chromium: `scripts/setup browser` installs it, or says what to install", pytrace=False)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A page, what it asked for, and what it complained of."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def axe(self, rule: str | None = None) -> list[str]:
        """What axe finds serious or critical, with its first place; by one rule, or all when None."""
        options = {"resultTypes": ["violations"]} | ({} if rule is None else {"runOnly": [rule]})
        found = Axe().run(self.page, options=options).response["violations"]
        bad = (each for each in found if each["impact"] in ("serious", "critical"))
        return [f"{each['id']}: {each['nodes'][0]['html']}" for each in bad]

    @property
    def ground(self) -> str:
        """The colour behind everything."""
        return str(self.page.evaluate("getComputedStyle(document.body).backgroundColor"))

    @property
    def overflow(self) -> int:
        """By how many pixels the page is wider than its window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))

    def open(self, details: str = "details") -> None:
        """Open everything that can be opened, or what a selector says of it."""
        self.page.eval_on_selector_all(details, "all => all.forEach(each => { each.open = true })")


@contextmanager
def opened(browser: Browser, url: str, *, width: int = 1440, scheme: str = "light") -> Iterator[Opened]:
    """A page in a window of its own, 900 pixels high.

    Args:
        browser: which.
        url: what to open.
        width: of the window, pixels.
        scheme: `light` or `dark`.
    """
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    try:
        seen = Opened(page=context.new_page())
        seen.page.on("request", lambda request: seen.requests.append(request.url))
        seen.page.on("console", lambda message: seen.complaints.append(message.text))
        seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        seen.page.goto(url)
        yield seen
    finally:
        context.close()
