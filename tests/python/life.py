"""A handler program that ends in every way there is. The first argument names the form."""

import asyncio
import atexit
import ctypes
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import runpod


def child_of_mine(*_):
    time.sleep(600)


def standard(job):
    asked = job["input"]
    do = asked.get("do")
    if do == "sleep":
        runpod.serverless.progress_update(job, "asleep")
        time.sleep(asked["s"])
    elif do == "spin":
        runpod.serverless.progress_update(job, "spinning")
        end = time.monotonic() + asked["s"]
        while time.monotonic() < end:
            pass
    elif do == "swallow":
        runpod.serverless.progress_update(job, "deaf")
        end = time.monotonic() + asked["s"]
        while time.monotonic() < end:
            try:
                time.sleep(asked["s"])
            except BaseException:
                pass
    elif do == "tidy":
        try:
            runpod.serverless.progress_update(job, "asleep")
            time.sleep(asked["s"])
        finally:
            with open(asked["file"], "w") as file:
                file.write("tidied")
    elif do == "hold":
        runpod.serverless.progress_update(job, "holding")
        hold(asked["s"])
    elif do == "segfault":
        threading.Thread(target=time.sleep, args=(60,), daemon=True, name="other").start()
        inner_function()
    elif do == "abort":
        os.abort()
    elif do == "_exit":
        print("about to go", flush=True)
        os._exit(asked["code"])
    elif do == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif do == "thread":
        thread = threading.Thread(target=raises)
        thread.start()
        thread.join()
    elif do == "log":
        logging.warning("by logging %s", job["id"])
        warnings.warn("by warnings")
        print("by print")
        os.write(1, b"by a write\n")
        libc = ctypes.CDLL(None)
        libc.printf(b"by C\n")
        libc.fflush(None)
    elif do == "fork":
        multiprocessing.get_context("fork").Process(target=child_of_mine, daemon=False).start()
    elif do == "pool":
        with multiprocessing.get_context("fork").Pool(2) as pool:
            return pool.map(square, range(5))
    elif do == "spawned pool":
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            return pool.map(square, range(5))
    elif do == "fork crash":
        pid = os.fork()
        if pid == 0:
            os.abort()
        return os.waitpid(pid, 0)[1]
    elif do == "fork through":
        if os.fork() == 0:
            return "of the fork"
        time.sleep(asked["s"])
    elif do == "subprocess":
        return subprocess.run([sys.executable, "-c", asked["code"]], capture_output=True, text=True, timeout=60).stdout
    elif do == "environment":
        return {name: value for name, value in os.environ.items() if name.startswith(("BULKHEAD_", "PYTHONPATH"))}
    elif do == "atexit":
        atexit.register(time.sleep, 600)
    elif do == "recursion":
        return recursion(0)
    return os.getpid()


def hold(seconds):
    """Waits in C with the interpreter's lock (PyDLL keeps it), where no signal interrupts."""
    libc, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(64)
    libc.pthread_mutex_lock(mutex)
    until = (ctypes.c_long * 2)(int(time.time() + seconds), 0)
    libc.pthread_mutex_timedlock(mutex, until)


def recursion(n):
    return recursion(n + 1) + 1


def raises():
    raise ValueError("in a thread")


def square(x):
    return x * x


def inner_function():
    ctypes.string_at(0)


async def coroutine(job):
    asked = job["input"]
    do = asked.get("do")
    if do == "wait":
        runpod.serverless.progress_update(job, "waiting")
        await asyncio.sleep(asked["s"])
    elif do == "tidy":
        try:
            runpod.serverless.progress_update(job, "waiting")
            await asyncio.sleep(asked["s"])
        except asyncio.CancelledError:
            with open(asked["file"], "w") as file:
                file.write("tidied")
            raise
    elif do == "say":
        for word in asked["words"]:
            print(word)
            await asyncio.sleep(0.01)
    elif do == "block":
        runpod.serverless.progress_update(job, "blocking")
        while not os.path.exists(asked["until"]):
            time.sleep(0.01)
        runpod.serverless.progress_update(job, "through")
        await asyncio.sleep(600)
    elif do == "no end of a line":
        for percent in range(101):
            print(f"\rdone: {percent} %", end="")
        print()
        before = resident()
        for _ in range(64):
            sys.stdout.write("x" * (1 << 20))
        return resident() - before
    elif do == "pool":
        with multiprocessing.get_context("fork").Pool(2) as pool:
            pool.map(square, range(5))
    elif do == "left behind":
        asyncio.ensure_future(asyncio.sleep(600))
        asyncio.ensure_future(exits())
        await asyncio.sleep(0.05)
    elif do == "fork and end":
        return sum(outlives_sigterm() for _ in range(100))
    elif do == "fork through":
        pid = os.fork()
        if pid == 0:
            return await asyncio.sleep(0.05, FORKED[asked["then"]]())
        os.waitpid(pid, 0)
    return os.getpid()


def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def outlives_sigterm():
    """Whether a process that is forked does, where the signal comes at once."""
    pid = os.fork()
    if pid == 0:
        time.sleep(10)
        os._exit(0)
    os.kill(pid, signal.SIGTERM)
    return os.waitpid(pid, 0)[1] == 0


FORKED = {"return": lambda: 1, "raise": lambda: raises(), "exit": lambda: sys.exit(3)}


async def exits():
    sys.exit(9)


def endless(job):
    number = 0
    while True:
        yield number
        number += 1
        time.sleep(0.01)


async def endless_async(job):
    number = 0
    while True:
        yield number
        number += 1
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    form = sys.argv[1]
    if "tidy" in sys.argv:
        atexit.register(lambda: open(sys.argv[-1], "w").close())
    config = {"handler": {"standard": standard, "coroutine": coroutine, "endless": endless, "endless_async": endless_async}[form]}
    if form == "coroutine":
        config["concurrency_modifier"] = lambda current: current + 1 if "growing" in sys.argv else 20
    runpod.serverless.start(config)
