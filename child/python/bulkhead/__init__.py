"""Bulkhead's job handlers in Python.

    import bulkhead

    def handler(job):
        return {"greeting": "Hello, " + job.input["name"]}

    bulkhead.start(handler=handler)

`bulkhead serve -- python3 handler.py` serves it; `python3 handler.py --test_input '{"input": {"name": "Ada"}}'` tries it on
one job. Handlers written for RunPod's SDK run unchanged, by `import runpod` as ever: docs/HANDLERS-PYTHON.md.
"""

import sys
import time
from typing import Any, Callable, Optional, Union

from ._failure import Error, Stopped
from ._job import Job
from ._json import NotJson

__all__ = ["Error", "Job", "NotJson", "Stopped", "start"]
__version__ = "0.1.0"
_imported_at = time.perf_counter()


def start(
    handler: Callable[[Job], Any],
    setup: Optional[Callable[[], Any]] = None,
    concurrency: Union[int, Callable[[int], int], None] = None,
    *,
    return_aggregate_stream: bool = False,
    refresh_worker: bool = False,
    nan_as_null: Optional[bool] = None,
) -> None:
    """Runs jobs until the supervisor says stop, or one local test; then ends the process, unless all went well.

    handler: a function, a generator, a coroutine or an async generator, given a Job
    setup: called once, before the first job
    concurrency: how many jobs may run at once (async handlers), or a function from the present number to the next,
        asked before the first job and after each
    return_aggregate_stream: a stream's result holds all its chunks
    refresh_worker: a fresh process after every job
    nan_as_null: NaN and the infinities are sent as null; otherwise they fail the job. Default: BULKHEAD_NAN_AS_NULL
    """
    from . import _debugger, _start
    from ._arguments import Arguments
    from ._failure import Identity
    from ._outcome import Rules
    from ._program import Program

    if not callable(handler):
        raise TypeError("bulkhead.start: handler must be callable, not %r" % (handler,))
    modifier = (lambda _current: concurrency) if isinstance(concurrency, int) else concurrency
    arguments = Arguments()
    rules = Rules(
        Identity(),
        return_aggregate_stream,
        _start.nan_as_null() if nan_as_null is None else nan_as_null,
        _debugger.asked_for(arguments, _imported_at, time.perf_counter()),
    )
    program = Program(handler, rules, refresh_worker, modifier, setup=setup)
    program.make_job = lambda run: Job(run, not program.coroutines)
    code = _start.start_program(program, arguments)
    if code:
        sys.exit(code)
