"""A handler of the form its argument names, which can say what its process holds."""

import asyncio
import gc
import os
import sys
import threading

import runpod


def held():
    gc.collect()
    with open("/proc/self/statm") as statm:
        resident = int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    return {"pid": os.getpid(), "blocks": sys.getallocatedblocks(), "objects": len(gc.get_objects()),
            "threads": threading.active_count(), "descriptors": len(os.listdir("/proc/self/fd")), "resident": resident}


def answer(job):
    asked = job["input"]
    if asked.get("held"):
        return held()
    if asked["n"] % 5 == 1:
        raise ValueError(asked["n"])
    if asked["n"] % 5 == 2:
        runpod.serverless.progress_update(job, {"n": asked["n"]})
    if asked["n"] % 5 == 3:
        return {"error": {"n": asked["n"]}, "set": asked["text"]}
    return {"n": asked["n"], "set": {1} if asked["n"] % 5 == 4 else None}


async def coroutine(job):
    await asyncio.sleep(0)
    return answer(job)


def generator(job):
    yield answer(job)


async def async_generator(job):
    await asyncio.sleep(0)
    yield answer(job)


FORMS = {"function": answer, "coroutine": coroutine, "generator": generator, "async generator": async_generator}

if __name__ == "__main__":
    runpod.serverless.start({"handler": FORMS[sys.argv[1]], "return_aggregate_stream": True})
