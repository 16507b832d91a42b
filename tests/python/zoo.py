"""A handler program of every form, written for RunPod's SDK. The first argument names the form, a second one options."""

import asyncio
import functools
import os
import sys
import threading
import time

import runpod


class Odd(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class Unnamed(type):
    def __str__(cls):
        raise RuntimeError("no name")

    __repr__ = __str__


class OddKind(Exception, metaclass=Unnamed):
    pass


class Base(BaseException):
    pass


class Scalar:
    """As numpy's and torch's are."""

    shape = ()

    def __init__(self, number):
        self.number = number

    def item(self):
        return self.number


def circle():
    value = {"in": []}
    value["in"].append(value)
    return value


def deep(levels):
    value = 0
    for _ in range(levels):
        value = [value]
    return value


def raised(error):
    raise error


# What a handler of any form may be asked to return.
VALUES = {
    "text": lambda: "hi", "number": lambda: 3, "none": lambda: None, "true": lambda: True, "false": lambda: False,
    "list": lambda: [1, "a"], "tuple": lambda: (1, 2), "empty": lambda: {}, "error-false": lambda: {"error": False},
    "dict": lambda: {"a": 1}, "nested": lambda: {"output": {"a": 1}, "status": "x"}, "error": lambda: {"error": "boom"},
    "error-dict": lambda: {"error": {"code": 1}, "x": 2}, "error-list": lambda: {"error": ["a", 1]},
    "error-empty": lambda: {"error": "", "x": 1}, "refresh": lambda: {"refresh_worker": True, "r": 1},
    "error-refresh": lambda: {"error": "e", "refresh_worker": True}, "unicode": lambda: "\u00e9\u2603\U0001f600",
    "keys": lambda: {1: "a", None: "b", True: "c", 1.5: "d"}, "int": lambda: 10**30,
    "deep-500": lambda: deep(500), "wide": lambda: [{"i": i} for i in range(2000)],
    "set": lambda: {"a": [0, {1}]}, "bytes": lambda: b"x", "nan": lambda: {"s": [1.0, float("nan")]},
    "infinity": lambda: -float("inf"), "circle": circle, "deep": lambda: {"d": deep(5000)}, "deep-600": lambda: deep(600),
    "surrogate": lambda: {"t": "a\ud800"}, "surrogate-key": lambda: {"\ud800": 1}, "digits": lambda: {"n": 10**5000},
    "tuple-key": lambda: {"m": {(1, 2): 3}}, "object": lambda: {"o": object()}, "error-set": lambda: {"error": {"e": {1}}},
    "scalars": lambda: {"a": [Scalar(1), Scalar(2.5), Scalar(True)]}, "nan-scalar": lambda: [Scalar(float("nan"))],
    "complex": lambda: Scalar(1j), "large": lambda: "x" * (21 << 20), "nan-key": lambda: {float("nan"): 1},
    "large-refresh": lambda: {"refresh_worker": True, "r": "x" * (21 << 20)}, "set-refresh": lambda: {"refresh_worker": True, "s": {1}},
    "debris": lambda: {"refresh_worker": True, "error": {"e": {1}}}, "pid": os.getpid,
    "generator": lambda: (x for x in range(3)), "exception": lambda: raised(ValueError("bo\u00f6m")),
    "odd": lambda: raised(Odd()), "odd-kind": lambda: raised(OddKind("odd")), "base": lambda: raised(Base("base")), "exit": lambda: sys.exit(3),
    "interrupt": lambda: raised(KeyboardInterrupt()), "surrogate-exception": lambda: raised(ValueError("x\udc80")),
    "cancelled": lambda: raised(asyncio.CancelledError()), "threads": lambda: threading.current_thread() is threading.main_thread(),
}


def special(job):
    """What needs the job."""
    asked = job["input"]
    do = asked["do"]
    if do == "echo":
        return job
    if do == "progress":
        for value in asked["values"]:
            runpod.serverless.progress_update(job, value)
            time.sleep(asked.get("pause", 0.0))
        return "done"
    if do == "bad progress":
        runpod.serverless.progress_update(job, {"s": {1}})
        return "done"
    if do == "chain":
        try:
            {}["inner"]
        except KeyError as error:
            raise ValueError("outer") from error
    if do == "no id":
        del job["id"]
        runpod.serverless.progress_update(job, "without")
        return "done"
    if do == "print":
        print(asked["text"])
        print("to stderr", file=sys.stderr)
        sys.stdout.write("no end")
        return 1
    return VALUES[do]()


def standard(job):
    return special(job)


async def coroutine(job):
    if "sleep" in job["input"]:
        await asyncio.sleep(job["input"]["sleep"])
    return special(job)


def chunks_of(job):
    for chunk in job["input"]["chunks"]:
        if isinstance(chunk, str) and chunk.startswith("!"):
            yield VALUES[chunk[1:]]()
        else:
            yield chunk


KEPT = []


def generator(job):
    do = job["input"].get("do")
    if do == "keep":
        KEPT.append(job)
    elif do == "late progress":
        runpod.serverless.progress_update(job, "mine")
        runpod.serverless.progress_update(KEPT[0], "of the job before")
        yield "both were said"
        time.sleep(600)
    else:
        yield from chunks_of(job)


async def async_generator(job):
    for chunk in chunks_of(job):
        await asyncio.sleep(0)
        yield chunk


class Callable:
    def __call__(self, job):
        return special(job)

    def method(self, job):
        return special(job)

    async def waits(self, job):
        return special(job)

    def streams(self, job):
        yield from chunks_of(job)


def wrapped(function):
    @functools.wraps(function)
    def wrapper(*arguments, **named):
        return function(*arguments, **named)
    return wrapper


FORMS = {
    "standard": standard, "coroutine": coroutine, "generator": generator, "async_generator": async_generator,
    "callable": Callable(), "method": Callable().method, "async_method": Callable().waits, "lambda": lambda job: special(job),
    "partial": functools.partial(standard), "async_partial": functools.partial(coroutine),
    "streaming_method": Callable().streams, "wrapped_generator": wrapped(generator), "wrapped_coroutine": wrapped(coroutine),
    "wrapped_async_generator": wrapped(async_generator), "async_lambda": lambda job: coroutine(job),
}

if __name__ == "__main__":
    config = {"handler": FORMS[sys.argv[1]]}
    options = sys.argv[2].split(",") if len(sys.argv) > 2 else []
    if "aggregate" in options:
        config["return_aggregate_stream"] = True
    if "refresh" in options:
        config["refresh_worker"] = True
    for option in options:
        if option.startswith("at-once="):
            config["concurrency_modifier"] = lambda current, n=int(option[8:]): n
    runpod.serverless.start(config)
