"""Where keys are set: the page asks for one when the server does, and keeps it in its tab."""

import pytest
from endpoint import Endpoint, example

KEY = "a-secret-of-the-operator"
HEADERS = {"Authorization": f"Bearer {KEY}"}
LIVE = "document.querySelector('#live').innerText === 'live'"
ASKS = "document.querySelector('#access').open"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    with Endpoint([example("crash_zoo")], state=tmp_path_factory.mktemp("access") / "state", env={"BULKHEAD_API_KEYS": f"a={KEY}"},
                  ready=False) as endpoint:
        yield endpoint


def give(page, key):
    page.wait(ASKS)
    page.wait("document.activeElement.id === 'access-key'")
    page.type(key)
    page.press("Enter")


def test_it_asks_until_the_key_is_right(endpoint, open_page):
    page = open_page(endpoint, expects=["status of 401"])
    give(page, "not-the-key")
    page.wait("document.querySelector('#access .problem').innerText.includes('not known')", "why it was refused")
    give(page, KEY)
    page.wait(LIVE)
    assert not page.evaluate(ASKS)
    page.wait("document.querySelectorAll('#children tr').length > 0")
    asked = [request for request in page.requests() if "/bulkhead/" in request["url"]]
    assert asked and all(KEY not in request["url"] for request in asked)


def test_it_keeps_the_key_in_this_tab(endpoint, open_page):
    page = open_page(endpoint, expects=["status of 401"])
    give(page, KEY)
    page.wait(LIVE)
    page.reload()
    page.wait(LIVE)
    assert page.evaluate("localStorage.length") == 0 and page.evaluate("document.cookie") == ""
    another = open_page(endpoint, expects=["status of 401"])
    another.wait(ASKS)
    page.click("#key")
    page.wait(ASKS)
    assert page.evaluate("sessionStorage.length") == 0
    page.reload()
    page.wait(ASKS)


def test_what_it_shows_as_a_command_has_no_key_in_it(endpoint, open_page):
    page = open_page(endpoint, expects=["status of 401"])
    give(page, KEY)
    page.wait(LIVE)
    page.click("#open-submit")
    line = page.wait("document.querySelector('#submit .call code').innerText")
    assert '-H "Authorization: Bearer $BULKHEAD_API_KEY"' in line and KEY not in page.evaluate("document.documentElement.outerHTML")
    page.click("#submit .primary")
    job = page.wait("document.querySelector('#job').open && document.querySelector('#job-id').innerText")
    assert endpoint.get(f"/status/{job}", headers=HEADERS).status == 200
    assert all("$BULKHEAD_API_KEY" in code for code in page.texts("#job .call code"))
