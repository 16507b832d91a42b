"""Many jobs through a platform that fails at random, while handlers crash and the supervisor is killed: every job that
was handed over is answered, and what counts is counted once."""

import json
import os
import random

from capture_platform import Platform
from endpoint import example, until
from platform_worker import Worker

JOBS = int(os.environ.get("BULKHEAD_STORM_JOBS", "1000"))
KILLS = int(os.environ.get("BULKHEAD_STORM_KILLS", "4"))
SEED = int(os.environ.get("BULKHEAD_STORM_SEED", "6"))
WAYS = [429, 500, 502, 503, "reset", "half", "garbage", "lost", "slow"]


def job(number, chance):
    draw = chance.random()
    if draw < 0.02:
        return {"id": f"storm-{number}", "input": {"do": chance.choice(["segfault", "abort", "exit3"])}}
    if draw < 0.04:
        return {"id": f"storm-{number}"}  # no input
    if draw < 0.10:
        return {"id": f"storm-{number}", "input": {"do": "progress", "count": 3}}
    return {"id": f"storm-{number}", "input": {"do": "ok", "value": {"number": number}}}


def test_every_job_is_answered_whatever_fails(tmp_path):
    chance, faulty = random.Random(SEED), random.Random(SEED + 1)

    def faults(call):
        if faulty.random() >= 0.10:
            return None
        fault = faulty.choice(WAYS)
        # What the real platform paces by seconds would only make this long.
        return 503 if fault in (429,) and faulty.random() < 0.9 else fault

    jobs = [job(number, chance) for number in range(JOBS)]
    with Platform(faults=faults, lost_after=5.0, hold=5.0) as platform:
        platform.add(*jobs)
        with Worker(platform, [example("crash_zoo")], "--workers", "3", "--spares", "1", "--retries", "1",
                    state=tmp_path / "state", env={"RUNPOD_PING_INTERVAL": "500"}) as worker:
            for kill in range(KILLS):
                share = JOBS * (kill + 1) // (KILLS + 1)
                until(lambda: len(platform.results) >= share or worker.process.poll() is not None, 300,
                      f"{share} results, has {len(platform.results)}")
                worker.kill()
                worker.start()
            platform.wait_done(*[entry["id"] for entry in jobs], timeout=400)
            until(lambda: platform.of("ping")[-1].query.get("job_id") is None, 60, "a ping without jobs")
            platform.faults = None
            platform.hold = 0.2
            assert worker.stop() == 0

        assert set(platform.handed) >= {entry["id"] for entry in jobs}
        assert not platform.late
        lost = 0
        for entry in jobs:
            bodies, what = platform.results[entry["id"]], entry.get("input", {}).get("do")
            first = json.loads(bodies[0])
            if what == "ok":
                # A job that was running when its supervisor was killed, twice, may be lost; its answer says so.
                if first != {"output": entry["input"]["value"]}:
                    assert json.loads(first["error"])["error_type"] == "WorkerLost", first
                    lost += 1
            elif what == "progress":
                assert "output" in first or json.loads(first["error"])["error_type"] == "WorkerLost", first
            elif what is None:
                assert "input" in first["error"]
            else:
                assert json.loads(first["error"])["error_type"] in ("WorkerCrash", "WorkerExit", "WorkerLost"), first
            if what in ("ok", "progress") and "output" in first:
                # Answered more than once, because the answer was lost, it is the same each time.
                assert len(set(bodies)) == 1, bodies
        assert lost < KILLS * 4
        again = sum(len(bodies) - 1 for bodies in platform.results.values())
        print(f"{JOBS} jobs, {len(platform.calls)} calls, {KILLS} kills, {sum(platform.handed.values()) - JOBS} handed over again, "
              f"{again} results sent again, {lost} ended as lost")
