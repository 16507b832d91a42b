"""What a service manager is told, by a socket that stands in for it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from endpoint import BULKHEAD, SOURCE, Endpoint, UnixConnection, example, supervisor_below, until
from installed import Installed

ZOO = [example("crash_zoo")]


class Manager:
    """Keeps what it is told, in order: (variable, value)."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(0.2)
        self.told = []
        self.over = False
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        while True:
            try:
                text = self.socket.recv(4096).decode()
            except TimeoutError:
                if self.over:
                    return
                continue
            self.told += [tuple(line.split("=", 1)) for line in text.splitlines()]

    def wait(self, variable, value=None, after=0):
        def found():
            return next((index for index, (name, text) in enumerate(self.told[after:], after + 1)
                         if name == variable and value in (None, text)), None)
        return until(found, 60, f"{variable}={value or ''}")

    def count(self, variable):
        return sum(name == variable for name, _ in self.told)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over = True
        self.thread.join()
        self.socket.close()


@pytest.fixture(params=["path", "abstract"])
def address(request, tmp_path):
    return str(tmp_path / "notify") if request.param == "path" else f"\0bulkhead-test-{os.getpid()}-{time.monotonic_ns()}"


def variable(address):
    return "@" + address[1:] if address.startswith("\0") else address


@pytest.mark.parametrize("init", ["never", "always"])
def test_a_life(tmp_path, address, init):
    with Manager(address) as manager:
        env = {"NOTIFY_SOCKET": variable(address), "BULKHEAD_INIT": init}
        with Endpoint(ZOO, "--workers", "2", state=tmp_path / "state", env=env) as endpoint:
            at = manager.wait("READY", "1")
            manager.wait("STATUS", "2 of 2 handler processes ready, 0 jobs running, 0 waiting")
            endpoint.run({"do": "sleep_ms", "ms": 3000})
            manager.wait("STATUS", "2 of 2 handler processes ready, 1 jobs running, 0 waiting", at)
            endpoint.process.send_signal(signal.SIGHUP)
            at = manager.wait("RELOADING", "1", at)
            manager.wait("MONOTONIC_USEC", None, at - 1)
            at = manager.wait("READY", "1", at)
            endpoint.process.send_signal(signal.SIGTERM)
            at = manager.wait("STOPPING", "1", at)
            manager.wait("EXTEND_TIMEOUT_USEC", None, at)
            assert endpoint.stop() == 0
    assert manager.count("WATCHDOG") == manager.count("MAINPID") == 0


def test_sockets_are_kept_and_found_again(tmp_path):
    """Left with the manager, a socket comes back by LISTEN_FDS, and is taken for the address it is bound to."""
    address = str(tmp_path / "notify")
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(address)
    manager.settimeout(60)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    stores = []

    def read():  # all the time: a manager that does not read is not spoken to for long
        while True:
            try:
                text, descriptors, _, _ = socket.recv_fds(manager, 4096, 16)
            except OSError:
                return
            if text.startswith(b"FDSTORE=1"):
                assert b"FDNAME=bulkhead" in text
                stores.append(descriptors)
    manager.settimeout(None)
    threading.Thread(target=read, daemon=True).start()

    def kept():
        return until(lambda: stores and stores.pop(0), 60, "sockets left with the manager")
    with Endpoint(ZOO, listen=f"127.0.0.1:{port}", state=tmp_path / "state", env={"NOTIFY_SOCKET": address}):
        pass
    [stored] = kept()
    # The first one has ended, and nobody is refused.
    waiting = socket.create_connection(("127.0.0.1", port), 60)
    argv = ["sh", "-c", 'LISTEN_FDS=1 LISTEN_FDNAMES=bulkhead LISTEN_PID=$$ exec "$@"', "sh", BULKHEAD, "serve", "--listen", f"127.0.0.1:{port}",
            "--state-dir", str(tmp_path / "state"), "--", *ZOO]
    process = subprocess.Popen(argv, env={**os.environ, "NOTIFY_SOCKET": address}, pass_fds=(3,), stderr=subprocess.DEVNULL,
                               preexec_fn=lambda: os.dup2(stored, 3))
    try:
        waiting.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        waiting.settimeout(60)
        assert waiting.recv(100).startswith(b"HTTP/1.1 2")
        process.send_signal(signal.SIGTERM)
        assert len(kept()) == 1
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        manager.shutdown(socket.SHUT_RDWR)
        waiting.close(), os.close(stored), manager.close()


