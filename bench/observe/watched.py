#!/usr/bin/python3
"""What being watched costs: /runsync of a no-op handler, with metrics scraped every second and two readers of events, and without.

    bench/observe/watched.py BUILD_DIR [--seconds 5] [--rounds 6] [--durability memory]

Both are measured in turns in one run, on one endpoint. Needs wrk. Prints requests per second of each round, the supervisor's CPU
time for a request, and the ratio of the medians; measures, and judges nothing. On a busy machine the CPU time says more: it does
not count what the load generator, the handlers and the readers themselves take.
"""

import argparse
import http.client
import json
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "http"))
from compare import Served, free_port, load  # noqa: E402


class Watched:
    """While it lasts: a scrape a second, and `readers` that read events as they come."""

    def __init__(self, port, readers):
        self._port, self._over = port, threading.Event()
        self._open = [http.client.HTTPConnection("127.0.0.1", port, timeout=30) for _ in range(readers)]
        self.scrapes, self.events = 0, 0
        self._threads = [threading.Thread(target=self._scrape)]
        self._threads += [threading.Thread(target=self._read, args=[connection]) for connection in self._open]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _scrape(self):
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        while not self._over.wait(1):
            connection.request("GET", "/metrics")
            connection.getresponse().read()
            self.scrapes += 1

    def _read(self, connection):
        connection.request("GET", "/bulkhead/events")
        answer = connection.getresponse()
        while not self._over.is_set():
            self.events += answer.readline().startswith(b"event: ")
        answer.close()
        connection.close()


def cpu_seconds(port):
    """Of the supervisor."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/bulkhead/snapshot")
    return json.loads(connection.getresponse().read())["own"]["cpu_seconds"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=Path)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--readers", type=int, default=2)
    parser.add_argument("--durability", default="memory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        port, build = free_port(), options.build.resolve()
        command = [str(build / "supervisor" / "bulkhead"), "serve", "--listen", f"127.0.0.1:{port}", "--state-dir",
                   f"{scratch}/state", "--durability", options.durability, "--workers", "2", "--",
                   str(build / "examples" / "echo" / "echo")]
        with Served("bulkhead", command, f"http://127.0.0.1:{port}/runsync") as served:
            load(served, options.connections, 2, scratch)  # warm
            rates, costs = {"alone": [], "watched": []}, {"alone": [], "watched": []}
            for turn in range(options.rounds):
                for how in ("alone", "watched") if turn % 2 == 0 else ("watched", "alone"):
                    before, seen = cpu_seconds(port), ""
                    if how == "alone":
                        rate = load(served, options.connections, options.seconds, scratch)[0]
                    else:
                        with Watched(port, options.readers) as watched:
                            rate = load(served, options.connections, options.seconds, scratch)[0]
                        seen = f", {watched.scrapes} scrapes, {watched.events} events"
                    rates[how].append(rate)
                    costs[how].append((cpu_seconds(port) - before) / (rate * options.seconds))
                    print(f"{how:8} {rate:10.0f} requests/s, {1e6 * costs[how][-1]:6.1f} us of CPU each{seen}", flush=True)
                    time.sleep(0.2)
    for what, of in (("requests/s", rates), ("CPU for a request", costs)):
        alone, watched = (statistics.median(of[how]) for how in ("alone", "watched"))
        print(f"{what}: watched {100 * (watched / alone - 1):+.1f} % (medians of {options.rounds})")


if __name__ == "__main__":
    main()
