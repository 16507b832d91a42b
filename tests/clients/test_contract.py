"""RunPod's endpoint contract over plain HTTP, operation by operation, as its Python, JavaScript and Go clients call them.

docs/COMPATIBILITY.md lists every row of the contract with its test. Rows that need no handler are tested in tests/http.
"""

import re
import time

import pytest

from endpoint import Endpoint, example, until

ZOO = [example("crash_zoo")]
UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def running(endpoint, job_input=None):
    """A job that runs until it is stopped."""
    job = endpoint.run(job_input or {"do": "sleep_ms", "ms": 600_000})
    until(lambda: endpoint.get(f"/status/{job}").json["status"] == "IN_PROGRESS", 60, "its start")
    return job


def ask(endpoint, method, path, body=None):
    answer = endpoint.request(method, path, body)
    assert answer.status == 200, (method, path, answer.status, answer.body)
    assert answer.headers["Content-Type"] == "application/json"
    return answer.json


# ---- /run, /runsync --------------------------------------------------------------------------------------------------


def test_run_answers_id_and_state_only(echo):
    answer = ask(echo, "POST", "/v2/ep/run", {"input": {}})
    assert answer.keys() == {"id", "status"} and answer["status"] == "IN_QUEUE"
    assert re.fullmatch(UUID + "-u1", answer["id"])


def test_runsync_answers_the_finished_job(echo):
    job = ask(echo, "POST", "/v2/ep/runsync", {"input": {"a": 1}})
    assert job.keys() == {"delayTime", "executionTime", "id", "output", "status", "workerId"}
    assert re.fullmatch("sync-" + UUID + "-u1", job["id"])
    assert job["status"] == "COMPLETED" and job["output"] == {"a": 1}


def test_runsync_answers_200_with_the_state_when_the_wait_is_over(zoo):
    first = ask(zoo, "POST", "/runsync?wait=1000", {"input": {"do": "sleep_ms", "ms": 600_000}})
    second = ask(zoo, "POST", "/runsync?wait=1000", {"input": {"do": "ok", "value": 2}})
    assert first["status"] in ("IN_PROGRESS", "IN_QUEUE") and second["status"] == "IN_QUEUE"
    ask(zoo, "POST", f"/cancel/{first['id']}")
    assert ask(zoo, "GET", f"/status-sync/{second['id']}")["output"] == 2


def test_runsync_wait_has_bounds(zoo):
    job = running(zoo)
    begun = time.monotonic()
    assert ask(zoo, "POST", "/runsync?wait=1", {"input": {"do": "ok"}})["status"] == "IN_QUEUE"
    assert time.monotonic() - begun >= 0.9  # less than the 1,000 ms that are the least
    assert zoo.post("/runsync?wait=soon", {"input": 1}).status == 400
    ask(zoo, "POST", f"/cancel/{job}")


@pytest.mark.parametrize("value", [{}, None, False, 0, "", [], [1], "text", 1e300, {"input": {}}])
def test_input_may_be_any_value(echo, value):
    job = ask(echo, "POST", "/runsync", {"input": value})
    assert job["status"] == "COMPLETED" and job["output"] == value


def test_unknown_keys_of_a_request_are_discarded(echo):
    job = ask(echo, "POST", "/runsync", {"input": 1, "webhookV2": "http://x", "more": {"a": [1]}})
    assert job["output"] == 1 and "more" not in job and "webhookV2" not in job


def test_storage_keys_are_never_echoed(echo):
    body = {"input": 1, "s3Config": {"accessId": "sesame", "accessSecret": "pumpkin", "bucketName": "b", "endpointUrl": "u"}}
    job = ask(echo, "POST", "/run", body)["id"]
    echo.wait(job)
    for path in (f"/status/{job}", f"/stream/{job}", "/requests", "/health"):
        assert b"sesame" not in echo.get(path).body and b"pumpkin" not in echo.get(path).body
    assert not [line for line in echo.lines if "sesame" in line or "pumpkin" in line]


