"""The official SDK's side: many workers, one for each process the table asks for.

    official_worker.py LOG PLAN

PLAN is a JSON array of [form, …flags]. The package is imported once and the workers are forked, since importing it takes
longer than all they do. The Nth worker asks for N thousand jobs at once: by that the server knows which one it is. When a
worker has ended, a line "N status" is written to standard output; their own output goes to standard error.
"""

import json
import os
import sys

log, plan = sys.argv[1], json.loads(sys.argv[2])
sys.argv[1:] = ["", log]

import handlers  # noqa: E402  (it reads the arguments)
import runpod  # noqa: E402

sys.modules["__main__"].Own = handlers.Own
handlers.Own.__module__ = "__main__"  # as where the program is run by itself


def work(number, form, *flags):
    sys.argv[1:] = [form, log, *flags]
    modifier = {"concurrency_modifier": lambda _: 1000 * number}
    runpod.serverless.start({**handlers.config(form), **modifier})


def main():
    statuses = os.dup(1)
    os.dup2(2, 1)
    workers = {}
    for number, arguments in enumerate(plan, 1):
        pid = os.fork()
        if pid == 0:
            os.close(statuses)
            work(number, *arguments)
            sys.exit(0)
        workers[pid] = number
    while workers:
        pid, status = os.wait()
        os.write(statuses, b"%d %d\n" % (workers.pop(pid), os.waitstatus_to_exitcode(status)))


if __name__ == "__main__":
    main()
