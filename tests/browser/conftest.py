"""Headless Chromium from Debian's package, driven by Playwright, before a running demo."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.demo_process import DemoProcess

ARGUMENTS = [
    "--no-sandbox",
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Milliseconds, for a machine that has much else to do.
PATIENCE = 60_000

DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    with DemoProcess(tmp_path_factory.mktemp("demo") / "state") as running:
        yield running


# Playwright keeps an event loop in this thread, in which Django refuses its database: not longer than needed.
@pytest.fixture(scope="module")
def chromium(request):
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("chromium is not installed: make services")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    playwright.expect.set_options(timeout=PATIENCE)
    request.getfixturevalue("demo")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield browser
        browser.close()


class Visitor:
    """One person at one browser window."""

    def __init__(self, context, demo, *, has_scripts: bool) -> None:
        self.demo = demo
        self.has_scripts = has_scripts
        self.page = context.new_page()
        self.troubles: list[str] = []
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("requestfailed", self._note_failure)
        self.page.on("request", self._note_stranger)

    def _note_failure(self, request) -> None:
        # Leaving a page cancels what it still asks for.
        if "ERR_ABORTED" not in (request.failure or ""):
            self.troubles.append(f"{request.url}: {request.failure}")

    def _note_stranger(self, request) -> None:
        if not request.url.startswith((self.demo.url, self.demo.site_url, "data:")):
            self.troubles.append(f"asked a third party: {request.url}")

    def open(self, path: str):
        return self.page.goto(f"{self.demo.url}{path}")

    def sign_in(self, name: str = "demo") -> None:
        self.open("/sign-in/")
        self.page.get_by_label("Username").fill(name)
        self.page.get_by_label("Password").fill(name)
        self.page.get_by_role("main").get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(f"{self.demo.url}/")
        self.disconnect()

    def go_to_consent(self, user: str = "alice@example.com", password: str = "alice-sandbox") -> None:
        self.open("/")
        self.page.get_by_role("button", name="Connect").click()
        self.page.get_by_label("Email").fill(user)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Login").click()
        self.page.wait_for_url(re.compile("oauth2.authorize"))

    def allow(self) -> None:
        self.page.locator("#allow" if self.has_scripts else "noscript a.btn-primary").click()
        self.page.wait_for_url(f"{self.demo.url}/customers/")

    def connect(self, **account: str) -> None:
        self.sign_in()
        self.go_to_consent(**account)
        self.allow()

    def disconnect(self) -> None:
        """End the connection, if there is one."""
        self.open("/erpnext/disconnect/")
        if self.page.url.endswith("/erpnext/disconnect/"):
            self.page.get_by_role("main").get_by_role("button", name="Disconnect").click()
            self.page.get_by_role("heading", name="Disconnected").wait_for()

    def picture(self, name: str) -> None:
        """Save a screenshot where SCREENSHOTS names a folder."""
        folder = os.environ.get("SCREENSHOTS")
        if folder:
            is_phone = self.page.viewport_size == PHONE
            self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=is_phone)


@pytest.fixture
def visitor_with(chromium, demo):
    """Return a function that opens a window with Playwright's options for a context."""
    contexts, visitors = [], []

    def visitor(**options) -> Visitor:
        context = chromium.new_context(**{"viewport": DESKTOP, **options})
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        has_scripts = options.get("java_script_enabled", True)
        visitors.append(Visitor(context, demo, has_scripts=has_scripts))
        return visitors[-1]

    yield visitor
    # Closing a window breaks off what its page still asks for.
    troubles = [trouble for each in visitors for trouble in each.troubles]
    for context in contexts:
        context.close()
    assert troubles == []


@pytest.fixture
def visitor(visitor_with):
    return visitor_with()
