"""/bulkhead/snapshot and /bulkhead/history: everything of a supervisor that is known, in the shape that is described."""

import pytest
from described import DESCRIBED, check
from endpoint import Endpoint, UnixConnection, example, until

ZOO = [example("crash_zoo")]
QUICK = ("--cancel-grace", "200ms", "--term-grace", "200ms")


def snapshot(endpoint):
    answer = endpoint.get("/bulkhead/snapshot")
    assert answer.status == 200 and answer.headers["Content-Type"] == "application/json"
    check(answer.json, DESCRIBED["Snapshot"], "snapshot")
    return answer.json


def test_a_snapshot_shows_children_and_what_they_do(tmp_path):
    with Endpoint(ZOO, *QUICK, "--workers", "2", "--spares", "1", state=tmp_path / "state") as endpoint:
        seen = until(lambda: (found := snapshot(endpoint)) and found["ready"]["ready"] and
                     sorted(child["state"] for child in found["children"]) == ["ready", "ready", "spare"] and found, 60,
                     "three processes")
        assert seen["phase"] == "serving" and seen["accepts"] and seen["ready"]["reason"] == ""
        assert seen["workers"] == {"wanted": 2, "spares": 1, "backing_off": 0}
        assert all(child["memory_bytes"] > 0 and child["cpu_seconds"] >= 0 for child in seen["children"])
        running = endpoint.run({"do": "sleep_ms", "ms": 60_000})
        endpoint.until_entered(running)
        seen = snapshot(endpoint)
        [child] = [child for child in seen["children"] if child["jobs"]]
        assert [(job["id"], job["attempt"], job["entered"]) for job in child["jobs"]] == [(running, 1, True)]
        assert child["pid"] in endpoint.children()
        assert seen["queue"]["running"] == 1 and seen["queue"]["jobs"] == 0
        endpoint.post(f"/cancel/{running}")


def test_a_crash_is_a_restart_with_its_cause(tmp_path):
    with Endpoint(ZOO, *QUICK, state=tmp_path / "state") as endpoint:
        endpoint.runsync({"do": "ok"})
        endpoint.runsync({"do": "segfault"})
        seen = until(lambda: (found := snapshot(endpoint))["restarts"] and found, 60, "a restart")
        [restart] = seen["restarts"]
        assert restart["child"] == "w0.1" and restart["slot"] == 0 and restart["cause"] == "signal"
        assert "SIGSEGV" in restart["how"] and abs(restart["at"] - seen["at"]) < 600_000
        assert seen["restarts_by_cause"]["signal"] == 1 and sum(seen["restarts_by_cause"].values()) == 1
        assert "shutdown" not in seen["restarts_by_cause"]
        assert seen["totals"] == {"accepted": 2, "retried": 0, "refused": 0,
                                  "ended": {"COMPLETED": 1, "FAILED": 1, "CANCELLED": 0, "TIMED_OUT": 0}}


def test_the_last_hour(tmp_path):
    with Endpoint(ZOO, *QUICK, state=tmp_path / "state") as endpoint:
        for _ in range(3):
            endpoint.runsync({"do": "sleep_ms", "ms": 50})
        endpoint.runsync({"do": "error"})
        seen = endpoint.get("/bulkhead/history").json
        check(seen, DESCRIBED["History"], "history")
        assert seen["interval_ms"] == 20_000
        assert seen["hour"]["completed"] == 3 and seen["hour"]["failed"] == 1 and seen["hour"]["run_p95_ms"] >= 40
        assert all(interval["at"] % 20_000 == 0 for interval in seen["intervals"])
        assert sum(interval["completed"] for interval in seen["intervals"]) == 3


def test_paths_that_are_none_and_methods_that_do_not_fit(tmp_path):
    with Endpoint(ZOO, state=tmp_path / "state", ready=False) as endpoint:
        for path in ("/bulkhead", "/bulkhead/", "/bulkhead/other", "/bulkhead/snapshot/more", "/bulkhead/dead/a/b/c"):
            answer = endpoint.get(path)
            assert answer.status == 404 and answer.json["error"]["code"] == "unknown_path", path
        refused = endpoint.post("/bulkhead/snapshot")
        assert refused.status == 405 and refused.headers["Allow"] == "GET, HEAD, OPTIONS"
        assert refused.json["error"]["message"] == "/bulkhead/snapshot takes GET, HEAD, OPTIONS"
        assert endpoint.get("/bulkhead/dead/some-id/retry").headers["Allow"] == "POST, OPTIONS"
        assert endpoint.get("/v2/any//bulkhead/snapshot").status == 200
        assert endpoint.request("HEAD", "/bulkhead/snapshot").status == 200


@pytest.mark.parametrize("path", ["/bulkhead/snapshot", "/bulkhead/history"])
def test_keys_and_the_address_for_metrics(tmp_path, path):
    env = {"BULKHEAD_API_KEYS": "ops=s3cret-s3cret-s3cret"}
    with Endpoint(ZOO, "--metrics-listen", f"unix:{tmp_path}/metrics", state=tmp_path / "state", env=env,
                  ready=False) as endpoint:
        key = {"Authorization": "Bearer s3cret-s3cret-s3cret"}
        assert endpoint.get(path).status == 401 and endpoint.get(path, headers=key).status == 200

        def ask(path, **headers):
            connection = UnixConnection(f"{tmp_path}/metrics", 80, 30)
            connection.request("GET", path, headers=headers)
            return connection.getresponse().status
        assert ask(path) == 401 and ask(path, **key) == 200
        assert ask("/bulkhead/dead", **key) == 404
