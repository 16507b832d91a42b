#!/usr/bin/python3
"""Jobs per second of a worker of RunPod's platform: Bulkhead beside the official SDK, with the same Python handler, the same
platform, in one run.

    bench/runpod/compare.py BUILD_DIR [--seconds 5] [--idle 20] [--official PYTHON]

PYTHON is an interpreter with the PyPI package `runpod` (tests/clients/.venv/bin/python when it is there); without it Bulkhead is
measured alone. Prints jobs per second, the ratio, and calls per idle minute; measures, and judges nothing.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SOURCE = Path(__file__).parents[2]

HANDLER = """
import sys
import runpod

async def handler(job):
    return job["input"]

at_once = int(sys.argv[1])
runpod.serverless.start({"handler": handler, "concurrency_modifier": lambda current: at_once})
"""


class Worker:
    """One worker in a session of its own, ended with all it started."""

    def __init__(self, platform, command, scratch):
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("RUNPOD_", "BULKHEAD_"))}
        self.log = open(Path(scratch) / "log", "ab")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, cwd=scratch,
                                        env={**environment, **platform.environment(), "RUNPOD_LOG_LEVEL": "ERROR",
                                             "RUNPOD_PING_INTERVAL": "10000", "HOME": scratch}, start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


def rate(Platform, command, seconds):
    """Jobs answered per second, from the first answer on."""
    with tempfile.TemporaryDirectory() as scratch, Platform(hold=20) as platform:
        platform.add(*[{"id": f"job-{n}", "input": {"n": n}} for n in range(20_000)])
        with Worker(platform, command(scratch), scratch):
            deadline = time.monotonic() + 60
            while not platform.results and time.monotonic() < deadline:
                time.sleep(0.01)
            begun, before = time.monotonic(), len(platform.results)
            time.sleep(seconds)
            return (len(platform.results) - before) / (time.monotonic() - begun)


def idle(Platform, command, seconds):
    """Calls per minute of a worker without jobs, by kind; its start left out."""
    with tempfile.TemporaryDirectory() as scratch, Platform(hold=10) as platform:
        with Worker(platform, command(scratch), scratch):
            deadline = time.monotonic() + 60
            while not platform.of("take") + platform.of("batch") and time.monotonic() < deadline:
                time.sleep(0.01)
            before = len(platform.calls)
            time.sleep(seconds)
            return (len(platform.calls) - before) * 60 / seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=Path)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--idle", type=float, default=20)
    parser.add_argument("--official", type=Path, default=SOURCE / "tests/clients/.venv/bin/python")
    given = parser.parse_args()
    os.environ |= {"BULKHEAD_BUILD": str(given.build.resolve()), "BULKHEAD_SOURCE": str(SOURCE)}
    sys.path.insert(0, str(SOURCE / "tests" / "support"))
    from capture_platform import Platform

    python = str(given.official) if given.official.exists() else None

    def handler(scratch):
        path = Path(scratch) / "handler.py"
        path.write_text(HANDLER)
        return str(path)

    def official(at_once):
        return lambda scratch: [python, handler(scratch), str(at_once)]

    def bulkhead(at_once, command=None, durability="full"):
        run = [str(given.build.resolve() / "supervisor" / "bulkhead"), "run", "--durability", durability, "--state-dir"]
        return lambda scratch: [*run, f"{scratch}/state", "--", *(command or [python or sys.executable, handler(scratch), str(at_once)])]

    echo = str(given.build.resolve() / "examples" / "echo" / "echo")
    print(f"{'at once':>8} {'official/s':>12} {'Bulkhead/s':>12} {'ratio':>8}   (Python handler; journal on the disk)")
    for at_once in (1, 4, 16):
        theirs = rate(Platform, official(at_once), given.seconds) if python else 0
        ours = rate(Platform, bulkhead(at_once), given.seconds)
        print(f"{at_once:>8} {theirs:>12.1f} {ours:>12.1f} {(f'{ours / theirs:.0f}x' if theirs else '-'):>8}", flush=True)
    # At one at a time the disk decides: two syncs a job.
    for durability in ("full", "relaxed", "memory"):
        print(f"C++ echo, one at a time, --durability {durability}: "
              f"{rate(Platform, bulkhead(1, [echo], durability), given.seconds):.1f}/s", flush=True)
    if given.idle > 0:
        theirs = idle(Platform, official(1), given.idle) if python else 0
        print(f"calls per idle minute (polls held 10 s): official {theirs:.0f}, Bulkhead {idle(Platform, bulkhead(1), given.idle):.0f}")


if __name__ == "__main__":
    main()
