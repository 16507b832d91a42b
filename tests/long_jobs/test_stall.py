"""Jobs that stand still: what counts as a sign of life, and what is told of one that gives none."""

import json
import sys
from pathlib import Path

import pytest

from endpoint import Endpoint, example

HANDLER = [sys.executable, str(Path(__file__).with_name("handler.py"))]
QUICK = ["--cancel-grace", "100ms", "--term-grace", "100ms", "--retry-backoff", "10ms..50ms"]


def serve(tmp_path, *options, command=HANDLER, **more):
    return Endpoint(command, *QUICK, *options, state=tmp_path / "state", **more)


def test_a_sleeping_handler_is_stopped_with_its_stacks(tmp_path):
    with serve(tmp_path) as endpoint:
        state = endpoint.runsync({"do": "sleep", "bad attempts": 1}, policy={"stallTimeout": 2000})
        assert state["status"] == "FAILED" and state["bulkhead"]["attempts"][0]["reason"] == "stall"
        record = json.loads(state["error"])
        assert record["error_type"] == "Stalled" and "stallTimeout" in record["error_message"]
        assert any("handler.py" in line and "in handler" in line for line in record["interpreter_stack"]), record
        assert sum(line.startswith("thread ") for line in record["stack"]) >= 1, record["stack"]
        assert endpoint.runsync({})["status"] == "COMPLETED"


def test_native_threads_are_all_shown(tmp_path):
    with serve(tmp_path, "--stall-timeout", "2s", command=[example("crash_zoo")]) as endpoint:
        record = json.loads(endpoint.runsync({"do": "hang"})["error"])
        assert record["error_type"] == "Stalled", record
        assert any(line.startswith("thread ") for line in record["stack"])
        assert any("crash_zoo" in line or "hang" in line for line in record["stack"]), record["stack"]


def test_a_stall_is_a_time_out_to_the_retries(tmp_path):
    with serve(tmp_path, "--retries", "1", "--retry-on", "timeout", "--stall-timeout", "2s") as endpoint:
        state = endpoint.runsync({"do": "sleep", "bad attempts": 1})
        assert state["status"] == "COMPLETED"
        assert [(one["reason"], one["error_type"]) for one in state["bulkhead"]["attempts"]] == [
            ("stall", "Stalled"), ("completed", "")]


@pytest.mark.parametrize("sign", [{"do": "spin"}, {"do": "talk", "by": "progress"}, {"do": "talk", "by": "log"},
                                  {"do": "talk", "by": "save_checkpoint"}])
def test_whoever_gives_a_sign_of_life_is_left_alone(tmp_path, sign):
    with serve(tmp_path, "--stall-timeout", "3s") as endpoint:
        state = endpoint.runsync({**sign, "s": 8, "bad attempts": 1})
        assert state["status"] == "COMPLETED", state


def test_work_in_another_session_is_a_sign_of_life(tmp_path):
    with serve(tmp_path, "--stall-timeout", "3s") as endpoint:
        state = endpoint.runsync({"do": "spin elsewhere", "s": 8, "bad attempts": 1})
        assert state["status"] == "COMPLETED", state


def test_a_crash_after_a_stall_is_told_as_itself(tmp_path):
    with serve(tmp_path, "--workers", "1") as endpoint:
        state = endpoint.runsync({"do": "doze", "bad attempts": 1}, policy={"stallTimeout": 1000})
        assert json.loads(state["error"])["error_type"] == "Stalled", state
        worker = state["workerId"]
        crash = endpoint.runsync({"do": "crash", "bad attempts": 1})
        assert crash["workerId"] == worker, "the process was to live on"
        record = json.loads(crash["error"])
        assert record["error_type"] == "WorkerCrash" and record["stack"] == [], record
        assert not record.get("interpreter_stack"), record


def test_an_adopted_child_that_stalls_is_stopped_with_its_stacks(tmp_path):
    with serve(tmp_path, dies=True) as endpoint:
        endpoint.wait_ready()
        job = endpoint.run({"do": "sleep", "bad attempts": 1}, policy={"stallTimeout": 10_000})
        endpoint.until_entered(job)
        endpoint.stop(9)
    with serve(tmp_path) as endpoint:
        state = endpoint.wait(job)
        assert state["status"] == "FAILED" and state["bulkhead"]["attempts"][0]["reason"] == "stall", state
        record = json.loads(state["error"])
        assert record["error_type"] == "Stalled", record
        assert any("handler.py" in line and "in handler" in line for line in record["interpreter_stack"]), record


def test_one_that_cannot_answer_is_stopped_all_the_same(tmp_path):
    with serve(tmp_path, "--stall-timeout", "1s") as endpoint:
        state = endpoint.runsync({"do": "stop", "bad attempts": 1})
        assert state["status"] == "FAILED" and "stalled" in state["error"], state
