"""traceparent: from the request to the handler, into every line of the job's log, and through a restart."""

import json
import signal

import pytest
from endpoint import Endpoint, example, until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
ZOO = [example("crash_zoo")]


def lines(endpoint, job):
    return [json.loads(line) for line in endpoint.lines if f'"job_id":"{job}"' in line]


def test_it_is_in_every_line_of_the_job_and_in_no_other(tmp_path):
    with Endpoint(ZOO, "--log-format", "json", "--log-level", "trace", state=tmp_path / "state") as endpoint:
        traced = endpoint.post("/runsync", {"input": {"do": "log", "text": "one"}}, headers={"traceparent": PARENT}).json["id"]
        plain = endpoint.runsync({"do": "log", "text": "two"})["id"]
        until(lambda: lines(endpoint, traced) and lines(endpoint, plain), 30, "both jobs' lines")
        assert all(line["traceparent"] == PARENT for line in lines(endpoint, traced))
        assert not any("traceparent" in line for line in lines(endpoint, plain))


def test_it_reaches_the_handler(tmp_path):
    with Endpoint(ZOO, state=tmp_path / "state") as endpoint:
        assert endpoint.post("/runsync", {"input": {"do": "trace"}}, headers={"traceparent": PARENT}).json["output"] == PARENT
        storage = {"input": {"do": "trace"}, "s3Config": {"bucketName": "b"}}
        assert endpoint.post("/runsync", storage, headers={"traceparent": PARENT}).json["output"] == PARENT
        assert endpoint.post("/runsync", storage).json["output"] == ""


def test_people_see_the_trace(tmp_path):
    with Endpoint(ZOO, state=tmp_path / "state") as endpoint:
        endpoint.post("/runsync", {"input": {"do": "log", "text": "one"}}, headers={"traceparent": PARENT})
        endpoint.wait_line(f" trace={TRACE} ")


@pytest.mark.parametrize("header, kept", [
    (PARENT.upper().replace("00-", "00-"), False),
    (PARENT + "-more", False),
    ("cc" + PARENT[2:] + "-what-comes-later", True),
    ("ff" + PARENT[2:], False),
    (f"00-{'0' * 32}-00f067aa0ba902b7-01", False),
    (f"00-{TRACE}-{'0' * 16}-01", False),
    (PARENT[:-1], False),
    ('"},{' + PARENT, False),
])
def test_only_what_the_standard_has_is_passed_on(tmp_path, header, kept):
    with Endpoint(ZOO, "--log-format", "json", state=tmp_path / "state") as endpoint:
        job = endpoint.post("/runsync", {"input": {"do": "log", "text": "one"}}, headers={"traceparent": header}).json["id"]
        until(lambda: lines(endpoint, job), 30, "the job's line")
        assert lines(endpoint, job)[0].get("traceparent") == (header[:55] if kept else None)


def test_it_survives_a_restart(tmp_path):
    options = ("--log-format", "json", "--retries", "3")
    with Endpoint(ZOO, *options, state=tmp_path / "state", dies=True) as endpoint:
        endpoint.wait_ready()
        blocker = endpoint.run({"do": "sleep_ms", "ms": 60_000})
        endpoint.until_entered(blocker)
        job = endpoint.post("/run", {"input": {"do": "log", "text": "one"}}, headers={"traceparent": PARENT}).json["id"]
        endpoint.stop(signal.SIGKILL)
    with Endpoint(ZOO, *options, state=tmp_path / "state") as endpoint:
        endpoint.post(f"/cancel/{blocker}")
        endpoint.wait(job)
        until(lambda: lines(endpoint, job), 30, "the job's line")
        assert all(line["traceparent"] == PARENT for line in lines(endpoint, job))
