"""The platform fails in every way there is: nothing is lost, nothing spins, and it is said once."""

import json
import signal

import pytest

from capture_platform import Platform, certified, hides_key
from endpoint import BULKHEAD, example, until
from platform_worker import Worker
from sanitizer import sanitized

ECHO = [example("echo")]
ZOO = [example("crash_zoo")]
TOKENS = [example("tokens")]
FAULTS = [429, 500, 502, 503, 401, "reset", "half", "garbage"]


def zoo(job, **job_input):
    return {"id": job, "input": job_input}


class First:
    """The first `count` calls of these kinds fail, in the ways given, one after another."""

    def __init__(self, kinds, faults, count=None):
        self.kinds, self.left = kinds, list(faults) * (count or 1)

    def __call__(self, call):
        return self.left.pop(0) if call.kind in self.kinds and self.left else None


@pytest.mark.parametrize("fault", FAULTS)
def test_takes_that_fail_are_tried_again(tmp_path, fault):
    with Platform(faults=First(("take",), [fault] * 2)) as platform:
        platform.add({"id": "a", "input": 1})
        with Worker(platform, ECHO, state=tmp_path / "state"):
            assert platform.wait_done("a") == [{"output": 1}]
        assert platform.handed["a"] == 1


@pytest.mark.parametrize("fault", [429, 500, 503, 401, "reset", "half", "lost"])
def test_results_that_fail_are_posted_again(tmp_path, fault):
    with Platform(faults=First(("done",), [fault] * 3)) as platform:
        platform.add({"id": "a", "input": 1}, {"id": "b", "input": 2})
        with Worker(platform, ECHO, state=tmp_path / "state"):
            assert platform.wait_done("a", "b", timeout=120) == [{"output": 1}, {"output": 2}]
            assert len(set(platform.results["a"])) == 1  # sent again, it is the same


def test_a_failing_platform_is_told_once_and_not_asked_in_a_loop(tmp_path):
    with Platform(faults=lambda call: 503 if call.kind == "take" and not platform.chunks["go"] else None) as platform:
        platform.add({"id": "a", "input": 1})
        with Worker(platform, ECHO, state=tmp_path / "state") as worker:
            worker.wait_line("takes from .* fail .status 503. and are tried again")
            begun = len(platform.of("take"))
            platform.wait_calls("ping", len(platform.of("ping")) + 3)
            assert len(platform.of("take")) - begun < 12  # a loop would be thousands
            platform.chunks["go"].append(1)
            platform.wait_done("a")
            worker.wait_line("takes from .* work again")
            assert len(worker.with_text("takes from")) == 2


@pytest.mark.parametrize("answer", [204, 400])
def test_a_platform_that_does_not_hold_polls_is_not_asked_in_a_loop(tmp_path, answer):
    with Platform(faults=lambda call: answer if call.kind in ("take", "stop") and not platform.chunks["go"] else None) as platform:
        with Worker(platform, ECHO, state=tmp_path / "state") as worker:
            platform.wait_calls("ping", 4)
            assert 3 <= len(platform.of("take")) < 30
            platform.chunks["go"].append(1)
            platform.add({"id": "a", "input": 1})
            platform.wait_done("a")
            assert not worker.with_text("fail")


def test_a_platform_that_is_away_is_waited_for_and_then_given_everything(tmp_path):
    """Results of jobs that were taken before it went, by the supervisor that lives and by the one after it."""
    first = Platform()
    port = first.port
    first.add(*[zoo(f"j{i}", do="sleep_ms", ms=1500, n=i) for i in range(4)])
    with Worker(first, ZOO, "--workers", "4", state=tmp_path / "state") as worker:
        until(lambda: sum(first.handed.values()) == 4, 60, "all handed over")
        until(lambda: first.of("ping")[-1].query.get("job_id", "").count(",") == 3, 60, "all here")
        first.close()
        worker.wait_line("results to .* fail")
        worker.kill()
        worker.start()
        worker.wait_line("4 jobs taken up from the journal")
        with Platform(port=port) as second:
            second.wait_done("j0", "j1", "j2", "j3", timeout=120)
            assert all(second.result(f"j{i}") in ({"output": {"slept_ms": 1500}},) or
                       json.loads(second.result(f"j{i}")["error"])["error_type"] == "WorkerLost" for i in range(4))
            second.add(zoo("next", do="ok", value=1))
            assert second.wait_done("next") == [{"output": 1}]
            assert worker.stop() == 0


@pytest.mark.parametrize("status", [400, 404, 413])
def test_a_refused_result_is_reported_as_the_jobs_error_and_kept(tmp_path, status):
    with Platform(faults=First(("done",), [status])) as platform:
        platform.add({"id": "big", "input": "x" * 1000})
        with Worker(platform, ECHO, state=tmp_path / "state") as worker:
            (result,) = platform.wait_done("big")
            assert set(result) == {"error"} and f"status {status}" in result["error"] and "1013 bytes" in result["error"]
            worker.wait_line("the refused result is kept in")
            assert json.loads((tmp_path / "state" / "refused" / "big.json").read_text()) == {"output": "x" * 1000}
            reason = (tmp_path / "state" / "refused" / "big.reason").read_text()
            assert f"status {status}" in reason and "on purpose" in reason
            # The platform repeats the key in its answer.
            assert hides_key(reason + result["error"] + "".join(worker.lines)) and "***" in reason
            platform.add({"id": "next", "input": 1})
            platform.wait_done("next")


