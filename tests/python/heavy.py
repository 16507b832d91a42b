"""A handler that says what its process is like, and whether its modules were imported beforehand."""

import ctypes
import os
import random
import resource
import signal
import sys
import tempfile
import threading
import time

import heavy_module  # beside this file
import runpod

VARIABLES = ("TMPDIR", "BULKHEAD_SCRATCH", "BULKHEAD_COOKIE", "BULKHEAD_FORK_SERVER", "ORT_DISABLE_TELEMETRY", "MINE")


def about():
    with open("/proc/self/environ") as file:
        environ = [text for text in file.read().split("\0") if text.startswith("BULKHEAD_COOKIE=")]
    descriptors = []
    for number in os.listdir("/proc/self/fd"):
        try:
            descriptors.append(os.readlink("/proc/self/fd/" + number))
        except OSError:
            pass
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "imported by": heavy_module.PID,
        "session": os.getsid(0),
        "group": os.getpgid(0),
        "argv": sys.argv,
        "path": sys.path,
        "main": __name__,
        "directory": os.getcwd(),
        "environment": {name: os.environ.get(name) for name in VARIABLES},
        "environ": environ,
        "temporary": tempfile.gettempdir(),
        "descriptors": descriptors,
        "random": random.random(),
        "signals": [signal.getsignal(number) == signal.SIG_DFL for number in (signal.SIGCHLD, signal.SIGHUP, signal.SIGPIPE)],
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "threads": threading.active_count(),
    }


def handler(job):
    asked = job["input"]
    do = asked.get("do")
    if do == "remember":
        heavy_module.seen.append(asked["value"])
        return {"seen": heavy_module.seen, "pid": os.getpid(), "refresh_worker": asked.get("refresh", False)}
    if do == "segfault":
        ctypes.string_at(0)
    if do == "_exit":
        print("about to go", flush=True)
        os._exit(asked["code"])
    if do == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "sleep":
        runpod.serverless.progress_update(job, "asleep")
        time.sleep(asked["s"])
    if do == "leave behind":
        stray = os.fork()
        if stray == 0:
            os.setsid()
            time.sleep(600)
            os._exit(0)
        return {"left": stray}
    return about()


if __name__ == "__main__":
    runpod.serverless.start({"handler": handler})
