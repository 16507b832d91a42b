"""Every row of the table, run by the official SDK and by Bulkhead: what is sent is equal, the short list aside.

The official side is held to the table, too: an SDK that behaves otherwise than written there is noticed. Bulkhead runs the
rows in three ways: under `bulkhead serve` by a Python that has the official package, and by one that has not, where its own
small module stands in; and as a worker of RunPod's platform, where the very bodies it posts are compared.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from capture_platform import Platform
from endpoint import BULKHEAD, SOURCE, Endpoint, until
from official import FLAGS, Official
from rows import ROWS, Broke, Ends, Fails, Raised, matches

VENV = SOURCE / "tests" / "clients" / ".venv"
HANDLERS = str(Path(__file__).parent / "handlers.py")
OFFICIAL = str(VENV / "bin" / "python")
PYTHONS = {"served": OFFICIAL, "served without the package": sys.executable, "on RunPod": OFFICIAL}
RECORD = {"error_type", "error_message", "error_traceback", "hostname", "worker_id", "runpod_version"}


NEED_THE_PACKAGE = {"debugger"}  # forms of which the own small module says that it does not have them


def by_row(rows):
    return pytest.mark.parametrize("row", rows, ids=lambda row: row.name)


def by_row_and_way(rows):
    cases = [(row, way) for way in PYTHONS for row in rows if PYTHONS[way] == OFFICIAL or row.form not in NEED_THE_PACKAGE]
    return pytest.mark.parametrize("row, way", cases, ids=[f"{row.name}, {way}" for row, way in cases])


# ---- results, made comparable ------------------------------------------------------------------------------------------


def shape(error):
    """An error with what differs from run to run, the traceback, looked at and left out."""
    if not isinstance(error, str):
        return error
    if error.startswith("handler: ") and " \ntraceback: " in error:
        message, _, trace = error.removeprefix("handler: ").partition(" \ntraceback: ")
        assert trace.startswith("Traceback (most recent call last):\n") and message in trace.splitlines()[-1]
        return Broke(message)
    try:
        record = json.loads(error)
    except ValueError:
        return error
    if not isinstance(record, dict) or not record.keys() >= RECORD or not record["error_type"].startswith("<class"):
        return error
    message, kind = record["error_message"], record["error_type"].split("'")[1].split(".")[-1]
    assert kind in record["error_traceback"].strip().splitlines()[-1], record
    if kind == "RecursionError":  # its end depends on the version of Python
        message = "maximum recursion depth exceeded"
    return Raised(record["error_type"], message)


def result(body, refreshed=False):
    """A result as the table writes it: output, error and stopPod, each where there is one."""
    if body is None:
        return None
    parts = {}
    if "output" in body:
        parts["output"] = body["output"]
        if isinstance(body["output"], dict) and body["output"].get("rp_debugger"):
            parts["output"] = {**body["output"], "rp_debugger": "…"}
    if "error" in body:
        parts["error"] = shape(body["error"])
    if refreshed or body.get("stopPod"):
        parts["stopPod"] = True
    return parts


def text(value):
    """To compare: 1, 1.0 and True differ, and so do orders of keys."""
    return json.dumps(value, ensure_ascii=False, default=repr)


def sent(outcome, chunks, progress):
    return [outcome if isinstance(outcome, Ends) else text(outcome), [text(chunk) for chunk in chunks],
            [text(value) for value in progress]]


# ---- the official side -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    assert (VENV / "made-from").is_file(), "the official package is not installed: script/bootstrap test installs it"
    with Official(OFFICIAL, tmp_path_factory.mktemp("official")) as official:
        yield official


def sent_by_official(official, row):
    seen, status = official.of(row)
    outcome = Ends(status) if seen.done is None and isinstance(row.sends, Ends) else result(seen.done)
    return sent(outcome, seen.chunks, seen.progress)


@by_row(ROWS)
def test_the_official_sdk_does_what_the_table_says(official, row):
    assert sent_by_official(official, row) == sent(row.sends, row.chunks, row.progress)


# ---- Bulkhead's side ---------------------------------------------------------------------------------------------------


class Ours:
    """What is seen of all rows of one form, run one after another by one supervisor."""

    def __init__(self, form, python, scratch):
        self.scratch = scratch
        self.rows = [row for row in ROWS if row.form == form]
        self.log = scratch / "runs"
        self.command = [python, HANDLERS, form, str(self.log), *FLAGS.get(form, [])]
        self.seen = self.run_all()
        pids = [line.split("\t")[1] for line in self.log.read_text().splitlines()]
        assert len(pids) == len(self.rows) + 1, "each job is run once, and then a marker"
        self.refreshed = [pid != later for pid, later in zip(pids, pids[1:])]

    def release(self, number):
        return str(self.scratch / f"release-{number}")

    def of(self, row):
        """The result, the chunks, the progress, and whether a fresh process came after it."""
        number = self.rows.index(row)
        return (*self.seen[number], self.refreshed[number])


class Served(Ours):
    """By clients of `bulkhead serve`."""

    def run_all(self):
        with Endpoint(self.command, "--durability", "memory", state=self.scratch / "state", ready=False,
                      env={"PYTHONDONTWRITEBYTECODE": "1"}) as endpoint:
            seen = [self.run(endpoint, row, self.release(number)) for number, row in enumerate(self.rows)]
            endpoint.runsync({"row": "marker"})
        return seen

    @staticmethod
    def run(endpoint, row, release):
        job, progress = endpoint.run(row.job_input(release), **row.extra), []
        if row.progress:
            state = until(lambda: (state := endpoint.get(f"/status/{job}").json)["status"] != "IN_QUEUE" and "output" in state
                          and state, 60, "the progress")
            progress.append(state["output"])
            Path(release).touch()
        final = endpoint.wait(job)
        polled = endpoint.get(f"/stream/{job}").json
        assert polled["status"] == final["status"]
        assert (final["status"] == "FAILED") == ("error" in final) and final["status"] in ("FAILED", "COMPLETED")
        return final, [chunk["output"] for chunk in polled["stream"]], progress


class OnRunPod(Ours):
    """By RunPod's platform, of which `bulkhead run` is a worker."""

    def run_all(self):
        env = {name: value for name, value in os.environ.items() if not name.startswith(("RUNPOD_", "BULKHEAD_"))}
        with Platform() as platform, open(self.scratch / "log", "w") as log:
            worker = subprocess.Popen(
                [BULKHEAD, "run", "--runpod-stop-pod", "--durability", "memory", "--grace", "100ms", "--state-dir",
                 str(self.scratch / "state"), "--", *self.command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.scratch, start_new_session=True,
                env={**env, **platform.environment(), "HOME": str(self.scratch), "PYTHONDONTWRITEBYTECODE": "1"})
            try:
                seen = [self.run(platform, f"row-{number}", row, self.release(number)) for number, row in enumerate(self.rows)]
                platform.add({"id": "marker", "input": {"row": "marker"}})
                platform.wait_done("marker")
                worker.send_signal(signal.SIGTERM)
                assert worker.wait(60) == 0
            finally:
                if worker.poll() is None:
                    os.killpg(worker.pid, signal.SIGKILL)
                    worker.wait()
        return seen

    @staticmethod
    def run(platform, job, row, release):
        platform.add({"id": job, "input": row.job_input(release), **row.extra})
        if row.progress:
            until(lambda: platform.progress[job], 60, "the progress")
            Path(release).touch()
        platform.wait_done(job)
        return platform.result(job), platform.chunks[job], platform.progress[job]


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    known = {}

    def of(row, way):
        if (row.form, way) not in known:
            known[row.form, way] = None  # tried once: what fails, fails all its rows
            kind = OnRunPod if way == "on RunPod" else Served
            known[row.form, way] = kind(row.form, PYTHONS[way], tmp_path_factory.mktemp("ours"))
        assert known[row.form, way], "see the first row of this form"
        return known[row.form, way].of(row)

    return of


@by_row_and_way([row for row in ROWS if not row.better])
def test_equal(official, ours, row, way):
    body, chunks, progress, refreshed = ours(row, way)
    assert way != "on RunPod" or refreshed == bool(body.get("stopPod"))
    assert sent(result(body, refreshed), chunks, progress) == sent_by_official(official, row)


@by_row_and_way([row for row in ROWS if row.better])
def test_better_on_purpose(ours, row, way):
    body, chunks, progress, refreshed = ours(row, way)
    if isinstance(row.instead, Fails):
        assert matches(row.instead.pattern, body["error"]), body
        assert refreshed == row.instead.refresh
    else:
        assert text(result(body, refreshed)) == text(row.instead)
    assert [text(chunk) for chunk in chunks] == [text(chunk) for chunk in row.streams]


def test_the_table():
    """Rows are told apart by name, and who is in the short list says why."""
    assert len(ROWS) >= 60 and len({row.name for row in ROWS}) == len(ROWS)
    assert all(row.better and row.instead is not ... for row in ROWS if row.better or row.instead is not ...)
