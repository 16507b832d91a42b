"""Attempts that are lost: what is tried again, how often, and what is told of it."""

import json
import sys
from pathlib import Path

import pytest

from endpoint import Endpoint, processes_with, until

HANDLER = [sys.executable, str(Path(__file__).with_name("handler.py"))]
FAST = ["--retry-backoff", "10ms..50ms"]


def serve(tmp_path, *options, **more):
    return Endpoint(HANDLER, *options, state=tmp_path / "state", **more)


def reasons(state):
    return [attempt["reason"] for attempt in state["bulkhead"]["attempts"]]


def test_a_crash_is_retried_and_the_history_tells_of_it(tmp_path):
    with serve(tmp_path, "--retries", "3", *FAST) as endpoint:
        state = endpoint.runsync({"do": "crash", "bad attempts": 2})
        assert state["status"] == "COMPLETED" and state["output"]["attempt"] == 3 and state["retries"] == 2
        attempts = state["bulkhead"]["attempts"]
        assert [one["attempt"] for one in attempts] == [1, 2, 3]
        assert reasons(state) == ["crash", "crash", "completed"]
        assert [one["error_type"] for one in attempts] == ["WorkerCrash", "WorkerCrash", ""]
        assert len({one["worker_id"] for one in attempts}) == 3 and attempts[-1]["worker_id"] == state["workerId"]
        assert not any(one["from_checkpoint"] for one in attempts)
        for earlier, later in zip(attempts, attempts[1:]):
            assert earlier["started_at"] <= earlier["ended_at"] <= later["started_at"] <= later["ended_at"]
        id = state["id"]
    with serve(tmp_path) as endpoint:  # after a restart the journal says the same
        assert endpoint.get(f"/status/{id}").json == state


def test_what_was_never_lost_has_no_history(tmp_path):
    with serve(tmp_path, "--retries", "3") as endpoint:
        assert "bulkhead" not in endpoint.runsync({})
        assert "bulkhead" not in endpoint.runsync({"do": "error", "bad attempts": 9})


def test_the_crash_record_has_the_history(tmp_path):
    with serve(tmp_path, "--retries", "1", *FAST) as endpoint:
        state = endpoint.runsync({"do": "crash", "bad attempts": 9})
        assert state["status"] == "FAILED" and reasons(state) == ["crash", "crash"]
        record = json.loads(state["error"])
        assert record["error_type"] == "WorkerCrash" and record["attempt"] == 2
        assert record["attempts"] == state["bulkhead"]["attempts"]


@pytest.mark.parametrize("retry_on, do, attempts", [
    ("crash,lost", "error", 1), ("error", "error", 2), ("error", "crash", 1), ("none", "crash", 1), ("crash", "crash", 2)])
def test_only_what_was_asked_for_is_retried(tmp_path, retry_on, do, attempts):
    ledger = tmp_path / "ledger"
    with serve(tmp_path, "--retries", "1", "--retry-on", retry_on, *FAST, env={"LEDGER": str(ledger)}) as endpoint:
        state = endpoint.runsync({"do": do, "bad attempts": 9})
        assert state["status"] == "FAILED" and len(ledger.read_text().splitlines()) == attempts


def test_a_time_out_is_retried_where_asked_for(tmp_path):
    timed = {"executionTimeout": 5000, "retries": 1, "retryOn": ["timeout"], "retryBackoff": [10, 20]}
    with serve(tmp_path, "--cancel-grace", "100ms", "--term-grace", "100ms") as endpoint:
        state = endpoint.runsync({"do": "sleep", "bad attempts": 1}, policy=timed)
        assert state["status"] == "COMPLETED" and reasons(state) == ["timeout", "completed"]
        assert state["bulkhead"]["attempts"][0]["error_type"] == "ExecutionTimeout"


def test_the_policy_of_a_job_counts_and_outlives_the_supervisor(tmp_path):
    ledger = tmp_path / "ledger"
    env = {"LEDGER": str(ledger)}
    policy = {"retries": 1, "retryOn": ["crash"], "retryBackoff": 3_600_000}
    with serve(tmp_path, env=env, dies=True) as endpoint:
        endpoint.wait_ready()
        job = endpoint.run({"do": "crash", "bad attempts": 9}, policy=policy)
        until(lambda: endpoint.get(f"/status/{job}").json.get("bulkhead"), 60, "the first crash")
        assert endpoint.get(f"/status/{job}").json["status"] == "IN_QUEUE"
        endpoint.stop(9)
    with serve(tmp_path, env=env) as endpoint:  # what was waited is forgotten, what was counted is not
        state = endpoint.wait(job)
        assert state["status"] == "FAILED" and reasons(state) == ["crash", "crash"]
    assert len(ledger.read_text().splitlines()) == 2


@pytest.mark.parametrize("patience", ["0", "1s"])
@pytest.mark.parametrize("retry_on, reason_of_all", [("lost", ["lost", "completed"]), ("crash", ["lost"])])
def test_a_supervisor_for_which_no_other_comes_in_time_costs_an_attempt(tmp_path, patience, retry_on, reason_of_all):
    options = ["--retries", "1", "--retry-on", retry_on, "--orphan-timeout", patience]
    env = {"LEDGER": str(tmp_path / "ledger")}  # and the mark by which its processes are found
    with serve(tmp_path, *options, env=env, dies=True) as endpoint:
        endpoint.wait_ready()
        job = endpoint.run({"do": "sleep", "bad attempts": 1})
        endpoint.until_entered(job)
        endpoint.stop(9)
    until(lambda: not processes_with(str(tmp_path)), 60, "the end of its child")
    with serve(tmp_path, *options, env=env) as endpoint:
        state = endpoint.wait(job)
        assert reasons(state) == reason_of_all and state["bulkhead"]["attempts"][0]["error_type"] == "WorkerLost"
        assert state["status"] == ("COMPLETED" if retry_on == "lost" else "FAILED"), state


def test_an_adopted_child_costs_no_attempt(tmp_path):
    options = ["--retries", "1", "--retry-on", "lost", "--workers", "1"]
    with serve(tmp_path, *options, dies=True) as endpoint:
        endpoint.wait_ready()
        job = endpoint.run({"do": "spin", "s": 5, "bad attempts": 1})
        endpoint.until_entered(job)
        endpoint.stop(9)
    with serve(tmp_path, *options) as endpoint:
        state = endpoint.wait(job)
        assert state["status"] == "COMPLETED" and "bulkhead" not in state and "retries" not in state, state


@pytest.mark.parametrize("policy, message", [
    ({"retries": 101}, "policy.retries must be a whole number, 0 to 100"),
    ({"retries": "1"}, "policy.retries must be a whole number"),
    ({"retryOn": "crash"}, "policy.retryOn must be an array"),
    ({"retryOn": ["bad luck"]}, "policy.retryOn must be an array"),
    ({"retryBackoff": [5, 1]}, "policy.retryBackoff must be [least, most]"),
    ({"retryBackoff": [1, 2, 3]}, "policy.retryBackoff must be"),
    ({"retryBackoff": 3_600_001}, "policy.retryBackoff must be"),
    ({"stallTimeout": 999}, "policy.stallTimeout must be 1000 to"),
])
def test_a_bad_policy_is_refused_with_a_reason(tmp_path, policy, message):
    with serve(tmp_path, ready=False) as endpoint:
        answer = endpoint.post("/run", {"input": {}, "policy": policy})
        assert answer.status == 400 and message in answer.json["error"]["message"], answer.json
