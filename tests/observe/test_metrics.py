"""/metrics and /healthz: what is counted after jobs whose ends are known, and who may look."""

import signal

import pytest
from capture_platform import Platform
from endpoint import Endpoint, UnixConnection, example, until
from exposition import ONLY_ON_PLATFORM, ONLY_WITH_GPU, Metrics, documented, metrics_of
from platform_worker import Worker

ZOO = [example("crash_zoo")]
QUICK = ("--cancel-grace", "200ms", "--term-grace", "200ms")


def test_every_documented_metric_is_there_and_no_other(tmp_path):
    with Endpoint(ZOO, "--spares", "1", state=tmp_path / "state") as endpoint:
        endpoint.runsync({"do": "ok"})
        seen = metrics_of(endpoint)
        wanted = {name: of for name, of in documented().items() if name not in ONLY_ON_PLATFORM}
        if not any("_gpu_" in name for name in seen.families):
            wanted = {name: of for name, of in wanted.items() if name not in ONLY_WITH_GPU}
        assert {name: (kind, seen.labels(name)) for name, kind in seen.families.items()} == wanted
        assert seen.helped == set(seen.families)


def ended(seen, outcome, error_type):
    return seen("bulkhead_jobs_total", outcome=outcome, error_type=error_type)


def restarts(seen):
    return {dict(labels)["cause"]: value for (name, labels), value in seen.samples.items()
            if name == "bulkhead_child_restarts_total" and value}


def test_jobs_are_counted_by_how_they_ended(tmp_path):
    with Endpoint(ZOO, *QUICK, "--workers", "2", state=tmp_path / "state") as endpoint:
        for _ in range(3):
            endpoint.runsync({"do": "ok"})
        endpoint.runsync({"do": "error"})
        endpoint.runsync({"do": "segfault"})
        endpoint.runsync({"do": "exit3"})
        endpoint.runsync({"do": "ignore_term"}, policy={"executionTimeout": 5000})
        running = endpoint.run({"do": "sleep_ms", "ms": 60_000})
        endpoint.until_entered(running)
        endpoint.post(f"/cancel/{running}")
        endpoint.wait(running)
        # A client is told of its cancel at once; the job has ended when its handler has.
        seen = until(lambda: (found := metrics_of(endpoint)) and sum(restarts(found).values()) >= 3 and
                     found.sum("bulkhead_jobs_total") == 8 and found, 60, "three restarts, and the end of all jobs")
        assert ended(seen, "completed", "none") == 3
        assert ended(seen, "failed", "HandlerError") == 1
        assert ended(seen, "failed", "WorkerCrash") == 2
        assert ended(seen, "failed", "ExecutionTimeout") == 1
        assert ended(seen, "cancelled", "Cancelled") == 1
        assert seen.sum("bulkhead_jobs_total") == seen("bulkhead_jobs_accepted_total") == 8
        assert restarts(seen) == {"signal": 1, "exit": 1, "timeout": 1}
        assert seen("bulkhead_job_run_seconds_count") == seen("bulkhead_job_wait_seconds_count") == 8
        assert seen("bulkhead_job_run_seconds_sum") >= 5
        assert seen("bulkhead_job_run_seconds_bucket", le="5") == 7
        assert seen("bulkhead_job_run_seconds_bucket", le="+Inf") == 8
        assert seen("bulkhead_queue_jobs") == seen("bulkhead_jobs_running") == 0
        assert seen("bulkhead_journal_commit_seconds_count") > 8 and seen("bulkhead_journal_size_bytes") > 4096


def test_replacements_that_are_no_fault_are_counted_apart(tmp_path):
    with Endpoint(ZOO, *QUICK, "--max-jobs-per-worker", "3", state=tmp_path / "state") as endpoint:
        endpoint.runsync({"do": "refresh"})
        until(lambda: restarts(metrics_of(endpoint)) == {"refresh": 1}, 60, "the refresh")
        for _ in range(3):
            endpoint.runsync({"do": "ok"})
        until(lambda: restarts(metrics_of(endpoint)) == {"refresh": 1, "recycle": 1}, 60, "the recycling")


