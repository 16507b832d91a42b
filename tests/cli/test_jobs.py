"""stream, retry, purge, and what status, cancel, health and dead print for people: against a real `bulkhead serve`."""

import http.server
import json
import re
import signal
import socket
import subprocess
import threading

import pytest

from calling import HANDLER, PATIENCE, call, environment, start
from endpoint import BULKHEAD, Endpoint, example, until
from terminal import Terminal, needs_tmux

ZOO = [example("crash_zoo")]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    with Endpoint([*ZOO, "--stream"], "--workers", "2", "--grace", "1s", state=tmp_path_factory.mktemp("zoo") / "state") as endpoint:
        yield endpoint


# ---- stream ----------------------------------------------------------------------------------------------------------


def test_stream_prints_the_chunks_of_a_job_from_the_first_on(zoo):
    job = zoo.run({"chunks": 30, "do": "ok", "value": {"last": 1}})
    zoo.wait(job)
    chunks = [*map(str, range(30)), '{"last":1}']
    assert call(zoo, "stream", job).splitlines() == chunks
    assert call(zoo, "stream", "--after", "28", job).splitlines() == chunks[28:]
    assert call(zoo, "stream", "--after", "31", job) == ""


def test_stream_goes_on_while_the_job_runs_and_says_how_it_ended(zoo):
    job = zoo.run({"chunks": 2, "do": "sleep_ms", "ms": 600000})
    streaming = start(zoo, "stream", job)
    assert [streaming.stdout.readline() for _ in range(2)] == ["0\n", "1\n"]
    call(zoo, "cancel", job)
    out, err = streaming.communicate(timeout=PATIENCE)
    assert streaming.returncode == 1 and out == "" and "CANCELLED" in err


def test_an_interrupted_stream_says_where_to_go_on_and_there_it_goes_on(zoo):
    job = zoo.run({"chunks": 3, "do": "sleep_ms", "ms": 2000})
    streaming = start(zoo, "stream", job)
    assert [streaming.stdout.readline() for _ in range(3)] == ["0\n", "1\n", "2\n"]
    streaming.send_signal(signal.SIGINT)
    out, err = streaming.communicate(timeout=PATIENCE)
    assert streaming.returncode == 130 and out == ""
    again = re.search(r"bulkhead (stream --after 3 .*)$", err.strip())
    assert again, err
    assert call(zoo, *again.group(1).split()) == '{"slept_ms":2000}\n'


def test_a_stream_is_exact_across_a_killed_supervisor(tmp_path):
    path = str(tmp_path / "s")
    options = ["--retries", "1", "--listen", f"unix:{path}"]
    with Endpoint([*ZOO, "--stream"], *options, state=tmp_path / "state") as first:
        job = first.run({"chunks": 5, "do": "sleep_ms", "ms": 2500})
        streaming = start(f"unix:{path}", "stream", job)
        assert [streaming.stdout.readline() for _ in range(5)] == [f"{i}\n" for i in range(5)]
        first.stop(signal.SIGKILL)
        assert "trying again" in streaming.stderr.readline()
    with Endpoint([*ZOO, "--stream"], *options, state=tmp_path / "state"):
        out, err = streaming.communicate(timeout=PATIENCE)
        assert (streaming.returncode, out) == (0, '{"slept_ms":2500}\n'), err


def test_a_stream_may_have_a_limit_of_time(zoo):
    job = zoo.run({"chunks": 1, "do": "sleep_ms", "ms": 600000})
    err = call(zoo, "stream", "--timeout", "1s", job, code=3)
    assert f"job {job} goes on" in err
    call(zoo, "cancel", job)


# ---- retry and purge -------------------------------------------------------------------------------------------------


def test_retry_runs_a_failed_job_once_more(zoo):
    job = zoo.run({"do": "segfault"})
    zoo.wait(job)
    assert call(zoo, "retry", job) == f"job {job} is IN_QUEUE\n"
    zoo.wait(job)
    assert json.loads(call(zoo, "retry", "--json", job)) == {"id": job, "status": "IN_QUEUE"}
    zoo.wait(job)


def test_what_may_not_run_again_is_1_and_says_why(zoo):
    job = zoo.run({"do": "ok"})
    zoo.wait(job)
    err = call(zoo, "retry", job, code=1)
    assert "did not fail" in err and f"bulkhead status {job}" in err


