"""What runs in this child, as both loops need it: the handler, its settings, and how many jobs at once."""

from __future__ import annotations

import types
from functools import partial
from typing import TYPE_CHECKING, Any

from . import _abi
from ._failure import message_of

if TYPE_CHECKING:
    from ._outcome import Outcome, Rules
    from ._run import Run

MOST_JOBS = 1000
SETUP_WAITS = "setup returned an awaitable: make it an async def"

_WAITS = 0x80 | 0x100 | 0x200  # code flags of coroutines, of what types.coroutine made, of async generators


class Program:
    def __init__(
        self,
        handler: Any,
        rules: Rules,
        refresh_worker: bool = False,
        concurrency_modifier: Any = None,
        make_job: Any = None,
        setup: Any = None,
    ) -> None:
        self.handler = handler
        self.rules = rules
        self.refresh_worker = refresh_worker
        self.concurrency_modifier = concurrency_modifier
        self.make_job = make_job  # from a Run to what the handler gets; None: the plain dict
        self.setup = setup
        self.concurrency = 1
        self.coroutines = False  # whether handlers run in an event loop

    def job_of(self, run: Any) -> Any:
        return run.job() if self.make_job is None else self.make_job(run)

    def finish(self, run: Run, outcome: Outcome) -> None:
        outcome.refresh_worker = outcome.refresh_worker or self.refresh_worker
        run.finish(outcome)

    def ask_concurrency(self, log: Any) -> int:
        """The number of jobs at once from now on. Where the modifier fails, the number stays."""
        if self.concurrency_modifier is not None:
            try:
                self.concurrency = min(max(int(self.concurrency_modifier(self.concurrency)), 1), MOST_JOBS)
            except Exception as error:
                log(_abi.ERROR, "concurrency_modifier raised %s: %s" % (type(error).__name__, message_of(error)))
        return self.concurrency


def waits(handler: Any) -> bool:
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


def is_awaitable(value: Any) -> bool:
    return type(value) is types.CoroutineType or hasattr(value, "__await__") or (
        type(value) is types.GeneratorType and bool(value.gi_code.co_flags & 0x100)
    )