@pytest.mark.parametrize("name", ["bulkhead", "other"])
def test_a_socket_no_address_names(tmp_path, name):
    """One of our own of an earlier start refuses from now on; one of somebody's is warned about."""
    address = str(tmp_path / "notify")
    old = socket.create_server(("127.0.0.1", 0))
    port = old.getsockname()[1]
    with Manager(address) as manager, old:
        env = {"NOTIFY_SOCKET": address, "BULKHEAD_INIT": "always"}
        with Endpoint(ZOO, state=tmp_path / "state", env=env, before=handing_over(old, name),
                      pass_fds=(old.fileno(),)) as endpoint:
            old.close()
            endpoint.wait_line(f"127.0.0.1:{port} .*listen")
            supervisor = 0
            for lives in (2, 3):
                if name == "bulkhead":
                    until(lambda: refuses(port), 60, "a refusal")
                else:
                    assert not refuses(port)
                # Nor does the next supervisor stumble over it.
                supervisor = supervisor_below(endpoint.process.pid, supervisor)
                os.kill(supervisor, signal.SIGKILL)
                until(lambda: sum("listening on" in line for line in endpoint.lines) >= lives, 60, "the next supervisor")
            assert endpoint.stop() == 0
    if name == "other":
        assert manager.count("FDSTOREREMOVE") == 0


def handing_over(listener, name):
    """In front of a command: what a service manager does for it."""
    return [sys.executable, "-c", f"""
import os, sys
os.dup2({listener.fileno()}, 3)
pid = str(os.getpid())
os.environ.update(LISTEN_FDS="1", LISTEN_FDNAMES="{name}", LISTEN_PID=pid, WATCHDOG_PID=pid)
os.execv(sys.argv[1], sys.argv[1:])"""]


def refuses(port):
    try:
        socket.create_connection(("127.0.0.1", port), 60).close()
        return False
    except ConnectionRefusedError:
        return True


def test_a_word_that_is_lost_is_said_again(tmp_path):
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        manager.bind(address)
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            for _ in range(100_000):
                other.sendto(b"X=1", address)
        with Endpoint(ZOO, state=tmp_path / "state", env={"NOTIFY_SOCKET": address}) as endpoint:
            end = time.monotonic() + 2
            while time.monotonic() < end:  # it has tried by then
                endpoint.get("/health")
            manager.settimeout(60)
            while b"READY=1" not in manager.recv(4096):
                pass


def test_a_reload_before_the_first_handler_is_ready_says_nothing(tmp_path):
    address, go = str(tmp_path / "notify"), tmp_path / "go"
    command = ["sh", "-c", f'while [ ! -e {go} ]; do sleep 0.05; done; exec "$@"', "sh", *ZOO]
    with Manager(address) as manager:
        with Endpoint(command, state=tmp_path / "state", env={"NOTIFY_SOCKET": address}, ready=False) as endpoint:
            endpoint.process.send_signal(signal.SIGHUP)
            endpoint.wait_line("the configuration was read again")
            go.write_text("")
            at = manager.wait("READY")
            ready = manager.wait("STATUS", "1 of 1 handler processes ready, 0 jobs running, 0 waiting")
            assert at == ready - 1 and manager.count("RELOADING") == 0, manager.told


@pytest.mark.parametrize("good", [True, False])
def test_a_reload_with_another_program_is_over_when_somebody_is_ready(tmp_path, good):
    installed = Installed(tmp_path)
    with Manager(str(tmp_path / "notify")) as manager:
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "BULKHEAD_INIT": "always"}
        with Endpoint(ZOO, state=tmp_path / "state", env=env, program=str(installed.path)) as endpoint:
            at = manager.wait("READY", "1")
            before = supervisor_below(endpoint.process.pid)
            installed.good() if good else installed.raw("#!/bin/sh\nexit 1\n")
            endpoint.process.send_signal(signal.SIGHUP)
            at = manager.wait("RELOADING", "1", at)
            if good:
                at = manager.wait("RELOADING", "1", at)  # what was asked for on the way is over, too
            manager.wait("READY", "1", at)
            endpoint.wait_line("has taken over" if good else "no upgrade: .*is no good")
            assert (supervisor_below(endpoint.process.pid) != before) == good
            assert manager.count("STOPPING") == 0
            assert endpoint.stop() == 0


