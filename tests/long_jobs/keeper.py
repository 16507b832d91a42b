"""Saves a checkpoint with every step, and notes in $LEDGER each one that was kept, and when (ms). Argument: "blocking" or
"async"."""

import asyncio
import os
import sys
import time

import bulkhead


def note(*words):
    line = " ".join(map(str, [*words, int(time.time() * 1000)])) + "\n"
    file = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, line.encode())
    os.close(file)


def handler(job):
    step = (job.checkpoint() or {"step": 0})["step"]
    note(job.id, job.attempt, "begin", step)
    while step < job.input["steps"]:
        step += 1
        if job.save_checkpoint({"step": step, "fill": "x" * job.input.get("size", 0)}):
            note(job.id, job.attempt, "kept", step)
        time.sleep(job.input["ms"] / 1000)
    return step


async def async_handler(job):
    step = (job.checkpoint() or {"step": 0})["step"]
    note(job.id, job.attempt, "begin", step)
    while step < job.input["steps"]:
        step += 1
        ahead = job.save_checkpoint({"step": step - 0.5})  # replaced by the next, which waits for its turn
        if await job.save_checkpoint({"step": step, "fill": "x" * job.input.get("size", 0)}):
            assert await ahead
            note(job.id, job.attempt, "kept", step)
        await asyncio.sleep(job.input["ms"] / 1000)
    return step


if __name__ == "__main__":
    if sys.argv[1] == "async":
        bulkhead.start(async_handler, concurrency=2)
    else:
        bulkhead.start(handler)
