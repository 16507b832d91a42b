"""What a worker says to the platform and what it makes of the answers: `bulkhead run` with C++ handlers."""

import json
import os
import sqlite3

import pytest

from capture_platform import KEY, Platform, hides_key
from endpoint import example, until
from platform_worker import Worker

ECHO = [example("echo")]
ZOO = [example("crash_zoo")]
TOKENS = [example("tokens")]


def zoo(job, **job_input):
    return {"id": job, "input": job_input}


def test_a_job_goes_through_with_the_measured_wire_form(tmp_path, platform):
    platform.add({"id": "job-1", "input": {"ü": [1, None, 2]}})
    with Worker(platform, ECHO, state=tmp_path / "state") as worker:
        assert platform.wait_done("job-1") == [{"output": {"ü": [1, None, 2]}}]
        take, done = platform.of("take")[0], platform.of("done")[0]
        assert take.method == "GET" and take.target == "/v2/ep/job-take/pod-1?gpu=none&job_in_progress=0"
        assert take.headers["authorization"] == KEY and take.headers["content-type"] == "application/json"
        assert take.headers["accept-encoding"] == "gzip, deflate"
        assert done.method == "POST" and done.target == "/v2/ep/job-done/pod-1/job-1?gpu=none&isStream=false"
        assert done.headers["content-type"] == "application/x-www-form-urlencoded"
        assert done.headers["charset"] == "utf-8" and done.headers["x-request-id"] == "job-1"
        ping = platform.wait_calls("ping")[0]
        assert ping.target == "/v2/ep/ping/pod-1?gpu=none&runpod_version=1.12.0"
        assert ping.headers["authorization"] == KEY
        (stop,) = platform.wait_calls("stop")[:1]
        assert stop.target == "/v2/ep/job-stop/pod-1?gpu=none"
    assert len(platform.results["job-1"]) == 1


def test_templates_without_a_question_mark_and_ids_that_must_be_escaped(tmp_path):
    with Platform(query="") as platform:
        platform.add({"id": "a/b c?&isStream=x", "input": 1})
        with Worker(platform, ECHO, state=tmp_path / "state"):
            (done,) = platform.wait_calls("done")
            assert done.target == "/v2/ep/job-done/pod-1/a%2Fb%20c%3F%26isStream%3Dx?isStream=false"
            assert platform.of("take")[0].target == "/v2/ep/job-take/pod-1?job_in_progress=0"


def test_results_have_the_contracts_shapes(tmp_path, platform):
    platform.add(zoo("dict", do="ok", value={"a": 1}), zoo("null", do="ok", value=None),
                 zoo("throw", do="throw", message="boom"), zoo("crash", do="segfault"))
    with Worker(platform, ZOO, state=tmp_path / "state"):
        platform.wait_done("dict", "null", "throw", "crash")
    assert platform.result("dict") == {"output": {"a": 1}}
    assert platform.result("null") == {"output": None}
    error = json.loads(platform.result("throw")["error"])
    assert error["error_message"] == "boom" and set(platform.result("throw")) == {"error"}
    crash = json.loads(platform.result("crash")["error"])
    assert crash["error_type"] == "WorkerCrash" and crash["signal"] == "SIGSEGV"


def test_the_whole_job_reaches_the_handler_and_a_job_without_input_is_answered(tmp_path, platform):
    platform.add({"id": "none"}, {"input": 1}, {"id": "nothing", "input": None}, {"id": "empty", "input": {}})
    with Worker(platform, ECHO, state=tmp_path / "state") as worker:
        results = platform.wait_done("none", "nothing", "empty")
        assert "input" in results[0]["error"]
        assert results[1:] == [{"output": None}, {"output": {}}]
        worker.wait_line("1 jobs without an id were handed over")


def test_batches_ask_for_what_is_free(tmp_path, platform):
    with Worker(platform, ZOO, "--workers", "5", state=tmp_path / "state"):
        # At most two polls are open, for one slot each as long as slots become free one by one; the next one asks for the rest.
        # Jobs that come before all five are ready may be handed over one by one: those of the next wave are not.
        for wave in range(5):
            until(lambda: platform.waiting_polls() >= 2, 60, "two polls")
            jobs = [f"{wave}.{i}" for i in range(10)]
            platform.add(*[zoo(job, do="sleep_ms", ms=300) for job in jobs])
            platform.wait_done(*jobs, timeout=120)
            if platform.of("batch"):
                return
        raise AssertionError("never a batch")


