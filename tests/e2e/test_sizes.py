"""What is large passes through `bulkhead serve`, or is refused, in little memory."""

import json
import re
from pathlib import Path

import pytest

from endpoint import BULKHEAD, Endpoint, example
from sanitizer import sanitized

MIB = 1 << 20
ZOO = example("crash_zoo")


def peak(endpoint):
    """The most memory the supervisor has had at any time, in bytes."""
    status = Path(f"/proc/{endpoint.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) * 1024


def within_three_times(endpoint, payload):
    if not sanitized(BULKHEAD):  # which hold freed memory back
        assert peak(endpoint) <= 3 * payload, f"{peak(endpoint) / MIB:.1f} MiB for {payload / MIB:.1f}"


def test_a_large_request_is_refused_before_it_is_read(tmp_path):
    with Endpoint([ZOO], state=tmp_path / "state") as endpoint:
        before = peak(endpoint)
        answer = endpoint.post("/runsync", json.dumps({"input": {"do": "ok", "ballast": "x" * (24 * MIB)}}))
        assert answer.status == 413, answer.body
        error = answer.json["error"]
        assert error["limit"] == 20 * MIB and error["got"] > 24 * MIB and "max-runsync-body" in error["message"], error
        if not sanitized(BULKHEAD):
            assert peak(endpoint) - before < 2 * MIB
        assert endpoint.runsync({"do": "ok", "value": 7})["output"] == 7


@pytest.mark.parametrize("durability", ["full", "memory"])
def test_a_large_request_and_large_results_pass(tmp_path, durability):
    options = ["--max-runsync-body", "25M", "--durability", durability]
    with Endpoint([ZOO], *options, state=tmp_path / "state") as endpoint:
        body = json.dumps({"input": {"do": "ok", "value": 7, "ballast": "x" * (24 * MIB)}})
        answer = endpoint.post("/runsync?wait=120000", body)
        assert (answer.status, answer.json["output"]) == (200, 7)
        for _ in range(3):
            result = endpoint.runsync({"do": "big", "mb": 19})
            assert result["status"] == "COMPLETED" and len(result["output"]["big"]) == 19 * MIB
        if durability == "full":  # else jobs and results are where memory is
            within_three_times(endpoint, 24 * MIB)


def test_a_long_stream_passes_in_the_memory_of_a_short_one(tmp_path):
    count = 100_000
    with Endpoint([ZOO, "--stream"], state=tmp_path / "state") as endpoint:
        job = endpoint.run({"do": "ok", "value": "end", "chunks": count})
        chunks, status = [], ""
        while status != "COMPLETED":
            part = endpoint.get(f"/stream/{job}?wait=1000").json
            status = part["status"]
            assert status in ("IN_QUEUE", "IN_PROGRESS", "COMPLETED"), part
            chunks += [piece["output"] for piece in part["stream"]]
        assert chunks == [*range(count), "end"]
        within_three_times(endpoint, 20 * MIB)
