"""10,000 jobs are sent while the supervisor is killed with -9 about every 200 ms, mid-way through whatever it was doing."""

import http.client
import random
import threading
import time

import pytest

from endpoint import BUILD, FINAL, Endpoint, until
from test_points import GONE, LEDGER, starts

JOBS = 5000  # in each of two storms
CLIENTS = 6


class Storm:
    """Clients that send and ask, and a supervisor that does not live long."""

    def __init__(self, options, state, env, socket):
        self.options, self.state, self.env, self.socket = options, state, env, socket
        self.lock = threading.Lock()
        self.accepted = []
        self.ended = {}  # id -> the final state a client was told
        self.kills = 0
        self.failures = []
        self.endpoint = None

    def start(self, dies):
        return Endpoint([LEDGER], *self.options, listen=f"unix:{self.socket}", state=self.state, env=self.env, dies=dies)

    def rage(self):
        """Returns when enough jobs were accepted, with the supervisor dead."""
        clients = [threading.Thread(target=self.client, args=(random.Random(seed),)) for seed in range(CLIENTS)]
        [client.start() for client in clients]
        rng = random.Random(7)
        try:
            while len(self.accepted) < JOBS and not self.failures:
                with self.start(dies=True) as endpoint:
                    assert endpoint.listening, endpoint.lines[-20:]
                    self.endpoint = endpoint
                    time.sleep(rng.uniform(0.1, 0.3))  # the time it is given to live
                    endpoint.stop(9)
                    self.kills += 1
        finally:
            self.over = True
            [client.join() for client in clients]

    over = False

    def client(self, rng):
        try:
            while not self.over:
                endpoint = self.endpoint
                try:
                    if endpoint is None:
                        raise ConnectionError
                    self.step(endpoint, rng)
                except GONE:
                    time.sleep(0.01)  # nobody listens: as a client backs off
        except Exception as failure:  # shown by the test: a thread's assertion is nobody's
            self.failures.append(failure)

    def step(self, endpoint, rng):
        if rng.random() < 0.7 and len(self.accepted) < JOBS:
            job = endpoint.run({})
            with self.lock:
                self.accepted.append(job)
        elif self.accepted:
            job = rng.choice(self.accepted)
            answer = endpoint.get(f"/status/{job}")
            assert answer.status == 200, (job, answer.status, answer.body)
            if answer.json["status"] in FINAL:
                with self.lock:
                    assert answer.json == self.ended.setdefault(job, answer.json), "an end that was told changed"


@pytest.mark.parametrize("retries", [0, 3])
def test_every_promise_is_kept(tmp_path, retries):
    ledger = tmp_path / "ledger"
    storm = Storm(["--workers", "2", "--retries", str(retries)], tmp_path / "state", {"LEDGER": str(ledger)}, tmp_path / "door")
    storm.rage()
    assert not storm.failures, storm.failures[0]
    assert storm.kills >= 5 and len(storm.accepted) >= JOBS

    with storm.start(dies=False) as endpoint:
        def idle():
            jobs = endpoint.get("/health").json["jobs"]
            return jobs["inQueue"] == jobs["inProgress"] == 0
        until(idle, 240, "the end of all jobs")
        ends = {job: endpoint.get(f"/status/{job}").json for job in storm.accepted}

    counts = starts(ledger)
    # Their children are adopted: each runs once, however often its supervisor dies.
    assert max(counts.values()) == 1
    for job, state in ends.items():
        assert state == storm.ended.get(job, state), "an end that was told changed"
        assert state["status"] == "COMPLETED" and counts.get(job, 0) == 1 and state["output"] == [], state
    print(f"{len(ends)} jobs, {storm.kills} kills, {sum(counts.values())} starts")
