"""Checks of the machine before the first job. One that fails ends this process, and the supervisor tries again later."""

import os
import sys

_checks = []


def register_fitness_check(func):
    """A decorator: `func`, plain or async, is called once before the first job, and raises where something is wrong."""
    _checks.append(func)
    return func


def clear_fitness_checks():
    _checks.clear()


def registered():
    return bool(_checks)


def run_registered():
    """Runs them in order."""
    for check in _checks:
        name = getattr(check, "__name__", repr(check))
        try:
            value = check()
            if hasattr(value, "__await__"):
                _wait_for(value)
        except BaseException as error:
            from bulkhead import _failure

            _failure.print_exception(error, "the fitness check %s failed:" % name)
            sys.stdout.flush()
            os._exit(1)  # not by an exception: a broken machine's threads could hold it up


async def run_fitness_checks():
    run_registered()


def _wait_for(awaitable):
    import asyncio

    async def waiting():
        return await awaitable

    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(waiting())
    finally:
        loop.close()