@pytest.mark.parametrize("prefetch", [0, 3])
def test_no_more_is_taken_than_can_start_plus_prefetch(tmp_path, platform, prefetch):
    platform.add(*[zoo(f"j{i}", do="sleep_ms", ms=600_000) for i in range(10)])
    with Worker(platform, ZOO, "--workers", "2", "--prefetch", str(prefetch), state=tmp_path / "state"):
        until(lambda: sum(platform.handed.values()) == 2 + prefetch, 60, "the jobs there is room for")
        platform.wait_calls("ping", len(platform.of("ping")) + 2)  # a while later
        assert sum(platform.handed.values()) == 2 + prefetch


def test_a_stream_is_posted_in_order_and_then_its_end(tmp_path, platform):
    words = [f"w{i}" for i in range(300)]
    platform.add({"id": "s", "input": {"text": " ".join(words)}}, {"id": "none", "input": {"text": ""}})
    with Worker(platform, TOKENS, state=tmp_path / "state"):
        assert platform.wait_done("s", "none") == [{"output": words}, {"output": []}]
    assert platform.chunks["s"] == words and not platform.late
    assert platform.of("stream")[0].target == "/v2/ep/job-stream/pod-1/s?gpu=none&isStream=false"
    assert platform.of("stream")[0].json == {"output": "w0"}
    assert platform.of("done", "s")[0].query["isStream"] == "true"


def test_pings_name_the_jobs_and_go_on_while_a_handler_hangs(tmp_path, platform):
    platform.add(zoo("a", do="hang"), zoo("b", do="hang"))
    with Worker(platform, ZOO, "--workers", "2", state=tmp_path / "state", env={"RUNPOD_PING_INTERVAL": "200"}):
        until(lambda: sum(call.query.get("job_id", "").count(",") == 1 for call in platform.of("ping")) >= 4, 60,
              "four pings with both jobs")
        assert "job_id=a%2Cb&" in platform.of("ping")[-1].target or "job_id=b%2Ca&" in platform.of("ping")[-1].target


def test_the_stop_channel_ends_a_job_and_nothing_is_sent_for_it(tmp_path, platform):
    platform.add(zoo("stubborn", do="hang"), zoo("willing", do="sleep_ms", ms=600_000))
    with Worker(platform, ZOO, "--workers", "2", "--cancel-grace", "200ms", "--term-grace", "200ms",
                state=tmp_path / "state") as worker:
        until(lambda: sum(platform.handed.values()) == 2, 60, "both handed over")
        worker_jobs = until(lambda: any("%2C" in call.target for call in platform.of("ping")), 60, "both in a ping")
        platform.stop_job("unknown", "stubborn", "willing")
        until(lambda: platform.of("ping")[-1].query.get("job_id") is None, 60, "a ping without jobs")
        platform.add(zoo("next", do="ok", value=1))
        platform.wait_done("next")
        assert worker_jobs and set(platform.results) == {"next"}
        assert len(worker.with_text("the platform stops this job")) == 2


def test_refresh_worker_refreshes_the_child_and_the_pod_lives_on(tmp_path, platform):
    platform.add(*[zoo(f"r{i}", do="ok", value={"refresh_worker": True, "r": i}) for i in range(3)],
                 zoo("error", do="ok", value={"refresh_worker": True, "error": "e"}))
    with Worker(platform, ZOO, state=tmp_path / "state"):
        assert platform.wait_done("r0", "r1", "r2", "error") == [{"output": {"r": i}} for i in range(3)] + [{"error": "e"}]


def test_stop_pod_is_sent_when_it_is_asked_for(tmp_path, platform):
    platform.add(zoo("r", do="ok", value={"refresh_worker": True, "r": 1}), zoo("plain", do="ok", value=1),
                 zoo("error", do="ok", value={"refresh_worker": True, "error": "e"}))
    with Worker(platform, ZOO, "--runpod-stop-pod", state=tmp_path / "state"):
        assert platform.wait_done("r", "plain", "error") == [{"output": {"r": 1}, "stopPod": True}, {"output": 1},
                                                             {"error": "e", "stopPod": True}]


