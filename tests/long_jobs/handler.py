"""A handler that fails in its first attempts as it is told to, and leaves a line in $LEDGER for each."""

import os
import signal
import subprocess
import sys
import time

import bulkhead


def note(*words):
    if "LEDGER" in os.environ:
        with open(os.environ["LEDGER"], "a") as ledger:
            ledger.write(" ".join(map(str, words)) + "\n")


def handler(job):
    asked = job.input
    note(job.id, job.attempt, os.getpid())
    if job.attempt <= asked.get("bad attempts", 0):
        do = asked["do"]
        if do == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if do == "sleep":
            time.sleep(600)
        if do == "error":
            raise ValueError("as asked")
        if do == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        if do == "spin":
            until = time.monotonic() + asked["s"]
            while time.monotonic() < until:
                pass
        if do == "spin elsewhere":
            subprocess.run([sys.executable, "-c", f"import time\nend = time.monotonic() + {asked['s']}\n"
                            "while time.monotonic() < end: pass"], start_new_session=True, check=True)
        if do == "doze":
            while not job.stopping:
                time.sleep(0.02)
        if do == "talk":
            for _ in range(int(asked["s"] * 10)):
                getattr(job, asked["by"])("still here")
                time.sleep(0.1)
    return {"attempt": job.attempt, "checkpoint": job.checkpoint()}


if __name__ == "__main__":
    bulkhead.start(handler, concurrency=int(sys.argv[1]) if len(sys.argv) > 1 else 1)
