"""The official `runpod` package, as its users have it, against `bulkhead serve`: nothing but its base URL is changed."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest
import requests
import runpod

from endpoint import Endpoint, example, until
from served import QUICK

SLOW = 120  # seconds: a bound for what takes a moment, on a machine that has other things to do
TEXT = "the ship was divided into compartments"


def client(endpoint, api_key="any-key"):
    """What a user writes, with the address of their own endpoint."""
    runpod.endpoint_url_base = f"http://{endpoint.host}:{endpoint.port}/v2"
    runpod.api_key = api_key
    return runpod.Endpoint("my-endpoint")


def fetch(user, job):
    """The job object itself, through the package's own client."""
    return user.rp_client.get(f"my-endpoint/status/{job.job_id}")


def wait_for(job, *states):
    until(lambda: job.status() in states, SLOW, f"one of {states}")


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    with Endpoint([example("crash_zoo")], *QUICK, "--spares", "1", state=tmp_path_factory.mktemp("zoo") / "state") as endpoint:
        yield endpoint


@pytest.fixture(scope="module", autouse=True)
def long_run(tmp_path_factory):
    """A run_sync() beyond the 90 s that the server waits, begun with the first test and looked at by the last."""
    with Endpoint([example("crash_zoo")], state=tmp_path_factory.mktemp("long") / "state") as endpoint:
        user, result = client(endpoint), []
        runner = threading.Thread(target=lambda: result.append(user.run_sync({"do": "sleep_ms", "ms": 92_000})))
        runner.start()
        yield lambda: (runner.join(SLOW + 100), result)[1]
        runner.join(SLOW + 100)


# ---- run, status, output ---------------------------------------------------------------------------------------------


def test_run_status_output(echo):
    job = client(echo).run({"input": {"prompt": "héllo", "n": [1, 2.5, None]}})
    assert job.job_id.endswith("-u1")
    assert job.output(timeout=SLOW) == {"prompt": "héllo", "n": [1, 2.5, None]}
    assert job.status() == "COMPLETED"
    assert job.output() == {"prompt": "héllo", "n": [1, 2.5, None]}


def test_run_wraps_what_is_not_wrapped(echo):
    user = client(echo)
    assert user.run({"n": 1}).output(timeout=SLOW) == {"n": 1}
    assert user.run({"input": {}}).output(timeout=SLOW) == {"input": {}}  # the package's own way with a falsy input
    assert user.run_sync({}) == {}


def test_run_sync(echo):
    user = client(echo)
    assert user.run_sync({"input": "text"}) == "text"
    assert user.run_sync({"n": 2}) == {"n": 2}


def test_large_inputs_and_outputs(echo):
    blob = "x" * (8 << 20)
    assert client(echo).run_sync({"input": {"blob": blob}})["blob"] == blob
    assert client(echo).run({"input": {"blob": blob}}).output(timeout=SLOW)["blob"] == blob


def test_output_gives_up_at_its_timeout(zoo):
    job = client(zoo).run({"do": "sleep_ms", "ms": 60_000})
    with pytest.raises(TimeoutError, match="Job timed out"):
        job.output(timeout=1)
    job.cancel(timeout=SLOW)


def test_run_sync_gives_up_at_its_timeout_and_the_job_goes_on(zoo):
    user = client(zoo)
    before = user.health(timeout=SLOW)["jobs"]["completed"]
    with pytest.raises(requests.exceptions.Timeout):
        user.run_sync({"do": "sleep_ms", "ms": 2_500}, timeout=1)
    until(lambda: user.health(timeout=SLOW)["jobs"]["completed"] == before + 1, SLOW, "the end of the job")


def test_progress_is_the_output_so_far(zoo):
    job = client(zoo).run({"do": "progress", "count": 2, "ms": 60_000})
    until(lambda: job.output() == {"step": 2}, SLOW, "its progress")
    assert job.status() == "IN_PROGRESS"
    job.cancel(timeout=SLOW)


# ---- jobs that fail --------------------------------------------------------------------------------------------------


def test_a_crash_is_a_failed_job_with_its_reason(zoo):
    user = client(zoo)
    job = user.run({"do": "segfault"})
    wait_for(job, "FAILED")
    assert job.output() is None
    state = fetch(user, job)
    assert isinstance(state["error"], str)
    assert json.loads(state["error"])["signal"] == "SIGSEGV"
    assert {"id", "workerId", "status", "delayTime", "executionTime"} <= state.keys()
    assert user.run_sync({"do": "abort"}) is None  # the package tells no more of a failure
    assert user.run_sync({"do": "ok", "value": "next"}) == "next"


