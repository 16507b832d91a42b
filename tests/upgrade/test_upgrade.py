"""A running supervisor hands over to another program: jobs, connections and requests do not notice; and one that is no good is
followed by the one before."""

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from endpoint import BULKHEAD, BUILD, Endpoint, processes_with, supervisor_below, until
from installed import Installed

STEADY = [str(BUILD / "tests" / "crash" / "steady")]
UNPROVED = ["--upgrade-timeout", "3s"]


def serve(tmp_path, installed, *options, **more):
    return Endpoint(STEADY, *options, state=tmp_path / "state", program=str(installed.path),
                    env={"BULKHEAD_INIT": "always", "LEDGER": str(tmp_path / "ledger"), **more.pop("env", {})}, **more)


def supervisor_of(endpoint):
    """The process that answers."""
    return view(endpoint)["pid"]


def has_ended(pid):
    """Its descriptors are closed by then."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def view(endpoint):
    """A connection that was cut off by a kill is opened anew."""
    def seen():
        try:
            return endpoint.get("/bulkhead/upgrade").json
        except (OSError, http.client.HTTPException):
            return None
    return until(seen, 60, "an answer")


def upgrade(endpoint):
    """By the signal. Returns when another process answers."""
    before = supervisor_of(endpoint)
    endpoint.process.send_signal(signal.SIGUSR2)
    return until(lambda: (now := supervisor_of(endpoint)) != before and now, 60, "the next supervisor")


def starts(tmp_path):
    """job -> [(attempt, pid)]"""
    seen = {}
    ledger = tmp_path / "ledger"
    for line in ledger.read_text().splitlines() if ledger.exists() else []:
        job, attempt, pid = line.split()
        seen.setdefault(job, []).append((int(attempt), int(pid)))
    return seen


def assert_one_attempt_each(tmp_path, jobs):
    seen = starts(tmp_path)
    assert {job: [attempt for attempt, _ in seen.get(job, [])] for job in jobs} == {job: [1] for job in jobs}


def completed(endpoint, jobs, chunks, within=120):
    for job in jobs:
        state = endpoint.wait(job, within)
        assert state["status"] == "COMPLETED" and state["output"] == list(range(chunks)), state


class Load:
    """Clients of every kind. What goes wrong for one of them is in `failures`."""

    def __init__(self, endpoint, clients=32):
        self.address = (endpoint.host, endpoint.port)
        self.failures, self.requests, self.jobs = [], 0, []
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._client, args=(number,)) for number in range(clients)]
        for thread in self._threads:
            thread.start()

    def _ask(self, connection, method, path, body=None):
        connection.request(method, path, json.dumps(body) if body else None)
        response = connection.getresponse()
        data = response.read()
        assert response.status == 200, (method, path, response.status, data)
        with self._lock:
            self.requests += 1
        return json.loads(data)

    def _client(self, number):
        kept = number % 4 != 0  # every fourth opens a connection for each of its rounds
        choose = random.Random(number)
        connection = http.client.HTTPConnection(*self.address, timeout=120)
        try:
            while not self._over.is_set():
                if not kept:
                    connection.close()
                job = self._ask(connection, "POST", "/run", {"input": {"chunks": 0}})["id"]
                with self._lock:
                    self.jobs.append(job)
                self._ask(connection, "GET", f"/status/{job}")
                self._ask(connection, "GET", f"/stream/{job}?after=0&wait=1000")
                if choose.random() < 0.3:
                    state = self._ask(connection, "POST", "/runsync?wait=1000", {"input": {"chunks": 1, "every_ms": 20}})
                    with self._lock:
                        self.jobs.append(state["id"])
                time.sleep(choose.uniform(0, 0.1))  # also idle now and then
        except BaseException as failure:
            with self._lock:
                self.failures.append((number, "kept" if kept else "fresh", repr(failure)))
        connection.close()

    def end(self):
        self._over.set()
        for thread in self._threads:
            thread.join()
        assert not self.failures, self.failures


class Events(threading.Thread):
    """Follows one job as a browser does: it connects again when the stream ends, with the number of its last chunk."""

    def __init__(self, endpoint, job):
        super().__init__()
        self.address, self.job = (endpoint.host, endpoint.port), job
        self.chunks, self.streams, self.failure = [], 0, None
        self.start()

    def run(self):
        try:
            last = None
            while True:
                connection = http.client.HTTPConnection(*self.address, timeout=120)
                headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last} if last else {})}
                connection.request("GET", f"/stream/{self.job}", headers=headers)
                response = connection.getresponse()
                self.streams += 1
                text = response.read().decode()  # whole: it would throw for one that is cut off
                connection.close()
                name = data = None
                for line in text.split("\n"):
                    field, _, value = line.partition(": ")
                    if field == "event":
                        name = value
                    elif field == "data":
                        data = json.loads(value)
                    elif field == "id":
                        last = value
                    elif not line and name == "chunk":
                        self.chunks.append(data["output"])
                        name = None
                    elif not line and name == "done":
                        return
                assert "retry: " in text, text[-200:]
        except BaseException as failure:
            self.failure = failure


@pytest.mark.parametrize("times", [1, 3])
def test_nobody_notices(tmp_path, times):
    installed = Installed(tmp_path)
    with serve(tmp_path, installed, "--workers", "4") as endpoint:
        until(lambda: endpoint.get("/health").json["workers"]["ready"] == 4, 60, "all children")
        hold = tmp_path / "hold"
        long = [endpoint.run({"chunks": 80, "every_ms": 100, "hold": str(hold)}) for _ in range(3)]
        until(lambda: set(long) <= set(starts(tmp_path)), 60, "the handlers' start")
        readers = [Events(endpoint, job) for job in long]
        load = Load(endpoint)
        pids = {supervisor_of(endpoint)}

        def all_follow(streams):
            requests = load.requests
            until(lambda: load.requests > requests + 100 or load.failures, 60, "some load")
            until(lambda: all(reader.streams == streams or reader.failure for reader in readers), 60, f"stream {streams} of each reader")

        for upgrades in range(times):
            all_follow(upgrades + 1)
            installed.good()
            pids.add(upgrade(endpoint))
        all_follow(times + 1)
        load.end()
        hold.touch()
        completed(endpoint, long, 80)
        for reader in readers:
            reader.join()
            assert not reader.failure, reader.failure
            assert reader.chunks == list(range(80)) and reader.streams == times + 1
        for job in load.jobs:
            assert endpoint.wait(job)["status"] == "COMPLETED"
        assert len(pids) == times + 1 and len(load.jobs) > 20
        assert_one_attempt_each(tmp_path, long + load.jobs)
        assert supervisor_below(endpoint.process.pid) == supervisor_of(endpoint)
        assert endpoint.stop() == 0
    assert not processes_with(str(tmp_path / "ledger"))


def test_long_polls_are_told_to_come_again(tmp_path):
    installed = Installed(tmp_path)
    hold = tmp_path / "hold"
    with serve(tmp_path, installed, "--workers", "2") as endpoint:
        answers = {}

        def ask(name, method, path, body=None):
            connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=120)
            connection.request(method, path, body)
            answers[name] = json.loads(connection.getresponse().read())
            connection.request("GET", "/bulkhead/upgrade")  # over the same connection: the next one has it
            answers[name + " then"] = json.loads(connection.getresponse().read())["pid"]

        job = endpoint.run({"chunks": 2, "every_ms": 1, "hold": str(hold)})
        until(lambda: len(endpoint.get(f"/stream/{job}?after=0").json["stream"]) == 2, 60, "two chunks")
        watching = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=120)
        watching.request("GET", "/bulkhead/events")
        watched = watching.getresponse()
        asked = [("status", "GET", f"/status-sync/{job}?wait=100000"), ("stream", "GET", f"/stream/{job}?after=2&wait=100000"),
                 ("runsync", "POST", "/runsync?wait=100000", json.dumps({"input": {"chunks": 0, "hold": str(hold)}}))]
        threads = [threading.Thread(target=ask, args=each) for each in asked]
        for thread in threads:
            thread.start()
        until(lambda: endpoint.get("/health").json["jobs"]["inProgress"] == 2, 60, "both jobs")
        until(lambda: endpoint.get("/bulkhead/snapshot").json["connections"] >= len(asked) + 1, 60, "the polls, and this")
        pid = upgrade(endpoint)
        for thread in threads:
            thread.join()
        assert {answers[name]["status"] for name in ("status", "stream", "runsync")} == {"IN_PROGRESS"}
        assert answers["stream"]["stream"] == [] and answers["stream"]["after"] == 2
        assert {answers[name + " then"] for name in ("status", "stream", "runsync")} == {pid}
        assert b"event: snapshot" in watched.read(), "whole, and at its end"
        hold.touch()
        assert endpoint.wait(job)["status"] == "COMPLETED"
        assert endpoint.wait(answers["runsync"]["id"])["status"] == "COMPLETED"


def test_a_request_that_is_arriving_is_answered(tmp_path):
    """The old one waits for it, whoever else waits meanwhile."""
    installed = Installed(tmp_path)
    with serve(tmp_path, installed) as endpoint, socket.create_connection((endpoint.host, endpoint.port)) as slow:
        body = json.dumps({"input": {"chunks": 0}}).encode()
        slow.sendall(b"POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:5])
        before = supervisor_of(endpoint)
        endpoint.process.send_signal(signal.SIGUSR2)
        endpoint.wait_line("handing over from version")
        slow.sendall(body[5:])
        slow.settimeout(60)
        answer = slow.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200") and b"IN_QUEUE" in answer, answer
        assert supervisor_of(endpoint) != before
        slow.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert slow.recv(65536).startswith(b"HTTP/1.1 200")


BAD_AT_ONCE = {
    "exits": lambda installed: installed.raw("#!/bin/sh\necho broken as can be >&2\nexit 1\n"),
    "not executable": lambda installed: installed.raw("#!/bin/sh\n", mode=0o644),
    "not a program": lambda installed: installed.raw("nothing that could be executed\n"),
    "missing": lambda installed: installed.path.unlink(),
    "hangs": lambda installed: installed.raw("#!/bin/sh\nexec sleep 1000\n"),
    "says nothing": lambda installed: installed.raw("#!/bin/sh\nexit 0\n"),
}
BAD_LATER = {
    "exits": ("exit 1", r"it ended with code 1"),
    "exits with 0": ("exit 0", r"it ended with code 0"),
    "hangs": ("exec sleep 1000", r"it was not ready within 3000 ms"),
    "dies after a second": ("sleep 1; kill -SEGV $$", r"SIGSEGV ended it"),
    "dies when it serves": (f'(sleep 2; kill -9 $$) & exec {BULKHEAD} "$@"', r"SIGKILL ended it"),
}


def assert_jobs_run_on(tmp_path, endpoint, hold, job):
    hold.touch()
    state = endpoint.wait(job)
    assert state["status"] == "COMPLETED", state
    assert_one_attempt_each(tmp_path, [job])


@pytest.mark.parametrize("kind", sorted(BAD_AT_ONCE))
def test_a_bad_program_is_not_begun(tmp_path, kind):
    installed = Installed(tmp_path)
    hold = tmp_path / "hold"
    with serve(tmp_path, installed) as endpoint:
        job = endpoint.run({"hold": str(hold)})
        until(lambda: job in starts(tmp_path), 60, "its start")
        before = supervisor_of(endpoint)
        BAD_AT_ONCE[kind](installed)
        endpoint.process.send_signal(signal.SIGUSR2)
        endpoint.wait_line("no upgrade: ")
        answer = endpoint.post("/bulkhead/upgrade")
        assert answer.status == 409 and answer.json["error"]["code"] == "upgrade_refused", answer.json
        if kind == "exits":
            assert "code 1: broken as can be" in answer.json["error"]["message"]
        assert view(endpoint)["pid"] == before and view(endpoint)["state"] == "serving"
        assert_jobs_run_on(tmp_path, endpoint, hold, job)
        os.kill(before, signal.SIGKILL)  # nor by a crash
        after = until(lambda: (pid := supervisor_of(endpoint)) != before and pid, 60, "the next one")
        assert endpoint.runsync({"chunks": 1})["status"] == "COMPLETED"
        installed.good()
        assert upgrade(endpoint) != after


@pytest.mark.parametrize("kind", sorted(BAD_LATER))
def test_the_old_one_is_back(tmp_path, kind):
    installed = Installed(tmp_path)
    hold = tmp_path / "hold"
    with serve(tmp_path, installed, *UNPROVED) as endpoint:
        job = endpoint.run({"hold": str(hold)})
        until(lambda: job in starts(tmp_path), 60, "its start")
        script, why = BAD_LATER[kind]
        installed.script(script)
        endpoint.process.send_signal(signal.SIGUSR2)
        endpoint.wait_line(rf"the new supervisor is no good \({why}", 60)
        endpoint.wait_line(rf"the upgrade failed \({why}.*is back", 60)
        now = view(endpoint)
        assert now["life"] == "back" and now["reason"], now
        assert_jobs_run_on(tmp_path, endpoint, hold, job)
        assert endpoint.runsync({"chunks": 1})["status"] == "COMPLETED"
        # It is whole: it is started again when it is killed, and hands over when there is a good one.
        os.kill(now["pid"], signal.SIGKILL)
        after = until(lambda: (pid := supervisor_of(endpoint)) != now["pid"] and pid, 60, "the next one")
        assert view(endpoint)["life"] == "again"
        installed.good()
        assert upgrade(endpoint) != after
        assert endpoint.stop() == 0
    assert not processes_with(str(tmp_path / "ledger"))


def test_while_it_ends_there_is_none(tmp_path):
    installed = Installed(tmp_path)
    hold = tmp_path / "hold"
    with serve(tmp_path, installed) as endpoint:
        job = endpoint.run({"hold": str(hold)})
        until(lambda: job in starts(tmp_path), 60, "its start")
        endpoint.process.send_signal(signal.SIGTERM)
        endpoint.wait_line("told to end")
        endpoint.process.send_signal(signal.SIGUSR2)
        endpoint.wait_line("no upgrade: the supervisor is ending")
        assert endpoint.post("/bulkhead/upgrade").status == 409
        hold.touch()
        assert endpoint.stop() == 0
    with serve(tmp_path, installed) as endpoint:
        assert endpoint.wait(job)["status"] == "COMPLETED"
    assert_one_attempt_each(tmp_path, [job])


def test_told_to_end_while_it_hands_over(tmp_path):
    """The next one is told, too, and drains."""
    installed = Installed(tmp_path)
    with serve(tmp_path, installed) as endpoint:
        job = endpoint.run({"chunks": 20, "every_ms": 100})
        until(lambda: job in starts(tmp_path), 60, "its start")
        endpoint.process.send_signal(signal.SIGUSR2)
        endpoint.wait_line("handing over from version")
        assert endpoint.stop() == 0
    with serve(tmp_path, installed) as endpoint:
        assert endpoint.wait(job)["status"] == "COMPLETED"
    assert_one_attempt_each(tmp_path, [job])


def test_two_at_once_are_one_or_two_but_never_a_failure(tmp_path):
    installed = Installed(tmp_path)
    with serve(tmp_path, installed) as endpoint:
        job = endpoint.run({"chunks": 50, "every_ms": 100})
        until(lambda: job in starts(tmp_path), 60, "its start")
        before = supervisor_of(endpoint)
        statuses = []

        def ask():
            connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=120)
            connection.request("POST", "/bulkhead/upgrade")
            statuses.append(connection.getresponse().status)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(4):
            endpoint.process.send_signal(signal.SIGUSR2)
        for thread in threads:
            thread.join()
        assert statuses == [202] * 4
        until(lambda: supervisor_of(endpoint) != before, 60, "the next supervisor")
        completed(endpoint, [job], 50)
        assert_one_attempt_each(tmp_path, [job])
        assert endpoint.stop() == 0


def test_it_is_proved_after_a_while_and_the_command_says_so(tmp_path):
    installed = Installed(tmp_path)
    with serve(tmp_path, installed) as endpoint:
        before = supervisor_of(endpoint)
        installed.good()
        env = {name: value for name, value in os.environ.items() if not name.startswith("BULKHEAD_")}
        done = subprocess.run([BULKHEAD, "upgrade", "--url", f"http://{endpoint.host}:{endpoint.port}"], env=env,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0 and "on trial" in done.stderr and " serves" in done.stdout, done
        now = view(endpoint)
        assert now["life"] == "upgraded" and now["pid"] not in (before, 0)
        # From here on it is what is started after a crash, and what is gone back to.
        installed.script("exit 3")
        os.kill(now["pid"], signal.SIGKILL)
        until(lambda: view(endpoint)["pid"] != now["pid"], 60, "the next one")
        done = subprocess.run([BULKHEAD, "upgrade", "--json", "--url", f"http://{endpoint.host}:{endpoint.port}"], env=env,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        assert done.returncode == 1 and "it ended with code 3" in done.stderr, done
        assert json.loads(done.stdout)["life"] == "back"


def test_a_reload_with_another_program_is_an_upgrade(tmp_path):
    installed = Installed(tmp_path)
    with serve(tmp_path, installed) as endpoint:
        before = supervisor_of(endpoint)
        endpoint.process.send_signal(signal.SIGHUP)
        endpoint.wait_line("the configuration was read again")
        assert supervisor_of(endpoint) == before
        installed.good()
        endpoint.process.send_signal(signal.SIGHUP)
        until(lambda: supervisor_of(endpoint) != before, 60, "the next supervisor")
        assert view(endpoint)["life"] == "trial"


@pytest.mark.parametrize("options, env, why", [
    ([], {"BULKHEAD_INIT": "never"}, "there is no init above"), (["--durability", "memory"], {}, "--durability memory"),
    (["--orphan-timeout", "0"], {}, "--orphan-timeout 0")])
def test_where_there_is_none_it_is_said_why(tmp_path, options, env, why):
    installed = Installed(tmp_path)
    with serve(tmp_path, installed, *options, env=env) as endpoint:
        answer = endpoint.post("/bulkhead/upgrade")
        assert answer.status == 409 and why in answer.json["error"]["message"], answer.json
        before = supervisor_of(endpoint)
        endpoint.process.send_signal(signal.SIGUSR2)
        endpoint.wait_line(f"no upgrade: .*{why}")
        assert supervisor_of(endpoint) == before


def test_a_drain_over_http_does_not_bring_the_old_one_back(tmp_path):
    """The init would take the end of a supervisor on trial for a failure, and the drain would be lost."""
    installed = Installed(tmp_path)
    with serve(tmp_path, installed, *UNPROVED) as endpoint:
        new = upgrade(endpoint)
        refused = endpoint.post("/bulkhead/drain")
        assert refused.status == 409 and refused.json["error"]["code"] == "upgrading", refused.body
        until(lambda: view(endpoint)["life"] == "upgraded", 60, "the end of the trial")
        assert supervisor_of(endpoint) == new
        assert endpoint.post("/bulkhead/drain").status == 200
        assert endpoint.process.wait(60) == 0


def test_an_address_that_cannot_be_listened_on_is_told_before(tmp_path):
    """Both programs read the same configuration: there would be none to come back."""
    installed = Installed(tmp_path)
    settings = tmp_path / "bulkhead.toml"
    settings.write_text("")
    with socket.socket() as taken, serve(tmp_path, installed, "--config", str(settings)) as endpoint:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        before = supervisor_of(endpoint)
        settings.write_text(f'metrics-listen = ["{address}"]\n')
        answer = endpoint.post("/bulkhead/upgrade")
        assert answer.status == 409 and f"cannot listen on {address}: Address already in use" in answer.json["error"]["message"]
        assert supervisor_of(endpoint) == before
        taken.close()
        assert upgrade(endpoint) != before
        with socket.create_connection(("127.0.0.1", int(address.split(":")[1]))):
            pass
        assert upgrade(endpoint), "what it listens on itself is not tried"


def test_after_a_crash_another_address_may_be_asked_for(tmp_path):
    """The socket that was kept is in the way of the same port of all addresses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = tmp_path / "bulkhead.toml"
    settings.write_text(f'listen = ["127.0.0.1:{port}"]\n')
    process = subprocess.Popen(
        [BULKHEAD, "serve", "--config", settings, "--state-dir", tmp_path / "state", "--", *STEADY], stderr=subprocess.PIPE,
        text=True, cwd=tmp_path,
        env={**os.environ, "BULKHEAD_INIT": "always", "BULKHEAD_API_KEYS": "a=secret-secret-secret"})
    try:
        assert any("listening on" in line for line in process.stderr)
        settings.write_text(f'listen = ["0.0.0.0:{port}"]\n')
        os.kill(supervisor_below(process.pid), signal.SIGKILL)
        assert any(f"listening on http://0.0.0.0:{port}" in line for line in process.stderr)
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_killed_supervisor_refuses_nobody_either(tmp_path):
    """The init has its sockets: on any port that was free, too."""
    installed = Installed(tmp_path)
    with serve(tmp_path, installed) as endpoint:
        for _ in range(3):
            before = supervisor_of(endpoint)
            os.kill(before, signal.SIGKILL)
            connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=60)
            until(lambda: has_ended(before), 60, "its end")
            connection.request("GET", "/health")
            assert connection.getresponse().status == 200
            until(lambda: supervisor_of(endpoint) != before, 60, "the next one")
        assert endpoint.stop() == 0
    with pytest.raises(OSError):
        socket.create_connection((endpoint.host, endpoint.port)).close()
