#!/usr/bin/python3
"""How long a supervisor is missed: from its kill -9 to the first request that is answered, and to the moment in which all its
children are the next one's; with busy children, below the init, as `bulkhead serve` runs.

    BULKHEAD_BUILD=$PWD/build BULKHEAD_SOURCE=$PWD bench/recovery/recovery.py [--children 1,16,64] [--journal 0,100000]

`--journal N` puts N finished jobs into the journal first. The aim: under 100 ms with 16 children, and no growth with the
journal. A supervisor is given a second to live before it is killed: the init puts off those that die young."""

import argparse
import http.client
import os
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "support"))
from endpoint import BUILD, Endpoint, example, until  # noqa: E402

INIT = str(BUILD / "supervisor" / "init" / "bulkhead-init")


def numbers(text):
    return [int(number) for number in text.split(",")]


def supervisor_of(endpoint):
    path = Path(f"/proc/{endpoint.process.pid}/task/{endpoint.process.pid}/children")
    for pid in path.read_text().split():
        try:
            if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].endswith(b"/bulkhead"):
                return int(pid)
        except OSError:
            pass
    return 0


def ready(endpoint):
    """How many children are ready; -1: nobody answers."""
    try:
        return endpoint.get("/health").json["workers"]["ready"]
    except (OSError, http.client.HTTPException):
        return -1


def once(endpoint, children):
    """Milliseconds to the first answer, and to the last child."""
    time.sleep(1.2)
    os.kill(supervisor_of(endpoint), signal.SIGKILL)
    began = time.monotonic()
    served = None
    while True:
        seen = ready(endpoint)
        now = 1000 * (time.monotonic() - began)
        if seen >= 0 and served is None:
            served = now
        if seen == children:
            return served, now
        time.sleep(0.0005)


def measure(children, stored, times):
    with tempfile.TemporaryDirectory(prefix="bhrec-") as home:
        with Endpoint([example("crash_zoo")], "--workers", str(children), "--durability", "relaxed",
                      listen=f"unix:{home}/door", state=Path(home) / "state",
                      before=[INIT, "--supervise", "1000", "--grace", "60", "--"]) as endpoint:
            until(lambda: ready(endpoint) == children, 300, "all children")
            for _ in range(stored):
                endpoint.run({"do": "ok"})
            until(lambda: endpoint.get("/health").json["jobs"]["completed"] >= stored, 600, "the end of the stored jobs")
            busy = [endpoint.run({"do": "sleep_ms", "ms": 3_600_000}) for _ in range(children)]
            until(lambda: endpoint.get("/health").json["jobs"]["inProgress"] == children, 60, "their start")
            seen = [once(endpoint, children) for _ in range(times)]
            for job in busy:
                endpoint.post(f"/cancel/{job}")
    served, adopted = (statistics.median(figures) for figures in zip(*seen))
    print(f"{children:4} children, {stored:7} jobs in the journal: served after {served:6.1f} ms, "
          f"all adopted after {adopted:6.1f} ms", flush=True)


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--children", type=numbers, default=[1, 16, 64])
    options.add_argument("--journal", type=numbers, default=[0])
    options.add_argument("--times", type=int, default=5)
    chosen = options.parse_args()
    for stored in chosen.journal:
        for children in chosen.children:
            measure(children, stored, chosen.times)


if __name__ == "__main__":
    main()
