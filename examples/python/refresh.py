"""Asks for a fresh process after a job that may have left something behind.

`refresh_worker` in a result asks once; in the configuration (here with `--always`) it asks after every job.
"""

import os
import sys

import runpod

jobs_done = 0


def handler(job):
    global jobs_done
    jobs_done += 1
    answer = {"pid": os.getpid(), "jobs_done": jobs_done}
    if job["input"].get("untidy"):
        answer["refresh_worker"] = True
    return answer


if __name__ == "__main__":
    runpod.serverless.start({"handler": handler, "refresh_worker": "--always" in sys.argv})