def test_the_key_is_nowhere_to_be_seen(tmp_path):
    with Platform(hold=2, faults=lambda call: 500 if call.kind == "take" and len(platform.of("take")) < 5 else None) as platform:
        platform.add(zoo("a", do="ok", value=1), zoo("c", do="segfault"))
        with Worker(platform, ZOO, "--log-level", "trace", state=tmp_path / "state") as worker:
            platform.wait_done("a", "c")
            for entry in os.listdir("/proc"):
                if entry.isdigit():
                    try:
                        assert KEY.encode() not in open(f"/proc/{entry}/cmdline", "rb").read()
                    except OSError:
                        pass
            assert worker.stop() == 0
        assert hides_key("\n".join(worker.lines)), worker.lines
        assert KEY.encode() not in b"".join(platform.results["c"])


def test_results_that_were_taken_do_not_fill_the_disk(tmp_path, platform):
    platform.add({"id": "a", "input": 1})
    with Worker(platform, ECHO, state=tmp_path / "state"):
        platform.wait_done("a")
        with sqlite3.connect(f"file:{tmp_path}/state/journal.db?mode=ro", uri=True) as journal:
            ((kept,),) = journal.execute("SELECT expires_ms - finished_ms FROM outcomes").fetchall()
        assert 0 < kept <= 300_000


def test_log_lines_have_the_platforms_shape(tmp_path, platform):
    platform.add(zoo("a", do="print", text="from the handler"))
    with Worker(platform, ZOO, state=tmp_path / "state", env={"RUNPOD_ENDPOINT_ID": "ep"}) as worker:
        platform.wait_done("a")
        worker.wait_line("from the handler")
        lines = [json.loads(line) for line in worker.lines[1:]]
        assert all(set(line) == {"requestId", "message", "level"} for line in lines)
        (said,) = [line for line in lines if line["message"] == "from the handler"]
        assert said["requestId"] == "a" and said["level"] == "INFO"


def test_what_is_set_and_not_supported_is_named(tmp_path, platform):
    with Worker(platform, ECHO, state=tmp_path / "state",
                env={"RUNPOD_REALTIME_PORT": "8080", "RUNPOD_PING_INTERVAL": "ten"}) as worker:
        worker.wait_line("RUNPOD_REALTIME_PORT is set and not supported")
        worker.wait_line("RUNPOD_PING_INTERVAL is not a number")
        platform.wait_calls("ping")


@pytest.mark.parametrize("limit, check", [({"RUNPOD_MIN_MEMORY_GB": "1000000"}, "_memory_check"),
                                          ({"RUNPOD_MIN_MEMORY_GB": "0", "RUNPOD_MIN_DISK_PERCENT": "100.5"}, "_disk_check")])
def test_a_machine_that_is_not_fit_says_so_and_takes_nothing(tmp_path, platform, limit, check):
    with Worker(platform, ECHO, state=tmp_path / "state", env={"RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "", **limit}) as worker:
        assert worker.wait() == 71
        (report,) = [call for call in platform.of("ping") if call.query.get("status") == "unhealthy"]
        assert report.query["check"] == check and "Insufficient" in report.query["reason"]
        assert worker.with_text("RUNPOD_SKIP_AUTO_SYSTEM_CHECKS=true skips this check")
        assert not platform.of("take")
    platform.add({"id": "a", "input": 1})
    with Worker(platform, ECHO, state=tmp_path / "state", env=limit):  # skipped
        platform.wait_done("a")


def test_without_a_place_for_results_nothing_starts(tmp_path, platform):
    with Worker(platform, ECHO, state=tmp_path / "state", env={"RUNPOD_WEBHOOK_POST_OUTPUT": ""}) as worker:
        assert worker.wait() == 78
        assert worker.with_text("RUNPOD_WEBHOOK_POST_OUTPUT is not")


def test_a_handler_that_never_becomes_ready_is_reported_unhealthy(tmp_path, platform):
    with Worker(platform, ["/bin/false"], state=tmp_path / "state") as worker:
        assert worker.wait(120) == 69
    (report,) = [call for call in platform.of("ping") if call.query.get("status") == "unhealthy"]
    assert report.query["check"] == "handler" and 0 < len(report.query["reason"]) <= 256
    assert not platform.of("take")
