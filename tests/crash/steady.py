"""The twin of steady.cpp for RunPod's SDK."""

import logging
import os
import signal
import time

import runpod

logging.basicConfig(level=logging.INFO)


def handler(job):
    asked = job["input"]
    with open(os.environ["LEDGER"], "ab", buffering=0) as ledger:
        ledger.write(f"{job['id']} 1 {os.getpid()}\n".encode())
    due = time.monotonic()
    for number in range(asked.get("chunks", 0)):
        due += asked.get("every_ms", 0) / 1000
        time.sleep(max(0.0, due - time.monotonic()))
        print(f"printed {number} of {job['id']}", flush=True)
        yield number
    while "hold" in asked and not os.path.exists(asked["hold"]):
        time.sleep(0.01)
    if "then" in asked:
        os.kill(os.getpid(), signal.SIGSEGV)


runpod.serverless.start({"handler": handler, "return_aggregate_stream": True})
