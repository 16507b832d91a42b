"""Every way a handler can die ends its own job with the reason, exactly once, and nothing is left of it."""

import json
import os
import random
import threading
from pathlib import Path

import pytest

from endpoint import Endpoint, example, processes_with, until

ZOO = [example("crash_zoo")]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    with Endpoint(ZOO, "--workers", "2", "--cancel-grace", "300ms", "--term-grace", "300ms",
                  state=tmp_path_factory.mktemp("zoo") / "state") as endpoint:
        yield endpoint


def crash_record(state):
    assert state["status"] == "FAILED", state
    return json.loads(state["error"])


@pytest.mark.parametrize("do, signal", [("segfault", "SIGSEGV"), ("abort", "SIGABRT"), ("divide", "SIGFPE"),
                                        ("stack_overflow", "SIGSEGV"), ("terminate", "SIGABRT")])
def test_a_fatal_signal_is_named_with_its_stack(zoo, do, signal):
    record = crash_record(zoo.runsync({"do": do}))
    assert record["error_type"] == "WorkerCrash"
    assert record["signal"] == signal
    assert f"was killed by {signal} while running this job" in record["error_message"]
    assert record["attempt"] == 1 and record["run_time_ms"] >= 0 and record["peak_rss_bytes"] > 0
    assert record["oom_killed"] is False
    assert record["worker_id"] and record["hostname"]
    assert any("crash_zoo" in str(frame) or "segfault" in str(frame) for frame in record["stack"]), record["stack"]


def test_a_segfault_names_the_function(zoo):
    record = crash_record(zoo.runsync({"do": "segfault"}))
    assert any("segfault" in str(frame) for frame in record["stack"]), record["stack"]


@pytest.mark.parametrize("do, code", [({"do": "exit0"}, 0), ({"do": "exit3"}, 3), ({"do": "exit", "code": 77}, 77)])
def test_an_exit_in_the_middle_of_a_job_is_a_crash(zoo, do, code):
    record = crash_record(zoo.runsync(do))
    assert record["error_type"] == "WorkerCrash" and record["exit_code"] == code


def test_sigkill_is_named(zoo):
    assert crash_record(zoo.runsync({"do": "kill", "signal": 9}))["signal"] == "SIGKILL"


def test_the_last_lines_are_in_the_record(zoo):
    state = zoo.runsync({"do": "print", "text": "before", "err": "nothing"})
    assert state["status"] == "COMPLETED"
    record = crash_record(zoo.runsync({"do": "terminate"}))
    assert any("thrown in a thread" in line for line in record["log_tail"]), record
    assert not any("before" in line for line in record["log_tail"])


def test_an_exception_is_not_a_crash(zoo):
    pid = zoo.runsync({"do": "pid"})["output"]["pid"]
    error = json.loads(zoo.runsync({"do": "throw"})["error"])
    assert error["error_type"] == "std::runtime_error" and error["error_message"] == "thrown on request"
    assert pid in {zoo.runsync({"do": "pid"})["output"]["pid"] for _ in range(4)}


def test_the_next_job_runs_on_a_fresh_child(zoo):
    for _ in range(2):
        crash_record(zoo.runsync({"do": "segfault"}))
    state = zoo.runsync({"do": "pid"})
    assert state["status"] == "COMPLETED" and state["output"]["jobs"] == 1


def test_strays_end_with_their_child(zoo):
    strays = zoo.runsync({"do": "strays", "count": 3})["output"]["strays"]
    assert all(os.path.exists(f"/proc/{pid}") for pid in strays)
    # Both children die: one of them is the strays'.
    pids = set()
    until(lambda: pids.add(zoo.runsync({"do": "pid"})["output"]["pid"]) or len(pids) < 3 and
          (crash_record(zoo.runsync({"do": "abort"})) and False) or
          not any(os.path.exists(f"/proc/{pid}") for pid in strays), what="the end of the strays")


@pytest.mark.parametrize("do", ["hang", "ignore_term", "spin", "stop", "close"])
def test_a_wedged_handler_falls_to_its_deadline_or_is_noticed_before(zoo, do):
    state = zoo.runsync({"do": do}, policy={"executionTimeout": 5000})
    assert state["status"] == "FAILED"
    if do == "close":  # ZeroMQ notices first, and aborts the process
        assert crash_record(state)["error_type"] == "WorkerCrash"
    else:
        assert state["error"] == "executionTimeout exceeded"
    assert zoo.runsync({"do": "ok"})["status"] == "COMPLETED"


def test_a_result_above_the_limit_fails_with_both_numbers(zoo):
    state = zoo.runsync({"do": "big", "mb": 30})
    assert state["status"] == "FAILED"
    assert "20971520" in state["error"] or "20 MiB" in state["error"]
    assert zoo.runsync({"do": "big", "mb": 10})["status"] == "COMPLETED"


