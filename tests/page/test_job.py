"""One job's whole life on the page: attempts, crash record, progress, chunks, log."""

import pytest
from endpoint import Endpoint, example


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    with Endpoint([example("crash_zoo")], "--workers", "2", "--spares", "1", state=tmp_path_factory.mktemp("zoo") / "state") as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    with Endpoint([example("tokens")], state=tmp_path_factory.mktemp("tokens") / "state") as endpoint:
        yield endpoint


def section(page, title):
    """What is visible below this title."""
    return page.evaluate(f"[...document.querySelectorAll('#job-body section')].find((one) => one.checkVisibility() && "
                         f"one.querySelector('h3').textContent === '{title}')?.innerText ?? ''")


def test_attempts_and_the_crash(zoo, open_page):
    job = zoo.run({"do": "segfault", "name": "a picture"}, policy={"retries": 2, "retryBackoff": 100})
    page = open_page(zoo, f"/#job/{job}")
    zoo.wait(job)
    page.wait("document.querySelector('#job .chip').innerText === 'Failed'")
    assert page.text("#job-id") == job
    page.wait("document.querySelectorAll('.attempts tbody tr').length === 3", "three attempts")
    assert all("WorkerCrash" in row and "crash" in row for row in page.texts(".attempts tbody tr"))
    assert page.evaluate("document.querySelectorAll('#job-body .life i').length") >= 4
    assert "was killed by SIGSEGV" in page.text("#job-body") and "SIGSEGV" in section(page, "Crash")
    assert "crash_zoo+0x" in page.text("#job .stack")
    assert '"name": "a picture"' in section(page, "Input")
    assert section(page, "Output") == "" and section(page, "Chunks") == ""


def test_its_log_and_its_progress_as_they_come(zoo, open_page):
    job = zoo.run({"do": "report_and_hang"})
    page = open_page(zoo, f"/#job/{job}")
    page.wait("document.querySelector('#job .chip').innerText === 'In progress' && document.querySelector('#job progress')?.checkVisibility()")
    assert "hanging" in section(page, "Progress")
    zoo.post(f"/cancel/{job}")
    page.wait("document.querySelector('#job .chip').innerText === 'Cancelled'")
    talker = zoo.run({"do": "log", "text": "a line of <b>its</b> own"})
    zoo.wait(talker)
    page.go(f"http://127.0.0.1:{zoo.port}/#job/{talker}")
    page.wait("document.querySelector('#job .log')?.innerText.includes('a line of <b>its</b> own')", "its log line")


def test_chunks_while_they_come(tokens, open_page):
    job = tokens.run({"text": "one two three", "delay_ms": 200, "repeat": 1000})
    page = open_page(tokens, f"/#job/{job}")
    seen = page.wait("document.querySelectorAll('.chunks li').length", "the first chunk")
    page.wait(f"document.querySelectorAll('.chunks li').length > {seen}", "more of them")
    tokens.post(f"/cancel/{job}")
    page.wait("document.querySelector('#job .chip').innerText === 'Cancelled'")


def test_chunks_of_a_job_that_has_ended(tokens, open_page):
    words = "one two three four five six seven eight nine ten".split()
    job = tokens.run({"text": " ".join(words), "repeat": 3})
    tokens.wait(job)
    page = open_page(tokens, f"/#job/{job}")
    page.wait("document.querySelector('#job .chip').innerText === 'Completed'")
    page.wait("document.querySelectorAll('.chunks li').length === 30")
    assert page.texts(".chunks li") == [f'"{word}"' for word in words * 3]
    assert "30 chunks" in section(page, "Chunks")
    assert len(tokens.get(f"/stream/{job}").json["stream"]) == 30, "a reader of the stream has lost none to the page"


def test_a_job_that_nobody_knows(zoo, open_page):
    page = open_page(zoo, expects=["status of 404"])
    page.wait("document.querySelector('#live').innerText === 'live'")
    page.evaluate("(() => { location.hash = '#job/none-u1'; })()")
    page.wait("document.querySelector('#job .problem').innerText.includes('none-u1')")
    page.press("Escape")
    page.wait("!document.querySelector('#job').open")