def test_an_exception_is_a_failed_job_with_its_message(zoo):
    user = client(zoo)
    job = user.run({"do": "throw", "message": "out of paper"})
    wait_for(job, "FAILED")
    assert "out of paper" in fetch(user, job)["error"]


def test_execution_timeout(zoo):
    user = client(zoo)
    job = user.run({"input": {"do": "sleep_ms", "ms": 60_000}, "policy": {"executionTimeout": 5_000}})
    wait_for(job, "FAILED")
    assert fetch(user, job)["error"] == "executionTimeout exceeded"


def test_ttl(tmp_path):
    with Endpoint([example("crash_zoo")], "--ttl", "2s", "--grace", "100ms", state=tmp_path / "state") as endpoint:
        user = client(endpoint)
        user.run({"input": {"do": "sleep_ms", "ms": 60_000}, "policy": {"ttl": 600_000}})
        job = user.run({"do": "ok"})
        wait_for(job, "TIMED_OUT")
        assert job.output(timeout=SLOW) is None


# ---- stream ----------------------------------------------------------------------------------------------------------


def test_stream_of_a_job_that_runs(tokens):
    job = client(tokens).run({"text": TEXT, "delay_ms": 400})
    assert list(job.stream()) == TEXT.split()
    assert job.status() == "COMPLETED"
    assert job.output() == TEXT.split()


def test_stream_of_a_job_that_has_ended(tokens):
    job = client(tokens).run({"text": TEXT, "repeat": 200})
    wait_for(job, "COMPLETED")
    assert list(job.stream()) == TEXT.split() * 200
    assert list(job.stream()) == []  # each chunk once


def test_stream_of_a_job_that_streams_nothing(echo):
    assert list(client(echo).run({"a": 1}).stream()) == []


def test_stream_of_a_job_that_crashes(tmp_path):
    with Endpoint([example("crash_zoo"), "--stream"], state=tmp_path / "state") as endpoint:
        job = client(endpoint).run({"chunks": 5, "do": "segfault"})
        seen = list(job.stream())
        assert seen == list(range(len(seen)))  # those that had left the process when it died
        assert job.status() == "FAILED"


# ---- cancel, purge, health -------------------------------------------------------------------------------------------


def test_cancel_of_a_running_and_of_a_queued_job(zoo):
    user = client(zoo)
    running = user.run({"do": "sleep_ms", "ms": 60_000})
    wait_for(running, "IN_PROGRESS")
    queued = user.run({"do": "ok"})
    assert queued.status() == "IN_QUEUE"
    for job in (queued, running):
        assert job.cancel(timeout=SLOW) == {"id": job.job_id, "status": "CANCELLED"}
        assert job.status() == "CANCELLED"
        assert job.output(timeout=SLOW) is None
        # Job.stream() knows no CANCELLED and would poll for ever; what it gets each time is this:
        stream = user.rp_client.get(f"my-endpoint/stream/{job.job_id}")
        assert stream["status"] == "CANCELLED" and stream["stream"] == []
    until(lambda: user.health(timeout=SLOW)["jobs"]["inProgress"] == 0, SLOW, "the handler's end")


def test_cancel_of_a_handler_that_does_not_listen(zoo):
    user = client(zoo)
    job = user.run({"do": "hang"})
    wait_for(job, "IN_PROGRESS")
    assert job.cancel(timeout=SLOW)["status"] == "CANCELLED"
    assert user.run_sync({"do": "ok", "value": 1}, timeout=SLOW) == 1


def test_purge_queue(zoo):
    user = client(zoo)
    running = user.run({"do": "sleep_ms", "ms": 60_000})
    wait_for(running, "IN_PROGRESS")
    waiting = [user.run({"do": "ok"}) for _ in range(3)]
    assert user.purge_queue(timeout=SLOW) == {"removed": 3, "status": "completed"}
    assert [job.status() for job in waiting] == ["CANCELLED"] * 3
    assert running.status() == "IN_PROGRESS"
    running.cancel(timeout=SLOW)


def test_health(zoo):
    health = client(zoo).health(timeout=SLOW)
    assert set(health["jobs"]) == {"completed", "failed", "inProgress", "inQueue", "retried"}
    assert set(health["workers"]) == {"idle", "initializing", "ready", "running", "throttled", "unhealthy"}
    assert all(isinstance(number, int) for part in health.values() for number in part.values())