def test_a_slot_goes_on_where_its_last_child_ended(tmp_path):
    with Endpoint(ZOO, state=tmp_path / "state") as endpoint:
        endpoint.runsync({"do": "leak", "mb": 64})
        before = metrics_of(endpoint)
        assert before("bulkhead_child_resident_memory_bytes", slot="0") > 1 << 20
        endpoint.runsync({"do": "segfault"})
        endpoint.runsync({"do": "ok"})
        after = metrics_of(endpoint)
        assert after("bulkhead_child_cpu_seconds_total", slot="0") >= before("bulkhead_child_cpu_seconds_total", slot="0")
        assert {dict(labels)["slot"] for name, labels in after.samples if name == "bulkhead_child_cpu_seconds_total"} == {"0"}


def test_a_queue_shows_its_length_and_its_age(tmp_path):
    with Endpoint(ZOO, "--queue-max", "3", "--retries", "1", state=tmp_path / "state") as endpoint:
        blocker = endpoint.run({"do": "sleep_ms", "ms": 60_000})
        endpoint.until_entered(blocker)
        for _ in range(3):
            endpoint.run({"do": "ok"})
        assert endpoint.post("/run", {"input": {"do": "ok"}}).status == 429
        seen = until(lambda: (found := metrics_of(endpoint))("bulkhead_queue_oldest_age_seconds") > 0 and found, 30, "an age")
        assert seen("bulkhead_queue_jobs") == 3 and seen("bulkhead_jobs_running") == 1
        assert seen("bulkhead_jobs_refused_total", reason="queue_full") == 1
        assert seen("bulkhead_ready") == 0
        ready = endpoint.get("/healthz/ready")
        assert ready.status == 503 and ready.json["error"]["message"] == "the queue is full"
        endpoint.post(f"/cancel/{blocker}")
        until(lambda: endpoint.get("/healthz/ready").status == 200, 60, "readiness")
        until(lambda: metrics_of(endpoint)("bulkhead_queue_oldest_age_seconds") == 0, 60, "an empty queue")


def test_lost_attempts_are_counted(tmp_path):
    with Endpoint(ZOO, "--retries", "2", state=tmp_path / "state") as endpoint:
        assert endpoint.runsync({"do": "segfault"})["status"] == "FAILED"
        seen = metrics_of(endpoint)
        assert seen("bulkhead_job_retries_total") == 2 and ended(seen, "failed", "WorkerCrash") == 1


def test_health_for_probes(tmp_path):
    with Endpoint([*ZOO, "--setup", "hang"], state=tmp_path / "state", ready=False) as endpoint:
        assert endpoint.get("/healthz/live").json == {"status": "live"}
        ready = endpoint.get("/healthz/ready")
        assert ready.status == 503 and ready.json["error"] == {"code": "not_ready", "message": "no handler process is ready"}
        assert endpoint.get("/v2/any/healthz/live").status == 200
        assert endpoint.get("/healthz/other").status == 404
        assert endpoint.request("HEAD", "/healthz/live").status == 200
        assert endpoint.post("/healthz/live").status == 405
    with Endpoint(ZOO, state=tmp_path / "other") as endpoint:
        assert endpoint.get("/healthz/ready").json == {"status": "ready"}


def test_a_supervisor_that_ends_is_not_ready(tmp_path):
    with Endpoint(ZOO, *QUICK, state=tmp_path / "state") as endpoint:
        running = endpoint.run({"do": "sleep_ms", "ms": 60_000})
        endpoint.until_entered(running)
        endpoint.process.send_signal(signal.SIGTERM)
        until(lambda: endpoint.get("/healthz/ready").status == 503, 30, "unreadiness")
        assert endpoint.get("/healthz/live").status == 200
        endpoint.process.send_signal(signal.SIGTERM)


