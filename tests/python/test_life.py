"""How a Python child's jobs and its processes end: cancels, time limits, crashes, exits, forks, what is printed meanwhile."""

import json
import signal
import sys
from pathlib import Path

import pytest
from endpoint import BULKHEAD, Endpoint, processes_with, until
from sanitizer import sanitized

LIFE = str(Path(__file__).with_name("life.py"))


@pytest.fixture
def serve(tmp_path):
    """Endpoints that are gone, with all they had started, when the test is over."""
    started = []

    def start(form="standard", *options, **more):
        endpoint = Endpoint([sys.executable, LIFE, *form.split()], *options, state=tmp_path / f"s{len(started)}", **more)
        started.append(endpoint)
        return endpoint

    yield start
    for endpoint in started:
        assert endpoint.stop() == 0
    assert until(lambda: not processes_with(str(tmp_path)) or None, what="the end of all processes")


def begun(endpoint, asked, **more):
    """A job whose handler is at work."""
    job = endpoint.run(asked, **more)
    until(lambda: endpoint.get(f"/status/{job}").json.get("output"), what="progress")
    return job


def record(answer):
    assert answer["status"] == "FAILED", answer
    return json.loads(answer["error"])


@pytest.mark.parametrize("asked", [{"do": "sleep", "s": 600}, {"do": "spin", "s": 600}])
def test_a_cancel_reaches_a_standard_handler(serve, asked):
    endpoint = serve()
    before = endpoint.runsync({})["output"]
    job = begun(endpoint, asked)
    assert endpoint.post(f"/cancel/{job}").json["status"] == "CANCELLED"
    assert endpoint.wait(job)["status"] == "CANCELLED"
    # By an exception, not by force: the process lives on.
    assert endpoint.runsync({})["output"] == before


def test_a_cancelled_handler_tidies_up(serve, tmp_path):
    for form in ("standard", "coroutine"):
        endpoint, file = serve(form), tmp_path / form
        job = begun(endpoint, {"do": "tidy", "s": 600, "file": str(file)})
        endpoint.post(f"/cancel/{job}")
        assert until(lambda: file.exists() and file.read_text() == "tidied", what="the handler's finally")
        assert endpoint.wait(job)["status"] == "CANCELLED"


def test_a_time_limit_is_the_same_exception(serve):
    endpoint = serve()
    before = endpoint.runsync({})["output"]
    job = endpoint.run({"do": "sleep", "s": 600}, policy={"executionTimeout": 5000})
    state = endpoint.wait(job)
    assert state["status"] == "FAILED" and "executionTimeout exceeded" in state["error"]
    assert endpoint.runsync({})["output"] == before


@pytest.mark.parametrize("asked", [{"do": "hold", "s": 600}, {"do": "swallow", "s": 600}])
def test_what_does_not_listen_is_ended_by_force(serve, asked):
    endpoint = serve("standard", "--cancel-grace", "300ms", "--term-grace", "300ms")
    before = endpoint.runsync({})["output"]
    job = begun(endpoint, asked)
    endpoint.post(f"/cancel/{job}")
    assert endpoint.wait(job)["status"] == "CANCELLED"
    assert endpoint.runsync({})["output"] != before


def test_a_handler_that_holds_the_lock_delays_nobody_else(serve):
    endpoint = serve("standard", "--workers", "2", "--cancel-grace", "300ms", "--term-grace", "300ms")
    job = begun(endpoint, {"do": "hold", "s": 600})
    for _ in range(5):
        assert endpoint.runsync({})["status"] == "COMPLETED"
    assert endpoint.get(f"/status/{job}").json["status"] == "IN_PROGRESS"
    endpoint.post(f"/cancel/{job}")
    assert endpoint.wait(job)["status"] == "CANCELLED"


def test_a_cancel_reaches_a_coroutine_and_no_other(serve):
    endpoint = serve("coroutine")
    one, other = (begun(endpoint, {"do": "wait", "s": s}) for s in (600, 1.0))
    endpoint.post(f"/cancel/{one}")
    assert endpoint.wait(one)["status"] == "CANCELLED"
    pid = endpoint.wait(other)["output"]
    assert endpoint.runsync({})["output"] == pid


@pytest.mark.parametrize("form", ["endless", "endless_async"])
def test_a_cancel_ends_a_stream(serve, form):
    endpoint = serve(form)
    job = endpoint.run({})
    seen = until(lambda: endpoint.get(f"/stream/{job}").json["stream"], what="a chunk")
    assert seen[0]["output"] == 0
    endpoint.post(f"/cancel/{job}")
    assert endpoint.wait(job)["status"] == "CANCELLED"


def test_coroutines_run_at_once(serve):
    endpoint = serve("coroutine")
    jobs = [endpoint.run({"do": "wait", "s": 600}) for _ in range(10)]
    until(lambda: all(endpoint.get(f"/status/{job}").json.get("output") == "waiting" for job in jobs) or None,
          what="ten handlers at work at the same time")
    for job in jobs:
        endpoint.post(f"/cancel/{job}")
    assert all(endpoint.wait(job)["status"] == "CANCELLED" for job in jobs)


