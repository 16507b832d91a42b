"""top, ps --watch and logs -f in a real terminal: what stands there, keys, sizes, and that the terminal is given back."""

import http.server
import json
import os
import re
import signal
import subprocess
import threading
import time

import pytest

from calling import HANDLER, environment
from endpoint import BULKHEAD, Endpoint, example, until
from terminal import Terminal, needs_tmux

pytestmark = needs_tmux
ZOO = [example("crash_zoo")]
WAITS = {"do": "sleep_ms", "ms": 600000}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    with Endpoint(ZOO, "--workers", "2", "--grace", "1s", state=tmp_path_factory.mktemp("zoo") / "state") as endpoint:
        yield endpoint


@pytest.fixture
def terminal(zoo):
    with Terminal(env=environment(zoo)) as terminal:
        yield terminal


def settings(terminal):
    """The terminal's, as stty prints them."""
    name = terminal._tmux("display-message", "-p", "#{pane_tty}").strip()
    return subprocess.run(["stty", "-a", "-F", name], capture_output=True, text=True, check=True).stdout


def given_back(terminal, before=None):
    """Soon, for the shell puts things in order, too, before its prompt."""
    until(lambda: terminal.in_order and before in (None, settings(terminal)), 60, "a terminal in order")


def fits(screen, columns, rows):
    lines = screen.rstrip("\n").split("\n")
    return len(lines) <= rows and all(len(line) <= columns for line in lines)


def test_top_shows_what_happens_on_80_by_24(zoo, terminal):
    before = settings(terminal)
    terminal.type(f"{BULKHEAD} top\n")
    screen = terminal.until(lambda screen: len(re.findall(r"^w\d\.1 +\d+ +ready", screen, re.M)) == 2)
    assert fits(screen, 80, 24) and "serving, ready" in screen.splitlines()[0]
    assert "2 of 2 children" in screen.splitlines()[-1]
    job = zoo.run(WAITS)
    screen = terminal.until(job[:20])
    assert "running 1" in screen
    zoo.post(f"/cancel/{job}")
    terminal.until(lambda screen: "cancelled 1" in screen and job[:20] not in screen)
    zoo.wait(zoo.run({"do": "segfault"}))
    terminal.until(lambda screen: "was killed by SIGSEGV" in screen and re.search(r"restarts [1-9]\d* \(signal", screen))
    terminal.type("s")
    terminal.until("s sort (memory)")
    terminal.press("q")
    terminal.until(lambda screen: "q quit" not in screen)
    given_back(terminal, before)
    assert terminal.run("true").count("$") >= 2


def test_top_takes_another_size_at_once(zoo, terminal):
    terminal.type(f"{BULKHEAD} top\n")
    terminal.until("q quit")
    for columns, rows in ((40, 10), (132, 43), (20, 4), (80, 24)):
        terminal.resize(columns, rows)
        screen = terminal.until(lambda screen: "bulkhead" in screen.split("\n")[0] and ("children" in screen.rstrip().split("\n")[-1])
                                and len(screen.rstrip("\n").split("\n")) == rows)
        assert fits(screen, columns, rows)
    terminal.press("q")
    terminal.until(lambda screen: "q quit" not in screen)
    given_back(terminal)


@pytest.mark.parametrize("how, code", [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129), ("SIGQUIT", 129), ("C-c", 130)])
def test_whatever_ends_it_gives_the_terminal_back(zoo, terminal, how, code):
    before = settings(terminal)
    for words in ("top", "ps --watch"):
        terminal.run("clear")
        terminal.type(f"{BULKHEAD} {words}; echo it ended with $?\n")
        terminal.until("serving, ready")
        assert not terminal.in_order
        if how == "C-c":
            terminal.press("C-c")
        else:
            os.kill(terminal.child("bulkhead"), getattr(signal, how))
        screen = terminal.until(lambda screen: re.search(r"it ended with \d", screen))
        assert f"it ended with {code}\n" in screen
        given_back(terminal, before)


def test_top_can_be_put_aside_and_taken_up_again(zoo, terminal):
    before = settings(terminal)
    terminal.type(f"{BULKHEAD} top\n")
    terminal.until("q quit")
    terminal.press("C-z")
    terminal.until("Stopped")
    given_back(terminal, before)
    terminal.type("fg\n")
    terminal.until("q quit")
    assert not terminal.in_order
    terminal.press("q")
    terminal.until(lambda screen: "q quit" not in screen)
    given_back(terminal, before)


