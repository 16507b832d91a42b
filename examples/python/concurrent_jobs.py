"""Several jobs at once in one process: `concurrency_modifier` says how many, again and again while the worker runs.

Here it follows the load: one more while the jobs it has leave time, one less when they do not.
"""

import asyncio
import time

import runpod

MOST = 8
running = 0
most_seen = 0
busy_until = 0.0


async def handler(job):
    global running, most_seen, busy_until
    running += 1
    most_seen = max(most_seen, running)
    begun = time.monotonic()
    await asyncio.sleep(job["input"].get("wait_s", 0.1))
    late = time.monotonic() - begun - job["input"].get("wait_s", 0.1)
    if late > 0.5:
        busy_until = time.monotonic() + 10
    running -= 1
    return {"value": job["input"].get("value"), "at_once": most_seen}


def concurrency_modifier(current):
    return max(1, current - 1) if time.monotonic() < busy_until else min(MOST, current + 1)


if __name__ == "__main__":
    runpod.serverless.start({"handler": handler, "concurrency_modifier": concurrency_modifier})
