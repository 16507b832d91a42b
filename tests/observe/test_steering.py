"""POST /bulkhead/drain and /bulkhead/scale: as SIGTERM, and as SIGHUP with another number of workers."""

import signal

import pytest
from endpoint import Endpoint, UnixConnection, example, until

ZOO = [example("crash_zoo")]
QUICK = ("--cancel-grace", "200ms", "--term-grace", "200ms")


def snapshot(endpoint):
    return endpoint.get("/bulkhead/snapshot").json


def until_ready(endpoint, count):
    """As many that are ready as there shall be, and no others."""
    return until(lambda: (seen := snapshot(endpoint)) and [child["state"] for child in seen["children"]] == ["ready"] * count
                 and seen, 60, f"{count} processes")


def scale(endpoint, workers):
    answer = endpoint.post("/bulkhead/scale", {"workers": workers})
    assert answer.status == 200, answer.body
    return answer.json


def test_more_and_fewer_workers_with_jobs_that_run(tmp_path):
    with Endpoint(ZOO, *QUICK, "--workers", "2", state=tmp_path / "state") as endpoint:
        until_ready(endpoint, 2)
        running = [endpoint.run({"do": "sleep_ms", "ms": 15_000}) for _ in range(4)]
        endpoint.until_entered(*running[:2])
        assert scale(endpoint, 4) == {"workers": 4, "before": 2}
        endpoint.until_entered(*running)
        assert snapshot(endpoint)["workers"]["wanted"] == 4
        assert scale(endpoint, 1) == {"workers": 1, "before": 4}
        ended = [endpoint.wait(job) for job in running]
        assert [job["status"] for job in ended] == ["COMPLETED"] * 4 and not any("retries" in job for job in ended)
        until_ready(endpoint, 1)
        assert endpoint.runsync({"do": "ok"})["status"] == "COMPLETED"
        assert snapshot(endpoint)["restarts"] == [], "fewer is no restart"


def test_no_worker_at_all_and_back(tmp_path):
    with Endpoint(ZOO, *QUICK, "--workers", "2", state=tmp_path / "state") as endpoint:
        until_ready(endpoint, 2)
        assert scale(endpoint, 0) == {"workers": 0, "before": 2}
        until_ready(endpoint, 0)
        assert endpoint.get("/healthz/ready").status == 503
        waiting = endpoint.run({"do": "ok"})
        assert scale(endpoint, 1) == {"workers": 1, "before": 0}
        assert endpoint.wait(waiting)["status"] == "COMPLETED"


def test_it_holds_until_the_configuration_is_read_again(tmp_path):
    with Endpoint(ZOO, *QUICK, "--workers", "1", state=tmp_path / "state") as endpoint:
        scale(endpoint, 3)
        until_ready(endpoint, 3)
        endpoint.process.send_signal(signal.SIGHUP)
        endpoint.wait_line("the configuration was read again; changed: workers")
        until_ready(endpoint, 1)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"workers":-1}', b'{"workers":1025}', b'{"workers":1.5}',
                                  b'{"workers":"2"}', b'{"workers":null}', b'{"wokers":2}', b'{"workers":2', b"\xff"])
def test_what_is_no_number_of_workers_is_told_so(tmp_path, body):
    with Endpoint(ZOO, state=tmp_path / "state", ready=False) as endpoint:
        answer = endpoint.post("/bulkhead/scale", body)
        assert answer.status == 400 and answer.json["error"]["code"] == "invalid_request"
        assert "workers" in answer.json["error"]["message"] and "0 to 1024" in answer.json["error"]["message"]
        assert snapshot(endpoint)["workers"]["wanted"] == 1


def test_drain_ends_with_what_runs_and_leaves_what_waits(tmp_path):
    with Endpoint(ZOO, *QUICK, "--grace", "60s", state=tmp_path / "state") as endpoint:
        running = endpoint.run({"do": "sleep_ms", "ms": 10_000})
        endpoint.until_entered(running)
        waiting = endpoint.run({"do": "ok"})
        assert endpoint.post("/bulkhead/drain").json == {"status": "draining"}
        assert snapshot(endpoint)["phase"] == "draining"
        assert endpoint.post("/bulkhead/drain").json == {"status": "draining"}, "again: it is no second signal"
        assert endpoint.post("/run", {"input": {"do": "ok"}}).status == 503
        refused = endpoint.post("/bulkhead/scale", {"workers": 2})
        assert refused.status == 409 and refused.json["error"]["code"] == "draining"
        assert endpoint.process.wait(60) == 0
    with Endpoint(ZOO, *QUICK, state=tmp_path / "state") as endpoint:
        ended = endpoint.wait(running)
        assert ended["status"] == "COMPLETED" and "retries" not in ended
        assert endpoint.wait(waiting)["status"] == "COMPLETED"


def test_below_an_init_a_drained_supervisor_is_not_started_again(tmp_path):
    with Endpoint(ZOO, *QUICK, state=tmp_path / "state", env={"BULKHEAD_INIT": "always"}) as endpoint:
        assert endpoint.post("/bulkhead/drain").json == {"status": "draining"}
        assert endpoint.process.wait(60) == 0


def test_steering_needs_a_key_and_is_not_where_metrics_are(tmp_path):
    env = {"BULKHEAD_API_KEYS": "ops=s3cret-s3cret-s3cret"}
    with Endpoint(ZOO, "--metrics-listen", f"unix:{tmp_path}/metrics", state=tmp_path / "state", env=env,
                  ready=False) as endpoint:
        key = {"Authorization": "Bearer s3cret-s3cret-s3cret"}
        for path, body in (("/bulkhead/drain", b""), ("/bulkhead/scale", b'{"workers":2}')):
            assert endpoint.post(path, body).status == 401
            assert endpoint.get(path, headers=key).status == 405
            connection = UnixConnection(f"{tmp_path}/metrics", 80, 30)
            connection.request("POST", path, body, key)
            assert connection.getresponse().status == 404
        assert endpoint.get("/bulkhead/snapshot", headers=key).json["phase"] == "serving"
        assert endpoint.post("/bulkhead/scale", b'{"workers":2}', headers=key).json == {"workers": 2, "before": 1}
