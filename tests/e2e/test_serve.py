"""`bulkhead serve` as a client and an operator see it."""

import json
import os
import signal
import subprocess

import pytest

from endpoint import BULKHEAD, Endpoint, example, processes_with, until

ECHO = [example("echo")]
ZOO = [example("crash_zoo")]


@pytest.fixture(scope="module")
def echo(tmp_path_factory):
    with Endpoint(ECHO, state=tmp_path_factory.mktemp("echo") / "state") as endpoint:
        yield endpoint


@pytest.mark.parametrize("prefix", ["", "/v2/my-endpoint"])
def test_run_then_status(echo, prefix):
    queued = echo.post(f"{prefix}/run", {"input": {"n": 1}})
    assert queued.status == 200 and queued.json["status"] == "IN_QUEUE"
    state = echo.wait(queued.json["id"])
    assert state["status"] == "COMPLETED" and state["output"] == {"n": 1}
    assert {"id", "workerId", "status", "delayTime", "executionTime"} <= state.keys()


def test_runsync_ids_and_values(echo):
    state = echo.runsync({"text": "ünï \u2603", "deep": [[[{}]]]})
    assert state["id"].startswith("sync-")
    assert state["output"] == {"text": "ünï \u2603", "deep": [[[{}]]]}


def test_health_has_all_that_clients_require(echo):
    health = echo.get("/health").json
    assert set(health["jobs"]) == {"completed", "failed", "inProgress", "inQueue", "retried"}
    assert set(health["workers"]) == {"idle", "initializing", "ready", "running", "throttled", "unhealthy"}
    assert health["workers"]["ready"] == 1


def test_errors_say_what_is_wrong(echo):
    for path, body, status, word in [("/run", "{", 400, "JSON"), ("/run", "{}", 400, "input"),
                                     ("/nowhere", "{}", 404, "path"), ("/run", "[1]", 400, "object")]:
        answer = echo.post(path, body)
        assert answer.status == status, (path, answer.body)
        assert word in json.dumps(answer.json["error"]), answer.body
    assert echo.get("/status/none").status == 404


def test_jobs_wait_and_are_served_in_order(tmp_path):
    with Endpoint(ZOO, state=tmp_path / "state") as endpoint:
        ids = [endpoint.run({"do": "sleep_ms", "ms": 30}) for _ in range(10)]
        ends = [endpoint.wait(job) for job in ids]
        delays = [end["delayTime"] for end in ends]
        assert delays == sorted(delays)


def test_cancel_ends_a_running_and_a_queued_job(tmp_path):
    with Endpoint(ZOO, state=tmp_path / "state") as endpoint:
        running = endpoint.run({"do": "sleep_ms", "ms": 60000})
        queued = endpoint.run({"do": "ok"})
        until(lambda: endpoint.get(f"/status/{running}").json["status"] == "IN_PROGRESS", what="its start")
        for job in (queued, running):
            assert endpoint.post(f"/cancel/{job}").json == {"id": job, "status": "CANCELLED"}
            assert endpoint.get(f"/status/{job}").json["status"] == "CANCELLED"
        assert endpoint.runsync({"do": "ok"})["status"] == "COMPLETED"


def test_a_term_drains_and_leaves_nothing(tmp_path):
    with Endpoint(ZOO, "--workers", "2", state=tmp_path / "state") as endpoint:
        job = endpoint.run({"do": "sleep_ms", "ms": 700})
        until(lambda: endpoint.get(f"/status/{job}").json["status"] == "IN_PROGRESS", what="its start")
        pids = endpoint.children()
        assert endpoint.stop() == 0
        assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)
    with Endpoint(ZOO, state=tmp_path / "state") as endpoint:  # what it finished is still known
        assert endpoint.get(f"/status/{job}").json["output"] == {"slept_ms": 700}


def test_a_second_term_shortens(tmp_path):
    with Endpoint(ZOO, "--grace", "1h", "--cancel-grace", "200ms", "--term-grace", "200ms", state=tmp_path / "state") as endpoint:
        job = endpoint.run({"do": "ignore_term"})
        until(lambda: endpoint.get(f"/status/{job}").json["status"] == "IN_PROGRESS", what="its start")
        endpoint.process.send_signal(signal.SIGTERM)
        endpoint.wait_line("finish")
        assert endpoint.stop() == 0


