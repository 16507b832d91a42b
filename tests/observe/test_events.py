"""/bulkhead/events: what happens is seen when it happens; who reads slowly or goes away costs nobody anything."""

import http.client
import json
import socket
import threading
import time

from described import DESCRIBED, check
from endpoint import Endpoint, UnixConnection, example, until

ZOO = [example("crash_zoo")]
QUICK = ("--cancel-grace", "200ms", "--term-grace", "200ms")


class Watcher:
    """Server-sent events of one connection, each with the moment it came."""

    def __init__(self, endpoint, headers=None):
        self.connection = (UnixConnection(endpoint.host, 80, 60) if endpoint.unix else
                           http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=60))
        self.connection.request("GET", "/bulkhead/events", headers=headers or {})
        self.answer = self.connection.getresponse()

    def next(self):
        """(event, data); None at the end."""
        event, data = None, None
        while line := self.answer.readline().decode().rstrip("\n"):
            if line.startswith("event: "):
                event = line[7:]
            elif line.startswith("data: "):
                data = json.loads(line[6:])
        return (event, data) if event else None

    def until(self, condition):
        """The first snapshot that fits."""
        while event := self.next():
            if event[0] == "snapshot" and condition(event[1]):
                return event[1]
        raise AssertionError("the answer ended")


def test_the_history_and_a_snapshot_come_at_once_and_then_a_snapshot_every_second(tmp_path):
    with Endpoint(ZOO, *QUICK, state=tmp_path / "state") as endpoint:
        endpoint.runsync({"do": "ok"})
        watcher = Watcher(endpoint)
        assert watcher.answer.getheader("Content-Type") == "text/event-stream"
        event, history = watcher.next()
        assert event == "history" and history["hour"]["completed"] == 1
        check(history, DESCRIBED["History"], "history")
        first = watcher.until(lambda _: True)
        check(first, DESCRIBED["Snapshot"], "snapshot")
        moments = [watcher.until(lambda _: True)["at"] for _ in range(3)]
        assert all(later - earlier >= 190 for earlier, later in zip(moments, moments[1:])), "at most five a second"


def test_a_crash_is_seen_at_once(tmp_path):
    with Endpoint(ZOO, *QUICK, state=tmp_path / "state") as endpoint:
        watcher = Watcher(endpoint)
        watcher.until(lambda seen: seen["ready"]["ready"])
        late = []
        for crashes in range(1, 6):
            endpoint.run({"do": "segfault"})
            seen = watcher.until(lambda seen: len(seen["restarts"]) == crashes)
            late.append(seen["at"] - seen["restarts"][-1]["at"])
            assert seen["restarts"][-1]["cause"] == "signal"
        print(f"told {late} ms after the end")
        assert min(late) < 1_000  # the machine may be busy, though not all the time


def test_an_interval_that_closes_brings_the_history(tmp_path):
    with Endpoint(ZOO, *QUICK, state=tmp_path / "state") as endpoint:
        watcher = Watcher(endpoint)
        assert watcher.next()[0] == "history"
        endpoint.runsync({"do": "ok"})
        for _ in range(2):  # the first may have closed before the job ended
            seen = 0
            while (event := watcher.next())[0] != "history":
                seen += 1
                assert seen < 150
            if event[1]["hour"]["completed"]:
                break
        assert event[1]["hour"]["completed"] == 1


def test_the_end_is_seen_and_held_up_by_nobody(tmp_path):
    with Endpoint(ZOO, *QUICK, "--grace", "60s", state=tmp_path / "state") as endpoint:
        running = endpoint.run({"do": "sleep_ms", "ms": 10_000})
        endpoint.until_entered(running)
        watcher = Watcher(endpoint)
        watcher.until(lambda seen: seen["phase"] == "serving")
        endpoint.process.terminate()
        seen = watcher.until(lambda seen: seen["phase"] == "draining")
        assert not seen["ready"]["ready"] and not seen["accepts"] and seen["queue"]["running"] == 1
        while watcher.next():
            pass
        assert endpoint.process.wait(60) == 0


def test_readers_that_do_not_read_and_readers_that_go(tmp_path):
    with Endpoint(ZOO, *QUICK, "--workers", "4", listen=f"unix:{tmp_path}/socket", state=tmp_path / "state") as endpoint:
        idle = []
        for _ in range(20):
            reader = socket.socket(socket.AF_UNIX)
            reader.connect(str(tmp_path / "socket"))
            reader.sendall(b"GET /bulkhead/events HTTP/1.1\r\nHost: x\r\n\r\n")
            idle.append(reader)
        watcher = Watcher(endpoint)
        watcher.until(lambda seen: seen["connections"] >= 22)
        before = watcher.until(lambda _: True)["own"]["memory_bytes"]
        for _ in range(5):
            endpoint.runsync({"do": "segfault"})
        after = watcher.until(lambda seen: len(seen["restarts"]) == 5)["own"]["memory_bytes"]
        assert after - before < 64 << 20
        for reader in idle:
            reader.close()
        watcher.until(lambda seen: seen["connections"] <= 3)
        watcher.connection.close()
        watcher.answer.close()
        until(lambda: endpoint.get("/bulkhead/snapshot").json["connections"] == 1, 60, "nobody else")


def test_a_page_costs_little(tmp_path):
    """Printed, and held to ten times what is aimed at: the machine may be busy, and CPU time is not wall time."""
    with Endpoint(ZOO, *QUICK, "--workers", "4", state=tmp_path / "state") as endpoint:
        watchers = [Watcher(endpoint) for _ in range(4)]
        first = watchers[0].until(lambda seen: seen["ready"]["ready"])
        others = [threading.Thread(target=lambda w=w: [w.next() for _ in range(12)]) for w in watchers[1:]]
        for other in others:
            other.start()
        last = first
        for _ in range(10):
            last = watchers[0].until(lambda _: True)
        for other in others:
            other.join(60)
        used = (last["own"]["cpu_seconds"] - first["own"]["cpu_seconds"]) / ((last["at"] - first["at"]) / 1e3)
        print(f"four pages: {100 * used:.2f} % of a core")
        assert used < 0.4


def test_keys_and_methods(tmp_path):
    env = {"BULKHEAD_API_KEYS": "ops=s3cret-s3cret-s3cret"}
    with Endpoint(ZOO, state=tmp_path / "state", env=env, ready=False) as endpoint:
        assert Watcher(endpoint).answer.status == 401
        watcher = Watcher(endpoint, {"Authorization": "Bearer s3cret-s3cret-s3cret"})
        assert watcher.answer.status == 200 and watcher.next()[0] == "history"
        head = endpoint.request("HEAD", "/bulkhead/events", headers={"Authorization": "Bearer s3cret-s3cret-s3cret"})
        assert head.status == 405
