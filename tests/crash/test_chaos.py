"""Everything dies, again and again: handlers, the supervisor, and now and then the init with all below it. Clients send on,
each job under a key of its own until it is answered; every job ends once, and no attempt is run twice."""

import os
import random
import signal
import threading
import time

from chaos import Reaper
from endpoint import FINAL, command_of, processes_with, until
from test_adoption import answer, below_init
from test_points import GONE, LEDGER

JOBS = int(os.environ.get("BULKHEAD_CHAOS_JOBS", "600"))
LIVES = int(os.environ.get("BULKHEAD_CHAOS_LIVES", "3"))  # of the init
CLIENTS = 6
RETRIES = 5


class Client(threading.Thread):
    """Sends its share of the jobs, awaits the end of most, and asks for others: what it was told once must stay true."""

    def __init__(self, number, chaos):
        super().__init__(daemon=True)
        self.number, self.chaos, self.chance = number, chaos, random.Random(number)
        self.accepted, self.ended, self.failure = [], {}, None

    def run(self):
        try:
            for n in range(JOBS // CLIENTS):
                self.accepted.append(self.insist(lambda endpoint: self.send(endpoint, f"key-{self.number}-{n}")))
                if self.chance.random() < 0.8:
                    self.insist(lambda endpoint: self.ask(endpoint, self.accepted[-1]) in FINAL)
                self.insist(lambda endpoint: self.ask(endpoint, self.chance.choice(self.accepted)))
        except BaseException as failure:  # raised again by the test's thread
            self.failure = failure

    def insist(self, what):
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            try:
                if (endpoint := self.chaos.endpoint) and (told := what(endpoint)):
                    return told
            except GONE:
                pass
            time.sleep(0.01)  # nobody listens: as a client backs off
        raise AssertionError("no answer for five minutes")

    def send(self, endpoint, key):
        sent = endpoint.post("/run", {"input": {"chunks": 2, "ms": self.chance.randrange(0, 80)}},
                             headers={"Idempotency-Key": key})
        assert sent.status in (200, 503), (sent.status, sent.body)
        return sent.status == 200 and sent.json["id"]

    def ask(self, endpoint, job):
        state = endpoint.get(f"/status/{job}")
        assert state.status == 200, (job, state.status, state.body)
        if state.json["status"] in FINAL:
            assert state.json == self.ended.setdefault(job, state.json), "an end that was told changed"
        return state.json["status"]


class Chaos:
    """What the clients speak to: whichever endpoint there is."""

    def __init__(self, home):
        self.home, self.endpoint = home, None

    def start(self, dies):
        return below_init([LEDGER], "--workers", "3", "--retries", str(RETRIES), "--retry-backoff", "1ms..20ms",
                          tmp_path=self.home, dies=dies)

    def handlers(self):
        return [pid for pid in processes_with(str(self.home)) if command_of(pid).endswith("/ledger")]

    def supervisors(self):
        return [pid for pid in processes_with(str(self.home)) if command_of(pid).endswith("/bulkhead")]


def test_every_job_ends_once_whatever_dies(tmp_path):
    chaos = Chaos(tmp_path)
    clients = [Client(number, chaos) for number in range(CLIENTS)]
    handlers_killed = supervisors_killed = 0
    for life in range(LIVES):
        with chaos.start(dies=life + 1 < LIVES) as endpoint:
            assert endpoint.listening, endpoint.lines[-20:]
            chaos.endpoint = endpoint
            if life == 0:
                [client.start() for client in clients]
            # The init puts off a supervisor that dies young: killed more often than it is fit for, it would only wait.
            with Reaper(chaos.handlers, (0.05, 0.4), seed=life) as handlers, \
                    Reaper(chaos.supervisors, (1.0, 3.0), seed=life + 100) as supervisors:
                share = JOBS * (life + 1) // LIVES
                until(lambda: sum(len(client.accepted) for client in clients) >= share - CLIENTS
                      or any(client.failure for client in clients), 900, f"{share} jobs accepted")
                if life + 1 == LIVES:
                    [client.join() for client in clients]
            handlers_killed, supervisors_killed = handlers_killed + handlers.kills, supervisors_killed + supervisors.kills
            failures = [client.failure for client in clients if client.failure]
            assert not failures, failures[0]
            if life + 1 < LIVES:  # everything at once
                chaos.endpoint = None
                for pid in [endpoint.process.pid, *chaos.supervisors(), *chaos.handlers()]:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
                endpoint.stop(9)
                until(lambda: not processes_with(str(tmp_path)), 60, "the end of everything")
                continue

            accepted = [job for client in clients for job in client.accepted]
            assert len(set(accepted)) == len(accepted) == JOBS // CLIENTS * CLIENTS

            def idle():
                jobs = answer(endpoint, "/health").json["jobs"]
                return jobs["inQueue"] == jobs["inProgress"] == 0
            until(idle, 300, "the end of all jobs")
            ends = {job: answer(endpoint, f"/status/{job}").json for job in accepted}
            assert endpoint.stop() == 0

    ledger = [tuple(line.split()) for line in (tmp_path / "ledger").read_text().splitlines()]
    assert len(set(ledger)) == len(ledger), "an attempt was run twice"
    assert {job for job, _ in ledger} <= set(ends), "a job ran that nobody was promised"
    told = {job: state for client in clients for job, state in client.ended.items()}
    failed = 0
    for job, state in ends.items():
        assert state == told.get(job, state), "an end that was told changed"
        if state["status"] == "COMPLETED":
            assert state["output"] == [0, 1], state
        else:
            assert state["status"] == "FAILED" and len(state["bulkhead"]["attempts"]) == RETRIES + 1, state
            failed += 1
    assert not processes_with(str(tmp_path))
    assert handlers_killed >= 5 and supervisors_killed >= 1
    print(f"{len(ends)} jobs: {handlers_killed} handlers, {supervisors_killed} supervisors and {LIVES - 1} times everything "
          f"killed; {len(ledger)} starts, {failed} jobs used up their attempts")
