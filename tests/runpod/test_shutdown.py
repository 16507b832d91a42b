"""SIGTERM, second SIGTERM and SIGKILL of a worker: whatever was handed over is answered."""

import json
import os
import signal

from capture_platform import Platform
from endpoint import example, until
from platform_worker import Worker

ECHO = [example("echo")]
ZOO = [example("crash_zoo")]


def zoo(job, **job_input):
    return {"id": job, "input": job_input}


def running(platform, *jobs):
    until(lambda: all(job in platform.handed for job in jobs), 60, "the jobs handed over")
    until(lambda: platform.of("ping") and set(jobs) <= set(platform.of("ping")[-1].query.get("job_id", "").split(",")), 60,
          "a ping with the jobs")


def test_running_jobs_finish_and_the_exit_code_is_0(tmp_path):
    with Platform(hold=3) as platform:
        platform.add(zoo("a", do="sleep_ms", ms=2500), zoo("b", do="sleep_ms", ms=2500))
        with Worker(platform, ZOO, "--workers", "2", state=tmp_path / "state") as worker:
            running(platform, "a", "b")
            worker.process.send_signal(signal.SIGTERM)
            worker.wait_line("told to end: 2 running jobs")
            platform.add(zoo("late", do="ok"))
            assert worker.wait() == 0
            assert platform.wait_done("a", "b") == [{"output": {"slept_ms": 2500}}] * 2
            assert "late" not in platform.handed


def test_a_job_that_an_open_take_delivers_after_sigterm_is_run(tmp_path, platform):
    with Worker(platform, ZOO, state=tmp_path / "state") as worker:
        until(lambda: platform.of("take"), 60, "an open take")
        worker.process.send_signal(signal.SIGTERM)
        worker.wait_line("what the open request for jobs brings")
        platform.add(zoo("late", do="sleep_ms", ms=500), zoo("later", do="ok"))
        assert worker.wait() == 0
        assert platform.result("late") == {"output": {"slept_ms": 500}}
        assert "later" not in platform.handed


def test_an_idle_worker_ends_when_its_open_take_does_or_the_grace_is_over(tmp_path):
    with Platform(hold=2) as platform:
        with Worker(platform, ECHO, state=tmp_path / "state") as worker:
            until(lambda: platform.of("take"), 60, "an open take")
            assert worker.stop() == 0
    with Platform(hold=600) as platform:
        with Worker(platform, ECHO, "--grace", "1s", state=tmp_path / "state") as worker:
            until(lambda: platform.of("take"), 60, "an open take")
            assert worker.stop() == 0


def test_what_cannot_be_finished_is_answered(tmp_path):
    """Running, waiting in prefetch, and one that ignores every signal but the last."""
    with Platform(hold=1) as platform:
        platform.add(zoo("hangs", do="ignore_term"), zoo("sleeps", do="hang"), zoo("waits", do="ok"))
        options = ["--workers", "2", "--prefetch", "1", "--grace", "1s", "--cancel-grace", "200ms", "--term-grace", "200ms"]
        with Worker(platform, ZOO, *options, state=tmp_path / "state") as worker:
            running(platform, "hangs", "sleeps", "waits")
            assert worker.stop() == 0
            for job in ("hangs", "sleeps", "waits"):
                assert "shut down" in platform.result(job)["error"], platform.result(job)
            # All is settled: the next has nothing to take up.
            worker.start()
            worker.wait_line("taking jobs from")
            assert not [line for line in worker.lines if "taken up from the journal" in line]


def test_a_second_signal_shortens(tmp_path, platform):
    platform.add(zoo("hangs", do="hang"))
    options = ["--grace", "1h", "--cancel-grace", "100ms", "--term-grace", "100ms"]
    with Worker(platform, ZOO, *options, state=tmp_path / "state") as worker:
        running(platform, "hangs")
        worker.process.send_signal(signal.SIGTERM)
        worker.wait_line("running jobs")
        worker.process.send_signal(signal.SIGTERM)
        assert worker.wait() == 0
        assert "shut down" in platform.result("hangs")["error"]


def test_results_are_flushed_through_faults_before_the_end(tmp_path):
    left = [500, "reset", 503]
    with Platform(hold=1, faults=lambda call: left.pop() if call.kind == "done" and left else None) as platform:
        platform.add(zoo("a", do="sleep_ms", ms=1500))
        with Worker(platform, ZOO, state=tmp_path / "state") as worker:
            running(platform, "a")
            assert worker.stop() == 0
            assert platform.result("a") == {"output": {"slept_ms": 1500}}


