"""Streams after the supervisor was killed, or the job left its memory: from the journal, each chunk once."""

import http.client
import json
import signal

import pytest

from endpoint import FINAL, Endpoint, example, until

WORDS = [f"w{n}" for n in range(200)]
TOKENS = [example("tokens")]


def poll(endpoint, job):
    answer = endpoint.get(f"/stream/{job}")
    assert answer.status == 200, answer.body
    return answer.json["status"], [chunk["output"] for chunk in answer.json["stream"]]


def events(endpoint, job, last=None, most=None):
    """The events of a job as (event, id, data), until the end or `most` of them."""
    connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=120)
    headers = {"Accept": "text/event-stream"}
    if last is not None:
        headers["Last-Event-ID"] = str(last)
    connection.request("GET", f"/v2/ep/stream/{job}", headers=headers)
    response = connection.getresponse()
    assert response.status == 200
    seen, event = [], {}
    for line in response:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            event[name] = value
        elif "event" in event:
            seen.append((event["event"], event.get("id"), json.loads(event["data"])))
            event = {}
            if seen[-1][0] == "done" or len(seen) == most:
                break
    connection.close()
    return seen


def chunks_of(seen):
    return [(int(number), data["output"]) for event, number, data in seen if event == "chunk"]


def poll_to_the_end(endpoint, job):
    seen = []

    def ended():
        status, some = poll(endpoint, job)
        seen.extend(some)
        return status if status in FINAL else None
    assert until(ended, 60, "the end of the stream") == "COMPLETED"
    return seen


@pytest.fixture
def finished(tmp_path):
    """A supervisor that knows a finished stream from its journal alone, of which polls have had the first part."""
    state = tmp_path / "state"
    with Endpoint(TOKENS, state=state) as endpoint:
        job = endpoint.run({"text": " ".join(WORDS), "delay_ms": 5})
        had = until(lambda: poll(endpoint, job)[1], 60, "the first words")
        endpoint.wait(job)
        # The position is written by the way, a moment later. What is written after it is there means that it is, too.
        endpoint.runsync({"text": "marker"})
        endpoint.stop(signal.SIGKILL)
    with Endpoint(TOKENS, state=state) as endpoint:
        yield endpoint, job, had


def test_polls_go_on_where_they_were(finished):
    endpoint, job, had = finished
    assert had == WORDS[:len(had)]
    assert poll(endpoint, job) == ("COMPLETED", WORDS[len(had):])
    assert poll(endpoint, job) == ("COMPLETED", [])
    assert endpoint.get(f"/status/{job}").json["output"] == WORDS


def test_events_are_told_again_or_resumed(finished):
    endpoint, job, _ = finished
    everything = events(endpoint, job)
    assert chunks_of(everything) == [(n + 1, word) for n, word in enumerate(WORDS)]
    assert everything[-1][0] == "done" and everything[-1][2]["status"] == "COMPLETED"
    assert chunks_of(events(endpoint, job, last=150)) == [(n + 1, WORDS[n]) for n in range(150, 200)]
    assert [event for event, _, _ in events(endpoint, job, last=200)] == ["done"]


def test_both_survive_a_further_restart(finished):
    endpoint, job, had = finished
    poll(endpoint, job)
    endpoint.runsync({"text": "marker"})
    endpoint.stop(signal.SIGKILL)
    with Endpoint(TOKENS, state=endpoint.state) as again:
        assert poll(again, job) == ("COMPLETED", [])
        assert len(chunks_of(events(again, job))) == 200


def test_a_job_that_was_cut_off_gives_what_it_had_streamed(tmp_path):
    state = tmp_path / "state"
    with Endpoint(TOKENS, "--orphan-timeout", "0", state=state) as endpoint:
        job = endpoint.run({"text": " ".join(WORDS), "delay_ms": 50})
        had = chunks_of(events(endpoint, job, most=20))
        endpoint.stop(signal.SIGKILL)
    with Endpoint(TOKENS, "--orphan-timeout", "0", state=state) as endpoint:
        assert endpoint.wait(job)["status"] == "FAILED"
        status, stored = poll(endpoint, job)
        assert status == "FAILED" and len(stored) >= len(had) and stored == WORDS[:len(stored)]
        rest = events(endpoint, job, last=had[-1][0])
        assert chunks_of(rest) == [(n + 1, WORDS[n]) for n in range(len(had), len(stored))]
        assert rest[-1][0] == "done" and rest[-1][2]["status"] == "FAILED"


