"""A disk that fills up or turns read-only, as clients of `bulkhead serve` see it, and what is left on it at the end."""

import errno
import os
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from endpoint import BUILD, BULKHEAD, Endpoint, example, until
from sanitizer import sanitized

ZOO = [example("crash_zoo")]
PRELOAD = str(BUILD / "tests" / "e2e" / "refusing_disk.so")


def refused(endpoint, why, timeout=60.0):
    """Submits jobs until one is refused, and returns those that were not: blocks that the journal has already may serve for some."""
    accepted = []
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        answer = endpoint.post("/run", {"input": {"do": "ok", "value": len(accepted), "ballast": "x" * 30_000}})
        if answer.status != 200:
            assert answer.status == 503, (answer.status, answer.body)
            assert why in answer.json["error"]["message"], answer.body
            return accepted
        accepted.append(answer.json["id"])
    raise AssertionError("the disk was full and every job accepted")


def through_a_refusal(endpoint, begin, end, why):
    """A running job and its result get over the time between `begin` and `end`; new ones are refused and told why."""
    running = endpoint.run({"do": "sleep_ms", "ms": 4000})
    until(lambda: endpoint.get(f"/status/{running}").json["status"] == "IN_PROGRESS", what="a running job")
    begin()
    accepted = refused(endpoint, why)
    state = endpoint.wait(running)
    assert state["status"] == "COMPLETED", state
    assert endpoint.get(f"/status/{running}").json == state, "kept while the disk is away"
    assert endpoint.post("/run", {"input": 1}).status == 503
    end()
    until(lambda: endpoint.post("/run", {"input": {"do": "ok"}}).status == 200, 30, "a job accepted again")
    for number, job in enumerate(accepted):
        state = endpoint.wait(job)
        assert (state["status"], state["output"]) == ("COMPLETED", number), state
    return running


def refusing(control):
    env = {"LD_PRELOAD": PRELOAD, "REFUSAL": str(control)}
    if sanitized(BULKHEAD):
        env["ASAN_OPTIONS"] = "verify_asan_link_order=0:" + os.environ.get("ASAN_OPTIONS", "")
    return env


@pytest.mark.parametrize("number, why", [(errno.ENOSPC, "full"), (errno.EROFS, "read-only")])
def test_a_refusing_disk_costs_no_accepted_job(tmp_path, number, why):
    control = tmp_path / "refusal"
    state = tmp_path / "state"
    with Endpoint(ZOO, state=state, env=refusing(control)) as endpoint:
        running = through_a_refusal(endpoint, lambda: control.write_text(str(number)), control.unlink, why)
        endpoint.stop(signal.SIGKILL)
    with Endpoint(ZOO, state=state) as endpoint:
        assert endpoint.get(f"/status/{running}").json["status"] == "COMPLETED", "written once the disk was back"


@pytest.mark.parametrize("path", [
    "/status/{id}", "/status-sync/{id}?wait=1000", "/stream/{id}", "/stream/{id}?after=0", "/bulkhead/jobs", "/bulkhead/jobs/{id}",
    "/bulkhead/dead", "/bulkhead/dead/{id}"])
def test_what_cannot_be_read_is_not_called_unknown(tmp_path, path):
    """A client that is told 404 gives a job up, and would miss a stream's chunks that are not given."""
    control, state = tmp_path / "refusal", tmp_path / "state"
    with Endpoint([example("tokens")], state=state) as endpoint:
        job = endpoint.run({"text": "a b c", "delay_ms": 0})
        endpoint.wait(job)
    with Endpoint([example("tokens")], state=state, env=refusing(control)) as endpoint:  # it has nothing in memory
        control.write_text(f"{errno.EIO} reading")
        answer = endpoint.get(path.format(id=job))
        assert answer.status == 503 and answer.json["error"]["code"] == "journal_unreadable", (answer.status, answer.body)
        assert "the journal cannot be read: " in answer.json["error"]["message"] and answer.headers["Retry-After"] == "5"
        control.unlink()
        answer = until(lambda: (now := endpoint.get(path.format(id=job))).status != 503 and now, 30, "a disk that reads")
        if path == "/bulkhead/dead/{id}":
            assert answer.status == 404
        elif "stream" in path:
            assert [chunk["output"] for chunk in answer.json["stream"]] == ["a", "b", "c"], answer.body
        else:
            assert answer.status == 200 and (job in answer.body.decode() or path == "/bulkhead/dead"), answer.body


def test_a_full_file_system_costs_no_accepted_job(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    own = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    denied = subprocess.run([*own, "mount", "-t", "tmpfs", "none", str(state)], capture_output=True, text=True, check=False)
    if denied.returncode != 0:
        pytest.skip(f"no mount namespace of its own here: {denied.stderr.strip()}")
    inside = [*own, "sh", "-c", f'mount -t tmpfs -o size=6m,mode=700 none "{state}" && exec "$@"', "sh"]
    with Endpoint(ZOO, state=state, before=inside) as endpoint:
        filler = Path(f"/proc/{endpoint.process.pid}/root{state}/filler")

        def fill():
            with filler.open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(b"x" * 4096)
                except OSError as error:
                    assert error.errno == errno.ENOSPC

        through_a_refusal(endpoint, fill, filler.unlink, "full")


def test_storage_keys_do_not_stay_on_the_disk(tmp_path):
    state = tmp_path / "state"
    secret = "KEY-THAT-NOBODY-MAY-READ"
    keys = {"accessId": "id", "accessSecret": secret, "bucketName": "b", "endpointUrl": "https://s3.example"}

    def on_disk():
        return [file.name for file in state.rglob("*") if file.is_file() and secret.encode() in file.read_bytes()]

    with Endpoint(ZOO, state=state) as endpoint:
        job = endpoint.run({"do": "sleep_ms", "ms": 500}, s3Config=keys)
        assert on_disk(), "the job could not be run again without them"
        answer = endpoint.wait(job)
        assert answer["status"] == "COMPLETED" and secret not in str(answer)
        failed = endpoint.run({"do": "segfault"}, s3Config=keys)
        answer = endpoint.wait(failed)
        assert answer["status"] == "FAILED" and secret not in str(answer), "nor does a crash record tell them"
        until(lambda: not on_disk(), 40, "a journal without the keys")
        assert not any(secret in line for line in endpoint.lines)
        with closing(sqlite3.connect(state / "journal.db")) as journal:
            assert journal.execute("SELECT count(*) FROM outcomes").fetchone() == (2,)
