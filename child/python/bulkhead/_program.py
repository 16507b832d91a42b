"""What runs in this child, as both loops need it: the handler, its settings, and how many jobs at once."""

import types
from functools import partial

from . import _abi
from ._failure import message_of

MOST_JOBS = 1000

_WAITS = 0x80 | 0x100 | 0x200  # code flags of coroutines, of what types.coroutine made, of async generators


class Program:
    def __init__(self, handler, rules, refresh_worker=False, concurrency_modifier=None, make_job=None, setup=None):
        self.handler = handler
        self.rules = rules
        self.refresh_worker = refresh_worker
        self.concurrency_modifier = concurrency_modifier
        self.make_job = make_job  # from a Run to what the handler gets; None: the plain dict
        self.setup = setup
        self.concurrency = 1
        self.coroutines = False  # whether handlers run in an event loop

    def job_of(self, run):
        return run.job() if self.make_job is None else self.make_job(run)

    def finish(self, run, outcome):
        outcome.refresh_worker = outcome.refresh_worker or self.refresh_worker
        run.finish(outcome, self.rules)

    def ask_concurrency(self, log):
        """The number of jobs at once from now on. Where the modifier fails, the number stays."""
        if self.concurrency_modifier is not None:
            try:
                self.concurrency = min(max(int(self.concurrency_modifier(self.concurrency)), 1), MOST_JOBS)
            except Exception as error:
                log(_abi.ERROR, "concurrency_modifier raised %s: %s" % (type(error).__name__, message_of(error)))
        return self.concurrency


def waits(handler):
    """Whether a handler is a coroutine function or an async generator function, however it is wrapped.

    What this does not see (a lambda that returns a coroutine) is found out when the handler has returned.
    """
    while isinstance(handler, partial):
        handler = handler.func
    if not isinstance(handler, (types.FunctionType, types.MethodType)):
        handler = getattr(type(handler), "__call__", handler)
    handler = getattr(handler, "__func__", handler)
    code = getattr(handler, "__code__", None)
    return code is not None and bool(code.co_flags & _WAITS)


def is_awaitable(value):
    return type(value) is types.CoroutineType or hasattr(value, "__await__") or (
        type(value) is types.GeneratorType and bool(value.gi_code.co_flags & 0x100)
    )
