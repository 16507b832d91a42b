"""`serve` and `run` as users start them: with the init above the supervisor."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from endpoint import BULKHEAD, Endpoint, children_of, command_of, example, processes_with, supervisor_below, until

ZOO = [example("crash_zoo")]
ECHO = [example("echo")]
ABOVE = {"BULKHEAD_INIT": "always"}


def answers(endpoint):
    try:
        return endpoint.get("/health").status == 200
    except OSError:
        return False
    except Exception:  # cut off in the middle of an answer
        return False


def test_a_term_drains_and_leaves_nothing(tmp_path):
    with Endpoint(ZOO, "--workers", "2", state=tmp_path / "state", env=ABOVE) as endpoint:
        assert command_of(endpoint.process.pid).endswith("bulkhead-init")
        job = endpoint.run({"do": "sleep_ms", "ms": 700})
        until(lambda: endpoint.get(f"/status/{job}").json["status"] == "IN_PROGRESS", what="its start")
        assert endpoint.stop() == 0
    assert not processes_with(str(tmp_path))
    with Endpoint(ZOO, state=tmp_path / "state") as endpoint:
        assert endpoint.wait(job)["status"] == "COMPLETED"


def test_the_init_waits_for_all_graces(tmp_path):
    """The ladder's for a job, and once more those of a replacement that is stopped behind it."""
    with Endpoint(ZOO, "--grace", "1s", "--cancel-grace", "2s", "--term-grace", "40s", state=tmp_path / "state",
                  env=ABOVE) as endpoint:
        words = Path(f"/proc/{endpoint.process.pid}/cmdline").read_text().split("\0")
        assert int(words[words.index("--grace") + 1]) > 1 + 2 + 40 + 40
        assert endpoint.stop() == 0


def test_a_longer_grace_needs_a_new_init(tmp_path):
    """Who comes after a crash reads the file again; the init above keeps the time it was told."""
    file = tmp_path / "settings.toml"
    file.write_text('grace = "3s"\n')
    with Endpoint(ZOO, "--config", str(file), listen=f"unix:{tmp_path}/door", state=tmp_path / "state", env=ABOVE) as endpoint:
        first = supervisor_below(endpoint.process.pid)
        file.write_text('grace = "1h"\n')
        os.kill(first, signal.SIGKILL)
        endpoint.wait_line("grace = 3600 s: .* 3 s")
        until(lambda: answers(endpoint), 60, "the next supervisor")
        endpoint.process.send_signal(signal.SIGTERM)
        endpoint.wait_line("may finish within 3 s")
        assert endpoint.stop() == 0


def test_handlers_that_break_later_are_no_reason_to_go(tmp_path):
    """Exit 69 is for those that never worked: not in the first life, nor in one that ended by a crash."""
    broken = tmp_path / "broken"
    command = ["sh", "-c", f'test -e {broken} && exit 3; exec "$@"', "sh", *ZOO]
    door = tmp_path / "door"
    with Endpoint(command, "--workers", "1", "--orphan-timeout", "0", listen=f"unix:{door}", state=tmp_path / "state",
                  env=ABOVE) as endpoint:
        broken.write_text("")
        for life in (1, 2):
            supervisor = supervisor_below(endpoint.process.pid)
            os.kill(supervisor, signal.SIGKILL)
            until(lambda: supervisor not in children_of(endpoint.process.pid), 60, "its end")
            until(lambda: sum("set-up failed 5 times" in line for line in endpoint.lines) >= life, 60, "five failures")
            until(lambda: answers(endpoint), 60, "an answer")
        broken.unlink()
        until(lambda: endpoint.get("/health").json["workers"]["ready"] > 0, 120, "a ready worker")
        assert endpoint.stop() == 0


def test_a_second_term_shortens(tmp_path):
    with Endpoint(ZOO, "--grace", "1h", "--cancel-grace", "200ms", "--term-grace", "200ms", state=tmp_path / "state",
                  env=ABOVE) as endpoint:
        job = endpoint.run({"do": "ignore_term"})
        until(lambda: endpoint.get(f"/status/{job}").json["status"] == "IN_PROGRESS", what="its start")
        endpoint.process.send_signal(signal.SIGTERM)
        endpoint.wait_line("finish")
        assert endpoint.stop() == 0
    assert not processes_with(str(tmp_path))


def test_a_killed_supervisor_comes_back(tmp_path):
    door = tmp_path / "door"
    with Endpoint(ZOO, "--workers", "4", listen=f"unix:{door}", state=tmp_path / "state", env=ABOVE) as endpoint:
        first = supervisor_below(endpoint.process.pid)
        jobs = [endpoint.run({"do": "sleep_ms", "ms": 3000}) for _ in range(4)]
        endpoint.until_entered(*jobs)
        handlers = children_of(first)
        began = time.monotonic()
        os.kill(first, signal.SIGKILL)
        until(lambda: first not in children_of(endpoint.process.pid) and answers(endpoint), 60, "the next supervisor")
        print(f"serving again after {1000 * (time.monotonic() - began):.0f} ms")
        assert supervisor_below(endpoint.process.pid, first) != first
        for job in jobs:
            state = endpoint.wait(job)
            assert state["status"] == "COMPLETED", state
        assert all(command_of(pid) for pid in handlers), "its handlers are the next one's"
        # Started again, it ends as ever.
        assert endpoint.stop() == 0
    assert not processes_with(str(tmp_path))