# ---- /status, /status-sync -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method, body", [("GET", None), ("POST", None), ("POST", {})])
def test_status_by_get_and_by_post(echo, method, body):
    job = echo.run({"a": 1})
    echo.wait(job)
    state = ask(echo, method, f"/v2/ep/status/{job}", body)
    assert state["status"] == "COMPLETED" and state["output"] == {"a": 1}


def test_status_ttl_shortens_retention(echo):
    job = echo.run({"a": 1})
    echo.wait(job)
    assert ask(echo, "GET", f"/status/{job}?ttl=1000")["status"] == "COMPLETED"
    until(lambda: echo.get(f"/status/{job}").status == 404, 60, "its being forgotten")


@pytest.mark.parametrize("method, body", [("GET", None), ("POST", None), ("POST", {})])
def test_status_sync_waits_for_the_end(zoo, method, body):
    job = zoo.run({"do": "sleep_ms", "ms": 300})
    assert ask(zoo, method, f"/status-sync/{job}?wait=90000", body)["output"] == {"slept_ms": 300}


def test_status_sync_answers_200_with_the_state_when_the_wait_is_over(zoo):
    job = running(zoo)
    assert ask(zoo, "GET", f"/status-sync/{job}?wait=1000")["status"] == "IN_PROGRESS"
    ask(zoo, "POST", f"/cancel/{job}")


# ---- /stream ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_stream_gives_each_chunk_once_and_the_rest_with_the_end(tokens, method):
    words = "one two three four five six".split()
    job = ask(tokens, "POST", "/run", {"input": {"text": " ".join(words), "delay_ms": 100}})["id"]
    seen = []

    def ended():  # what the JavaScript client does: it stops at the first final answer
        answer = ask(tokens, method, f"/v2/ep/stream/{job}")
        assert isinstance(answer["stream"], list) and {"id", "delayTime", "status"} <= answer.keys()
        seen.extend(chunk["output"] for chunk in answer["stream"])
        return answer["status"] in ("COMPLETED", "FAILED")
    until(ended, 60, "the end of the stream")
    assert seen == words
    assert ask(tokens, method, f"/stream/{job}")["stream"] == []
    assert ask(tokens, "GET", f"/status/{job}")["output"] == words


def test_stream_is_an_array_whatever_the_state(zoo):
    job = running(zoo)
    queued = zoo.run({"do": "ok"})
    for name in (queued, job):
        assert ask(zoo, "GET", f"/stream/{name}")["stream"] == []
        ask(zoo, "POST", f"/cancel/{name}")
        answer = ask(zoo, "GET", f"/stream/{name}")
        assert answer["stream"] == [] and answer["status"] == "CANCELLED"


def test_stream_wait_answers_with_the_next_chunk(tokens):
    job = ask(tokens, "POST", "/run", {"input": {"text": "one two three", "delay_ms": 500}})["id"]
    answers = []
    while not answers or answers[-1]["status"] != "COMPLETED":
        answers.append(ask(tokens, "POST", f"/stream/{job}?wait=60000"))
        assert answers[-1]["status"] in ("IN_QUEUE", "IN_PROGRESS", "COMPLETED"), answers[-1]
    assert [chunk["output"] for answer in answers for chunk in answer["stream"]] == ["one", "two", "three"]
    assert len(answers) <= 4  # one for each chunk, one for the end: never one for nothing
    assert all(answer["stream"] for answer in answers[:-1])


def test_stream_wait_ends_in_time(tokens):
    job = ask(tokens, "POST", "/run", {"input": {"text": "late", "delay_ms": 600_000}})["id"]
    until(lambda: tokens.get(f"/status/{job}").json["status"] == "IN_PROGRESS", 60, "its start")
    answer = ask(tokens, "GET", f"/stream/{job}?wait=1000")
    assert answer["stream"] == [] and answer["status"] == "IN_PROGRESS"
    assert tokens.get(f"/stream/{job}?wait=soon").status == 400
    ask(tokens, "POST", f"/cancel/{job}")


