"""A generator: each chunk reaches who follows /stream/{id} while the job runs, and the result holds them all."""

import time

import runpod


def handler(job):
    for word in job["input"]["text"].split():
        time.sleep(job["input"].get("delay_s", 0))
        yield word


if __name__ == "__main__":
    runpod.serverless.start({"handler": handler, "return_aggregate_stream": True})
