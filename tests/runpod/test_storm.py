"""Many jobs through a platform that fails at random, while handlers crash and the supervisor is killed: every job that
was handed over is answered, and what counts is counted once."""

import collections
import json
import os
import random

from capture_platform import Platform, certified
from chaos import Reaper
from endpoint import command_of, example, processes_with, until
from platform_worker import Worker

JOBS = int(os.environ.get("BULKHEAD_STORM_JOBS", "1000"))
KILLS = int(os.environ.get("BULKHEAD_STORM_KILLS", "4"))
SEED = int(os.environ.get("BULKHEAD_STORM_SEED", "6"))
WAYS = [429, 500, 502, 503, "reset", "half", "garbage", "lost", "slow", "refused", "never", "mute"]
# A worker gives these up in seconds; takes and results it gives a minute and more, as the platform holds polls.
GIVEN_UP_SOON = ("ping", "progress")


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
    stands_still, hung = False, []

    def faults(call):
        if stands_still:
            hung.append(call)
            return faulty.choice(["never", "mute"])
        if faulty.random() >= 0.10:
            return None
        fault = faulty.choice(WAYS)
        if fault in ("never", "mute") and call.kind not in GIVEN_UP_SOON:
            return "reset"
        # What the real platform paces by seconds would only make this long.
        return 503 if fault in (429,) and faulty.random() < 0.9 else fault

    jobs = [job(number, chance) for number in range(JOBS)]
    with Platform(faults=faults, lost_after=5.0, hold=5.0) as platform:
        platform.add(*jobs)
        def handlers():
            return [pid for pid in processes_with(str(tmp_path)) if command_of(pid).endswith("/crash_zoo")]

        with Worker(platform, [example("crash_zoo")], "--workers", "3", "--spares", "1", "--retries", "3",
                    state=tmp_path / "state", env={"RUNPOD_PING_INTERVAL": "500", "MARK": str(tmp_path)}) as worker, \
                Reaper(handlers, (0.2, 1.0), SEED + 4) as reaper:
            for kill in range(KILLS):
                share = JOBS * (kill + 1) // (KILLS + 1)
                until(lambda: len(platform.results) >= share or worker.process.poll() is not None, 300,
                      f"{share} results, has {len(platform.results)}")
                # Before it is killed, nothing is answered any more: what was asked then is asked again by the next.
                stands_still, before = True, len(hung)
                until(lambda: any(call.kind in ("take", "batch", "done") for call in hung[before:]), 120, "a call that hangs")
                worker.kill()
                stands_still = False
                worker.start()
            platform.wait_done(*[entry["id"] for entry in jobs], timeout=400)
            until(lambda: platform.of("ping")[-1].query.get("job_id") is None, 60, "a ping without jobs")
            platform.faults = None
            platform.hold = 0.2
            assert worker.stop() == 0

        assert set(platform.handed) >= {entry["id"] for entry in jobs}
        assert not platform.late
        lost, killed = 0, 0
        for entry in jobs:
            bodies, what = platform.results[entry["id"]], entry.get("input", {}).get("do")
            first = json.loads(bodies[0])
            if what == "ok":
                # A job whose process was killed four times, or could not be adopted, says so.
                if first != {"output": entry["input"]["value"]}:
                    error_type = json.loads(first["error"])["error_type"]
                    assert error_type in ("WorkerLost", "WorkerCrash"), first
                    lost, killed = lost + (error_type == "WorkerLost"), killed + (error_type == "WorkerCrash")
            elif what == "progress":
                assert "output" in first or json.loads(first["error"])["error_type"] in ("WorkerLost", "WorkerCrash"), first
            elif what is None:
                assert "input" in first["error"]
            else:
                assert json.loads(first["error"])["error_type"] in ("WorkerCrash", "WorkerExit", "WorkerLost"), first
            if what in ("ok", "progress") and "output" in first:
                # Answered more than once, because the answer was lost, it is the same each time.
                assert len(set(bodies)) == 1, bodies
        assert JOBS < 1000 or reaper.kills > 0
        assert lost < KILLS * 4 and killed <= reaper.kills // 4
        assert JOBS < 1000 or platform.outages > 0
        again = sum(len(bodies) - 1 for bodies in platform.results.values())
        print(f"seed {SEED}: {JOBS} jobs, {len(platform.calls)} calls, {KILLS} kills, {reaper.kills} of handlers, "
              f"{sum(platform.handed.values()) - JOBS} handed over again, {again} results sent again, {lost} ended as lost, {killed} as crashed; "
              f"went wrong: {went_wrong(platform)}")


def went_wrong(platform):
    answers = collections.Counter(str(call.answer) for call in platform.calls if call.answer not in (200, 204, None))
    return {**dict(sorted(answers.items())), "outages": platform.outages,
            **{f"handshake {how}": count for how, count in sorted(platform.failed_handshakes.items())}}


def test_every_job_is_answered_though_tls_fails(tmp_path):
    """Every third call ends its connection, so that there are many handshakes; one in seven fails, one of them by silence."""
    faulty, hangs = random.Random(SEED + 2), iter(range(1))
    spoil = random.Random(SEED + 3)

    def faults(call):
        draw = faulty.random()
        return faulty.choice([503, "reset", "lost", "refused"]) if draw < 0.05 else "close" if draw < 0.33 else None

    def handshakes():
        if spoil.random() >= 0.15:
            return None
        how = spoil.choice(["cut", "half", "garbage", "hang"])
        return "cut" if how == "hang" and next(hangs, None) is None else how

    chain, context = certified(tmp_path)
    jobs = [{"id": f"tls-{number}", "input": {"do": "ok", "value": number}} for number in range(JOBS // 10)]
    with Platform(faults=faults, lost_after=5.0, hold=5.0, tls=context, handshakes=handshakes) as platform:
        platform.add(*jobs)
        with Worker(platform, [example("crash_zoo")], "--workers", "3", "--retries", "1", state=tmp_path / "state",
                    env={"RUNPOD_PING_INTERVAL": "500", "SSL_CERT_FILE": str(chain)}) as worker:
            until(lambda: len(platform.results) >= len(jobs) // 2 or worker.process.poll() is not None, 300, "half of the results")
            worker.kill()
            worker.start()
            platform.wait_done(*[entry["id"] for entry in jobs], timeout=400)
            platform.faults, platform.hold = None, 0.2
            assert worker.stop() == 0
        assert set(platform.handed) == {entry["id"] for entry in jobs}
        for entry in jobs:
            bodies = platform.results[entry["id"]]
            first = json.loads(bodies[0])
            assert first == {"output": entry["input"]["value"]} or json.loads(first["error"])["error_type"] == "WorkerLost", first
            assert len(set(bodies)) == 1, bodies
        assert JOBS < 1000 or sum(platform.failed_handshakes.values()) > 0
        print(f"seed {SEED}: {len(jobs)} jobs, {len(platform.calls)} calls, 1 kill, went wrong: {went_wrong(platform)}")
