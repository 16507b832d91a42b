"""/bulkhead/jobs and /bulkhead/jobs/{id}: filters, pages, a restart between, and one job's whole life."""

import json
import signal
import socket
import time
from urllib.parse import urlencode

import pytest
from capture_platform import Platform
from described import DESCRIBED, check
from endpoint import Endpoint, UnixConnection, example, until
from platform_worker import Worker

ZOO = [example("crash_zoo")]
QUICK = ("--cancel-grace", "200ms", "--term-grace", "200ms")
DURABLE = pytest.mark.parametrize("durability", ["full", "memory"])


def listed(endpoint, **wanted):
    """All pages of it."""
    jobs = []
    while True:
        answer = endpoint.get("/bulkhead/jobs?" + urlencode(wanted))
        assert answer.status == 200, answer.body
        check(answer.json, DESCRIBED["Jobs"], "jobs")
        jobs += answer.json["jobs"]
        wanted["before"] = answer.json["before"]
        if wanted["before"] is None:
            return jobs


def ids(jobs):
    return [job["id"] for job in jobs]


def shown(endpoint, job):
    answer = endpoint.get(f"/bulkhead/jobs/{job}")
    assert answer.status == 200, answer.body
    return answer.json


@DURABLE
def test_filters(tmp_path, durability):
    with Endpoint(ZOO, *QUICK, "--workers", "2", "--durability", durability, state=tmp_path / "state") as endpoint:
        good = endpoint.runsync({"do": "ok"})["id"]
        error = endpoint.runsync({"do": "error"})["id"]
        crash = endpoint.runsync({"do": "segfault"})["id"]
        running = [endpoint.run({"do": "sleep_ms", "ms": 120_000}) for _ in range(2)]
        endpoint.until_entered(*running)
        waiting = [endpoint.run({"do": "ok"}) for _ in range(2)]
        everything = [*reversed(waiting), *reversed(running), crash, error, good]
        assert ids(listed(endpoint)) == everything
        assert ids(listed(endpoint, limit=2)) == everything, "in pages"
        assert ids(listed(endpoint, state="IN_QUEUE")) == list(reversed(waiting))
        assert ids(listed(endpoint, state="IN_PROGRESS")) == list(reversed(running))
        assert ids(listed(endpoint, state="COMPLETED,FAILED")) == [crash, error, good]
        assert ids(listed(endpoint, error_type="WorkerCrash")) == [crash]
        assert ids(listed(endpoint, state="FAILED", error_type="HandlerError")) == [error]
        assert ids(listed(endpoint, id=good[:-3])) == [good]
        assert listed(endpoint, id="no-such") == [] and listed(endpoint, worker="w7") == []
        by_worker = {job: set(ids(listed(endpoint, state="IN_PROGRESS", worker=job))) for job in ("w0", "w1")}
        assert sorted(map(len, by_worker.values())) == [1, 1] and set.union(*by_worker.values()) == set(running)
        [seen] = [job for job in listed(endpoint) if job["id"] == crash]
        assert seen["status"] == "FAILED" and seen["error_type"] == "WorkerCrash" and seen["attempts"] == 1
        assert listed(endpoint, worker=seen["worker_id"], id=crash) == [seen]
        assert seen["submitted_at"] <= seen["started_at"] <= seen["ended_at"]
        [seen] = [job for job in listed(endpoint) if job["id"] == running[0]]
        assert seen["ended_at"] is None and seen["run_ms"] >= 0 and seen["error_type"] == ""
        totals = {state: endpoint.get(f"/bulkhead/jobs?state={state}&limit=1").json["total"]
                  for state in ("IN_QUEUE", "IN_PROGRESS")}
        assert totals == {"IN_QUEUE": 2, "IN_PROGRESS": 2}
        assert endpoint.get("/bulkhead/jobs").json["total"] == 7
        # A cancelled job is cancelled at once, whatever its handler does.
        endpoint.post(f"/cancel/{running[0]}")
        assert [job["status"] for job in listed(endpoint, id=running[0])] == ["CANCELLED"]
        endpoint.post("/purge-queue")
        endpoint.post(f"/cancel/{running[1]}")


def test_after_a_restart(tmp_path):
    with Endpoint(ZOO, *QUICK, state=tmp_path / "state") as endpoint:
        good = endpoint.runsync({"do": "ok"})["id"]
        crash = endpoint.wait(endpoint.run({"do": "segfault"}))["id"]
        running = endpoint.run({"do": "sleep_ms", "ms": 120_000})
        endpoint.until_entered(running)
        waiting = endpoint.run({"do": "ok"})
        before = listed(endpoint)
        assert ids(before) == [waiting, running, crash, good]
        endpoint.process.send_signal(signal.SIGKILL)
        endpoint.process.wait()
    with Endpoint(ZOO, *QUICK, state=tmp_path / "state") as endpoint:
        after = listed(endpoint)
        assert ids(after) == ids(before) and after[2:] == before[2:]
        assert ids(listed(endpoint, state="FAILED", error_type="WorkerCrash")) == [crash]
        assert shown(endpoint, crash)["crash"]["signal"] == "SIGSEGV"
        endpoint.post("/purge-queue")
        endpoint.post(f"/cancel/{running}")