def test_purge_cancels_what_waits(tmp_path):
    with Endpoint(ZOO, "--grace", "1s", state=tmp_path / "state") as endpoint:
        running = endpoint.run({"do": "sleep_ms", "ms": 600000})
        until(lambda: endpoint.get(f"/status/{running}").json["status"] == "IN_PROGRESS", what="its start")
        waiting = [endpoint.run({"do": "ok"}) for _ in range(3)]
        assert call(endpoint, "purge") == "3 jobs that waited are cancelled\n"
        assert {endpoint.get(f"/status/{job}").json["status"] for job in waiting} == {"CANCELLED"}
        assert endpoint.get(f"/status/{running}").json["status"] == "IN_PROGRESS"
        assert json.loads(call(endpoint, "purge", "--json"))["removed"] == 0


# ---- for people, and for programs ------------------------------------------------------------------------------------


def test_status_is_a_table_for_people(tmp_path):
    with Endpoint(ZOO, "--retries", "1", "--retry-backoff", "10ms..50ms", state=tmp_path / "state") as endpoint:
        good = endpoint.run({"do": "ok", "value": {"n": 1}})
        bad = endpoint.run({"do": "segfault"})
        endpoint.wait(good), endpoint.wait(bad)
        lines = dict(re.split(r"\s+", line, maxsplit=1) for line in call(endpoint, "status", good).splitlines())
        assert lines["job"] == good and lines["status"] == "COMPLETED" and lines["output"] == '{"n":1}'
        done = subprocess.run([BULKHEAD, "status", bad], env=environment(endpoint), capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 1 and re.search(r"^error +WorkerCrash: .*SIGSEGV", done.stdout, re.M), done.stdout
        rows = [line.split() for line in done.stdout.splitlines() if "crash" in line.split()]
        assert [row[0] for row in rows] == ["1", "2"] and all(row[-1] == "WorkerCrash" for row in rows)
        assert "\x1b" not in done.stdout
        letters = call(endpoint, "dead", "list").splitlines()
        assert letters[0].split() == ["JOB", "DIED", "ERROR", "WORKER", "TRIES"] and letters[1].startswith(bad) and len(letters) == 2
        shown = call(endpoint, "dead", "show", bad)
        assert "segfault" in shown and "attempt 2: handler process" in shown and "    " in shown
        assert json.loads(call(endpoint, "dead", "show", "--json", bad))["id"] == bad
        assert call(endpoint, "dead", "drop", bad).strip().endswith("is forgotten")


def test_submit_prints_json_for_programs(zoo):
    job = json.loads(call(zoo, "submit", "--json", '{"do": "ok", "value": 7}'))["id"]
    assert json.loads(call(zoo, "status", "--json", "--wait", job))["id"] == job
    whole = json.loads(call(zoo, "submit", "--json", "--wait", '{"do": "ok", "value": 7}'))
    assert whole["status"] == "COMPLETED" and whole["output"][-1] == 7 and "executionTime" in whole


def test_what_a_handler_says_cannot_move_the_cursor(zoo):
    job = zoo.run({"do": "error", "message": "\x1b[2Jgone\x07\u009b2J"})
    zoo.wait(job)
    done = subprocess.run([BULKHEAD, "status", job], env=environment(zoo), capture_output=True, timeout=PATIENCE)
    assert b"gone" in done.stdout and not any(bad in done.stdout for bad in (b"\x1b", b"\x07", b"\xc2\x9b"))


def test_what_hangs_is_5_when_the_time_is_over():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = "http://127.0.0.1:%d" % silent.getsockname()[1]
        for words in (["status", "a"], ["health"], ["ps"], ["retry", "a"], ["logs"]):
            done = subprocess.run([BULKHEAD, *words, "--url", url, "--timeout", "300ms"], capture_output=True, text=True, timeout=PATIENCE)
            assert done.returncode == 5 and "--timeout" in done.stderr and len(done.stderr.splitlines()) <= 3, done


def test_check_prints_json_for_programs(tmp_path):
    words = ["check", "--json", "--workers", "3", "--state-dir", str(tmp_path), "--", './a "b"\\', "\t"]
    settings = {row["name"]: row for row in json.loads(call("", *words))["settings"]}
    assert settings["workers"] == {"name": "workers", "value": "3", "origin": "--workers"}
    assert settings["command"]["value"] == './a "b"\\ \t' and settings["spares"]["origin"] == "default"
    assert call("", "check", "--workers", "3").count("--workers") == 1


# ---- on a terminal ---------------------------------------------------------------------------------------------------


@needs_tmux
def test_wait_shows_a_bar_on_a_terminal_and_leaves_the_answer_alone(tmp_path):
    go = tmp_path / "go"
    asked = json.dumps({"progress": [{"page": 6, "of": 8}], "until": str(go), "value": "the answer"})
    with Endpoint(HANDLER, "--grace", "1s", state=tmp_path / "state") as endpoint:
        with Terminal(env=environment(endpoint)) as terminal:
            terminal.type(f"{BULKHEAD} submit --wait '{asked}' >{tmp_path}/out\n")
            screen = terminal.until("█")
            bar = [line for line in screen.splitlines() if "█" in line]
            assert len(bar) == 1 and " 75%" in bar[0] and bar[0].count("█") == 18 and len(bar[0]) <= 80, screen
            seen = re.search(r"IN_PROGRESS +(\S+)", bar[0]).group(1)
            terminal.until(lambda screen: f"IN_PROGRESS  {seen}" not in screen and "IN_PROGRESS" in screen)  # it goes on counting
            go.touch()
            screen = terminal.until(lambda screen: ("\n" + screen).rstrip().endswith("\n$"))
            assert "█" not in screen and (tmp_path / "out").read_text() == '"the answer"\n'
            go.unlink()
            # Ctrl-C leaves the line free as well; the job goes on.
            terminal.type(f"clear; {BULKHEAD} submit --wait '{asked}' >{tmp_path}/out\n")
            terminal.until("75%")
            terminal.press("C-c")
            screen = terminal.until("goes on")
            assert "█" not in screen and "bulkhead status --wait" in screen
            # Nor is there a bar where nobody sits: standard error is a file.
            go.touch()
            screen = terminal.run(f"clear; {BULKHEAD} submit --wait '{asked}' 2>{tmp_path}/err")
            assert '"the answer"' in screen and "\x1b" not in (tmp_path / "err").read_text()


@needs_tmux
def test_progress_has_many_forms(tmp_path):
    go = tmp_path / "go"
    forms = [(0.25, 25), (30, 30), ("40%", 40), ("page 2 of 4", 50), ("Update 3/5", 60), ({"percent": 70}, 70), ({"done": 4, "total": 5}, 80),
             ({"progress": 0.9}, 90), ("nearly there", None), ({"step": 7}, None), (-1, None), ({"page": 9, "of": 3}, None)]
    with Endpoint(HANDLER, "--workers", "1", "--grace", "1s", state=tmp_path / "state") as endpoint:
        with Terminal(columns=120, env=environment(endpoint)) as terminal:
            for progress, percent in forms:
                job = endpoint.run({"progress": [progress], "until": str(go)})
                terminal.type(f"clear; {BULKHEAD} status --wait {job} >/dev/null\n")
                text = progress if isinstance(progress, str) else json.dumps(progress, separators=(",", ":"))
                screen = terminal.until(lambda screen: "IN_PROGRESS" in screen and text in screen.replace(": ", ":").replace(", ", ","))
                assert (f" {percent}%  IN_PROGRESS" in screen and "█" in screen) if percent else "█" not in screen, screen
                call(endpoint, "cancel", job)
                terminal.until(lambda screen: ("\n" + screen).rstrip().endswith("\n$"))


@needs_tmux
def test_wait_asks_an_endpoint_without_events_too():
    class Fake(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            ends = self.path.startswith("/status-sync/")
            body = json.dumps({"id": "a", "status": "COMPLETED" if ends else "IN_PROGRESS", "output": "the end", "stream": []}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Fake) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with Terminal(env=environment(f"http://127.0.0.1:{server.server_address[1]}")) as terminal:
                assert "the end" in terminal.run(f"{BULKHEAD} status --wait a")
        finally:
            server.shutdown()
            thread.join()


@needs_tmux
def test_colours_are_for_terminals_and_may_be_refused(tmp_path):
    with Endpoint(ZOO, state=tmp_path / "state") as endpoint:
        job = endpoint.run({"do": "ok"})
        endpoint.wait(job)
        with Terminal(env=environment(endpoint)) as terminal:
            terminal.type(f"{BULKHEAD} status {job}\n")
            assert "\x1b[32mCOMPLETED" in terminal.until("COMPLETED", colours=True)
            terminal.run("clear")
            assert "COMPLETED" in terminal.run(f"NO_COLOR=1 {BULKHEAD} status {job}")
            assert "\x1b[32m" not in terminal.screen(colours=True)