def test_ready_waits_for_a_handler(tmp_path):
    address = str(tmp_path / "notify")
    with Manager(address) as manager:
        argv = [BULKHEAD, "serve", "--listen", "127.0.0.1:0", "--state-dir", str(tmp_path / "state"), "--", *ZOO, "--setup", "exit3"]
        run = subprocess.run(argv, env={**os.environ, "NOTIFY_SOCKET": address}, capture_output=True, timeout=120)
        assert run.returncode == 69
    assert manager.count("READY") == 0  # all that was told has been read


def test_the_watchdog_is_fed(tmp_path):
    """By the supervisor, though the init is the main process; and no more once it is stopped."""
    address = str(tmp_path / "notify")
    with Manager(address) as manager:
        argv = ["sh", "-c", 'WATCHDOG_PID=$$ exec "$@"', "sh", BULKHEAD, "serve", "--listen", f"unix:{tmp_path}/door",
                "--state-dir", str(tmp_path / "state"), "--", *ZOO]
        env = {**os.environ, "NOTIFY_SOCKET": address, "WATCHDOG_USEC": "400000", "BULKHEAD_INIT": "always"}
        process = subprocess.Popen(argv, env=env, stderr=subprocess.DEVNULL)
        try:
            manager.wait("READY")
            seen = manager.count("WATCHDOG")
            until(lambda: manager.count("WATCHDOG") >= seen + 5, 60, "signs of life")
            supervisor = supervisor_below(process.pid)
            os.kill(supervisor, signal.SIGSTOP)

            heard, at = manager.count("WATCHDOG"), time.monotonic()

            def silent():
                nonlocal heard, at
                if manager.count("WATCHDOG") != heard:
                    heard, at = manager.count("WATCHDOG"), time.monotonic()
                return time.monotonic() - at > 1  # many times as long as between two signs
            until(silent, 60, "silence")
            process.send_signal(signal.SIGABRT)  # what systemd does then
            assert process.wait(60) == 128 + signal.SIGABRT
        finally:
            process.kill()
            process.wait()


def test_another_s_watchdog_is_not_fed(tmp_path):
    address = str(tmp_path / "notify")
    with Manager(address) as manager:
        env = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}
        with Endpoint(ZOO, state=tmp_path / "state", env=env):
            manager.wait("READY")
    assert manager.count("WATCHDOG") == 0


class Journal:
    """Takes journald's place: entries as they are sent, one field a line, several lines with their length before them."""

    def __init__(self, folder):
        self.address = str(folder / "journal")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.address)
        self.socket.settimeout(60)
        self.entries = []

    def until(self, found):
        while not any(found(entry) for entry in self.entries):
            entry, text = {}, self.socket.recv(1 << 20)
            while text:
                line, text = text.split(b"\n", 1)
                name, equals, value = line.partition(b"=")
                if not equals:
                    size = int.from_bytes(text[:8], "little")
                    value, text = text[8:8 + size], text[9 + size:]
                entry[name.decode()] = value.decode()
            self.entries.append(entry)
        return next(entry for entry in self.entries if found(entry))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def test_the_journal_s_entries(tmp_path):
    argv = [BULKHEAD, "serve", "--listen", f"unix:{tmp_path}/door", "--state-dir", str(tmp_path / "state"),
            "--log-format", "journal", "--init", "never", "--", *ZOO, "--setup", "exit3"]
    with Journal(tmp_path) as journal:
        process = subprocess.Popen(argv, env={**os.environ, "BULKHEAD_JOURNAL_SOCKET": journal.address},
                                   stderr=subprocess.DEVNULL)
        try:
            own = journal.until(lambda entry: entry["MESSAGE"].startswith("listening on"))
            assert own["PRIORITY"] == "6" and own["SYSLOG_IDENTIFIER"] == "bulkhead" and "WORKER_ID" not in own
            pool = journal.until(lambda entry: "set-up failed" in entry["MESSAGE"])
            assert pool["PRIORITY"] == "4" and pool["WORKER_ID"].startswith("w0.") and "\n" in pool["MESSAGE"]
            assert pool["MESSAGE_ID"] != own["MESSAGE_ID"]
            assert process.wait(60) == 69
        finally:
            process.kill()
            process.wait()