def test_metrics_need_a_key_where_there_are_keys_and_probes_do_not(tmp_path):
    env = {"BULKHEAD_API_KEYS": "ops=s3cret-s3cret-s3cret"}
    with Endpoint(ZOO, "--max-connections", "1", "--metrics-listen", f"unix:{tmp_path}/metrics", state=tmp_path / "state",
                  env=env, ready=False) as endpoint:
        assert endpoint.get("/metrics").status == 401
        assert endpoint.get("/health").status == 401
        until(lambda: endpoint.get("/healthz/ready").status == 200, 60, "readiness")
        assert endpoint.get("/metrics", headers={"Authorization": "Bearer s3cret-s3cret-s3cret"}).status == 200
        # A probe is answered when there are too many clients, too: the one above stays connected.
        other = Endpoint.__new__(Endpoint)
        other.__dict__ = {**endpoint.__dict__, "_local": type("", (), {})()}
        assert other.get("/healthz/live").status == 200
        # The address for metrics asks for the same key, and has nothing else.
        def ask(path, **headers):
            connection = UnixConnection(f"{tmp_path}/metrics", 80, 30)
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        assert ask("/metrics")[0] == 401
        status, body = ask("/metrics", Authorization="Bearer s3cret-s3cret-s3cret")
        assert status == 200 and Metrics(body.decode())("bulkhead_ready") == 1
        assert ask("/healthz/ready")[0] == 200
        assert ask("/health", Authorization="Bearer s3cret-s3cret-s3cret")[0] == 404


def test_a_reload_changes_the_keys_of_both_addresses(tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("old=first-key-first-key\n")
    with Endpoint(ZOO, "--api-key-file", str(keys), "--metrics-listen", "127.0.0.1:0", state=tmp_path / "state", ready=False) as endpoint:
        port = int(endpoint.wait_line(r"metrics on http://127\.0\.0\.1:(\d+)")[1])
        metrics = Endpoint.__new__(Endpoint)
        metrics.__dict__ = {**endpoint.__dict__, "port": port, "_local": type("", (), {})()}
        first, second = ({"Authorization": f"Bearer {key}"} for key in ("first-key-first-key", "second-key-second-key"))
        for door in (endpoint, metrics):
            assert (door.get("/metrics", headers=first).status, door.get("/metrics", headers=second).status) == (200, 401)
        keys.write_text("new=second-key-second-key\n")
        endpoint.process.send_signal(signal.SIGHUP)
        endpoint.wait_line("the configuration was read again")
        for door in (endpoint, metrics):
            assert (door.get("/metrics", headers=first).status, door.get("/metrics", headers=second).status) == (401, 200)


def test_a_worker_of_a_platform_shows_its_calls(tmp_path):
    path = f"{tmp_path}/metrics"
    with Platform(hold=2) as platform, Worker(platform, ZOO, "--metrics-listen", f"unix:{path}", state=tmp_path / "state") as worker:
        worker.wait_line("metrics on unix:")
        platform.add({"id": "one", "input": {"do": "ok"}})
        platform.wait_done("one")

        def seen():
            connection = UnixConnection(path, 80, 30)
            connection.request("GET", "/metrics")
            return Metrics(connection.getresponse().read().decode())
        found = until(lambda: (now := seen())("bulkhead_platform_calls_total", call="result", result="ok") == 1 and now, 60,
                      "the result's call")
        assert found("bulkhead_platform_calls_total", call="take", result="ok") >= 1
        assert found("bulkhead_jobs_total", outcome="completed", error_type="none") == 1
        assert set(documented()) - set(found.families) <= ONLY_WITH_GPU


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:70000"])
def test_an_address_that_is_none_is_refused_by_name(tmp_path, address):
    import subprocess

    from endpoint import BULKHEAD
    done = subprocess.run([BULKHEAD, "run", "--metrics-listen", address, "--", *ZOO], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "--metrics-listen" in done.stderr