def test_too_many_deaths_are_the_end(tmp_path):
    with Endpoint(ECHO, state=tmp_path / "state", env=ABOVE) as endpoint:
        pid = endpoint.process.pid
        def kill_next():
            for child in children_of(pid):
                if command_of(child).endswith("/bulkhead"):
                    os.kill(child, signal.SIGKILL)
            return endpoint.process.poll() is not None
        until(kill_next, 120, "its giving up")
        assert endpoint.process.returncode == 128 + signal.SIGKILL
        endpoint.wait_line("started again 10 times within 60 s: giving up")
    until(lambda: not processes_with(str(tmp_path)), what="the end of everything")


def test_the_supervisor_does_not_outlive_its_init(tmp_path):
    # A handler waits for a next supervisor, who does not come.
    with Endpoint(ZOO, "--orphan-timeout", "1s", state=tmp_path / "state", env=ABOVE) as endpoint:
        job = endpoint.run({"do": "sleep_ms", "ms": 60000})
        until(lambda: endpoint.get(f"/status/{job}").json["status"] == "IN_PROGRESS", what="its start")
        endpoint.stop(signal.SIGKILL)
    until(lambda: not processes_with(str(tmp_path)), 60, "the end of everything")


def test_sockets_handed_over_are_kept(tmp_path):
    """Whoever connects while there is no supervisor is served by the next."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        port = listener.getsockname()[1]

        def hand_over():
            os.dup2(listener.fileno(), 3)
            os.environ["LISTEN_PID"] = str(os.getpid())

        argv = ["sh", "-c", 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"', "sh", BULKHEAD, "serve", "--state-dir",
                str(tmp_path / "state"), "--", *ECHO]
        process = subprocess.Popen(argv, preexec_fn=hand_over, pass_fds=(3,), stdin=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True)
    try:
        served = until(lambda: ask(port), 60, "the first answer")
        for _ in range(3):
            first = supervisor_below(process.pid)
            os.kill(first, signal.SIGKILL)
            # No connection is refused meanwhile: this one waits in the socket's queue.
            assert ask(port, timeout=60) == served
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def ask(port, timeout=20.0):
    import http.client
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    deadline = time.monotonic() + timeout
    try:
        while True:
            try:
                connection.request("GET", "/health")
                return connection.getresponse().status
            except ConnectionRefusedError:
                raise
            except (http.client.HTTPException, ConnectionError):  # its supervisor died with it in hand
                connection.close()
                if time.monotonic() > deadline:
                    raise
    finally:
        connection.close()


def test_a_run_is_not_run_twice(tmp_path):
    test_input = '{"input": {"do": "sleep_ms", "ms": 60000}}'
    process = subprocess.Popen([BULKHEAD, "run", "--", *ZOO, "--test_input", test_input], stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    try:
        supervisor = supervisor_below(process.pid)
        until(lambda: [pid for pid in children_of(supervisor) if "crash_zoo" in command_of(pid)], 60, "its handler")
        os.kill(supervisor, signal.SIGKILL)
        assert process.wait(60) == 128 + signal.SIGKILL
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_exit_codes_pass_through(tmp_path):
    def code(*arguments, command=("true",)):
        argv = [BULKHEAD, *arguments, "--state-dir", str(tmp_path / "state"), "--", *command]
        return subprocess.run(argv, capture_output=True, cwd=tmp_path, timeout=120).returncode
    serve = ("serve", "--listen", "127.0.0.1:0")
    assert code("serve", "--workers", "0") == 2
    assert code(*serve, "--config", str(tmp_path / "none.toml")) == 78
    os.mkfifo(tmp_path / "pipe")  # which can be read once
    assert code(*serve, "--config", str(tmp_path / "pipe")) == 78
    assert code("serve", "--listen", "unix:/no/such/directory/socket", command=ECHO) == 71
    assert code(*serve, command=[*ZOO, "--setup", "exit3"]) == 69
    assert code("run", command=[*ZOO, "--test_input", '{"input": {"do": "ok"}}']) == 0
    assert code("run", command=[*ZOO, "--test_input", '{"input": {"do": "throw"}}']) == 1


def test_idle_it_costs_next_to_nothing(tmp_path):
    with Endpoint(ECHO, state=tmp_path / "state", env=ABOVE) as endpoint:
        pid = endpoint.process.pid
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        private = sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_"))
        assert private < 1000, rollup

        def switches():
            status = Path(f"/proc/{pid}/status").read_text()
            return [line for line in status.splitlines() if line.startswith("voluntary_ctxt")]
        before = switches()
        assert [endpoint.runsync({"n": n})["status"] for n in range(50)] == ["COMPLETED"] * 50
        assert switches() == before
