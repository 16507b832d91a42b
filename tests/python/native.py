"""A handler program written for Bulkhead's own module."""

import asyncio
import os
import sys
import time

import bulkhead

loaded = []


def load():
    loaded.append(os.getpid())


async def load_async():
    await asyncio.sleep(0)
    loaded.append(os.getpid())


def handler(job):
    do = job.input["do"]
    if do == "facts":
        return {"id": job.id, "same": job["id"] == job.id, "attempt": job.attempt, "traceparent": job.traceparent,
                "cancelled": job.cancelled, "loaded": len(loaded)}
    if do == "steps":
        # Goes on where the attempt before was, which died half way.
        step = (job.checkpoint() or {"step": 0})["step"]
        first = step
        while step < 6:
            step += 1
            assert job.save_checkpoint({"step": step})
            job.progress({"step": step})
            if step == 3:
                os._exit(1)
        return {"first": first, "steps": step, "attempt": job.attempt}
    if do == "until cancelled":
        job.progress("begun")
        while not job.cancelled:
            try:
                time.sleep(0.05)
            except bulkhead.Stopped as stop:
                return {"stopped": stop.reason, "why": job.stopping}
    if do == "error":
        raise bulkhead.Error({"code": 7}, refresh_worker=job.input.get("refresh", False))
    if do == "nan kept":
        if job.attempt == 1:
            assert job.save_checkpoint({"loss": float("nan")})
            os._exit(1)
        job.progress({"at": float("inf")})
        if job.input.get("wait"):
            time.sleep(600)
        return job.checkpoint()
    if do == "odd error":
        raise bulkhead.Error({1}, refresh_worker=True)
    if do == "log":
        job.log("a line of the job", "WARN")
    if do == "nan":
        return [float("nan"), {"a": float("inf")}, (1.5,)]
    return loaded


async def async_handler(job):
    if job.input["do"] == "save":
        return [await job.save_checkpoint({"a": 1}), job.attempt]
    return handler(job)


class Slow:
    """A number that takes its time to be one: a generator that yields it is not running while it is waited for."""

    shape = ()

    def item(self):
        time.sleep(600)


def generator(job):
    try:
        job.progress("begun")
        yield Slow()
    finally:
        job.log("closed while the job is there")


if __name__ == "__main__":
    form, *options = sys.argv[1:]
    if form == "standard":
        bulkhead.start(handler, setup=load, nan_as_null="nan" in options or None)
    elif form == "async":
        bulkhead.start(handler=async_handler, setup=load_async, concurrency=5)
    elif form == "generator":
        bulkhead.start(generator)
    elif form == "bad setup":
        bulkhead.start(handler=handler, setup=lambda: {}["no such model"])
