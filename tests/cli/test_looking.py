"""ps, logs, scale and drain against a real `bulkhead serve`."""

import http.server
import json
import re
import signal
import threading
from contextlib import contextmanager

import pytest

from calling import HANDLER, PATIENCE, call, start
from endpoint import Endpoint, example, until

ZOO = [example("crash_zoo")]
WAITS = {"do": "sleep_ms", "ms": 600000}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    with Endpoint(ZOO, "--workers", "2", "--grace", "1s", state=tmp_path_factory.mktemp("zoo") / "state") as endpoint:
        yield endpoint


def started(endpoint, job):
    until(lambda: endpoint.get(f"/status/{job}").json["status"] == "IN_PROGRESS", 60, "its start")
    return job


@contextmanager
def answering(routes):
    """An endpoint that answers each path's beginning with what `routes` says: a body, or a function of the path."""
    class Fake(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            for begin, body in routes.items():
                if self.path.startswith(begin):
                    body = body(self.path) if callable(body) else body
                    break
            else:
                body = None
            self.send_response(404 if body is None else 200)
            text = b'{"error":{"code":"unknown_path","message":"nothing here"}}' if body is None else json.dumps(body).encode()
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_POST = do_GET

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Fake) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


# ---- ps --------------------------------------------------------------------------------------------------------------


def test_ps_shows_processes_and_jobs(zoo):
    job = started(zoo, zoo.run(WAITS))
    lines = call(zoo, "ps").splitlines()
    assert re.fullmatch(r"bulkhead \S+ at http://\S+: serving, ready", lines[0])
    assert lines[1].startswith("running 1  queued 0")
    tables = [line.split() for line in lines]
    assert ["CHILD", "PID", "STATE", "FOR", "DONE", "MEMORY", "CPU", "JOB"] in tables
    [busy] = [row for row in tables if row and re.match(r"w\d\.", row[0]) and job in row]
    assert int(busy[1]) in zoo.children() and busy[2] == "ready"
    [row] = [row for row in tables if row and row[0] == job]
    assert row[1] == "IN_PROGRESS" and row[5] == busy[0]
    assert not any("\x1b" in line or line != line.rstrip() for line in lines)
    seen = json.loads(call(zoo, "ps", "--json"))
    assert {child["id"] for child in seen["snapshot"]["children"]} == {row[0] for row in tables if row and re.match(r"w\d\.\d", row[0])}
    assert seen["jobs"][0]["id"] == job
    call(zoo, "cancel", job)


def test_ps_chooses_among_jobs(zoo):
    good, bad = zoo.run({"do": "ok"}), zoo.run({"do": "segfault"})
    zoo.wait(good), zoo.wait(bad)
    def ids(*words):
        return call(zoo, "ps", "--quiet", *words).split()
    assert bad in ids("--state", "FAILED") and good not in ids("--state", "FAILED,TIMED_OUT")
    assert ids("--error-type", "WorkerCrash", "--limit", "1") == [bad]
    assert ids("--id", good) == [good] and ids("--id", "no-such") == []
    worker = zoo.get(f"/status/{bad}").json["workerId"]
    assert bad in ids("--worker", worker) and bad in ids("--worker", worker.split(".")[0])
    assert worker.split(".")[0] in call(zoo, "ps", "--worker", worker.split(".")[0])
    assert ids("-n1") == ids("--limit=1") and len(ids("-n", "2")) == 2


def test_ps_goes_on_where_an_answer_looked_at_a_part():
    def jobs(path):
        before = re.search(r"before=(\d+)", path)
        limit = int(re.search(r"limit=(\d+)", path).group(1))
        at = int(before.group(1)) if before else 100
        rows = [] if at > 60 else [{"id": f"job-{at}", "status": "FAILED", "attempts": 1}][:limit]
        return {"jobs": rows, "before": str(at - 10) if at > 10 else None, "total": None}
    with answering({"/bulkhead/jobs": jobs}) as url:
        assert call(url, "ps", "--quiet").split() == [f"job-{at}" for at in (60, 50, 40, 30, 20, 10)]
        assert call(url, "ps", "--quiet", "-n", "2").split() == ["job-60", "job-50"]


def test_ps_watch_prints_on_and_on_for_programs(zoo):
    watching = start(zoo, "ps", "--watch", "--json", "--worker", "w0")
    first, second = (json.loads(watching.stdout.readline()) for _ in range(2))
    assert second["snapshot"]["at"] > first["snapshot"]["at"]
    watching.send_signal(signal.SIGTERM)
    _, err = watching.communicate(timeout=PATIENCE)
    assert watching.returncode == 143 and err == ""
    assert call(zoo, "ps", "--watch", "--timeout", "1500ms").count("bulkhead ") >= 1


def test_ps_watch_outlives_a_supervisor(tmp_path):
    path = f"unix:{tmp_path}/door"
    with Endpoint(ZOO, "--listen", path, state=tmp_path / "state") as endpoint:
        watching = start(path, "ps", "--watch", "--json")
        assert json.loads(watching.stdout.readline())["snapshot"]["phase"] == "serving"
        endpoint.stop(signal.SIGKILL)
        assert "trying again" in watching.stderr.readline()
    with Endpoint(ZOO, "--listen", path, state=tmp_path / "state") as endpoint:
        job = endpoint.run({"do": "ok"})
        until(lambda: job in watching.stdout.readline(), 60, "the job")
        watching.send_signal(signal.SIGINT)
        _, err = watching.communicate(timeout=PATIENCE)
        assert watching.returncode == 130 and err == ""


