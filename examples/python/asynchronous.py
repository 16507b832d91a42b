"""A coroutine, and an async generator behind `--stream`: they wait without keeping the process from other jobs."""

import asyncio
import sys

import runpod


async def handler(job):
    numbers = job["input"]["numbers"]
    squares = await asyncio.gather(*(square(number) for number in numbers))
    return {"squares": squares}


async def streaming_handler(job):
    for number in job["input"]["numbers"]:
        yield await square(number)


async def square(number):
    await asyncio.sleep(0.01)  # stands for a request to something slow
    return number * number


if __name__ == "__main__":
    if "--stream" in sys.argv:
        runpod.serverless.start({"handler": streaming_handler, "return_aggregate_stream": True})
    else:
        runpod.serverless.start({"handler": handler})
