"""A handler that holds the interpreter's lock in C: its heartbeat goes on, so do others' jobs, and a cancel ends it.

BULKHEAD_HOLD_S says for how many seconds (the soak suite: 60); heartbeats come once a second.
"""

import os
import statistics
import struct
import sys
import time
from pathlib import Path

from endpoint import Endpoint, until

LIFE = str(Path(__file__).with_name("life.py"))
HOLD_S = int(os.environ.get("BULKHEAD_HOLD_S", "6"))


def black_box(pid):
    """The file in which the SDK of a child notes its signs of life (protocol/black_box.hpp)."""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        parts = line.split(maxsplit=5)
        if len(parts) == 6 and parts[1] == "rw-s" and os.path.isfile(parts[5]):
            with open(parts[5], "rb") as file:
                if file.read(8) == b"BULKBOX1":
                    return parts[5]
    raise AssertionError(f"process {pid} has no black box")


def last_sign(file):
    with open(file, "rb") as box:
        return struct.unpack_from("<q", box.read(32), 24)[0]


def seconds_of(endpoint, count):
    """How long each of so many jobs took."""
    took = []
    for _ in range(count):
        begun = time.monotonic()
        assert endpoint.runsync({})["status"] == "COMPLETED"
        took.append(time.monotonic() - begun)
    return took


def holding(endpoint, seconds):
    job = endpoint.run({"do": "hold", "s": seconds})
    until(lambda: endpoint.get(f"/status/{job}").json.get("output") == "holding", 60, "the handler's start")
    return job


def test_its_heartbeat_goes_on_and_others_work_on(tmp_path):
    with Endpoint([sys.executable, LIFE, "standard"], "--workers", "2", state=tmp_path / "state") as endpoint:
        before = statistics.median(seconds_of(endpoint, 50))
        job, begun = holding(endpoint, HOLD_S), time.monotonic()
        other = endpoint.runsync({})["output"]
        boxes = [black_box(pid) for pid in endpoint.children() if pid != other]
        signs, took = set(), []
        while endpoint.get(f"/status/{job}").json["status"] == "IN_PROGRESS":
            took += seconds_of(endpoint, 5)
            signs.add(tuple(map(last_sign, boxes)))
            time.sleep(0.05)
        held = time.monotonic() - begun
        assert endpoint.wait(job)["status"] == "COMPLETED"
        assert len(signs) >= held / 4, (signs, held)  # at least every fourth heartbeat was seen by itself
        assert len(took) > 5, took  # a second round was begun while it held: the first was over by then
        assert endpoint.wait(job)["output"] != other
        print(f"held {held:.1f} s, {len(signs)} signs of life, others' jobs: median {statistics.median(took) * 1000:.1f} ms, "
              f"longest {max(took) * 1000:.1f} ms, before {before * 1000:.1f} ms")


def test_a_cancel_goes_down_the_ladder(tmp_path):
    with Endpoint([sys.executable, LIFE, "standard"], "--cancel-grace", "500ms", "--term-grace", "500ms",
                  state=tmp_path / "state") as endpoint:
        job = holding(endpoint, 10 * HOLD_S + 60)
        holders, begun = endpoint.children(), time.monotonic()
        endpoint.post(f"/cancel/{job}")
        # The client has its answer at once; the process is through when the next job has one.
        assert endpoint.wait(job)["status"] == "CANCELLED"
        assert endpoint.runsync({})["output"] not in holders  # a hold that had ended by itself would have left its process
        print(f"cancel to the next job: {time.monotonic() - begun:.2f} s")
