"""A handler for what the command line shows: it tells its progress, writes lines, and waits until a file is there."""

import os
import sys
import time

import bulkhead


def handler(job):
    asked = job.input
    for value in asked.get("progress", []):
        job.progress(value)
    for text in asked.get("log", []):
        job.log(text)
    for text in asked.get("print", []):
        print(text, flush=True)
    if asked.get("crash"):
        os.abort()
    while "until" in asked and not os.path.exists(asked["until"]):
        time.sleep(0.02)
    time.sleep(asked.get("ms", 0) / 1000)
    if asked.get("error"):
        raise ValueError(asked["error"])
    return asked.get("value", "done")


if __name__ == "__main__":
    bulkhead.start(handler, concurrency=int(sys.argv[1]) if len(sys.argv) > 1 else 1)
