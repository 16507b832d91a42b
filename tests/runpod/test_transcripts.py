"""The official worker (from PyPI) and Bulkhead with the same handlers, under the same script of the same platform: what each
says, call by call, must agree, but for the differences listed here, each with its reason. So the platform of these tests is
held to the official worker, not only to ours."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from capture_platform import Platform
from endpoint import BULKHEAD, SOURCE, until

VENV = SOURCE / "tests" / "clients" / ".venv"
PYTHON = str(VENV / "bin" / "python")
HANDLERS = str(Path(__file__).parent / "handlers.py")


class Process:
    """Either worker, as a subprocess."""

    def __init__(self, who, platform, form, scratch):
        self.who = who
        scratch.mkdir(parents=True)
        command = [PYTHON, "-u", HANDLERS, form]
        if who == "bulkhead":
            workers = ["--workers", "3"] if form == "three" else []
            command = [BULKHEAD, "run", "--state-dir", str(scratch / "state"), *workers, "--", *command]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("RUNPOD_", "BULKHEAD_"))}
        self.log = open(scratch / "log", "w")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, cwd=scratch,
                                        env={**environment, **platform.environment(), "BULKHEAD_INIT": "never",
                                             "HOME": str(scratch), "PYTHONDONTWRITEBYTECODE": "1"},
                                        start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.log.flush()
        if kind is not None:
            print(f"---- {self.who}\n{Path(self.log.name).read_text()[-3000:]}")


def normal_error(error):
    """An exception's record, without what differs by process and file."""
    try:
        record = json.loads(error)
    except (TypeError, ValueError):
        return re.sub(r"(?s)traceback: .*", "traceback: …", error) if isinstance(error, str) else error
    if isinstance(record, dict) and "error_traceback" in record:
        return {"error_type": record["error_type"], "error_message": record["error_message"], "keys": sorted(record)}
    return error


def line(call):
    """One call in the form that is compared. Of headers, what the contract names."""
    headers = {name: call.headers.get(name) for name in
               (["authorization", "content-type", "charset", "x-request-id"] if call.method == "POST" else
                ["authorization", "content-type", "accept-encoding"] if call.kind in ("take", "batch", "stop") else
                ["authorization"])}
    body = None
    if call.method == "POST":
        body = call.json
        if "error" in body:
            body["error"] = normal_error(body["error"])
    target = call.target
    if call.kind in ("take", "batch"):
        target = re.sub("job_in_progress=[01]", "job_in_progress=…", target)
    return json.dumps([call.method, call.kind, target, headers, body], sort_keys=True, ensure_ascii=False)


def of_job(platform, job):
    """What was posted about a job, in order; what was repeated because the platform failed, once."""
    lines = []
    for call in list(platform.calls):
        if call.job == job and call.answer == 200:
            lines.append(line(call))
    return lines


def transcript(who, form, jobs, scratch, faults=None):
    with Platform(faults=faults and faults()) as platform:
        with Process(who, platform, form, scratch / who):
            for job in jobs:  # one after another: their order is part of the transcript
                platform.add(job)
                platform.wait_done(job["id"], timeout=90)
            until(lambda: platform.of("stop") and platform.of("ping"), 60, "a stop poll and a ping")
            # How often they come is a matter of time; what they say is not. A job is not in every ping.
            polls = {kind: sorted({line(call) for call in platform.of(kind) if "job_id" not in call.query})
                     for kind in ("take", "stop", "ping")}
            return {job["id"]: of_job(platform, job["id"]) for job in jobs} | polls


# What Bulkhead does otherwise, on purpose: the member, and why.
DIFFERENCES = {
    "stopPod": "the handler's process is refreshed, and the pod lives on, unless --runpod-stop-pod is given",
    "bulkhead_version": "an error's record says under which supervisor it happened",
}


def without_differences(lines):
    return [re.sub(r', "stopPod": true|"bulkhead_version", ', "", text) for text in lines]


PLAIN = [{"id": "text", "input": "tëxt"}, {"id": "dict", "input": {"a": [1, 2.5, None]}}, {"id": "null", "input": None},
         {"id": "empty", "input": {"do": "empty"}}, {"id": "raise", "input": {"do": "raise"}},
         {"id": "error", "input": {"do": "error"}}, {"id": "more", "input": {"do": "error_and_more"}},
         {"id": "refresh", "input": {"do": "refresh"}}, {"id": "progress", "input": {"do": "progress"}},
         {"id": "extra", "input": {"do": "extra"}, "webhook": "http://w", "s3Config": {"a": 1}, "policy": {"ttl": 86_400_000}}]
STREAM = [{"id": "words", "input": {"words": ["a", {"b": 1}, None, "ü"]}}, {"id": "none", "input": {"words": []}},
          {"id": "raise", "input": {"words": ["a"], "raise": True}}]
SCRIPTS = {"plain": PLAIN, "stream": STREAM, "aggregate": STREAM[:2]}


@pytest.mark.parametrize("form", list(SCRIPTS))
def test_transcripts_agree(tmp_path, form):
    assert (VENV / "made-from").is_file(), "the official package is not installed: script/bootstrap test does that"
    official = transcript("official", form, SCRIPTS[form], tmp_path)
    ours = transcript("bulkhead", form, SCRIPTS[form], tmp_path)
    for part in official:
        assert without_differences(ours[part]) == without_differences(official[part]), part
    print(f"{form}: {sum(map(len, official.values()))} lines agree; differences on purpose: {DIFFERENCES}")


def test_both_get_their_results_through_a_platform_that_fails_now_and_then(tmp_path):
    """Only with failures that the official worker tries again after: a result that it lost would never come."""
    def faults():
        left = [500, 503]
        return lambda call: left.pop() if call.kind == "done" and left else None
    official = transcript("official", "plain", PLAIN[:2], tmp_path, faults)
    assert transcript("bulkhead", "plain", PLAIN[:2], tmp_path, faults) == official


def test_of_a_job_that_the_platform_stops_neither_says_anything(tmp_path):
    for who in ("official", "bulkhead"):
        with Platform() as platform, Process(who, platform, "waits", tmp_path / who):
            platform.add({"id": "stopped", "input": {"seconds": 600}}, {"id": "beside", "input": {"seconds": 3}})
            until(lambda: {"stopped", "beside"} <= set(",".join(call.query.get("job_id", "") for call in platform.of("ping"))
                                                       .split(",")), 60, "pings with both jobs")
            platform.stop_job("stopped")
            assert platform.wait_done("beside") == [{"output": "waited"}]
            until(lambda: platform.of("ping")[-1].query.get("job_id") is None, 60, "a ping without jobs")
            assert set(platform.results) == {"beside"}, who
            assert any(call.query.get("batch_size") for call in platform.of("batch")), who