def test_jobs_do_not_wait_behind_a_coroutine_that_blocks(serve, tmp_path):
    """Where another process has room for them. And the one that blocked gets jobs again when it is through."""
    endpoint, through = serve("coroutine", "--workers", "2"), tmp_path / "through"
    until(lambda: endpoint.get("/health").json["workers"]["ready"] == 2, 60, "both processes")
    first = begun(endpoint, {"do": "block", "until": str(through)})

    def begin(count):
        jobs = [endpoint.run({"do": "wait", "s": 600}) for _ in range(count)]
        until(lambda: all(endpoint.get(f"/status/{job}").json.get("output") == "waiting" for job in jobs) or None, 60, "their begin")
        return jobs

    jobs = begin(10)
    assert endpoint.get(f"/status/{first}").json["output"] == "blocking"
    through.touch()
    until(lambda: endpoint.get(f"/status/{first}").json["output"] == "through", 60, "the end of the blocking")
    jobs += begin(15)  # more than the other has room for
    for job in (first, *jobs):
        endpoint.post(f"/cancel/{job}")
    assert all(endpoint.wait(job)["status"] == "CANCELLED" for job in (first, *jobs))


def test_the_number_at_once_grows_without_draining(serve):
    """Two at first, one more after each job."""
    endpoint = serve("coroutine growing")
    first, second = (begun(endpoint, {"do": "wait", "s": 600}) for _ in range(2))
    others = [endpoint.run({"do": "wait", "s": 600}) for _ in range(2)]
    assert [endpoint.get(f"/status/{job}").json["status"] for job in others] == ["IN_QUEUE"] * 2
    endpoint.post(f"/cancel/{second}")
    until(lambda: all(endpoint.get(f"/status/{job}").json.get("output") == "waiting" for job in (first, *others)) or None,
          what="three handlers at work at the same time")
    for job in (first, *others):
        endpoint.post(f"/cancel/{job}")
        assert endpoint.wait(job)["status"] == "CANCELLED"


def test_a_segfault_leaves_both_stacks(serve):
    endpoint = serve()
    told = record(endpoint.runsync({"do": "segfault"}))
    assert told["error_type"] == "WorkerCrash" and told["signal"] == "SIGSEGV" and told["stack"]
    python = "\n".join(told["interpreter_stack"])
    assert "in inner_function" in python and "in standard" in python
    assert python.count("most recent call first") >= 2, "every thread's"
    told = record(endpoint.runsync({"do": "abort"}))
    assert told["signal"] == "SIGABRT" and "in standard" in "\n".join(told["interpreter_stack"])
    assert endpoint.runsync({})["status"] == "COMPLETED"


def test_exits_and_kills_are_crashes(serve):
    endpoint = serve()
    for code in (0, 7):
        told = record(endpoint.runsync({"do": "_exit", "code": code}))
        assert told["exit_code"] == code and told["log_tail"] == ["about to go"]
    assert record(endpoint.runsync({"do": "kill"}))["signal"] == "SIGKILL"
    assert "RecursionError" in record(endpoint.runsync({"do": "recursion"}))["error_type"]


def test_an_exception_in_a_thread_is_logged_and_ends_nothing(serve):
    endpoint = serve()
    assert endpoint.runsync({"do": "thread"})["status"] == "COMPLETED"
    endpoint.wait_line("ValueError: in a thread")


def test_every_way_to_print_is_captured(serve):
    endpoint = serve()
    job = endpoint.run({"do": "log"})
    assert endpoint.wait(job)["status"] == "COMPLETED"
    for words in (f"by logging {job}", "UserWarning: by warnings", "by print", "by a write", "by C"):
        assert job in endpoint.wait_line(f".*{words}").group(0), words


def test_what_jobs_at_once_print_is_told_apart(serve):
    endpoint = serve("coroutine")
    jobs = {endpoint.run({"do": "say", "words": [f"{name}{i}" for i in range(20)]}): name for name in "abc"}
    for job in jobs:
        assert endpoint.wait(job)["status"] == "COMPLETED"
    for job, name in jobs.items():
        words = [line.split()[-1] for line in endpoint.lines if job in line]
        assert [word for word in words if word[1:].isdigit() and word[0] == name] == [f"{name}{i}" for i in range(20)]


def test_a_line_without_an_end_is_cut(serve):
    """As it is where a pipe has it: of a progress bar the last state counts, of a long line the first 8 KiB."""
    endpoint = serve("coroutine")
    job = endpoint.run({"do": "no end of a line"})
    state = endpoint.wait(job)
    assert sanitized(BULKHEAD) or state["output"] < 16 << 20, state  # which hold freed memory back
    endpoint.wait_line(rf"{job}.*x{{1000}} \[cut\]")
    assert [line.split()[-2:] for line in endpoint.lines if job in line and "done: " in line] == [["100", "%"]]
    assert max(map(len, endpoint.lines)) < 9000


