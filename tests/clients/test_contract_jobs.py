"""RunPod's endpoint contract over plain HTTP: the job object in each state, defaults, limits, retention, rate limits.

docs/COMPATIBILITY.md lists every row of the contract with its test. Rows that need no handler are tested in tests/http.
"""

import json
import os
import subprocess
import time

import pytest

from endpoint import BULKHEAD, Endpoint, example, until
from served import QUICK

ZOO = [example("crash_zoo")]
TERMINAL = {"delayTime", "executionTime", "id", "status", "workerId"}  # what clients with a schema require at the end


def status(endpoint, job):
    return endpoint.get(f"/v2/ep/status/{job}").json


def running(endpoint, job_input=None, **more):
    job = endpoint.run(job_input or {"do": "sleep_ms", "ms": 600_000}, **more)
    until(lambda: status(endpoint, job)["status"] == "IN_PROGRESS", 60, "its start")
    return job


def cancel(endpoint, *jobs):
    for job in jobs:
        endpoint.post(f"/cancel/{job}")


# ---- the job object --------------------------------------------------------------------------------------------------


def test_in_queue(zoo):
    job = running(zoo)
    queued = zoo.run({"do": "ok"})
    state = status(zoo, queued)
    assert state.keys() == {"delayTime", "id", "status"} and state["status"] == "IN_QUEUE" and state["delayTime"] >= 0
    cancel(zoo, queued, job)


def test_in_progress(zoo):
    job = running(zoo)
    state = status(zoo, job)
    assert state.keys() == {"delayTime", "executionTime", "id", "status", "workerId"}
    assert "output" not in state and state["workerId"]
    cancel(zoo, job)


def test_in_progress_shows_the_latest_progress_as_output(zoo):
    job = running(zoo, {"do": "progress", "count": 3, "ms": 600_000})
    until(lambda: status(zoo, job).get("output") == {"step": 3}, 60, "its progress")
    assert status(zoo, job)["status"] == "IN_PROGRESS"
    cancel(zoo, job)


def test_a_progress_value_never_outlives_the_job(zoo):
    job = zoo.run({"do": "progress", "count": 100})
    state = zoo.wait(job)
    assert state["status"] == "COMPLETED" and state["output"] == {"slept_ms": 0}
    assert status(zoo, job) == state


def test_completed(zoo):
    state = zoo.runsync({"do": "sleep_ms", "ms": 200})
    assert state.keys() == TERMINAL | {"output"}
    assert state["status"] == "COMPLETED" and state["executionTime"] >= 150
    assert all(isinstance(state[name], int) for name in ("delayTime", "executionTime"))


def test_delay_time_is_the_time_in_the_queue(zoo):
    job = running(zoo)
    queued = zoo.run({"do": "ok"})
    until(lambda: status(zoo, queued)["delayTime"] >= 200, 60, "its waiting")
    cancel(zoo, job)
    assert zoo.wait(queued)["delayTime"] >= 200
    assert status(zoo, job)["executionTime"] >= 150


def test_failed(zoo):
    state = zoo.runsync({"do": "error", "message": "out of paper"})
    assert state.keys() == TERMINAL | {"error"}
    assert state["status"] == "FAILED" and state["error"] == "out of paper"


def test_worker_died(zoo):
    state = zoo.runsync({"do": "segfault"})
    assert state.keys() == TERMINAL | {"error", "bulkhead"}  # ours, all of it under one name
    assert state["status"] == "FAILED" and isinstance(state["error"], str)
    assert json.loads(state["error"])["error_type"] == "WorkerCrash"


def test_worker_died_and_the_job_was_tried_again(tmp_path):
    with Endpoint(ZOO, "--retries", "1", state=tmp_path / "state") as endpoint:
        state = endpoint.runsync({"do": "segfault"})
        assert state["status"] == "FAILED" and state["retries"] == 1
        assert "retries" not in endpoint.runsync({"do": "ok"})


def test_execution_timeout_is_failed_with_runpods_words(tmp_path):
    with Endpoint(ZOO, *QUICK, "--execution-timeout", "500ms", state=tmp_path / "state") as endpoint:
        for job_input in ({"do": "sleep_ms", "ms": 600_000}, {"do": "hang"}):
            state = endpoint.runsync(job_input)
            assert state["status"] == "FAILED" and state["error"] == "executionTimeout exceeded"
            assert TERMINAL <= state.keys() and state["executionTime"] >= 450