# ---- keys, limits, errors --------------------------------------------------------------------------------------------


def test_keys(tmp_path):
    with Endpoint([example("echo")], env={"BULKHEAD_API_KEYS": "me=sesame,you=pumpkin"}, ready=False,
                  state=tmp_path / "state") as endpoint:
        user = client(endpoint, "sesame")
        until(lambda: user.health(timeout=SLOW)["workers"]["ready"] > 0, SLOW, "a ready worker")
        assert user.run_sync({"a": 1}) == {"a": 1}
        assert user.run({"a": 2}).output(timeout=SLOW) == {"a": 2}
        stranger = client(endpoint, "open")
        with pytest.raises(RuntimeError, match="401"):
            stranger.run({"a": 3})
        with pytest.raises(RuntimeError, match="401"):
            stranger.health(timeout=SLOW)
        assert runpod.Endpoint("my-endpoint", api_key="pumpkin").run_sync({"a": 4}) == {"a": 4}


def test_the_package_itself_wants_some_key(echo):
    client(echo)
    runpod.api_key = None
    with pytest.raises(RuntimeError):
        runpod.Endpoint("my-endpoint")


def test_a_rate_limit_is_waited_for(tmp_path):
    """The package tries a GET again after 429, when Retry-After says so."""
    with Endpoint([example("echo")], "--rate-limit", "status=5/0", state=tmp_path / "state") as endpoint:
        user = client(endpoint)
        job = user.run({"a": 1})
        states = [fetch(user, job)["status"] for _ in range(8)]
        assert states[-1] == "COMPLETED"
        answers = [endpoint.get(f"/status/{job.job_id}") for _ in range(6)]
        assert 429 in [answer.status for answer in answers]


def test_a_full_queue_is_429(tmp_path):
    with Endpoint([example("crash_zoo")], "--queue-max", "1", "--grace", "100ms", state=tmp_path / "state") as endpoint:
        user = client(endpoint)
        wait_for(user.run({"do": "sleep_ms", "ms": 60_000}), "IN_PROGRESS")
        user.run({"do": "ok"})
        with pytest.raises(requests.HTTPError) as refused:
            user.run({"do": "ok"})
        assert refused.value.response.status_code == 429


def test_an_unknown_job_is_404(echo):
    user = client(echo)
    with pytest.raises(requests.HTTPError) as unknown:
        runpod.endpoint.Job("my-endpoint", "no-such-job", user.rp_client).status()
    assert unknown.value.response.status_code == 404


# ---- as programs use it ----------------------------------------------------------------------------------------------

PROGRAM = """
import os, runpod
runpod.api_key = "any-key"
endpoint = runpod.Endpoint("my-endpoint")
print(endpoint.run_sync({"input": {"from": "a program"}}))
"""


def test_a_program_changes_nothing_but_its_environment(echo):
    base = f"http://{echo.host}:{echo.port}/v2"
    done = subprocess.run([sys.executable, "-c", PROGRAM], env={**os.environ, "RUNPOD_ENDPOINT_BASE_URL": base},
                          capture_output=True, text=True, timeout=SLOW)
    assert done.stdout == "{'from': 'a program'}\n", done.stderr


def test_many_clients_at_once(echo):
    user = client(echo)
    results = {}
    threads = [threading.Thread(target=lambda n=n: results.update({n: user.run_sync({"n": n}, timeout=SLOW)}))
               for n in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {n: {"n": n} for n in range(40)}


def test_a_supervisor_that_is_killed_and_started_again_is_noticed_by_nobody(tmp_path):
    with Endpoint([example("tokens")], state=tmp_path / "state") as endpoint:
        user = client(endpoint)
        job = user.run({"text": TEXT})
        wait_for(job, "COMPLETED")
        endpoint.stop(signal.SIGKILL)
    with Endpoint([example("tokens")], state=tmp_path / "state") as endpoint:
        again = runpod.endpoint.Job("my-endpoint", job.job_id, client(endpoint).rp_client)
        assert list(again.stream()) == TEXT.split()
        assert again.status() == "COMPLETED" and again.output() == TEXT.split()


def test_run_sync_polls_on_when_the_server_has_waited_long_enough(long_run):
    assert long_run() == [{"slept_ms": 92_000}]
