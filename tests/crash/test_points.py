"""The supervisor is killed at every point between two writes of its journal, one run a point, and started again.

A client sends two jobs and asks for them, gets as far as it gets, and after the restart does what a client does: asks for
what it was promised, and sends again, under the same idempotency key, what it had no answer to."""

import http.client
import os

import pytest

from sanitizer import sanitized
from endpoint import BUILD, Endpoint

LEDGER = str(BUILD / "tests" / "crash" / "ledger")
DIE_AT = str(BUILD / "tests" / "crash" / "die_at.so")
GONE = (OSError, http.client.HTTPException)


class Client:
    """Sends two jobs; keeps what it was told."""

    KEYS = ("first", "second")

    def __init__(self):
        self.promised = {}  # key -> id, of those answered with 200
        self.ended = {}     # key -> the final state seen

    def submit(self, endpoint, key):
        answer = endpoint.post("/run", {"input": {"chunks": 2}}, headers={"Idempotency-Key": key})
        assert answer.status == 200, (answer.status, answer.body)
        assert self.promised.setdefault(key, answer.json["id"]) == answer.json["id"]

    def await_end(self, endpoint, key):
        state = endpoint.wait(self.promised[key])
        assert state == self.ended.setdefault(key, state), "an end that was told changed"

    def go(self, endpoint):
        for key in self.KEYS:
            self.submit(endpoint, key)
            self.await_end(endpoint, key)


def starts(path):
    """How often each job was started."""
    counts = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        job = line.split()[0]
        counts[job] = counts.get(job, 0) + 1
    return counts


def live_and_die(client, number, options, state, env):
    """The name of the point it died at, or None if it came to its end."""
    preload = {"LD_PRELOAD": DIE_AT, "DIE_AT": str(number)}
    if sanitized(LEDGER):
        preload["ASAN_OPTIONS"] = "verify_asan_link_order=0:" + os.environ.get("ASAN_OPTIONS", "")
    try:
        with Endpoint([LEDGER], *options, state=state, env={**env, **preload}, dies=True) as endpoint:
            if endpoint.listening:
                client.go(endpoint)
    except GONE:
        pass
    deaths = [line for line in endpoint.lines if line.startswith("dies ")]
    assert (endpoint.process.returncode == -9) == bool(deaths), endpoint.lines[-20:]
    return deaths[0].removeprefix("dies ") if deaths else None


@pytest.mark.parametrize("retries", [0, 1])
def test_no_point_loses_a_job_or_runs_it_once_too_often(tmp_path, retries):
    options = ["--retries", str(retries), "--workers", "1"]
    seen, number = {}, 0
    while True:
        number += 1
        home = tmp_path / str(number)
        home.mkdir()
        ledger = home / "ledger"
        env = {"LEDGER": str(ledger)}
        client = Client()
        point = live_and_die(client, number, options, home / "state", env)
        if point is None:
            break
        seen[point] = seen.get(point, 0) + 1
        with Endpoint([LEDGER], *options, state=home / "state", env=env) as endpoint:
            for key in client.KEYS:
                client.submit(endpoint, key)
                client.await_end(endpoint, key)
        counts = starts(ledger)
        assert set(counts) <= set(client.promised.values()), f"{point} ({number}): a job nobody was promised"
        for key, job in client.promised.items():
            state, ran = client.ended[key], counts.get(job, 0)
            told = f"point {number}, {point}: {state}, started {ran} times"
            # Its child is adopted by the next supervisor; what it had not started was told by its black box.
            assert state["status"] == "COMPLETED" and state["output"] == [0, 1] and ran == 1, told
    assert set(seen) == {"before the first write", "before the sync", "after the sync"}, seen
    assert min(seen.values()) >= 8, f"too few writes to mean anything: {seen}"