@DURABLE
def test_one_job(tmp_path, durability):
    with Endpoint(ZOO, *QUICK, "--retries", "1", "--durability", durability, state=tmp_path / "state") as endpoint:
        crash = endpoint.wait(endpoint.run({"do": "segfault"}))
        seen = shown(endpoint, crash["id"])
        assert {name: seen[name] for name in crash} == crash, "what /status has"
        assert seen["input"] == {"do": "segfault"} and seen["error_type"] == "WorkerCrash" and seen["chunks"] == 0
        assert [attempt["reason"] for attempt in seen["attempts"]] == ["crash", "crash"]
        assert seen["crash"]["error_type"] == "WorkerCrash" and seen["crash"]["signal"] == "SIGSEGV"
        assert seen["submitted_at"] <= seen["started_at"] <= seen["ended_at"] and seen["progress"] is None
        large = endpoint.run({"do": "error", "more": "x" * 70_000})
        endpoint.wait(large)
        seen = shown(endpoint, large)
        assert "input" not in seen and seen["input_bytes"] > 70_000 and seen["crash"] is None
        missing = endpoint.get("/bulkhead/jobs/none-such")
        assert missing.status == 404 and missing.json["error"]["code"] == "unknown_job"


@DURABLE
def test_progress_and_chunks_of_one_that_runs(tmp_path, durability):
    handler = tmp_path / "handler.py"
    handler.write_text("""
import time
import runpod
def handler(job):
    runpod.serverless.progress_update(job, {"step": 1})
    yield {"n": 1}
    yield {"n": 2}
    time.sleep(job["input"]["for"])
runpod.serverless.start({"handler": handler})
""")
    with Endpoint(["/usr/bin/python3", str(handler)], *QUICK, "--durability", durability, state=tmp_path / "state") as endpoint:
        running = endpoint.run({"for": 120})
        seen = until(lambda: (found := shown(endpoint, running))["chunks"] == 2 and found, 60, "two chunks")
        assert seen["status"] == "IN_PROGRESS" and seen["input"] == {"for": 120} and seen["ended_at"] is None
        assert seen["progress"] == {"step": 1} and seen["workerId"]
        endpoint.post(f"/cancel/{running}")


def test_a_bad_question_is_told_so(tmp_path):
    with Endpoint(ZOO, state=tmp_path / "state", ready=False) as endpoint:
        for asked in ("state=RUNNING", "limit=0", "limit=1001", "limit=many", "before=-1", "before=x"):
            answer = endpoint.get(f"/bulkhead/jobs?{asked}")
            assert answer.status == 400 and answer.json["error"]["code"] == "invalid_request", asked
            assert asked.split("=")[0] in answer.json["error"]["message"]


@DURABLE
def test_many_jobs_hold_nobody_up(tmp_path, durability):
    """Tens of thousands wait, and a question that has to look at each leaves the loop to others."""
    with Endpoint(ZOO, *QUICK, "--durability", durability, state=tmp_path / "state") as endpoint:
        blocker = endpoint.run({"do": "sleep_ms", "ms": 600_000})
        endpoint.until_entered(blocker)
        count = 20_000
        body = json.dumps({"input": {"do": "ok"}}).encode()
        request = (b"POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)) + body
        with socket.create_connection((endpoint.host, endpoint.port)) as pipe:
            pipe.settimeout(300)
            got = b""
            for start in range(0, count, 200):
                pipe.sendall(request * 200)
                while got.count(b"IN_QUEUE") < start + 200:
                    got += pipe.recv(1 << 20)
        assert endpoint.get("/bulkhead/snapshot").json["queue"]["jobs"] == count
        started = time.monotonic()
        assert ids(listed(endpoint, state="IN_PROGRESS")) == [blocker]
        print(f"{count} jobs looked at in {time.monotonic() - started:.3f} s")
        assert len(listed(endpoint, limit=1000)) == count + 1
        lag = endpoint.get("/bulkhead/snapshot").json["loop_lag_ms"]
        print(f"the loop's longest lag: {lag} ms")
        endpoint.post("/purge-queue")
        endpoint.post(f"/cancel/{blocker}")


def test_an_address_without_keys_for_everybody_tells_nothing_of_jobs(tmp_path):
    with Endpoint(ZOO, "--metrics-listen", "0.0.0.0:0", "--metrics-listen", f"unix:{tmp_path}/metrics",
                  state=tmp_path / "state") as endpoint:
        def ask(path):
            connection = UnixConnection(f"{tmp_path}/metrics", 80, 30)
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        assert ask("/bulkhead/snapshot")[0] == 200
        status, body = ask("/bulkhead/jobs")
        assert status == 403 and body["error"]["code"] == "keys_needed"
    with Endpoint(ZOO, "--metrics-listen", f"unix:{tmp_path}/metrics", state=tmp_path / "other") as endpoint:
        assert ask("/bulkhead/jobs")[0] == 200


def test_jobs_of_a_platform(tmp_path):
    """There is no endpoint, and what the address for metrics shows is this machine's own."""
    path = f"{tmp_path}/metrics"
    with Platform(hold=2) as platform, Worker(platform, ZOO, *QUICK, "--metrics-listen", f"unix:{path}",
                                              state=tmp_path / "state") as worker:
        worker.wait_line("metrics on unix:")

        def ask(path_and_query):
            connection = UnixConnection(path, 80, 30)
            connection.request("GET", path_and_query)
            answer = connection.getresponse()
            assert answer.status == 200
            return answer.read()
        platform.add({"id": "one", "input": {"do": "sleep_ms", "ms": 5_000}})
        seen = until(lambda: (found := json.loads(ask("/bulkhead/jobs?state=IN_PROGRESS")))["jobs"] and found, 60, "the job")
        assert ids(seen["jobs"]) == ["one"] and seen["total"] == 1
        assert json.loads(ask("/bulkhead/jobs/one"))["input"] == {"do": "sleep_ms", "ms": 5_000}
        calls = {call["call"]: call for call in json.loads(ask("/bulkhead/snapshot"))["platform"]}
        assert calls["take"]["ok"] >= 1
        assert any(json.loads(line)["stream"] == "supervisor" for line in ask("/bulkhead/logs").splitlines())
        platform.wait_done("one")