def test_a_job_nobody_wants_the_error_of_either_is_given_up(tmp_path):
    with Platform(hold=2, faults=lambda call: 404 if call.job == "gone" else None) as platform:
        platform.add({"id": "gone", "input": 1}, {"id": "next", "input": 2})
        with Worker(platform, ECHO, state=tmp_path / "state") as worker:
            platform.wait_done("next")
            worker.wait_line("neither the result nor the error")
            assert len(platform.of("done", "gone")) == 2
            assert worker.stop() == 0


def test_progress_is_ordered_coalesced_and_never_after_the_result(tmp_path):
    faults = First(("progress",), [500, "reset", None, "half", None, None], 3)
    with Platform(faults=faults) as platform:
        platform.add(*[zoo(f"p{i}", do="progress", count=200, ms=100) for i in range(8)])
        with Worker(platform, ZOO, "--workers", "2", state=tmp_path / "state"):
            platform.wait_done(*[f"p{i}" for i in range(8)], timeout=120)
        assert not platform.late
        for values in platform.progress.values():
            steps = [value["step"] for value in values]
            assert steps == sorted(steps)
        (call, *_) = platform.of("progress")
        assert call.query["isStream"] == "false" and call.json["status"] == "IN_PROGRESS"


def test_chunks_stay_in_order_through_faults_and_a_slow_platform_slows_the_handler(tmp_path):
    words = [f"w{i}" for i in range(400)]
    faults = First(("stream",), [None, 500, "reset", 429, None, "half"], 2)
    with Platform(faults=faults) as platform:
        platform.add({"id": "s", "input": {"text": " ".join(words)}})
        with Worker(platform, TOKENS, state=tmp_path / "state"):
            assert platform.wait_done("s", timeout=120) == [{"output": words}]
        # One that counted though its answer was lost comes twice.
        seen = [word for i, word in enumerate(platform.chunks["s"]) if i == 0 or platform.chunks["s"][i - 1] != word]
        assert seen == words and not platform.late

    with Platform(faults=lambda call: "hang" if call.kind == "stream" else None) as platform:
        platform.add({"id": "s", "input": {"text": "x" * 1000, "repeat": 1_000_000}})
        with Worker(platform, TOKENS, state=tmp_path / "state2") as worker:
            platform.wait_calls("stream")
            platform.wait_calls("ping", len(platform.of("ping")) + 4)
            resident = int(open(f"/proc/{worker.process.pid}/statm").read().split()[1]) * 4096
            assert len(platform.of("stream")) == 1 and (sanitized(BULKHEAD) or resident < 200 << 20)


def test_chunks_and_result_that_a_killed_supervisor_had_not_sent_are_sent_by_the_next(tmp_path):
    words = [f"w{i}" for i in range(40)]
    away = lambda call: 503 if call.kind in ("stream", "done") and "back" not in platform.jobs else None
    with Platform(faults=away) as platform:
        platform.add({"id": "s", "input": {"text": " ".join(words)}})
        with Worker(platform, TOKENS, state=tmp_path / "state") as worker:
            worker.wait_line("results to .* fail")
            until(lambda: journalled_outcomes(tmp_path / "state") == 1, 60, "the outcome in the journal")
            worker.kill()
            platform.add({"id": "back", "input": {"text": ""}})
            worker.start()
            assert platform.wait_done("s", "back", timeout=120)[0] == {"output": words}
            assert platform.chunks["s"] == words and not platform.late
            assert platform.of("done", "s")[-1].query["isStream"] == "true"


def journalled_outcomes(state):
    import sqlite3
    with sqlite3.connect(f"file:{state}/journal.db?mode=ro", uri=True) as journal:
        return journal.execute("SELECT count(*) FROM outcomes").fetchone()[0]


def test_a_job_that_is_handed_over_again_is_not_computed_again(tmp_path, platform):
    platform.add(zoo("a", do="pid"))
    with Worker(platform, ZOO, state=tmp_path / "state"):
        platform.wait_done("a")
        platform.add(zoo("a", do="pid"))
        until(lambda: len(platform.results["a"]) == 2, 60, "a second answer")
        assert platform.results["a"][0] == platform.results["a"][1]


def test_a_job_that_failed_and_is_handed_over_again_runs_again(tmp_path, platform):
    platform.add(zoo("a", do="segfault"))
    with Worker(platform, ZOO, state=tmp_path / "state"):
        platform.wait_done("a")
        platform.add(zoo("a", do="ok", value="better"))
        until(lambda: len(platform.results["a"]) == 2, 60, "a second answer")
        assert json.loads(platform.results["a"][1]) == {"output": "better"}


def test_a_certificate_that_nobody_vouches_for_is_an_error_and_a_given_bundle_is_used(tmp_path):
    certificate, context = certified(tmp_path)
    with Platform(hold=2, tls=context) as platform:
        platform.add({"id": "a", "input": 1})
        with Worker(platform, ECHO, state=tmp_path / "state") as worker:
            worker.wait_line("takes from .* fail .*certificate")
            assert not platform.calls
        with Worker(platform, ECHO, state=tmp_path / "state", env={"SSL_CERT_FILE": str(certificate)}) as worker:
            assert platform.wait_done("a") == [{"output": 1}]
            assert worker.stop(signal.SIGTERM) == 0
