"""refresh_worker: the next job meets a child that knows nothing of the last one."""

import json
import os

from endpoint import Endpoint, example, until

ZOO = [example("crash_zoo")]


def test_the_next_job_sees_a_clean_child(tmp_path):
    with Endpoint(ZOO, state=tmp_path / "state") as endpoint:
        first = endpoint.runsync({"do": "pid"})["output"]
        endpoint.runsync({"do": "scratch", "name": "secret"})
        endpoint.runsync({"do": "leak", "mb": 16})
        strays = endpoint.runsync({"do": "strays", "count": 2})["output"]["strays"]
        used = endpoint.runsync({"do": "pid"})["output"]
        assert used["pid"] == first["pid"] and used["files"] == ["secret"] and used["leaked"] == 1

        done = endpoint.runsync({"do": "refresh"})
        assert done["status"] == "COMPLETED" and done["output"] == {"pid": first["pid"]}
        fresh = endpoint.runsync({"do": "pid"})["output"]
        assert fresh["pid"] != first["pid"] and fresh["files"] == [] and fresh["jobs"] == 1 and fresh["leaked"] == 0
        assert fresh["scratch"] != first["scratch"]
        until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in [first["pid"], *strays]), what="the old ones' end")
        until(lambda: not os.path.exists(first["scratch"]), what="the old scratch directory's end")


def test_beside_an_error_too(tmp_path):
    with Endpoint(ZOO, state=tmp_path / "state") as endpoint:
        pid = endpoint.runsync({"do": "pid"})["output"]["pid"]
        state = endpoint.runsync({"do": "error", "refresh": 1})
        assert state["status"] == "FAILED" and state["error"] == "failed on request"
        assert endpoint.runsync({"do": "pid"})["output"]["pid"] != pid


def test_for_every_job_when_configured(tmp_path):
    with Endpoint([*ZOO, "--refresh"], "--spares", "1", state=tmp_path / "state") as endpoint:
        pids = [endpoint.runsync({"do": "pid"})["output"]["pid"] for _ in range(10)]
        assert len(set(pids)) == 10


def test_neighbours_in_the_same_child_finish_first(tmp_path):
    with Endpoint([*ZOO, "--concurrency", "2"], state=tmp_path / "state") as endpoint:
        slow = endpoint.run({"do": "sleep_ms", "ms": 1000})
        assert endpoint.runsync({"do": "refresh"})["status"] == "COMPLETED"
        queued = endpoint.run({"do": "pid"})
        assert endpoint.wait(slow)["output"] == {"slept_ms": 1000}
        assert endpoint.wait(queued)["output"]["jobs"] == 1


def test_a_crash_next_to_a_running_job_takes_both_and_says_so(tmp_path):
    with Endpoint([*ZOO, "--concurrency", "2"], state=tmp_path / "state") as endpoint:
        slow = endpoint.run({"do": "sleep_ms", "ms": 20000})
        until(lambda: endpoint.get(f"/status/{slow}").json["status"] == "IN_PROGRESS", what="its start")
        assert json.loads(endpoint.runsync({"do": "segfault"})["error"])["signal"] == "SIGSEGV"
        assert json.loads(endpoint.wait(slow)["error"])["signal"] == "SIGSEGV"
