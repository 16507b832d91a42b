"""What save_checkpoint returned for is there for the next attempt, whatever is killed: the child, the supervisor, everything."""

import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from chaos import Reaper
from endpoint import BUILD, Endpoint, command_of, processes_with, until

PYTHON = [sys.executable, str(Path(__file__).with_name("keeper.py"))]
FORMS = {"C++": [str(BUILD / "tests" / "long_jobs" / "keeper")], "blocking": [*PYTHON, "blocking"], "async": [*PYTHON, "async"]}
RETRIES = ["--retries", "100", "--retry-backoff", "1ms..20ms", "--workers", "2"]


class Ledger:
    def __init__(self, path):
        self.path = path
        self.env = {"LEDGER": str(path)}

    def lines(self):
        if not self.path.exists():
            return []
        words = [line.split() for line in self.path.read_text().splitlines()]
        return [(id, int(attempt), what, float(step)) for id, attempt, what, step, _ in words]

    def last_sign(self, job, attempt):
        """When this attempt began, or had last kept a checkpoint; ms."""
        words = [line.split() for line in self.path.read_text().splitlines()]
        return max(int(at) for id, number, *_, at in words if id == job and int(number) == attempt)

    def kept(self, job):
        return sum(1 for id, _, what, _ in self.lines() if id == job and what == "kept")

    def check(self, job, steps):
        """Each attempt begins where the one before was when its last save had returned, or later. Returns how many there were."""
        last, attempts = 0, 0
        for id, _, what, step in self.lines():
            if id != job:
                continue
            if what == "begin":
                assert step >= last, (job, step, last)
                attempts += 1
            else:
                last = max(last, step)
        assert last == steps
        return attempts


@pytest.fixture(params=FORMS)
def keeper(request):
    return FORMS[request.param]


def handlers_of(endpoint, tmp_path):
    """Those that were adopted, too, whose parent the supervisor is not."""
    return [pid for pid in processes_with(str(tmp_path)) if pid != endpoint.process.pid]


def test_a_killed_child_costs_no_more_than_a_step(tmp_path, keeper):
    ledger = Ledger(tmp_path / "ledger")
    with Endpoint(keeper, *RETRIES, state=tmp_path / "state", env=ledger.env) as endpoint:
        job = endpoint.run({"steps": 12, "ms": 100})
        for kept in (3, 6, 9):
            until(lambda: ledger.kept(job) >= kept, 60, f"{kept} steps")
            for pid in endpoint.children():
                os.kill(pid, signal.SIGKILL)
        state = endpoint.wait(job)
        assert state["status"] == "COMPLETED" and state["output"] == 12
        attempts = state["bulkhead"]["attempts"]
        assert [one["from_checkpoint"] for one in attempts] == [False] + [True] * (len(attempts) - 1)
    assert ledger.check(job, 12) >= 3


def test_everything_killed_at_once_costs_no_more_than_a_step(tmp_path, keeper):
    ledger = Ledger(tmp_path / "ledger")
    jobs, rng = [], random.Random(5)
    for life in range(5):
        with Endpoint(keeper, *RETRIES, state=tmp_path / "state", env=ledger.env, dies=True) as endpoint:
            assert endpoint.listening, endpoint.lines
            if not jobs:
                endpoint.wait_ready()
                jobs = [endpoint.run({"steps": 12, "ms": 50}) for _ in range(2)]
            if life == 4:
                for job in jobs:
                    assert endpoint.wait(job)["output"] == 12
                continue
            before = sum(ledger.kept(job) for job in jobs)
            until(lambda: sum(ledger.kept(job) for job in jobs) > before, 60, "a step")
            time.sleep(rng.uniform(0, 0.1))
            handlers = handlers_of(endpoint, tmp_path)
            everything = life % 2 == 0
            if everything:
                endpoint.process.send_signal(signal.SIGSTOP)
                for pid in handlers:
                    os.kill(pid, signal.SIGKILL)
            endpoint.stop(9)
    for job in jobs:
        ledger.check(job, 12)


JOBS = int(os.environ.get("BULKHEAD_JOBS", "4"))
STEPS = int(os.environ.get("BULKHEAD_STEPS", "6"))