def test_a_flood_of_output_costs_neither_the_job_nor_the_supervisor(zoo):
    before = int(open(f"/proc/{zoo.process.pid}/statm").read().split()[1])
    assert zoo.runsync({"do": "flood", "mb": 64})["output"] == {"printed_mb": 64}
    after = int(open(f"/proc/{zoo.process.pid}/statm").read().split()[1])
    assert (after - before) * 4096 < 32 << 20


def test_retries_are_counted_and_stop(tmp_path):
    with Endpoint(ZOO, "--retries", "2", state=tmp_path / "state") as endpoint:
        state = endpoint.runsync({"do": "segfault"})
        assert crash_record(state)["attempt"] == 3
        assert endpoint.runsync({"do": "ok"})["status"] == "COMPLETED"


def test_a_storm_of_crashes_leaves_nothing_behind(tmp_path):
    """2,000 jobs on 4 children, a third of them deadly."""
    rng = random.Random(20)
    deadly = [({"do": "segfault"}, "SIGSEGV"), ({"do": "abort"}, "SIGABRT"), ({"do": "exit0"}, 0), ({"do": "exit3"}, 3),
              ({"do": "kill", "signal": 9}, "SIGKILL"), ({"do": "divide"}, "SIGFPE"), ({"do": "exit", "code": 9}, 9),
              ({"do": "throw"}, "std::runtime_error"), ({"do": "refresh"}, None), ({"do": "error"}, "failed on request"),
              ({"do": "strays", "count": 1, "then": "kill"}, "either")]
    jobs = [rng.choice(deadly) if rng.random() < 1 / 3 else ({"do": "ok", "value": i}, None) for i in range(2000)]
    results = [None] * len(jobs)
    state = tmp_path / "state"
    with Endpoint(ZOO, "--workers", "4", state=state) as endpoint:
        until(lambda: endpoint.get("/health").json["workers"]["ready"] == 4, what="four ready children")
        fds = len(endpoint.descriptors())
        todo = iter(range(len(jobs)))
        lock = threading.Lock()

        def client():
            while True:
                with lock:
                    index = next(todo, None)
                if index is None:
                    return
                results[index] = endpoint.runsync(jobs[index][0])

        clients = [threading.Thread(target=client) for _ in range(8)]
        [thread.start() for thread in clients]
        [thread.join() for thread in clients]

        for (job, expected), result in zip(jobs, results):
            if expected is None:
                assert result["status"] == "COMPLETED", (job, result)
                if job["do"] == "ok":
                    assert result["output"] == job["value"]
            elif expected == "either":
                assert result["status"] == "COMPLETED" or crash_record(result)["signal"] == "SIGKILL", (job, result)
            elif expected == "failed on request":
                assert result["error"] == expected
            else:
                record = crash_record(result)
                assert expected in (record.get("signal"), record.get("exit_code"), record.get("error_type")), (job, record)
        health = endpoint.get("/health").json["jobs"]
        assert health["completed"] + health["failed"] == len(jobs)
        assert health["inProgress"] == health["inQueue"] == 0

        until(lambda: endpoint.get("/health").json["workers"]["ready"] == 4, what="four ready children again")
        until(lambda: len(endpoint.children()) == 4, what="no child but the four")
        until(lambda: len(endpoint.descriptors()) <= fds + 10, what="the descriptors' number of before")
        scratch = Path(endpoint.runsync({"do": "pid"})["output"]["scratch"]).parent
        until(lambda: len(list(scratch.iterdir())) == 4, what="no scratch directory but the four children's")
        # Whatever a child started carries its cookie, which begins with the state directory's.
        mark = (state / "cookie").read_text().strip()
        assert set(endpoint.children()) <= set(processes_with(mark))
    assert processes_with(mark) == []
    assert list(scratch.iterdir()) == []


def test_what_left_the_child_before_it_died_counts(tmp_path):
    """The result is given, then the process ends in some way: a result, or a crash record, never neither."""
    with Endpoint(ZOO, "--workers", "2", state=tmp_path / "state") as endpoint:
        for how in ("_exit", "kill", "segfault", "destructor"):
            for megabytes in (0, 8):
                for _ in range(5):
                    job = {"do": "big", "mb": megabytes, "then": how} if megabytes else {"do": "ok", "then": how}
                    state = endpoint.runsync(job)
                    if state["status"] == "FAILED":
                        assert crash_record(state)["error_type"] == "WorkerCrash"
                    elif megabytes:
                        assert len(state["output"]["big"]) == megabytes << 20


def test_a_segfault_in_a_static_destructor_costs_no_result(tmp_path):
    """A child that ends in order has delivered what it gave, whatever its destructors do then."""
    with Endpoint(ZOO, "--workers", "2", "--max-jobs-per-worker", "1", state=tmp_path / "state") as endpoint:
        for megabytes in (0, 8):
            for _ in range(10):
                state = endpoint.runsync({"do": "big", "mb": megabytes, "then": "destructor_later"})
                assert state["status"] == "COMPLETED", state
                assert len(state["output"]["big"]) == megabytes << 20