def test_an_endpoint_without_these_routes_is_5_and_says_so():
    with answering({"/health": {"jobs": {}, "workers": {}}}) as url:
        for words in (["ps"], ["logs"], ["logs", "-f"], ["drain"], ["scale", "2"], ["ps", "--watch"]):
            assert "an older Bulkhead?" in call(url, *words, code=5), words


def test_what_is_said_of_a_future_endpoint_is_harmless():
    snapshot = {"at": 1, "phase": "dancing", "children": [{"id": "w0.1\x1b[2J", "jobs": "none", "memory_bytes": "much"}, 7], "queue": [], "new": {}}
    with answering({"/bulkhead/snapshot": snapshot, "/bulkhead/jobs": {"jobs": [{"id": "a"}, 3]}}) as url:
        text = call(url, "ps")
        assert "dancing" in text and "w0.1" in text and "\x1b" not in text


def test_each_wants_the_key(tmp_path):
    with Endpoint(ZOO, state=tmp_path / "state", env={"BULKHEAD_API_KEYS": "me=s3cret"}, ready=False) as endpoint:
        for words in (["ps"], ["logs"], ["drain"], ["scale", "2"]):
            assert "BULKHEAD_API_KEY" in call(endpoint, *words, code=6)
            assert "the key alone" in call(endpoint, *words, code=6, BULKHEAD_API_KEY="wrong")
        assert "serving" in call(endpoint, "ps", BULKHEAD_API_KEY="s3cret")


# ---- logs ------------------------------------------------------------------------------------------------------------


def test_logs_has_what_handlers_wrote(tmp_path):
    with Endpoint(HANDLER, "--workers", "2", state=tmp_path / "state") as endpoint:
        first = endpoint.run({"log": ["one fish"], "print": ["two fish", "\x1b[2Jthree\x9b fish"]})
        second = endpoint.run({"log": ["red fish"]})
        endpoint.wait(first), endpoint.wait(second)
        text = until(lambda: (lambda t: t if "three" in t and "red" in t else "")(call(endpoint, "logs")), 60, "the lines")
        line = next(line for line in text.splitlines() if line.endswith("one fish"))
        assert re.fullmatch(rf"\d\d:\d\d:\d\d\.\d\d\d  \w+ +w\d\.1 +{first}  one fish", line)
        assert "\x1b" not in text and "\x9b" not in text and "three" in text
        mine = call(endpoint, "logs", "--job", first)
        assert "one fish" in mine and "two fish" in mine and "red fish" not in mine and first not in mine
        lines = [json.loads(line) for line in call(endpoint, "logs", "--json", "--job", second).splitlines()]
        assert [line["text"] for line in lines if line["stream"] == "log"] == ["red fish"]
        assert len(call(endpoint, "logs", "-n", "1").splitlines()) == 1
        worker = endpoint.get(f"/status/{first}").json["workerId"]
        assert "one fish" in call(endpoint, "logs", "--worker", worker.split(".")[0])
        # What scrolls off the ring is no part of it.
        assert call(endpoint, "logs", "--job", "no-such-job") == ""


def test_logs_follow_has_lines_as_they_are_written_and_outlives_a_supervisor(tmp_path):
    path = f"unix:{tmp_path}/door"
    options = ["--listen", path]
    with Endpoint(HANDLER, *options, state=tmp_path / "state") as endpoint:
        following = start(path, "logs", "-f", "--json")
        def next_fish():
            while "fish" not in (line := json.loads(following.stdout.readline()))["text"]:
                pass
            return line["text"]
        for text in ("one fish", "two fish"):
            endpoint.wait(endpoint.run({"log": [text]}))
            assert next_fish() == text
        endpoint.stop(signal.SIGKILL)
        assert "trying again" in following.stderr.readline()
    with Endpoint(HANDLER, *options, state=tmp_path / "state") as endpoint:
        endpoint.wait(endpoint.run({"log": ["red fish"]}))
        assert next_fish() == "red fish"
        following.send_signal(signal.SIGINT)
        _, err = following.communicate(timeout=PATIENCE)
        assert following.returncode == 130 and "in contact again" in err


def test_logs_follow_may_have_a_limit_of_time(zoo):
    call(zoo, "logs", "--follow", "--timeout", "500ms")


# ---- scale and drain -------------------------------------------------------------------------------------------------


def test_scale_changes_the_number_of_processes(tmp_path):
    with Endpoint(ZOO, "--workers", "1", state=tmp_path / "state") as endpoint:
        assert call(endpoint, "scale", "3") == "3 handler processes are wanted (1 before)\n"
        until(lambda: endpoint.get("/health").json["workers"]["ready"] == 3, 60, "three workers")
        assert json.loads(call(endpoint, "scale", "--json", "1")) == {"workers": 1, "before": 3}
        until(lambda: endpoint.get("/health").json["workers"]["ready"] == 1, 60, "one worker")


def test_drain_lets_jobs_end_and_the_supervisor_too(tmp_path):
    go = tmp_path / "go"
    with Endpoint(HANDLER, "--grace", "60s", state=tmp_path / "state") as endpoint:
        job = endpoint.run({"until": str(go)})
        started(endpoint, job)
        waiting = start(endpoint, "status", "--wait", "--json", job)
        assert call(endpoint, "drain").startswith("draining")
        until(lambda: "draining" in call(endpoint, "ps"), 60, "the phase")
        assert "ending" in call(endpoint, "scale", "2", code=1)
        assert "shutting down" in call(endpoint, "submit", "--timeout", "500ms", "{}", code=5)
        go.touch()
        out, err = waiting.communicate(timeout=PATIENCE)
        assert waiting.returncode == 0 and json.loads(out)["output"] == "done", err
        assert endpoint.process.wait(60) == 0
