"""Jobs that crash for good, and inputs that crash whoever runs them."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from endpoint import BULKHEAD, Endpoint, until

HANDLER = [sys.executable, str(Path(__file__).with_name("handler.py"))]
FAST = ["--retry-backoff", "10ms..50ms"]
POISON = {"do": "crash", "bad attempts": 99}


def serve(tmp_path, *options, command=HANDLER, **more):
    return Endpoint(command, *options, state=tmp_path / "state", **more)


def dead(endpoint, *words, code=0):
    """`bulkhead dead …`, its answer parsed: one value a line."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("BULKHEAD_")}
    done = subprocess.run([BULKHEAD, "dead", *words, "--json", "--url", f"http://{endpoint.host}:{endpoint.port}"], env=env,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, (words, done)
    return [json.loads(line) for line in done.stdout.splitlines()] if code == 0 else done.stderr


@pytest.mark.parametrize("durability", ["full", "memory"])
def test_a_job_that_crashes_for_good_is_a_dead_letter(tmp_path, durability):
    with serve(tmp_path, "--retries", "1", *FAST, "--durability", durability) as endpoint:
        good = endpoint.runsync({})
        failed = endpoint.runsync({"do": "error", "bad attempts": 9})
        assert good["status"] == "COMPLETED" and failed["status"] == "FAILED"
        assert dead(endpoint, "list") == []
        state = endpoint.runsync(POISON)
        [letter] = dead(endpoint, "list")
        assert letter["id"] == state["id"] and letter["error_type"] == "WorkerCrash"
        assert letter["attempts"] == state["bulkhead"]["attempts"] and len(letter["attempts"]) == 2
        [whole] = dead(endpoint, "show", state["id"])
        assert whole["input"] == POISON
        assert [record["attempt"] for record in whole["crashes"]] == [1, 2]
        assert all(record["signal"] == "SIGKILL" for record in whole["crashes"])
        assert whole["error"] == json.loads(state["error"])
        assert dead(endpoint, "drop", state["id"]) == [{"id": state["id"], "dropped": True}]
        assert dead(endpoint, "list") == []
        assert "no dead letter" in dead(endpoint, "show", state["id"], code=4)
        assert "no dead letter" in dead(endpoint, "drop", "never-was", code=4)


def test_a_dead_letter_outlives_its_job_and_comes_back_to_life(tmp_path):
    flag = tmp_path / "mended"
    program = tmp_path / "mendable.py"
    program.write_text(f"import os, bulkhead\n"
                       f"def handler(job):\n"
                       f"    return job.input if os.path.exists({str(flag)!r}) else os._exit(9)\n"
                       f"bulkhead.start(handler)\n")
    command = [sys.executable, str(program)]
    with serve(tmp_path, "--keep-async", "1s", command=command) as endpoint:
        job = endpoint.run({"n": 1})
        until(lambda: [one for one in dead(endpoint, "list") if one["id"] == job], 60, "the letter")
        until(lambda: endpoint.get(f"/status/{job}").status == 404, 60, "the job's end")
    with serve(tmp_path, command=command) as endpoint:
        [letter] = dead(endpoint, "list")
        assert letter["id"] == job
        flag.touch()
        assert dead(endpoint, "retry", job) == [{"id": job, "status": "IN_QUEUE"}]
        assert endpoint.wait(job)["output"] == {"n": 1}
        until(lambda: dead(endpoint, "list") == [], 60, "the letter is gone")


def test_letters_are_bounded_in_number_and_age(tmp_path):
    with serve(tmp_path, "--dead-max", "2", "--workers", "2") as endpoint:
        jobs = [endpoint.runsync({**POISON, "n": n})["id"] for n in range(4)]
        assert [letter["id"] for letter in dead(endpoint, "list")] == [jobs[3], jobs[2]]
    with serve(tmp_path, "--dead-ttl", "1s") as endpoint:
        until(lambda: dead(endpoint, "list") == [], 90, "the letters are too old")


def test_an_input_that_crashes_is_refused_after_its_third_child(tmp_path):
    ledger = tmp_path / "ledger"
    options = ["--quarantine", "3", "--retries", "1", *FAST]
    with serve(tmp_path, *options, env={"LEDGER": str(ledger)}) as endpoint:
        first = endpoint.runsync(POISON)
        second = endpoint.runsync(POISON)
        assert json.loads(first["error"])["error_type"] == "WorkerCrash"
        record = json.loads(second["error"])
        assert second["status"] == "FAILED" and record["error_type"] == "Quarantined", record
        assert record["first_crash"]["signal"] == "SIGKILL" and record["first_crash"]["attempt"] == 1
        assert len(ledger.read_text().splitlines()) == 3
        third = endpoint.runsync(POISON)
        assert json.loads(third["error"])["error_type"] == "Quarantined" and third["workerId"] == ""
        assert endpoint.runsync({**POISON, "other": 1})["status"] == "FAILED"  # not the same bytes
        assert len(ledger.read_text().splitlines()) == 5
        letters = {letter["id"]: letter["error_type"] for letter in dead(endpoint, "list")}
        assert letters[first["id"]] == "WorkerCrash" and letters[second["id"]] == "Quarantined"
        assert third["id"] not in letters, "it cost nothing"
        assert "quarantine" in dead(endpoint, "retry", first["id"], code=1)
    with serve(tmp_path, *options, env={"LEDGER": str(ledger)}) as endpoint:  # the journal remembers
        assert json.loads(endpoint.runsync(POISON)["error"])["error_type"] == "Quarantined"
        assert len(ledger.read_text().splitlines()) == 5
        assert dead(endpoint, "clear") == [{"suspects_cleared": 2}]
        assert len(dead(endpoint, "list")) == 3, "the letters are kept"
        assert json.loads(endpoint.runsync(POISON)["error"])["error_type"] == "WorkerCrash"


def test_a_new_build_lifts_the_quarantine(tmp_path):
    program = tmp_path / "handler.py"
    program.write_text("import os, bulkhead\nbulkhead.start(lambda job: os._exit(9) if job.input == 'bad' else 1)\n")
    with serve(tmp_path, "--quarantine", "1", command=[sys.executable, str(program)]) as endpoint:
        assert json.loads(endpoint.runsync("bad")["error"])["error_type"] == "WorkerCrash"
        assert json.loads(endpoint.runsync("bad")["error"])["error_type"] == "Quarantined"
        program.write_text("import os, bulkhead\nbulkhead.start(lambda job: os._exit(9) if job.input == 'bad' else 22)\n")
        assert json.loads(endpoint.runsync("bad")["error"])["error_type"] == "WorkerCrash"


def test_fifty_copies_of_a_poison_among_a_thousand_good_jobs_cost_three_children(tmp_path):
    ledger = tmp_path / "ledger"
    with serve(tmp_path, "--quarantine", "3", "--workers", "2", env={"LEDGER": str(ledger)}) as endpoint:
        jobs, lock = [], threading.Lock()

        def send(start):
            for n in range(start, 1050, 4):
                poison = n % 21 == 0
                job = endpoint.run(POISON if poison else {"n": n})
                with lock:
                    jobs.append((job, poison))
        threads = [threading.Thread(target=send, args=(start,)) for start in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert len(jobs) == 1050 and sum(poison for _, poison in jobs) == 50

        def idle():
            counts = endpoint.get("/health").json["jobs"]
            return counts["inQueue"] == counts["inProgress"] == 0
        until(idle, 300, "the end of all jobs")
        kinds = {}
        for job, poison in jobs:
            state = endpoint.get(f"/status/{job}").json
            kind = "good" if state["status"] == "COMPLETED" else json.loads(state["error"])["error_type"]
            kinds[poison, kind] = kinds.get((poison, kind), 0) + 1
        assert kinds == {(False, "good"): 1000, (True, "WorkerCrash"): 3, (True, "Quarantined"): 47}
        poisoned = {job for job, poison in jobs if poison}
        assert sum(line.split()[0] in poisoned for line in ledger.read_text().splitlines()) == 3