def test_a_job_that_is_tried_again_streams_behind_what_was_seen(tmp_path):
    """The numbers go on, so that a client that resumes misses nothing of the new attempt."""
    state = tmp_path / "state"
    with Endpoint(TOKENS, "--retries", "1", "--orphan-timeout", "0", state=state) as endpoint:
        job = endpoint.run({"text": " ".join(WORDS[:20]), "delay_ms": 100})
        had = chunks_of(events(endpoint, job, most=8))
        endpoint.stop(signal.SIGKILL)
    with Endpoint(TOKENS, "--retries", "1", "--orphan-timeout", "0", state=state) as endpoint:
        rest = events(endpoint, job, last=had[-1][0])
        numbers = [number for number, _ in chunks_of(rest)]
        assert numbers == sorted(set(numbers)) and numbers[0] > had[-1][0]
        assert [word for _, word in chunks_of(rest)][-20:] == WORDS[:20]
        assert rest[-1][2]["status"] == "COMPLETED" and rest[-1][2]["output"] == WORDS[:20]
        assert poll_to_the_end(endpoint, job)[-20:] == WORDS[:20]


def test_a_job_that_waited_streams_after_the_restart(tmp_path):
    state = tmp_path / "state"
    with Endpoint(TOKENS, "--grace", "100ms", "--orphan-timeout", "0", state=state) as endpoint:
        endpoint.run({"text": "x", "delay_ms": 600_000})
        job = endpoint.run({"text": " ".join(WORDS[:5])})
        endpoint.stop(signal.SIGKILL)
    with Endpoint(TOKENS, "--orphan-timeout", "0", state=state) as endpoint:
        assert poll_to_the_end(endpoint, job) == WORDS[:5]


def test_polls_and_followers_share_a_stream(tmp_path):
    """Neither takes a chunk from the other, in memory or in the journal."""
    with Endpoint(TOKENS, state=tmp_path / "state") as endpoint:
        job = endpoint.run({"text": " ".join(WORDS)})
        endpoint.wait(job)
        assert len(chunks_of(events(endpoint, job))) == 200
        assert poll(endpoint, job) == ("COMPLETED", WORDS)
        assert len(chunks_of(events(endpoint, job))) == 200
        until(lambda: poll(endpoint, job)[1] == [], what="nothing more")


def poll_after(endpoint, job, after, wait=None):
    answer = endpoint.get(f"/stream/{job}?after={after}" + (f"&wait={wait}" if wait else ""))
    assert answer.status == 200, answer.body
    return answer.json["status"], [chunk["output"] for chunk in answer.json["stream"]], answer.json["after"]


def test_a_poll_that_says_how_far_it_is_takes_nothing_away(tmp_path):
    state = tmp_path / "state"
    with Endpoint(TOKENS, state=state) as endpoint:
        job = endpoint.run({"text": " ".join(WORDS), "delay_ms": 5})
        after, seen = 0, []
        while len(seen) < 150:
            status, some, after = poll_after(endpoint, job, after, wait=60_000)
            assert some or status in FINAL, "it waits for a chunk"
            seen += some
        assert seen == WORDS[:len(seen)] and after == len(seen)
        endpoint.wait(job)
        assert poll_after(endpoint, job, 150) == ("COMPLETED", WORDS[150:], 200)
        assert poll_after(endpoint, job, 200, wait=60_000) == ("COMPLETED", [], 200)
        assert poll(endpoint, job) == ("COMPLETED", WORDS)
        for wrong in ("-1", "x", "4294967295"):
            answer = endpoint.get(f"/stream/{job}?after={wrong}")
            assert answer.status == 400 and "after" in str(answer.json), answer.body
        endpoint.stop(signal.SIGKILL)
    with Endpoint(TOKENS, state=state) as endpoint:
        assert poll_after(endpoint, job, 0) == ("COMPLETED", WORDS, 200)
        assert poll_after(endpoint, job, 199) == ("COMPLETED", WORDS[199:], 200)


def test_a_poll_that_says_how_far_it_is_waits_no_longer_than_it_asked(tmp_path):
    with Endpoint(TOKENS, state=tmp_path / "state") as endpoint:
        job = endpoint.run({"text": "x", "delay_ms": 600_000})
        until(lambda: endpoint.get(f"/status/{job}").json["status"] == "IN_PROGRESS", what="its start")
        assert poll_after(endpoint, job, 0) == ("IN_PROGRESS", [], 0)
        assert poll_after(endpoint, job, 0, wait=1000) == ("IN_PROGRESS", [], 0)
        endpoint.post(f"/cancel/{job}")
