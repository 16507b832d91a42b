"""From a program to its end: under a supervisor, or for one local test."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING

from . import _abi, _blocking, _local
from ._connection import Connection, NoSupervisor, supervised
from ._program import SETUP_WAITS, is_awaitable, waits

if TYPE_CHECKING:
    from ._arguments import Arguments
    from ._program import Program


def nan_as_null() -> bool:
    """Whether the environment allows NaN and the infinities, as null."""
    return os.environ.get("BULKHEAD_NAN_AS_NULL", "").lower() in ("1", "true", "yes", "on")


def start_program(program: Program, arguments: Arguments) -> int | None:
    """The exit code. Returns when the supervisor said stop, or when the test is over; None where nothing was to be done."""
    if supervised():
        if arguments.error is not None:
            print("bulkhead: %s" % arguments.error, file=sys.stderr)
            return 2
        return _serve(program)
    if _is_worker_of_multiprocessing():
        return None  # it has imported the handler's module again, to find a function there
    return _local.main(program, arguments)


def _serve(program: Program) -> int:
    try:
        connection = Connection(threading.current_thread() is threading.main_thread())
    except NoSupervisor as reason:
        print("bulkhead: %s" % reason, file=sys.stderr)
        return 1
    process = os.getpid()
    try:
        status = _run(program, connection)
    finally:
        if os.getpid() != process:
            os._exit(0)  # a handler forked and came back twice; only one of them has anybody to answer to
        connection.close()
    if status == _abi.OK:
        return 0
    print("bulkhead: %s" % connection.abi.text_of(status), file=sys.stderr)
    return 1


def _run(program: Program, connection: Connection) -> int:
    """The status that ended the events; OK where it was a stop."""
    first = None
    if not waits(program.handler) and not waits(program.setup):
        if program.setup is not None and is_awaitable(program.setup()):
            raise TypeError(SETUP_WAITS)
        blocking = _blocking.Loop(program, connection)
        first = blocking.run()
        if first is None:
            return blocking.status
    # Here, and not above: asyncio takes longer to import than all the rest.
    from . import _coroutines

    program.coroutines = True
    loop = _coroutines.Loop(program, connection)
    if first is None and program.setup is not None:
        loop.setup()
    loop.run(first)
    return loop.status


def _is_worker_of_multiprocessing() -> bool:
    process = sys.modules.get("multiprocessing.process")
    if process is None:
        return False
    # While it still imports, only the second is set.
    return getattr(process, "_parent_process", None) is not None or getattr(process.current_process(), "_inheriting", False)