def test_execution_timeout_of_one_job_is_its_policy(zoo):
    begun = time.monotonic()
    state = zoo.runsync({"do": "sleep_ms", "ms": 600_000}, policy={"executionTimeout": 5_000})
    assert state["status"] == "FAILED" and state["error"] == "executionTimeout exceeded"
    assert time.monotonic() - begun >= 5


def test_cancelled(zoo):
    job = running(zoo)
    queued = zoo.run({"do": "ok"})
    cancel(zoo, queued, job)
    for name in (queued, job):
        state = status(zoo, name)
        assert state.keys() == TERMINAL and state["status"] == "CANCELLED"


def test_ttl_ends_a_queued_and_a_running_job_as_timed_out(tmp_path):
    with Endpoint(ZOO, *QUICK, "--ttl", "2s", state=tmp_path / "state") as endpoint:
        blocker = running(endpoint, policy={"ttl": 600_000})
        queued = endpoint.wait(endpoint.run({"do": "ok"}))
        cancel(endpoint, blocker)
        ran = endpoint.wait(endpoint.run({"do": "sleep_ms", "ms": 600_000}))
        for state in (queued, ran):
            assert state["status"] == "TIMED_OUT" and TERMINAL <= state.keys() and "output" not in state


def test_ttl_of_one_job_is_its_policy(zoo):
    job = running(zoo)
    begun = time.monotonic()
    queued = zoo.run({"do": "ok"}, policy={"ttl": 10_000})
    assert zoo.wait(queued)["status"] == "TIMED_OUT" and time.monotonic() - begun >= 9
    assert status(zoo, job)["status"] == "IN_PROGRESS"
    cancel(zoo, job)


def test_low_priority_is_accepted(echo):
    assert echo.runsync(1, policy={"lowPriority": True})["output"] == 1


# ---- defaults and bounds ---------------------------------------------------------------------------------------------


def test_defaults_are_runpods(tmp_path):
    """Those that `bulkhead check` shows; what a wait is by default is tested in tests/http."""
    shown = subprocess.run([BULKHEAD, "check", "--", "handler"], capture_output=True, text=True, timeout=60, check=False,
                           env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]}).stdout
    values = {line.split()[0].lstrip("-"): line.split()[1:] for line in shown.splitlines() if len(line.split()) > 1}
    for name, value in {"execution-timeout": "10m", "ttl": "1d", "keep-async": "30m", "keep-sync": "1m",
                        "max-run-body": "10MiB", "max-runsync-body": "20MiB", "max-chunk": "1MiB"}.items():
        assert value in values[name], (name, values[name])


@pytest.mark.parametrize("policy, word", [
    ({"executionTimeout": 4_999}, "executionTimeout"), ({"executionTimeout": 604_800_001}, "executionTimeout"),
    ({"ttl": 9_999}, "ttl"), ({"ttl": 604_800_001}, "ttl"), ({"ttl": "1"}, "ttl"), ({"lowPriority": 1}, "lowPriority")])
def test_policy_has_bounds(echo, policy, word):
    answer = echo.post("/run", {"input": 1, "policy": policy})
    assert answer.status == 400 and word in answer.json["error"]["message"]


@pytest.mark.parametrize("policy", [{"executionTimeout": 5_000}, {"executionTimeout": 604_800_000}, {"ttl": 10_000},
                                    {"ttl": 604_800_000}, {}, None])
def test_policy_within_its_bounds_is_taken(echo, policy):
    assert echo.runsync(1, policy=policy)["output"] == 1


# ---- limits ----------------------------------------------------------------------------------------------------------


def test_payloads_10_mb_by_run_and_20_mb_by_runsync(echo):
    large, larger = "x" * (11 << 20), "x" * (21 << 20)
    refused = echo.post("/run", {"input": large})
    assert refused.status == 413 and refused.json["error"]["limit"] == 10 << 20
    assert echo.runsync(large)["output"] == large
    refused = echo.post("/runsync", {"input": larger})
    assert refused.status == 413 and refused.json["error"]["limit"] == 20 << 20
    assert echo.runsync("small")["output"] == "small"


