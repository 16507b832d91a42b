"""A worker's life from its cold start to SIGTERM, step by step, as in an image with `ENTRYPOINT ["bulkhead", "run", "--"]`."""

import json
import time

from capture_platform import Platform
from endpoint import example, until
from platform_worker import Worker


class Steps:
    """Says how long each step took. Figures, not judgements."""

    def __init__(self):
        self.begun = time.monotonic()

    def __call__(self, name):
        now = time.monotonic()
        print(f"{(now - self.begun) * 1000:>9.1f} ms  {name}")
        self.begun = time.monotonic()


def zoo(job, **job_input):
    return {"id": job, "input": job_input}


def test_a_workers_life(tmp_path):
    with Platform(hold=2) as platform:
        step = Steps()
        with Worker(platform, [example("crash_zoo")], "--spares", "1", "--cancel-grace", "100ms", "--term-grace", "100ms",
                    state=tmp_path / "state", env={"BULKHEAD_INIT": "always"}) as worker:
            until(lambda: platform.of("take"), 60, "the first take")
            step("cold start: from the command to the first take")

            platform.add(zoo("first", do="ok", value=1))
            platform.wait_done("first")
            step("a job, from its arrival to its result")

            many = [f"j{n}" for n in range(200)]
            platform.add(*[zoo(job, do="ok", value=job) for job in many])
            assert platform.wait_done(*many) == [{"output": job} for job in many]
            step("200 jobs, one at a time")

            platform.add(zoo("pid", do="pid"))
            before = platform.wait_done("pid")[0]["output"]["pid"]
            platform.add(zoo("refresh", do="refresh"), zoo("after", do="pid"))
            platform.wait_done("refresh", "after")
            assert platform.result("after")["output"]["pid"] != before
            step("a refresh, and the next job in a clean process")

            platform.add(zoo("crash", do="segfault"), zoo("survivor", do="ok"))
            platform.wait_done("crash", "survivor")
            assert json.loads(platform.result("crash")["error"])["signal"] == "SIGSEGV"
            step("a crash, and the next job")

            platform.add(zoo("cancelled", do="hang"))
            until(lambda: platform.of("ping")[-1].query.get("job_id") == "cancelled", 60, "its ping")
            step("(a job that hangs, until a ping names it)")
            platform.stop_job("cancelled")
            platform.add(zoo("next", do="ok"))
            platform.wait_done("next")
            assert "cancelled" not in platform.results
            step("a stop by the platform of a job that hangs, and the next job")

            platform.add(zoo("last", do="sleep_ms", ms=500))
            until(lambda: "last" in platform.handed, 60, "the last job")
            assert worker.stop() == 0
            assert platform.result("last") == {"output": {"slept_ms": 500}}
            step("SIGTERM during a job of 500 ms, to the exit code")