def documented():
    """The MESSAGE_IDs of docs/SYSTEMD.md: the line's text -> the id."""
    text = (SOURCE / "docs" / "SYSTEMD.md").read_text()
    return {what: number for number, what in re.findall(r"^\| `([0-9a-f]{32})` \| (.+) \|$", text, re.M)}


def test_a_job_s_whole_life_is_in_the_journal(tmp_path):
    """Each line about it has the job, the process and the attempt; each kind of line its MESSAGE_ID."""
    with Journal(tmp_path) as journal:
        env = {"BULKHEAD_JOURNAL_SOCKET": journal.address, "BULKHEAD_LISTEN": f"unix:{tmp_path}/door"}
        argv = [BULKHEAD, "serve", "--state-dir", str(tmp_path / "state"), "--log-format", "journal", "--retries", "1",
                "--init", "never", "--", *ZOO]
        process = subprocess.Popen(argv, env={**os.environ, **env}, stderr=subprocess.DEVNULL)
        try:
            journal.until(lambda entry: entry["MESSAGE"].startswith("listening on"))
            client = UnixConnection(f"{tmp_path}/door", 80, 60)
            body = json.dumps({"input": {"do": "log", "text": "a line of it"}})
            client.request("POST", "/run", body, {"Content-Type": "application/json"})
            job = json.loads(client.getresponse().read())["id"]
            body = json.dumps({"input": {"do": "segfault"}})
            client.request("POST", "/run", body, {"Content-Type": "application/json"})
            crashing = json.loads(client.getresponse().read())["id"]
            ids = documented()

            def of(job, kind, attempt=None):
                return journal.until(lambda entry: entry.get("JOB_ID") == job and entry["MESSAGE_ID"] == ids[kind] and
                                     (attempt is None or entry.get("ATTEMPT") == attempt))
            assert "WORKER_ID" not in of(job, "a job was accepted")
            for kind in ("a job was started", "a handler's output and log", "a job ended"):
                assert of(job, kind, "1")["WORKER_ID"].startswith("w0."), kind
            assert of(job, "a handler's output and log", "1")["MESSAGE"] == "a line of it"
            assert of(crashing, "a job waits to be run again", "1")["WORKER_ID"].startswith("w0.")
            of(crashing, "a job was started", "2")
            lost = of(crashing, "a job failed by the death of its process, or by its deadline", "2")
            assert lost["PRIORITY"] == "4" and "FAILED (WorkerCrash)" in lost["MESSAGE"]
            process.send_signal(signal.SIGHUP)
            journal.until(lambda entry: entry["MESSAGE_ID"] == ids["the configuration was read again, or was not"])
            process.send_signal(signal.SIGTERM)
            journal.until(lambda entry: entry["MESSAGE_ID"] == ids["the service was told to end"])
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()
        assert {entry["MESSAGE_ID"] for entry in journal.entries} <= set(ids.values())


def test_handlers_do_not_speak_for_the_service(tmp_path):
    address = str(tmp_path / "notify")
    names = "NOTIFY_SOCKET WATCHDOG_USEC WATCHDOG_PID LISTEN_FDS LISTEN_PID LISTEN_FDNAMES"
    command = ["sh", "-c", f'for name in {names}; do eval "echo $name is [\\$$name]"; done; exec "$@"', "sh", *ZOO]
    listener = socket.create_server(("127.0.0.1", 0))
    with Manager(address) as manager, listener:
        env = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "9000000"}
        with Endpoint(command, state=tmp_path / "state", env=env, before=handing_over(listener, "bulkhead"),
                      pass_fds=(listener.fileno(),), listen="127.0.0.1:%d" % listener.getsockname()[1]) as endpoint:
            manager.wait("WATCHDOG")  # it is told itself
            for name in names.split():
                endpoint.wait_line(rf"{name} is \[\]")
