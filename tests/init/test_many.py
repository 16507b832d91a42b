"""Many deaths: none is lost, none stays, and the init is at rest again. Also what only a supervised command shows."""

import os
import time
from pathlib import Path
from signal import SIGKILL

import pytest

from inits import MODES, NAMESPACE, NO_NAMESPACE, OURS, PROBE, Run, children_of


@pytest.fixture(params=MODES)
def start(request):
    if request.param == "pid1" and NAMESPACE is None:
        pytest.skip(NO_NAMESPACE)
    return lambda command, **more: Run(OURS, request.param == "pid1", command, **more)


def wake_ups(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("voluntary_ctxt"))


def at_rest(run, pid):
    """No wake-up for a while, in which an idle process has none."""
    count, since = wake_ups(pid), time.monotonic()

    def still():
        nonlocal count, since
        if wake_ups(pid) != count:
            count, since = wake_ups(pid), time.monotonic()
        return time.monotonic() - since > 0.1
    run.until(still, "its rest")


def test_ten_thousand_orphans(start):
    with start([PROBE, "flood", "10000"]) as run:
        run.line("done")
        done, pid = time.monotonic(), run.pid
        run.until(lambda: len(children_of(pid)) == 1, "their reaping")
        print(f"all reaped {1000 * (time.monotonic() - done):.0f} ms after the last one began")
        at_rest(run, pid)
        os.kill(run.main(), SIGKILL)
        assert run.code() == 128 + SIGKILL


def test_a_thousand_at_once(start):
    with start([PROBE, "orphans", "1000"]) as run:
        run.line("ready")
        pid = run.pid
        run.until(lambda: len(children_of(pid)) == 1001, "the orphans, adopted")
        run.write()
        run.line("released")
        released = time.monotonic()
        run.until(lambda: len(children_of(pid)) == 1, "their reaping")
        print(f"all reaped {1000 * (time.monotonic() - released):.0f} ms after they were let go")
        at_rest(run, pid)


def test_a_thousand_with_the_command(start):
    with start([PROBE, "burst", "1000"]) as run:
        assert run.code() == 5


def test_it_is_small(start):
    with start(["sleep", "1000"]) as run:
        pid = run.pid
        run.until(lambda: children_of(pid), "the command")
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        private = sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_"))
        print(f"{private} kB private")
        assert private < 1000, rollup
        at_rest(run, pid)


@pytest.mark.skipif(NAMESPACE is None, reason=NO_NAMESPACE)
def test_a_job_that_kills_everything(tmp_path):
    """kill(-1, SIGKILL) spares its caller and PID 1: what stands in for the supervisor comes back."""
    count = tmp_path / "count"
    script = f'echo x >>{count}; [ $(wc -l <{count}) = 2 ] && exit 21; {PROBE} kill_all 9; read x'
    with Run(OURS, True, ["--supervise", "3", "--", "sh", "-c", script], dashes=False) as run:
        assert run.code() == 21
        run.error("ended by SIGKILL")
