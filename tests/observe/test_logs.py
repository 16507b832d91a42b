"""/bulkhead/logs: the last lines, by job and process; and following them, also too slowly."""

import http.client
import json
import time
from urllib.parse import urlencode

import pytest
from endpoint import Endpoint, UnixConnection, example, until

ZOO = [example("crash_zoo")]
QUICK = ("--cancel-grace", "200ms", "--term-grace", "200ms")
MEMBERS = {"seq", "at", "level", "job", "worker", "stream", "text"}


def lines(endpoint, **wanted):
    answer = endpoint.get("/bulkhead/logs?" + urlencode(wanted))
    assert answer.status == 200 and answer.headers["Content-Type"] == "application/x-ndjson", answer.body
    found = [json.loads(line) for line in answer.body.splitlines()]
    assert all(set(line) in (MEMBERS, {"lost"}) for line in found)
    return found


class Follower:
    """An answer that stays open, read line by line."""

    def __init__(self, endpoint, headers=None, **wanted):
        self.connection = (UnixConnection(endpoint.host, 80, 60) if endpoint.unix else
                           http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=60))
        self.connection.request("GET", "/bulkhead/logs?" + urlencode({"follow": 1, **wanted}), headers=headers or {})
        self.answer = self.connection.getresponse()

    def next(self):
        """The next line; None at the end."""
        while line := self.answer.readline():
            if line.strip():
                return json.loads(line)
        return None

    def until(self, condition):
        """All lines up to the first that fits."""
        read = []
        while line := self.next():
            read.append(line)
            if condition(line):
                return read
        raise AssertionError(f"the answer ended after {read[-5:]}")


def test_lines_by_job_and_process(tmp_path):
    with Endpoint(ZOO, *QUICK, "--workers", "2", state=tmp_path / "state") as endpoint:
        jobs = [endpoint.runsync({"do": "print", "text": f"out {i}", "err": f"err {i}"})["id"] for i in range(2)]
        until(lambda: len(lines(endpoint, job=jobs[1])) == 2, 60, "two lines")
        of_job = lines(endpoint, job=jobs[1])
        assert {(line["stream"], line["text"]) for line in of_job} == {("stdout", "out 1"), ("stderr", "err 1")}
        assert all(line["job"] == jobs[1] and line["level"] == "info" for line in of_job)
        [worker] = {line["worker"] for line in of_job}
        assert set(map(json.dumps, of_job)) <= set(map(json.dumps, lines(endpoint, worker=worker)))
        assert set(map(json.dumps, of_job)) <= set(map(json.dumps, lines(endpoint, worker=worker.split(".")[0])))
        everything = lines(endpoint)
        assert any(line["stream"] == "supervisor" and "listening on" in line["text"] for line in everything)
        first = everything[0]["seq"]
        assert [line["seq"] for line in everything] == list(range(first, first + len(everything)))
        assert lines(endpoint, limit=2) == everything[-2:] and lines(endpoint, limit=0) == []
        assert lines(endpoint, after=everything[-3]["seq"]) == everything[-2:]
        assert lines(endpoint, after=0, limit=2) == everything[:2], "from the beginning"
        for other in (1, first - 1_000_000, 10**16):
            assert lines(endpoint, after=other) == everything, "a number of another supervisor's"
        assert lines(endpoint, job="none-such") == []


def test_the_next_supervisors_lines_come_behind(tmp_path):
    """Whoever reads on behind the last line it has gets all of them, however many there are by then."""
    with Endpoint(ZOO, state=tmp_path / "state") as endpoint:
        last = lines(endpoint)[-1]["seq"]
    with Endpoint(ZOO, state=tmp_path / "state") as endpoint:
        for _ in range(20):
            endpoint.runsync({"do": "print", "text": "more"})
        until(lambda: len(lines(endpoint)) > 20, 60, "more lines than the one before had")
        assert lines(endpoint, after=last) == lines(endpoint)


def test_following(tmp_path):
    with Endpoint(ZOO, *QUICK, state=tmp_path / "state") as endpoint:
        follower = Follower(endpoint, limit=0)
        assert follower.answer.status == 200
        assert follower.answer.getheader("Content-Type") == "application/x-ndjson"
        first = endpoint.run({"do": "print", "text": "one"})
        line = follower.until(lambda line: line["text"] == "one")[-1]
        assert line["job"] == first and line["stream"] == "stdout"
        endpoint.run({"do": "print", "text": "two"})
        follower.until(lambda line: line["text"] == "two")
        of_job = Follower(endpoint, job=first)
        assert {of_job.next()["text"], of_job.next()["text"]} == {"one", "a line on stderr"}
        # It ends with the supervisor, and does not hold that up.
        endpoint.process.terminate()
        assert endpoint.process.wait(60) == 0
        while follower.next():
            pass
        assert of_job.next() is None


def test_one_that_is_too_slow_is_told_what_it_lost(tmp_path):
    with Endpoint(ZOO, *QUICK, "--log-level", "info", listen=f"unix:{tmp_path}/socket", state=tmp_path / "state") as endpoint:
        follower = Follower(endpoint, after=0)
        behind = follower.next()["seq"]

        def oldest():
            return lines(endpoint, after=0, limit=1)[0].get("lost", 0)
        deadline = time.monotonic() + 300
        while oldest() < 10_000:  # a ring's worth is gone, and the reader has read one line
            assert time.monotonic() < deadline, "the ring never turned over"
            endpoint.runsync({"do": "flood", "mb": 1})
            time.sleep(0.3)  # what floods faster than the output's rate is thrown away unread
        last = lines(endpoint, limit=1)[-1]["seq"]
        lost = 0
        while behind < last:
            line = follower.next()
            lost += line.get("lost", 0)
            behind = behind + line["lost"] if "lost" in line else behind + 1
            assert line.get("seq", behind) == behind, "every line is told, or counted as lost"
        assert lost > 0
        # A reader that is too slow costs the others nothing.
        endpoint.runsync({"do": "print", "text": "still here"})
        follower.until(lambda line: line.get("text") == "still here")


@pytest.mark.parametrize("asked", ["after=-1", "after=x", "limit=-1", "limit=10001", "follow=yes"])
def test_a_bad_question_is_told_so(tmp_path, asked):
    with Endpoint(ZOO, state=tmp_path / "state", ready=False) as endpoint:
        answer = endpoint.get(f"/bulkhead/logs?{asked}")
        assert answer.status == 400 and answer.json["error"]["code"] == "invalid_request"
        assert asked.split("=")[0] in answer.json["error"]["message"]


def test_keys(tmp_path):
    env = {"BULKHEAD_API_KEYS": "ops=s3cret-s3cret-s3cret"}
    with Endpoint(ZOO, state=tmp_path / "state", env=env, ready=False) as endpoint:
        assert endpoint.get("/bulkhead/logs").status == 401
        assert Follower(endpoint).answer.status == 401
        follower = Follower(endpoint, headers={"Authorization": "Bearer s3cret-s3cret-s3cret"})
        assert follower.answer.status == 200 and "seq" in follower.next()
        assert endpoint.request("HEAD", "/bulkhead/logs?follow=1",
                                headers={"Authorization": "Bearer s3cret-s3cret-s3cret"}).status == 200