def test_top_outlives_a_supervisor(tmp_path):
    path = f"unix:{tmp_path}/door"
    with Endpoint(ZOO, "--listen", path, state=tmp_path / "state") as first:
        with Terminal(env=environment(path)) as terminal:
            terminal.type(f"{BULKHEAD} top\n")
            terminal.until("q quit")
            first.stop(signal.SIGKILL)
            terminal.until("trying again")
            with Endpoint(ZOO, "--listen", path, state=tmp_path / "state"):
                terminal.until(lambda screen: "q quit" in screen and "trying again" not in screen)
                terminal.press("q")
                terminal.until(lambda screen: "q quit" not in screen)
                given_back(terminal)


def test_nobody_there_is_told_on_the_normal_screen():
    with Terminal(env=environment("http://127.0.0.1:1")) as terminal:
        for words in ("top", "ps --watch"):
            screen = terminal.run(f"clear; {BULKHEAD} {words}")
            assert "is `bulkhead serve` running there?" in screen and terminal.in_order
            assert re.search(r"^\w{8} 5$", screen, re.M)


def test_a_missing_key_is_told_on_the_normal_screen(tmp_path):
    with Endpoint(ZOO, state=tmp_path / "state", env={"BULKHEAD_API_KEYS": "me=s3cret"}, ready=False) as endpoint:
        with Terminal(columns=120, env=environment(endpoint)) as terminal:
            for words in ("top", "ps --watch"):
                screen = terminal.run(f"clear; {BULKHEAD} {words}")
                assert "set BULKHEAD_API_KEY" in screen and terminal.in_order and re.search(r"^\w{8} 6$", screen, re.M)
            terminal.type(f"clear; BULKHEAD_API_KEY=s3cret {BULKHEAD} top\n")
            terminal.until("q quit")
            terminal.press("q")
            terminal.until(lambda screen: "q quit" not in screen)


def test_ps_watch_draws_in_place(zoo, terminal):
    terminal.type(f"{BULKHEAD} ps --watch --state IN_QUEUE,IN_PROGRESS\n")
    terminal.until("serving, ready")
    jobs = [zoo.run(WAITS) for _ in range(3)]
    screen = terminal.until(lambda screen: all(job in screen for job in jobs))
    assert screen.count("serving, ready") == 1 and fits(screen, 80, 24)
    for job in jobs:
        zoo.post(f"/cancel/{job}")
    terminal.until(lambda screen: not any(job in screen for job in jobs))
    terminal.press("q")
    terminal.until(lambda screen: "serving, ready" not in screen)
    given_back(terminal)


def test_logs_follow_in_a_terminal(tmp_path):
    with Endpoint(HANDLER, state=tmp_path / "state") as endpoint:
        with Terminal(columns=140, env=environment(endpoint)) as terminal:
            terminal.type(f"{BULKHEAD} logs --follow\n")
            job = endpoint.run({"log": ["one fish"]})
            assert job in terminal.until("one fish")
            endpoint.run({"crash": True})
            assert "\x1b[33m" in terminal.until("WorkerCrash", colours=True)  # a warning
            terminal.press("C-c")
            terminal.until(lambda screen: screen.rstrip().endswith("$"))


def test_more_processes_than_rows_can_be_scrolled():
    children = [{"id": f"w{i}.1", "slot": i, "pid": 1000 + i, "state": "ready", "in_state_ms": 5, "jobs_done": i, "memory_bytes": i << 20,
                 "jobs": []} for i in range(64)]
    snapshot = {"at": 1_700_000_000_000, "version": "1", "phase": "serving", "ready": {"ready": True}, "workers": {"wanted": 64},
                "children": children}

    class Fake(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.wfile.write(b"event: snapshot\ndata: " + json.dumps(snapshot).encode() + b"\n\n")
            self.wfile.flush()
            while not ended.wait(0.2):
                pass

        def log_message(self, *_):
            pass

    ended = threading.Event()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Fake) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with Terminal(env=environment(f"http://127.0.0.1:{server.server_address[1]}")) as terminal:
                terminal.type(f"{BULKHEAD} top\n")
                screen = terminal.until("1 to 15 shown")
                assert fits(screen, 80, 24) and "\nw0.1 " in screen and "w15.1" not in screen
                terminal.press("Down", "j")
                terminal.until("3 to 17 shown")
                terminal.type("G")
                terminal.until(lambda screen: "50 to 64 shown" in screen and "\nw63.1" in screen)
                terminal.press("Up")
                terminal.until("49 to 63 shown")
                terminal.press("Home")
                terminal.until("1 to 15 shown")
                terminal.press("NPage")
                terminal.until("15 to 29 shown")
                terminal.type("gs")  # by memory: the largest first
                terminal.until(lambda screen: re.search(r"JOB *\nw63\.1 ", screen))
                begun = time.monotonic()
                terminal.press("q")
                terminal.until(lambda screen: "children" not in screen)
                assert terminal.in_order and time.monotonic() - begun < 30
        finally:
            ended.set()
            server.shutdown()
            thread.join()
