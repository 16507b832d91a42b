import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, os.path.join(os.environ["BULKHEAD_SOURCE"], "tests", "support"))
import browser as chromium  # noqa: E402


@pytest.fixture(scope="session")
def browser():
    if chromium.program() is None:
        pytest.skip("there is no Chromium: script/bootstrap test installs Debian's chromium-headless-shell")
    browser = chromium.Browser()
    yield browser
    browser.stop()


@pytest.fixture
def open_page(browser):
    """Opens pages, and looks when the test is over whether one of them had a reason to complain, or spoke to anybody else."""
    opened = []

    def open_one(endpoint, path="/", expects=(), **more):
        """`expects`: what the browser will log of requests that are meant to fail: "status of 401"."""
        page = browser.open(f"http://127.0.0.1:{endpoint.port}{path}", **more)
        opened.append((page, endpoint, expects))
        return page

    yield open_one
    for page, endpoint, expects in opened:
        said = [line for line in page.complaints() if not any(text in line for text in expects)]
        elsewhere = [request["url"] for request in page.requests() if not request["url"].startswith((f"http://127.0.0.1:{endpoint.port}/", "about:"))]
        page.close()
        assert not said and not elsewhere


@pytest.fixture
def picture():
    """Pictures of the page for the documentation, on request only."""
    folder = os.environ.get("BULKHEAD_SCREENSHOTS")

    def take(page, name):
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            page.screenshot(Path(folder) / f"{name}.png")

    return take
