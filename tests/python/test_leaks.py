"""Thousands of jobs through one Python process, a good part of which fail: it holds no more afterwards than before.

BULKHEAD_JOBS says how many (the soak suite: 100,000). Objects are counted by Python itself, so that one that leaks per job
shows long before memory does.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from endpoint import BULKHEAD, Endpoint
from sanitizer import sanitized

LEAKS = str(Path(__file__).with_name("leaks.py"))
JOBS = int(os.environ.get("BULKHEAD_JOBS", "2000"))
WARM = 500


@pytest.mark.parametrize("form", ["function", "coroutine", "generator", "async generator"])
def test_nothing_leaks(form, tmp_path):
    with Endpoint([sys.executable, LEAKS, form], "--durability", "memory", "--keep-sync", "1s",
                  state=tmp_path / "state") as endpoint:
        def send(n):
            return endpoint.runsync({"n": n, "text": "x" * (n % 100)})["status"]

        def held():
            output = endpoint.runsync({"held": True})["output"]
            return output if isinstance(output, dict) else output[0]

        with ThreadPoolExecutor(4) as clients:
            assert set(clients.map(send, range(WARM))) == {"COMPLETED", "FAILED"}
            before, descriptors = held(), len(endpoint.descriptors())
            failed = list(clients.map(send, range(JOBS))).count("FAILED")
            after = held()
            assert len(endpoint.descriptors()) <= descriptors + 1
    assert failed == sum(n % 5 in (1, 3, 4) for n in range(JOBS))
    assert [after[name] for name in ("pid", "threads")] == [before[name] for name in ("pid", "threads")]
    assert after["descriptors"] <= before["descriptors"] + 1
    # The interpreter's own tables grow in steps of up to some 250 blocks, whatever the number of jobs.
    for name, steps in (("blocks", 300), ("objects", 0)):
        assert after[name] - before[name] < steps + JOBS / 10, (before, after)
    # A heap may settle; what it took per job would be seen. A sanitizer keeps what was freed, to watch it.
    assert sanitized(BULKHEAD) or after["resident"] - before["resident"] < (2 << 20) + 20 * JOBS, (before, after)
    print(form, JOBS, {name: after[name] - before[name] for name in after})
