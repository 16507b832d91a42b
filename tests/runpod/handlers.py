"""Handlers written for RunPod's SDK, for the transcripts: `handlers.py plain|stream|aggregate`."""

import asyncio
import sys
import time

import runpod


def plain(job):
    job_input = job["input"]
    if not isinstance(job_input, dict):
        return job_input
    what = job_input.get("do")
    if what == "raise":
        raise ValueError("a défaut")
    if what == "error":
        return {"error": "it failed"}
    if what == "error_and_more":
        return {"error": {"code": 7}, "more": 1}
    if what == "refresh":
        return {"refresh_worker": True, "result": 1}
    if what == "empty":
        return {}
    if what == "progress":
        runpod.serverless.progress_update(job, {"percent": 50})
        time.sleep(1)
        return "progressed"
    if what == "extra":
        return {key: job[key] for key in sorted(job) if key not in ("id", "input")}
    return job_input


def stream(job):
    for word in job["input"]["words"]:
        yield word
    if job["input"].get("raise"):
        raise ValueError("half way")


async def waits(job):
    await asyncio.sleep(job["input"]["seconds"])
    return "waited"


config = {"plain": {"handler": plain}, "stream": {"handler": stream},
          "aggregate": {"handler": stream, "return_aggregate_stream": True},
          "waits": {"handler": waits, "concurrency_modifier": lambda current: 3}}[sys.argv.pop(1)]
runpod.serverless.start(config)