def test_a_platform_that_stays_away_does_not_hold_the_end_up_for_ever(tmp_path):
    with Platform(hold=1, faults=lambda call: 503 if call.kind == "done" else None) as platform:
        platform.add(zoo("a", do="ok"))
        with Worker(platform, ZOO, "--grace", "1s", state=tmp_path / "state") as worker:
            platform.wait_calls("done")
            assert worker.stop() == 0
            assert worker.with_text("1 results are left for the next start to deliver")
            platform.faults = None
            worker.start()
            assert platform.wait_done("a") == [{"output": "ok"}]


def test_a_killed_supervisor_loses_no_job(tmp_path, platform):
    platform.add(zoo("once", do="sleep_ms", ms=600_000), zoo("again", do="sleep_ms", ms=3000))
    with Worker(platform, ZOO, "--workers", "2", "--execution-timeout", "20s",
                state=tmp_path / "state") as worker:
        running(platform, "once", "again")
        worker.kill()
        worker.start()
        worker.wait_line("2 jobs taken up from the journal")
        assert platform.wait_done("again") == [{"output": {"slept_ms": 3000}}]
        platform.stop_job("once")
        worker.wait_line("the platform stops this job")

    state = tmp_path / "state2"
    platform.add(zoo("lost", do="hang"))
    with Worker(platform, ZOO, "--orphan-timeout", "0", state=state) as worker:
        running(platform, "lost")
        worker.kill()
        worker.start()
        platform.wait_done("lost")
        assert json.loads(platform.result("lost")["error"])["error_type"] == "WorkerLost"


def test_below_its_init_a_killed_supervisor_comes_back_by_itself(tmp_path):
    with Platform(hold=2) as platform:
        platform.add(zoo("a", do="sleep_ms", ms=3000))
        with Worker(platform, ZOO, state=tmp_path / "state", env={"BULKHEAD_INIT": "always"}) as worker:
            running(platform, "a")
            (supervisor, *_) = map(int, open(f"/proc/{worker.process.pid}/task/{worker.process.pid}/children").read().split())
            os.kill(supervisor, signal.SIGKILL)
            worker.wait_line("1 jobs taken up from the journal")
            assert platform.wait_done("a") == [{"output": {"slept_ms": 3000}}]
            assert worker.stop() == 0


def test_without_a_journal_on_disk_too(tmp_path):
    with Platform(hold=1) as platform:
        platform.add(zoo("a", do="ok", value=7))
        with Worker(platform, ZOO, "--durability", "memory", state=tmp_path / "state") as worker:
            assert platform.wait_done("a") == [{"output": 7}]
            assert worker.stop() == 0


def test_quit_takes_nothing_more(tmp_path):
    with Platform(hold=0.2) as platform:
        platform.add(zoo("a", do="ignore_term"))
        with Worker(platform, ZOO, "--workers", "2", state=tmp_path / "state") as worker:
            running(platform, "a")
            worker.process.send_signal(signal.SIGQUIT)
            worker.wait_line("told to stop at once")
            takes = len(platform.of("take"))
            assert worker.wait() == 128 + signal.SIGQUIT
            # One may have been on its way.
            assert len(platform.of("take")) <= takes + 1


def test_hup_is_taken_up_for_jobs_to_come(tmp_path, platform):
    settings = tmp_path / "bulkhead.toml"
    settings.write_text('execution-timeout = "1h"\n')
    with Worker(platform, ZOO, "--config", str(settings), "--cancel-grace", "200ms", "--term-grace", "200ms",
                state=tmp_path / "state") as worker:
        worker.wait_line("taking jobs from")
        settings.write_text('execution-timeout = "2s"\nttl = "1h"\ngrace = "1s"\n')
        worker.process.send_signal(signal.SIGHUP)
        worker.wait_line("only a restart takes it up: grace$|only a restart takes it up: grace[^,]")
        worker.wait_line(r"read again; changed: execution-timeout\b(?!,)")
        platform.add(zoo("a", do="hang"))
        assert "executionTimeout exceeded" in json.dumps(platform.wait_done("a"))