# ---- /cancel, /retry, /purge-queue, /requests, /health ---------------------------------------------------------------


@pytest.mark.parametrize("body", [None, {}])
def test_cancel_with_and_without_a_body(zoo, body):
    job = running(zoo)
    queued = zoo.run({"do": "ok"})
    for name in (queued, job):
        assert ask(zoo, "POST", f"/v2/ep/cancel/{name}", body) == {"id": name, "status": "CANCELLED"}
    assert zoo.get(f"/cancel/{job}").status == 405


def test_cancel_of_what_has_ended_says_how_it_ended(zoo, tmp_path):
    job = zoo.run({"do": "ok"})
    zoo.wait(job)
    assert ask(zoo, "POST", f"/cancel/{job}") == {"id": job, "status": "COMPLETED"}
    with Endpoint(ZOO, state=tmp_path / "state") as first:
        job = first.run({"do": "ok"})
        first.wait(job)
    with Endpoint(ZOO, state=tmp_path / "state") as second:
        assert ask(second, "POST", f"/cancel/{job}") == {"id": job, "status": "COMPLETED"}
        assert second.post("/cancel/nobody-u1").status == 404


def test_retry_runs_a_failed_job_again_under_its_id_with_its_input(zoo, tmp_path):
    state = tmp_path / "state"
    with Endpoint(ZOO, state=state) as endpoint:
        job = endpoint.run({"do": "the impossible"})
        assert endpoint.wait(job)["status"] == "FAILED"
    with Endpoint([example("echo")], state=state) as endpoint:  # its handler was mended
        assert ask(endpoint, "POST", f"/v2/ep/retry/{job}") == {"id": job, "status": "IN_QUEUE"}
        again = endpoint.wait(job)
        assert again["status"] == "COMPLETED" and again["output"] == {"do": "the impossible"} and "error" not in again
    job = zoo.run({"do": "ok"})
    zoo.wait(job)
    refused = zoo.post(f"/retry/{job}")
    assert refused.status == 409 and refused.json["error"]["code"] == "not_failed"
    assert zoo.post("/retry/nobody-u1").status == 404


def test_retry_of_a_timed_out_job_after_a_restart(tmp_path):
    state = tmp_path / "state"
    with Endpoint(ZOO, "--ttl", "1s", "--grace", "100ms", state=state) as endpoint:
        blocker = ask(endpoint, "POST", "/run", {"input": {"do": "sleep_ms", "ms": 600_000}, "policy": {"ttl": 600_000}})
        job = endpoint.run({"do": "ok", "value": "late"})
        assert endpoint.wait(job)["status"] == "TIMED_OUT"
        ask(endpoint, "POST", f"/cancel/{blocker['id']}")
    with Endpoint(ZOO, state=state) as endpoint:
        assert ask(endpoint, "POST", f"/retry/{job}") == {"id": job, "status": "IN_QUEUE"}
        assert endpoint.wait(job)["status"] in ("COMPLETED", "TIMED_OUT")  # its ttl of 1 s begins anew


def test_purge_queue_takes_what_waits_only(zoo):
    job = running(zoo)
    waiting = [zoo.run({"do": "ok"}) for _ in range(3)]
    assert ask(zoo, "POST", "/v2/ep/purge-queue") == {"removed": 3, "status": "completed"}
    assert {zoo.get(f"/status/{name}").json["status"] for name in waiting} == {"CANCELLED"}
    assert zoo.get(f"/status/{job}").json["status"] == "IN_PROGRESS"
    assert ask(zoo, "POST", "/purge-queue", {}) == {"removed": 0, "status": "completed"}
    ask(zoo, "POST", f"/cancel/{job}")


def test_requests_lists_what_waits_and_runs(zoo):
    job = running(zoo)
    queued = zoo.run({"do": "ok"})
    listed = ask(zoo, "GET", "/v2/ep/requests")["requests"]
    assert [(one["id"], one["status"]) for one in listed] == [(job, "IN_PROGRESS"), (queued, "IN_QUEUE")]
    for name in (queued, job):
        ask(zoo, "POST", f"/cancel/{name}")