def test_results_that_are_too_large_fail_with_a_reason(tmp_path):
    with Endpoint(ZOO, "--max-result", "1M", state=tmp_path / "state") as endpoint:
        state = endpoint.runsync({"do": "big", "mb": 2})
        assert state["status"] == "FAILED" and state["error"]
        assert endpoint.runsync({"do": "ok", "value": 1})["output"] == 1


def test_chunks_that_are_too_large_fail_with_a_reason(tmp_path):
    with Endpoint([*ZOO, "--stream"], state=tmp_path / "state") as endpoint:
        state = endpoint.runsync({"chunks": 1, "do": "big", "mb": 2})
        assert state["status"] == "FAILED" and state["error"]
        assert endpoint.runsync({"chunks": 0, "do": "ok", "value": 1})["output"] == [1]


def test_a_full_queue_is_429(tmp_path):
    with Endpoint(ZOO, *QUICK, "--queue-max", "2", state=tmp_path / "state") as endpoint:
        running(endpoint)
        waiting = [endpoint.run({"do": "ok"}) for _ in range(2)]
        refused = endpoint.post("/run", {"input": {}})
        assert refused.status == 429 and refused.json["error"]["code"] == "queue_full"
        assert int(refused.headers["Retry-After"]) >= 1
        cancel(endpoint, waiting[0])
        until(lambda: endpoint.post("/run", {"input": {"do": "ok"}}).status == 200, 60, "room in the queue")


@pytest.mark.parametrize("path, method", [("run", "POST"), ("runsync", "POST"), ("status", "GET"), ("stream", "GET"),
                                          ("cancel", "POST"), ("purge-queue", "POST"), ("requests", "GET")])
def test_rate_limits_answer_429_with_retry_after(tmp_path, path, method):
    target = f"/v2/ep/{path}/nobody" if path in ("status", "stream", "cancel") else f"/v2/ep/{path}"
    with Endpoint([example("echo")], "--rate-limit", f"{path}=2/0", state=tmp_path / "state") as endpoint:
        answers = [endpoint.request(method, target, {"input": 1} if method == "POST" else None) for _ in range(3)]
        assert [answer.status == 429 for answer in answers] == [False, False, True]
        assert answers[2].json["error"]["code"] == "rate_limited" and int(answers[2].headers["Retry-After"]) >= 1
        assert endpoint.get("/v2/ep/health").status == 200


def test_runpods_rate_limits_by_name(tmp_path):
    shown = subprocess.run([BULKHEAD, "check", "--rate-limit", "runpod", "--", "handler"], capture_output=True, text=True,
                           timeout=60, check=False, env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]}).stdout
    for limit in ("run=1000/200", "runsync=2000/400", "status=2000/400", "stream=2000/400", "openai=2000/400",
                  "cancel=100/20", "purge-queue=2", "requests=10/2"):
        assert limit in shown, (limit, shown)


# ---- retention -------------------------------------------------------------------------------------------------------


def test_retention_of_run_and_of_runsync(tmp_path):
    with Endpoint([example("echo")], "--keep-async", "1h", "--keep-sync", "1s", state=tmp_path / "state") as endpoint:
        kept = endpoint.run(1)
        gone = endpoint.runsync(2)["id"]
        until(lambda: endpoint.get(f"/status/{gone}").status == 404, 60, "its being forgotten")
        assert endpoint.get(f"/stream/{gone}").status == 404 and endpoint.post(f"/cancel/{gone}").status == 404
        assert endpoint.wait(kept)["output"] == 1
    with Endpoint([example("echo")], "--keep-async", "1s", state=tmp_path / "state2") as endpoint:
        gone = endpoint.run(1)
        until(lambda: endpoint.get(f"/status/{gone}").status == 404, 60, "its being forgotten")


def test_retention_holds_across_a_restart(tmp_path):
    state = tmp_path / "state"
    with Endpoint([example("echo")], state=state) as endpoint:
        short, long = endpoint.run(1), endpoint.run(2)
        endpoint.wait(short), endpoint.wait(long)
        assert endpoint.get(f"/status/{short}?ttl=1000").status == 200
    with Endpoint([example("echo")], state=state) as endpoint:
        until(lambda: endpoint.get(f"/status/{short}").status == 404, 60, "its being forgotten")
        assert endpoint.get(f"/status/{long}").json["output"] == 2
