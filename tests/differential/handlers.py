"""A program with RunPod handlers, made of the rows of one form: what both sides run.

    handlers.py FORM LOG [--rp_debugger]

One handler of the form serves all its rows: a job's input names its row. LOG gets a line per run, "row<tab>pid".
"""

import asyncio
import collections
import dataclasses
import datetime
import enum
import functools
import inspect
import os
import signal
import sys
import time

import runpod
from rows import ROWS, nested, random_value

# ---- what bodies of rows find ----------------------------------------------------------------------------------------


class Own(Exception):
    pass


class Grave(BaseException):
    pass


class Speechless(Exception):
    def __str__(self):
        raise ValueError("no words")


class Number(int):
    pass


class Text(str):
    pass


class Level(enum.IntEnum):
    HIGH = 2


@dataclasses.dataclass
class Point:
    x: int
    y: int


class Scalar:
    """As the scalars of numpy and torch are: no float, but plainly a number."""
    shape = ()

    def __init__(self, value):
        self.value = value

    def item(self):
        return self.value


class Later:
    """Can be awaited, and is no coroutine."""

    def __init__(self, value):
        self.value = value

    def __await__(self):
        yield from asyncio.sleep(0).__await__()
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


async def counted(most):
    for n in range(most):
        await asyncio.sleep(0)
        yield n


def release(job):
    """The file that appears when the job's progress was seen."""
    return job["input"]["release"]


def released(job):
    deadline = time.monotonic() + 60
    while not os.path.exists(release(job)):
        assert time.monotonic() < deadline, "the progress was not seen"
        time.sleep(0.01)


async def released_soon(job):
    deadline = time.monotonic() + 60
    while not os.path.exists(release(job)):
        assert time.monotonic() < deadline, "the progress was not seen"
        await asyncio.sleep(0.01)


BODIES = {"asyncio": asyncio, "datetime": datetime, "os": os, "signal": signal, "sys": sys, "runpod": runpod,
          "OrderedDict": collections.OrderedDict, "nested": nested, "random_value": random_value, "counted": counted, "released": released,
          "released_soon": released_soon, "Own": Own, "Grave": Grave, "Speechless": Speechless, "Number": Number,
          "Text": Text, "Level": Level, "Point": Point, "Scalar": Scalar, "Later": Later}

# ---- from rows to a handler --------------------------------------------------------------------------------------------

LOG = sys.argv[2]


def compiled(row, asynchronous):
    text = f"{'async ' if asynchronous else ''}def case(job):\n" + "".join(f"    {line}\n" for line in row.body.splitlines())
    names = dict(BODIES)
    exec(compile(text, f"<{row.name}>", "exec"), names)
    return names["case"]


def cases(form, asynchronous=False):
    """From a job to the body of its row."""
    rows = {row.name: compiled(row, asynchronous) for row in ROWS if row.form == form}

    def case_of(job):
        name = job["input"].get("row") if isinstance(job["input"], dict) else None
        with open(LOG, "a") as log:
            print(name, os.getpid(), sep="\t", file=log)
        if name == "marker":
            return (marker_later if asynchronous else lambda job: "marker")
        return rows.get(name) or next(iter(rows.values()))

    return case_of


async def marker_later(job):
    return "marker"


def function(form):
    case_of = cases(form)

    def handler(job):
        return case_of(job)(job)

    return handler


def coroutine(form):
    case_of = cases(form, asynchronous=True)

    async def handler(job):
        return await case_of(job)(job)

    return handler


def generator(form):
    case_of = cases(form)

    def handler(job):
        yield from case_of(job)(job)

    return handler


def async_generator(form):
    case_of = cases(form, asynchronous=True)

    async def handler(job):
        async for chunk in case_of(job)(job):
            yield chunk

    return handler


def callable_object(handler):
    """With a __call__ of the same kind as `handler`."""
    if inspect.isasyncgenfunction(handler):
        class Served:
            async def __call__(self, job):
                async for chunk in handler(job):
                    yield chunk
    elif inspect.iscoroutinefunction(handler):
        class Served:
            async def __call__(self, job):
                return await handler(job)
    elif inspect.isgeneratorfunction(handler):
        class Served:
            def __call__(self, job):
                yield from handler(job)
    else:
        class Served:
            def __call__(self, job):
                return handler(job)
    return Served()


class Holder:
    """Of methods, which are `handler` with another first argument."""

    def __init__(self, handler):
        self.handler = handler
        Holder.static = staticmethod(handler)

    def function(self, job):
        return self.handler(job)

    async def coroutine(self, job):
        return await self.handler(job)

    def generator(self, job):
        yield from self.handler(job)


def with_model(handler):
    """A partial whose first argument is something that was made before."""
    if inspect.iscoroutinefunction(handler):
        async def taking_two(model, job):
            return await handler(job)
    elif inspect.isgeneratorfunction(handler):
        def taking_two(model, job):
            yield from handler(job)
    else:
        def taking_two(model, job):
            return handler(job)
    return functools.partial(taking_two, {"loaded": True})


def wrapped(handler):
    @functools.wraps(handler)
    def timed(*arguments):
        return handler(*arguments)

    return timed


def config(form):
    """What a program of this form gives to runpod.serverless.start."""
    aggregate = {"return_aggregate_stream": True}
    forms = {
        "function": lambda: {"handler": function(form)},
        "function of what waits": lambda: {"handler": function(form)},
        "random values": lambda: {"handler": function(form)},
        "any input": lambda: {"handler": function(form)},
        "lambda": lambda: {"handler": (lambda case_of: lambda job: case_of(job)(job))(cases(form))},
        "partial": lambda: {"handler": with_model(function(form))},
        "callable object": lambda: {"handler": callable_object(function(form))},
        "bound method": lambda: {"handler": Holder(function(form)).function},
        "static method": lambda: {"handler": Holder(function(form)).static},
        "wrapped function": lambda: {"handler": wrapped(function(form))},
        "coroutine": lambda: {"handler": coroutine(form)},
        "async callable object": lambda: {"handler": callable_object(coroutine(form))},
        "partial of a coroutine": lambda: {"handler": with_model(coroutine(form))},
        "bound coroutine": lambda: {"handler": Holder(coroutine(form)).coroutine},
        "lambda of a coroutine": lambda: {"handler": (lambda handler: lambda job: handler(job))(coroutine(form))},
        "generator": lambda: {"handler": generator(form)},
        "generator, aggregate": lambda: {"handler": generator(form), **aggregate},
        "partial of a generator": lambda: {"handler": with_model(generator(form))},
        "bound generator": lambda: {"handler": Holder(generator(form)).generator},
        "wrapped generator": lambda: {"handler": wrapped(generator(form))},
        "generator of a callable object": lambda: {"handler": callable_object(generator(form))},
        "lambda of a generator": lambda: {"handler": (lambda handler: lambda job: handler(job))(generator(form))},
        "async generator": lambda: {"handler": async_generator(form)},
        "async generator, aggregate": lambda: {"handler": async_generator(form), **aggregate},
        "async generator of a callable object": lambda: {"handler": callable_object(async_generator(form))},
        "refresh_worker": lambda: {"handler": function(form), "refresh_worker": True},
        "refresh_worker, generator": lambda: {"handler": generator(form), "refresh_worker": True},
        "debugger": lambda: {"handler": function(form)},
    }
    return forms[form]()


if __name__ == "__main__":
    runpod.serverless.start(config(sys.argv[1]))
