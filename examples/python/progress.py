"""Tells how far it is: /status/{id} shows the latest update as the job's output until the job has one."""

import time

import runpod


def handler(job):
    steps = job["input"].get("steps", 3)
    for step in range(1, steps + 1):
        time.sleep(job["input"].get("delay_s", 0))
        runpod.serverless.progress_update(job, f"step {step} of {steps}")
    return {"steps": steps}


if __name__ == "__main__":
    runpod.serverless.start({"handler": handler})
