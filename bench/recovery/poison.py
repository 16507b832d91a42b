#!/usr/bin/python3
"""What a poisonous input costs the others: 1,000 good jobs, with and without 50 copies of one that crashes among them, under
`--quarantine 3`; in turns, and the ratio of how many good jobs a second there were.

    BULKHEAD_BUILD=$PWD/build BULKHEAD_SOURCE=$PWD bench/recovery/poison.py [--ms 10] [--rounds 5]

The aim: three handler processes are lost, and the ratio is 0.9 or better. (Copies that were started before the first crash
was known are lost, too: on a machine that is busy with other things there may be some.)"""

import argparse
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "support"))
from endpoint import Endpoint, example, until  # noqa: E402

GOOD, COPIES, WORKERS = 1000, 50, 4


def left(endpoint):
    jobs = endpoint.get("/health").json["jobs"]
    return jobs["inQueue"] + jobs["inProgress"]


def crashes(endpoint):
    metrics = endpoint.get("/metrics").body.decode()
    return int(float(re.search(r'^bulkhead_child_restarts_total\{[^}]*"signal"[^}]*\} (\S+)', metrics, re.MULTILINE).group(1)))


def once(poisoned, ms):
    """Good jobs a second, and how many processes were lost."""
    with tempfile.TemporaryDirectory(prefix="bhpoison-") as home:
        with Endpoint([example("crash_zoo")], "--workers", str(WORKERS), "--quarantine", "3", "--durability", "relaxed",
                      listen=f"unix:{home}/door", state=Path(home) / "state") as endpoint:
            until(lambda: endpoint.get("/health").json["workers"]["ready"] == WORKERS, 60, "all children")
            began, last = time.monotonic(), None
            for n in range(GOOD):
                last = endpoint.run({"do": "sleep_ms", "ms": ms})
                if poisoned and n % (GOOD // COPIES) == 0:
                    endpoint.run({"do": "segfault"})
            endpoint.wait(last, 600)
            until(lambda: left(endpoint) == 0, 600, "the end of all jobs")
            took = time.monotonic() - began
            return GOOD / took, crashes(endpoint)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ms", type=int, default=10, help="how long a good job takes")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    ratios = []
    for number in range(options.rounds):
        pair = {poisoned: once(poisoned, options.ms) for poisoned in ((False, True) if number % 2 else (True, False))}
        ratios.append(pair[True][0] / pair[False][0])
        print(f"round {number + 1}: {pair[False][0]:6.1f} good jobs/s without, {pair[True][0]:6.1f} with the poison: "
              f"{ratios[-1]:.2f}; {pair[True][1]} processes lost", flush=True)
    print(f"median {statistics.median(ratios):.2f} (aim: 0.90 or more)")


if __name__ == "__main__":
    main()
