"""Standard handlers and generators: one job at a time, on the main thread, which waits for the next one itself.

A stop comes as a signal to this thread: the library sends it, and Python's handler raises Stopped in the handler at the
next bytecode. It is raised once per job, and only between `_enter` and the end of the handler's code: whoever is hit a
moment later finds nobody there.

A handler that turns out to return awaitables is not for this loop: see `run`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import types
from threading import local
from typing import TYPE_CHECKING, Any, Callable

from . import _abi, _failure
from ._connection import CANCEL_SIGNAL
from ._outcome import Outcome, Stream
from ._program import is_awaitable
from ._run import Run, running

if TYPE_CHECKING:
    from ._connection import Connection
    from ._outcome import Rules
    from ._program import Program


_PLAIN = frozenset((dict, str, list, int, float, bool, tuple, type(None)))


class Loop:
    def __init__(self, program: Program, connection: Connection) -> None:
        self._program = program
        self._connection = connection
        self._abi = connection.abi
        self._entered: Run | None = None  # the run whose handler may be stopped
        self._missed = False  # a stop came while there was none
        self.status = _abi.OK  # why there will be no more events
        self._terminated = False  # SIGTERM came while there was nothing to do
        try:
            signal.signal(CANCEL_SIGNAL, self._on_signal)
            on_terminate(self._on_terminate)
        except ValueError:
            pass  # not on the main thread: then a handler is stopped by the supervisor's force alone

    def run(self) -> Any:
        """Runs jobs until the supervisor says stop. Or returns a run with what its handler returned, an awaitable."""
        program, abi = self._program, self._abi
        child, event = self._connection.child, _abi.Event()
        next_event, where = abi.next, ctypes.addressof(event)
        self._connection.ready(1)
        while True:
            status = next_event(child, -1, where)
            if status == _abi.OK:
                if event.kind == _abi.EVENT_JOB:
                    found = self._run_job(Run(abi, event.job, program.rules))
                    if found is not None:
                        return found
                elif event.kind == _abi.EVENT_STOP:
                    return None
            elif status != _abi.AGAIN:
                self.status = status
                return None
            elif self._terminated:
                return None

    def _run_job(self, run: Run) -> Any:
        program = self._program
        rules = program.rules
        running[run.id] = run
        try:
            try:
                job = program.job_of(run)
                self._entered = run
                if self._missed:
                    self._check()
                value = program.handler(job)
                kind = type(value)
                if kind in _PLAIN:
                    outcome = rules.returned(value)
                elif kind is types.GeneratorType and not is_awaitable(value):
                    outcome = self._stream(run, value)
                elif kind is types.AsyncGeneratorType or is_awaitable(value):
                    self._entered = None
                    return run, value
                else:
                    outcome = rules.returned(value)
            finally:
                self._entered = None
        except _failure.Stopped as stop:
            outcome = rules.stopped(stop.reason)
        except BaseException as error:
            outcome = rules.failed(error)
        self._entered = None  # where the stop struck in the line that says so
        program.finish(run, outcome)
        return None

    def _stream(self, run: Run, generator: Any) -> Outcome:
        stream = Stream(self._program.rules)
        try:
            for chunk in generator:
                text = stream.take(chunk)
                if text is None:
                    break
                status = run.chunk(text, -1)
                if status != _abi.OK:
                    stream.end(refused(self._program.rules, run, status, text))
                    break
        except _failure.Stopped:
            close(generator)  # here, while its job is there to speak of
            raise
        except BaseException as error:
            stream.fail(error)
        close(generator)
        return stream.outcome()

    def _on_signal(self, _signal: Any, _frame: Any) -> None:
        if self._entered is None:
            self._missed = True
        else:
            self._check()

    def _on_terminate(self) -> bool:
        self._terminated = True
        return not running

    def _check(self) -> None:
        self._missed = False
        run = self._entered
        if run is None:
            return
        reason = _failure.REASONS.get(self._abi.job_stopping(run.handle))
        if reason is not None:
            self._entered = None
            raise _failure.Stopped(reason)


def close(generator: Any) -> None:
    try:
        generator.close()
    except _failure.Stopped:
        raise
    except BaseException as error:
        _failure.print_exception(error, "the generator raised when it was closed")


_ours: Any = None  # the handler of SIGTERM that stands, where it is one of these
_masks = local()  # what a thread that forks had blocked


def on_terminate(end: Callable[[], bool]) -> None:
    """SIGTERM in a handler's code ends the process, as ever. Without a job to lose, `end` is asked to end it in good order, so
    that its atexit hooks run; where that gives False, and in processes it has forked, the signal does what it would have done.
    """
    global _ours

    def terminate(_signal: Any, _frame: Any) -> None:
        if not end():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)

    present = signal.getsignal(signal.SIGTERM)
    if present == signal.SIG_DFL or (present is not None and present is _ours):
        signal.signal(signal.SIGTERM, terminate)
        if _ours is None and hasattr(os, "register_at_fork"):
            os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_a_forked_process)
        _ours = terminate


# A forked process has no handler of ours. Python forgets signals that reach it before it is quite there, and one that waits
# in C for a lock has its handlers run late or never: a pool that ends its workers by SIGTERM would wait for ever.


def _before_fork() -> None:
    _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))


def _after_fork() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _masks.before)


def _in_a_forked_process() -> None:
    if signal.getsignal(signal.SIGTERM) is _ours:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _after_fork()


def refused(rules: Rules, run: Run, status: int, text: bytes) -> Outcome:
    """Of a chunk that the supervisor did not take."""
    if status == _abi.TOO_LARGE:
        return rules.too_large("a chunk", len(text), run.abi.text_of(status))
    if status == _abi.CANCELLED:
        return rules.stopped(run.stopping())
    return Outcome(None, _failure.failure_text(rules.who, "bulkhead.Lost", run.abi.text_of(status), ""))