def test_health_counts(tmp_path):
    with Endpoint(ZOO, "--workers", "2", "--retries", "1", "--grace", "100ms", state=tmp_path / "state") as endpoint:
        until(lambda: endpoint.get("/health").json["workers"]["ready"] == 2, 60, "both workers")
        jobs = [running(endpoint), running(endpoint)]
        waiting = endpoint.run({"do": "ok"})
        health = ask(endpoint, "GET", "/v2/ep/health")
        assert health["jobs"] == {"completed": 0, "failed": 0, "inProgress": 2, "inQueue": 1, "retried": 0}
        assert health["workers"] == {"idle": 0, "initializing": 0, "ready": 2, "running": 2, "throttled": 0, "unhealthy": 0}
        for job in jobs:
            ask(endpoint, "POST", f"/cancel/{job}")
        endpoint.wait(waiting)
        endpoint.runsync({"do": "error"})
        endpoint.runsync({"do": "segfault"})
        health = ask(endpoint, "GET", "/health")
        assert health["jobs"] == {"completed": 1, "failed": 2, "inProgress": 0, "inQueue": 0, "retried": 1}


def test_batch_is_not_offered_and_says_so(echo):
    for method, path in [("POST", "/v2/ep/batch"), ("GET", "/v2/ep/batch/x/requests"), ("POST", "/batch/x/finalize")]:
        answer = echo.request(method, path, [] if method == "POST" else None)
        assert answer.status == 404 and "/batch" in answer.json["error"]["message"]


# ---- /openai/v1 ------------------------------------------------------------------------------------------------------


def test_openai_calls_become_jobs(echo):
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    assert ask(echo, "POST", "/v2/ep/openai/v1/chat/completions", body) == \
        {"openai_route": "/v1/chat/completions", "openai_input": body}
    assert ask(echo, "GET", "/v2/ep/openai/v1/models") == {"openai_route": "/v1/models"}


def test_openai_streams_pass_as_they_come(tokens):
    answer = tokens.post("/openai/v1/completions", {"model": "m", "stream": True})
    assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.body.startswith(b"Theship") and answer.body.endswith(b"data: [DONE]\n\n")


# ---- keys, methods, errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("authorization", ["Bearer sesame", "bearer sesame", "sesame"])
def test_keys_are_taken_with_and_without_bearer(tmp_path, authorization):
    with Endpoint([example("echo")], env={"BULKHEAD_API_KEYS": "me=sesame"}, ready=False, state=tmp_path / "state") as endpoint:
        assert endpoint.get("/v2/ep/health").status == 401
        assert endpoint.get("/v2/ep/health", headers={"Authorization": "Bearer no"}).status == 401
        answer = endpoint.post("/runsync", {"input": 1}, headers={"Authorization": authorization})
        assert answer.status == 200 and answer.json["output"] == 1


@pytest.mark.parametrize("method, path, status, code", [
    ("POST", "/v2/ep/run", 400, "invalid_request"), ("GET", "/v2/ep/run", 405, "method_not_allowed"),
    ("GET", "/v2/ep/status/nobody", 404, "unknown_job"), ("POST", "/v2/ep/status-sync/nobody", 404, "unknown_job"),
    ("POST", "/v2/ep/stream/nobody", 404, "unknown_job"), ("POST", "/v2/ep/cancel/nobody", 404, "unknown_job"),
    ("GET", "/v2/ep/nothing", 404, "unknown_path")])
def test_errors_have_one_shape(echo, method, path, status, code):
    answer = echo.request(method, path, {} if method == "POST" else None)
    assert answer.status == status
    assert answer.json["error"]["code"] == code and answer.json["error"]["message"]


def test_the_request_id_of_the_asyncio_client_changes_nothing(echo):
    job = echo.run({"a": 1})
    echo.wait(job)
    for header in (job, "another", ""):
        answer = echo.get(f"/status/{job}", headers={"X-Request-ID": header})
        assert answer.status == 200 and answer.json["id"] == job
