"""Hundreds of malformed requests to a real `bulkhead serve`, over raw sockets: each is told what is wrong with it, and
the server is the same behind them as it was before."""

import json
import re
from pathlib import Path

import pytest

import bad_requests
from endpoint import Endpoint, example, until
from raw_http import Wire

ECHO = [example("echo")]
ROOM = 64 << 20  # what the server may have grown by, in bytes: several of the largest bodies, and no more


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Endpoint(ECHO, state=tmp_path_factory.mktemp("bad") / "state", ready=False) as endpoint:
        endpoint.wait_ready()
        yield endpoint


class Tally:
    """Jobs that came of mutations which had left a request good."""

    accepted = 0


@pytest.fixture(scope="module")
def tally():
    return Tally()


def resident(pid):
    return int(re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) << 10


def problem_of(response, what):
    """The error in a refusal, whole and in its form."""
    error = json.loads(response.body)["error"]
    assert response.headers["content-type"].startswith("application/json"), what
    assert re.fullmatch(r"[a-z0-9_]+", error["code"]) and len(error["message"]) > 10, (what, error)
    assert set(error) <= {"code", "message", "limit", "got"}, (what, error)
    return error


def all_responses(wire):
    responses = []
    while (response := wire.receive()) is not None:
        responses.append(response)
    return responses


@pytest.fixture(scope="module", autouse=True)
def same_server_afterwards(server, tally):
    """The last word of all cases in this file."""
    assert server.runsync({"n": 0})["status"] == "COMPLETED"
    descriptors = len(server.descriptors())  # with one connection, ours
    for case in bad_requests.size_cases():  # the first of their kind take what is kept for the next
        with Wire((server.host, server.port)) as wire:
            wire.send(case.data)
            wire.half_close()
            all_responses(wire)
    pid, before = server.process.pid, resident(server.process.pid)
    completed = server.get("/health").json["jobs"]["completed"]
    yield
    assert server.process.poll() is None and server.process.pid == pid
    until(lambda: len(server.descriptors()) <= descriptors, timeout=60, what="the end of all connections but ours")
    # A job that has ended is counted once its end is durable.
    until(lambda: server.get("/health").json["jobs"]["completed"] >= completed + tally.accepted, timeout=60,
          what="the end of what was accepted")
    health = server.get("/health").json
    assert health["jobs"] == {"completed": completed + tally.accepted, "failed": 0, "inProgress": 0, "inQueue": 0, "retried": 0}
    assert health["workers"]["unhealthy"] == 0
    sanitized = "libasan" in Path(f"/proc/{pid}/maps").read_text()  # which keeps what was freed, to watch it
    assert resident(pid) < before + (10 * ROOM if sanitized else ROOM)
    assert server.runsync({"n": 1})["output"] == {"n": 1}
    assert not [line for line in server.lines if re.search(r"assert|terminate|Sanitizer|runtime error", line)]


@pytest.mark.parametrize("kind", ["json", "path", "size", "framing"])
def test_each_request_written_by_hand_is_told_what_is_wrong(server, kind):
    cases = list(getattr(bad_requests, f"{kind}_cases")())
    for case in cases:
        head_only = case.data.startswith(b"HEAD ")
        with Wire((server.host, server.port)) as wire:
            wire.send(case.data)
            if case.ends:
                wire.half_close()
            response = wire.receive(head_only)
            assert response is not None, f"{case.name}: no answer"
            assert response.status in case.statuses, (case.name, response.status, response.body)
            if not head_only:
                assert case.word in problem_of(response, case.name)["message"], (case.name, response.body)
            # Then either the connection ends, or it is as good as new.
            if response.headers.get("connection") == "close" or case.ends:
                assert wire.receive() is None, f"{case.name}: something behind the refusal"
            else:
                wire.send(bad_requests.get("/health"))
                assert wire.receive().status == 200, f"{case.name}: the connection was out of step"
    assert len(cases) == len({case.data for case in cases}) > 15


def test_a_mutated_body_is_refused_exactly_when_it_is_bad(server, tally):
    """Python's parser and this server agree on each, and the connection is kept over all of them."""
    refused = accepted = 0
    with Wire((server.host, server.port)) as wire:
        for body in bad_requests.mutated_bodies(500):
            problem = bad_requests.verdict_on_body(body)
            wire.send(bad_requests.post("/run", body))
            response = wire.receive()
            assert response is not None, body
            assert response.status == (400 if problem else 200), (body, problem, response.status, response.body)
            if problem:
                problem_of(response, body)
                refused += 1
            else:
                assert json.loads(response.body)["status"] == "IN_QUEUE"
                accepted += 1
    tally.accepted += accepted
    assert refused > 300 and accepted > 10, (refused, accepted)
    # One of the heads to come empties the queue.
    until(lambda: server.get("/health").json["jobs"]["completed"] >= accepted, timeout=60, what="the end of what was accepted")


def test_a_mutated_head_that_is_malformed_gets_a_4xx(server):
    """One that is not may be good still, or ask for what is not there; it, too, is answered in full."""
    malformed = 0
    for data in bad_requests.mutated_heads(500):
        problem = bad_requests.verdict_on_head(data)
        with Wire((server.host, server.port)) as wire:
            wire.send(data)
            wire.half_close()
            responses = all_responses(wire)
        if not data.replace(b"\r\n", b"") or data == b"\r":
            assert not responses, data
            continue
        assert responses, data
        for response in responses:
            assert response.status in (200, 204, *range(400, 500), 501), (data, response.status, response.body)
            if response.status >= 400:
                problem_of(response, data)
        if problem:
            assert responses[0].status >= 400, (data, problem, responses[0].body)
            malformed += 1
    assert malformed > 200


@pytest.mark.parametrize("data", bad_requests.ASKS_NOTHING)
def test_who_asks_nothing_gets_no_answer(server, data):
    with Wire((server.host, server.port)) as wire:
        wire.send(data)
        wire.half_close()
        assert wire.receive() is None


def test_a_request_that_never_ends_is_given_up(tmp_path):
    with Endpoint(ECHO, "--request-timeout", "1s", state=tmp_path / "state") as endpoint:
        endpoint.get("/health")
        begun = [*bad_requests.INCOMPLETE, b"GET /health HTTP/1.1\r\nHost: x\r\n\n", bad_requests.HEAD + b"Content-Length: 10485760\r\n\r\n{"]
        wires = [Wire((endpoint.host, endpoint.port)) for _ in begun]
        for wire, data in zip(wires, begun):
            wire.send(data)
        for wire, data in zip(wires, begun):
            with wire:
                response = wire.receive()
                assert response is not None and response.status == 408, data
                assert "in time" in problem_of(response, data)["message"]
                assert wire.receive() is None
        assert endpoint.runsync({"n": 1})["output"] == {"n": 1}


def test_there_are_enough_of_them():
    bad = {case.data for case in bad_requests.hand_written()}
    bad |= {body for body in bad_requests.mutated_bodies(500) if bad_requests.verdict_on_body(body)}
    bad |= {data for data in bad_requests.mutated_heads(500) if bad_requests.verdict_on_head(data)}
    assert len(bad) >= 1000