def test_a_killed_supervisor_loses_no_accepted_job(tmp_path):
    """Also where children are not to go on without it."""
    state = tmp_path / "state"
    with Endpoint(ZOO, "--orphan-timeout", "0", state=state) as endpoint:
        done = endpoint.runsync({"do": "ok", "value": 7})
        done_async = endpoint.run({"do": "ok", "value": 8})
        endpoint.wait(done_async)
        cut_off = endpoint.run({"do": "sleep_ms", "ms": 60000})
        waiting = [endpoint.run({"do": "ok", "value": i}) for i in range(5)]
        endpoint.until_entered(cut_off)
        children = endpoint.children()
        assert endpoint.stop(signal.SIGKILL) == -signal.SIGKILL
    with Endpoint(ZOO, "--orphan-timeout", "0", state=state) as endpoint:
        assert not any(os.path.exists(f"/proc/{pid}") and "Z" not in open(f"/proc/{pid}/stat").read().split(")")[1][:3]
                       for pid in children)
        assert endpoint.get(f"/status/{done_async}").json["output"] == 8
        assert [endpoint.wait(job)["output"] for job in waiting] == list(range(5))
        lost = endpoint.get(f"/status/{cut_off}").json
        assert lost["status"] == "FAILED" and "supervisor" in lost["error"]
        assert done["output"] == 7


def test_a_child_does_not_outlive_its_supervisor_if_told_so(tmp_path):
    with Endpoint(ZOO, "--orphan-timeout", "0", state=tmp_path / "state") as endpoint:
        job = endpoint.run({"do": "sleep_ms", "ms": 60000})
        until(lambda: endpoint.get(f"/status/{job}").json["status"] == "IN_PROGRESS", what="its start")
        children = endpoint.children()
        endpoint.stop(signal.SIGKILL)
        until(lambda: not [pid for pid in children if pid in processes_with("crash_zoo")], what="the child's end")


def test_set_up_failures_are_reported_and_end_the_supervisor(tmp_path):
    process = subprocess.run([BULKHEAD, "serve", "--listen", "127.0.0.1:0", "--state-dir", str(tmp_path / "state"), "--",
                              *ZOO, "--setup", "exit3"], capture_output=True, text=True, timeout=120)
    assert process.returncode == 69, process.stderr
    assert "code 3" in process.stderr


def test_a_command_that_does_not_exist_is_told_clearly(tmp_path):
    process = subprocess.run([BULKHEAD, "serve", "--listen", "127.0.0.1:0", "--state-dir", str(tmp_path / "state"), "--",
                              "./no-such-handler"], capture_output=True, text=True, timeout=120)
    assert process.returncode != 0 and "no-such-handler" in process.stderr


def test_a_second_supervisor_on_the_same_state_is_refused(tmp_path):
    with Endpoint(ECHO, state=tmp_path / "state") as endpoint:
        second = subprocess.run([BULKHEAD, "serve", "--listen", "127.0.0.1:0", "--state-dir", str(tmp_path / "state"), "--",
                                 *ECHO], capture_output=True, text=True, timeout=60)
        assert second.returncode == 71 and str(endpoint.process.pid) in second.stderr


@pytest.mark.parametrize("durability", ["relaxed", "memory"])
def test_other_durabilities_serve_too(tmp_path, durability):
    with Endpoint(ECHO, "--durability", durability, state=tmp_path / "state") as endpoint:
        assert endpoint.runsync({"a": 1})["output"] == {"a": 1}
        job = endpoint.run({"b": 2})
        assert endpoint.wait(job)["output"] == {"b": 2}


def test_a_recycled_child_is_replaced_without_a_failed_job(tmp_path):
    with Endpoint(ZOO, "--max-jobs-per-worker", "5", "--workers", "2", state=tmp_path / "state") as endpoint:
        results = [endpoint.runsync({"do": "pid"}) for _ in range(60)]
        assert all(result["status"] == "COMPLETED" for result in results)
        assert len({result["output"]["pid"] for result in results}) >= 8
        assert all(result["output"]["jobs"] <= 6 for result in results)


def test_a_stream_arrives_chunk_by_chunk_once(tmp_path):
    with Endpoint([*ZOO, "--stream"], state=tmp_path / "state") as endpoint:
        job = endpoint.run({"chunks": 20, "do": "ok", "value": "last"})
        seen, status = [], None
        while status not in ("COMPLETED", "FAILED"):
            answer = endpoint.get(f"/stream/{job}").json
            seen += [piece["output"] for piece in answer["stream"]]
            status = answer["status"]
        assert seen == [*range(20), "last"]
        assert endpoint.get(f"/status/{job}").json["output"] == [*range(20), "last"]


def test_gpus_are_given_to_slots(tmp_path):
    command = ["/bin/sh", "-c", f'echo "devices=$CUDA_VISIBLE_DEVICES mode=$MODE"; exec {ECHO[0]}']
    with Endpoint(command, "--workers", "2", "--gpus", "0,1", "--worker-env", "MODE=test", state=tmp_path / "state") as endpoint:
        endpoint.wait_line("devices=0 mode=test")
        endpoint.wait_line("devices=1 mode=test")