def test_forks_leave_nothing_behind(serve):
    endpoint = serve()
    assert endpoint.runsync({"do": "pool"})["output"] == [0, 1, 4, 9, 16]
    assert endpoint.runsync({"do": "spawned pool"})["output"] == [0, 1, 4, 9, 16]
    assert endpoint.runsync({"do": "fork crash"})["output"] & 0x7F == 6
    assert endpoint.runsync({"do": "fork through", "s": 0.3})["status"] == "COMPLETED"
    assert endpoint.runsync({"do": "fork"})["status"] == "COMPLETED"
    told = record(endpoint.runsync({"do": "segfault"}))
    assert "in inner_function" in "\n".join(told["interpreter_stack"])


@pytest.mark.parametrize("then", ["return", "raise", "exit"])
def test_a_coroutine_that_forks_hears_of_further_jobs(serve, then):
    """The copy shares what its parent's event loop waits on."""
    endpoint = serve("coroutine")
    before = endpoint.runsync({})["output"]
    assert endpoint.runsync({"do": "fork through", "then": then}, wait=60_000)["output"] == before
    for _ in range(3):
        assert endpoint.runsync({}, wait=60_000)["output"] == before


def test_an_atexit_hook_that_hangs_is_ended(serve):
    endpoint = serve("standard", "--cancel-grace", "300ms", "--term-grace", "300ms")
    assert endpoint.runsync({"do": "atexit"})["status"] == "COMPLETED"
    assert endpoint.stop() == 0


@pytest.mark.parametrize("form", ["standard", "coroutine"])
def test_atexit_hooks_run_when_there_is_nothing_to_do(serve, tmp_path, form):
    file = tmp_path / "tidied"
    endpoint = serve(f"{form} tidy {file}", "--term-grace", "30s")
    assert endpoint.runsync({})["status"] == "COMPLETED"
    assert endpoint.stop() == 0
    assert file.exists()


def test_what_ends_a_coroutines_forks_does_not_end_it(serve):
    """They are ended by SIGTERM, some of them while they are still being forked."""
    endpoint = serve("coroutine")
    pid = endpoint.runsync({"do": "pool"})["output"]
    for _ in range(3):
        assert endpoint.runsync({"do": "pool"})["output"] == pid
    assert endpoint.runsync({"do": "fork and end"})["output"] == 0


def test_what_a_coroutine_leaves_behind_ends_nothing(serve):
    endpoint = serve("coroutine")
    pid = endpoint.runsync({"do": "left behind"})["output"]
    assert endpoint.runsync({})["output"] == pid
    assert endpoint.stop() == 0


def test_programs_of_a_handler_see_a_plain_environment(serve):
    endpoint = serve(env={"PYTHONPATH": "/nowhere/mine"})
    environment = endpoint.runsync({"do": "environment"})["output"]
    assert environment["PYTHONPATH"] == "/nowhere/mine"
    assert not {"BULKHEAD_SOCKET", "BULKHEAD_TOKEN"} & set(environment)
    code = "import importlib.util as u; print(u.find_spec('runpod'), u.find_spec('bulkhead'))"
    assert endpoint.runsync({"do": "subprocess", "code": code})["output"].strip() == "None None"


def test_a_supervisor_killed_takes_its_children_along_if_they_are_told_so(tmp_path):
    with Endpoint([sys.executable, LIFE, "standard"], "--orphan-timeout", "0", state=tmp_path / "s") as endpoint:
        begun(endpoint, {"do": "sleep", "s": 600})
        assert endpoint.stop(signal.SIGKILL) == -signal.SIGKILL
    until(lambda: not processes_with(str(tmp_path)), timeout=60, what="the children's end")


def test_a_stop_lets_the_running_job_end(serve, tmp_path):
    endpoint = serve()
    job = begun(endpoint, {"do": "sleep", "s": 1.0})
    assert endpoint.stop() == 0
    with Endpoint([sys.executable, LIFE, "standard"], state=endpoint.state) as again:
        assert again.get(f"/status/{job}").json["status"] == "COMPLETED"


IN_A_LOOP = """
import asyncio, runpod
async def handler(job): return 1
async def main(): runpod.serverless.start({"handler": handler})
asyncio.run(main())
"""


def test_an_event_loop_around_the_start_is_a_failed_set_up(tmp_path):
    """And not a process that takes jobs with it when it goes."""
    with Endpoint([sys.executable, "-c", IN_A_LOOP], state=tmp_path / "s", ready=False) as endpoint:
        endpoint.wait_line("Cannot run the event loop while another loop is running", 60)
        assert endpoint.process.wait(60) == 69
    assert not processes_with(str(tmp_path))
