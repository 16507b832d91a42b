"""The page before a busy endpoint: everything moves, nothing piles up. Here the pictures for the documentation are taken."""

import math
import os
import random
import threading
import time

import pytest
from endpoint import Endpoint, example

LIVE = "document.querySelector('#live').innerText === 'live'"


class Load:
    """Jobs of many kinds, more and fewer of them, until it is stopped."""

    def __init__(self, endpoint):
        self._endpoint = endpoint
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.retried = None

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _run(self):
        chance, begun, number = random.Random(5), time.monotonic(), 0
        while not self._over.wait(chance.expovariate(7 + 4 * math.sin((time.monotonic() - begun) / 40))):
            number += 1
            job = {"do": "sleep_ms", "ms": int(chance.lognormvariate(6.0, 0.7)), "page": number}
            if number % 60 == 20:
                job = {"do": "error", "message": f"page {number} cannot be read"}
            if number % 400 == 90:
                job = {"do": chance.choice(["segfault", "abort", "exit3"])}
            self._endpoint.run(job)
            if number == 25:
                self.retried = self._endpoint.run({"do": "segfault", "document": "invoice-0317.png", "language": "eng"},
                                                  policy={"retries": 2, "retryBackoff": 300})


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    with Endpoint([example("crash_zoo")], "--workers", "6", "--spares", "1", state=tmp_path_factory.mktemp("busy") / "state") as endpoint:
        yield endpoint


def test_it_keeps_up(endpoint, open_page, picture):
    with Load(endpoint) as load:
        page = open_page(endpoint, height=1240)
        page.wait(LIVE)
        page.wait("Number.parseFloat(document.querySelectorAll('#figures .value')[2].innerText) > 0", "a throughput")
        page.wait("document.querySelectorAll('#job-rows tr').length === 50", "a page full of jobs")
        first = page.text("#job-rows tr th")
        page.wait(f"document.querySelector('#job-rows tr th').innerText !== '{first}'", "a newer job")
        page.wait("document.querySelectorAll('#restart-list li').length > 0", "restarts")
        if os.environ.get("BULKHEAD_SCREENSHOTS"):
            time.sleep(600)  # so that there is something to be seen in the plots
        page.wait("Number(document.querySelector('#plot-throughput .readout').innerText.replace(/\\D/g, '')) > 20", "a plot of it")
        assert page.evaluate("document.querySelectorAll('#job-rows tr').length") == 50
        assert page.evaluate("document.querySelectorAll('#children tr').length") <= 14, "those of now, and those that end"
        picture(page, "page-light")
        dark = open_page(endpoint, height=1240, dark=True)
        phone = open_page(endpoint, width=360, height=900, scale=2, touch=True)
        for one, name in ((dark, "page-dark"), (phone, "page-phone")):
            one.wait("document.querySelectorAll('#job-rows tr').length === 50 && document.querySelector('.plot canvas')")
            one.wait("!document.querySelectorAll('#figures .value')[2].innerText.startsWith('–')")
            picture(one, name)
        page.resize(1360, 1000)
        page.go(f"http://127.0.0.1:{endpoint.port}/#job/{load.retried}")
        page.wait("document.querySelectorAll('.attempts tbody tr').length === 3 && document.querySelector('#job .stack')")
        picture(page, "page-job")