def test_many_deaths_cost_one_step_each(tmp_path, keeper):
    """A checkpoint a second, children that are killed at random, and once everything at the same moment."""
    ledger, options = Ledger(tmp_path / "ledger"), [*RETRIES, "--workers", "4"]

    def handlers():
        return [pid for pid in processes_with(str(tmp_path)) if not command_of(pid).endswith("/bulkhead")]

    with Endpoint(keeper, *options, state=tmp_path / "state", env=ledger.env, dies=True) as endpoint:
        endpoint.wait_ready()
        jobs = [endpoint.run({"steps": STEPS, "ms": 1000}) for _ in range(JOBS)]
        until(lambda: ledger.kept(jobs[0]) >= 1, 60, "the first step")
        with Reaper(handlers, (0.5, 2.0), seed=1) as first:
            until(lambda: sum(ledger.kept(job) for job in jobs) >= JOBS * STEPS // 2, 600, "half of the steps")
        endpoint.process.send_signal(signal.SIGSTOP)
        everything_ms = time.time() * 1000
        for pid in handlers():
            os.kill(pid, signal.SIGKILL)
        endpoint.stop(9)
    with Endpoint(keeper, *options, state=tmp_path / "state", env=ledger.env) as endpoint:
        with Reaper(handlers, (0.5, 2.0), seed=2) as second:
            until(lambda: all(any(what == "kept" and step == STEPS for id, _, what, step in ledger.lines() if id == job)
                              for job in jobs), 600, "all steps")
        states = {job: endpoint.wait(job) for job in jobs}

    lost, twice = 0, 0.0
    for job, state in states.items():
        assert state["status"] == "COMPLETED" and state["output"] == STEPS, state
        ledger.check(job, STEPS)
        for one in state.get("bulkhead", {"attempts": []})["attempts"][:-1]:
            if any(id == job and attempt == one["attempt"] for id, attempt, *_ in ledger.lines()):
                died = everything_ms if one["started_at"] < everything_ms < one["ended_at"] else one["ended_at"]
                lost += 1
                twice += max(0.0, died - ledger.last_sign(job, one["attempt"])) / 1000
    assert lost > 0
    print(f"{JOBS} jobs of {STEPS} s, {first.kills + second.kills} kills and one of everything: {lost} attempts lost, "
          f"{twice:.1f} s of work done twice, {twice / lost:.2f} s for each")


def test_an_adopted_attempt_keeps_its_history_and_its_checkpoint(tmp_path, keeper):
    ledger = Ledger(tmp_path / "ledger")

    def kill_handlers(endpoint):
        for pid in handlers_of(endpoint, tmp_path):
            os.kill(pid, signal.SIGKILL)

    with Endpoint(keeper, *RETRIES, state=tmp_path / "state", env=ledger.env, dies=True) as endpoint:
        endpoint.wait_ready()
        job = endpoint.run({"steps": 60, "ms": 100})
        until(lambda: ledger.kept(job) >= 3, 60, "three steps")
        kill_handlers(endpoint)
        until(lambda: ledger.kept(job) >= 6, 60, "six steps")
        endpoint.stop(9)
    kept, killed_ms = ledger.kept(job), time.time() * 1000
    with Endpoint(keeper, *RETRIES, state=tmp_path / "state", env=ledger.env) as endpoint:
        until(lambda: ledger.kept(job) >= kept + 2, 60, "a step that the second supervisor kept")
        assert len([what for _, _, what, _ in ledger.lines() if what == "begin"]) == 2, "adopted, not begun anew"
        kill_handlers(endpoint)
        state = endpoint.wait(job, 120)
        assert state["status"] == "COMPLETED" and state["output"] == 60, state
        attempts = state["bulkhead"]["attempts"]
        assert [one["reason"] for one in attempts] == ["crash", "crash", "completed"], attempts
        assert [one["from_checkpoint"] for one in attempts] == [False, True, True], attempts
        assert attempts[1]["started_at"] < killed_ms < attempts[1]["ended_at"], attempts
    assert ledger.check(job, 60) == 3


GIVES_UP = '''
import asyncio, os, signal, sys
import bulkhead

async def until_there(path):
    while not os.path.exists(path):
        await asyncio.sleep(0.01)

async def handler(job):
    home = job.input["home"]
    if job.attempt > 1:
        return job.checkpoint()
    open(home + "/begun", "w").close()
    await until_there(home + "/stopped")
    try:
        await asyncio.wait_for(job.save_checkpoint("first"), 0.2)
        raise AssertionError("nobody could keep it")
    except asyncio.TimeoutError:
        pass
    others = [job.save_checkpoint(number) for number in range(1000)]
    newest = job.save_checkpoint("second")
    open(home + "/gave up", "w").close()
    assert await newest and all([await other for other in others])
    os.kill(os.getpid(), signal.SIGKILL)

bulkhead.start(handler, concurrency=2)
'''


def test_who_gave_up_waiting_for_one_does_not_lose_the_next(tmp_path):
    (tmp_path / "handler.py").write_text(GIVES_UP)
    with Endpoint([sys.executable, str(tmp_path / "handler.py")], "--retries", "1", state=tmp_path / "state") as endpoint:
        job = endpoint.run({"home": str(tmp_path)})
        until((tmp_path / "begun").exists, 60, "its start")
        endpoint.process.send_signal(signal.SIGSTOP)  # as if the disk took its time
        (tmp_path / "stopped").touch()
        try:
            until((tmp_path / "gave up").exists, 60, "its patience's end")
        finally:
            endpoint.process.send_signal(signal.SIGCONT)
        assert endpoint.wait(job)["output"] == "second"


def test_the_newest_of_two_counts_and_large_ones_fit(tmp_path):
    ledger = Ledger(tmp_path / "ledger")
    with Endpoint(FORMS["blocking"], *RETRIES, state=tmp_path / "state", env=ledger.env) as endpoint:
        job = endpoint.run({"steps": 3, "ms": 300, "size": 30 << 20})  # above --max-result
        until(lambda: ledger.kept(job) >= 1, 60, "a step")
        for pid in endpoint.children():
            os.kill(pid, signal.SIGKILL)
        assert endpoint.wait(job, 120)["output"] == 3
        ledger.check(job, 3)


def test_one_that_is_too_large_is_refused_with_the_limit(tmp_path):
    ledger = Ledger(tmp_path / "ledger")
    with Endpoint(FORMS["blocking"], "--checkpoint-max", "1M", state=tmp_path / "state", env=ledger.env) as endpoint:
        state = endpoint.runsync({"steps": 1, "ms": 0, "size": 2 << 20})
        assert state["status"] == "FAILED" and "1048576 bytes the supervisor allows" in state["error"], state
