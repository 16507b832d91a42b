"""Coroutines and async generators: any number of jobs at once, as tasks of one event loop on the main thread.

The library's descriptor is one more thing that loop waits for; nothing polls. A cancel is the task's cancel. The number of
jobs follows the modifier without draining: what runs, runs on. The loop ends when the supervisor said stop, or is gone,
and no job is left; then what the handlers left behind is cancelled, for no longer than a moment.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import types
from typing import TYPE_CHECKING, Any, AsyncIterator

from . import _abi, _failure
from ._blocking import on_terminate, refused
from ._output import tell_jobs_apart
from ._outcome import Stream
from ._program import is_awaitable
from ._run import Run, current, running

if TYPE_CHECKING:
    from ._connection import Connection
    from ._outcome import Outcome
    from ._program import Program

_LEFTOVERS_S = 2.0


class Loop:
    def __init__(self, program: Program, connection: Connection) -> None:
        self._program = program
        self._connection = connection
        self._abi = connection.abi
        self._event = _abi.Event()
        self._where = ctypes.addressof(self._event)
        self._descriptor = self._abi.fd(connection.child)
        self._runs: dict[Any, Run] = {}  # by handle
        self._pumping = False
        self._ending = False
        self._process = os.getpid()
        self.status = _abi.OK
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        # A task that starts at once saves small jobs a turn of the loop.
        self._eager = sys.version_info >= (3, 12) and hasattr(self._loop, "get_task_factory")

    def setup(self) -> Any:
        value = self._program.setup()
        return self._loop.run_until_complete(value) if is_awaitable(value) else value

    def run(self, first: Any = None) -> None:
        """`first`: a run with what its handler returned already."""
        loop = self._loop
        loop.add_reader(self._descriptor, self._pump)
        # Ready once the loop runs: inside another one it cannot, and that is a failed set-up, which costs no job.
        loop.call_soon(self._adjust, True)
        if first is not None:
            loop.call_soon(lambda: self._start(first[0], first[1:]))
        loop.call_soon(self._pump)
        try:
            # Not by the loop: what wakes it up for signals is shared with every process a handler forks.
            on_terminate(self._on_terminate)
        except ValueError:
            pass  # not on the main thread
        while True:
            try:
                loop.run_forever()
                break
            except SystemExit as error:  # of a task beside the jobs
                self._connection.log(_abi.ERROR, "a task outside any job raised SystemExit(%r)" % (error.code,))
        loop.remove_reader(self._descriptor)
        end_leftovers(loop)

    # ---- events

    def _pump(self) -> None:
        """Takes all events there are."""
        self._pumping = True
        child, event = self._connection.child, self._event
        try:
            while True:
                status = self._abi.next(child, 0, self._where)
                if status == _abi.AGAIN:
                    return
                if status != _abi.OK:
                    return self._lost(status)
                kind, handle = event.kind, event.job
                if kind == _abi.EVENT_JOB:
                    self._start(Run(self._abi, handle, self._program.rules))
                elif kind == _abi.EVENT_CANCEL:
                    self._cancel(self._runs.get(handle))
                elif kind == _abi.EVENT_CREDIT:
                    run = self._runs.get(handle)
                    if run is not None:
                        run.go_on()
                elif kind == _abi.EVENT_STOP:
                    # Given again whenever there is nothing else; what runs may still be cancelled, or get credit.
                    if self._ending:
                        return
                    self._end()
        finally:
            self._pumping = False

    def _lost(self, status: int) -> None:
        self._leave_if_forked()
        self.status = status
        self._loop.remove_reader(self._descriptor)  # it would be readable for ever
        for run in list(self._runs.values()):
            self._cancel(run)
        self._end()

    def _leave_if_forked(self) -> None:
        """A handler forked, and its copy came back here: it has nobody to answer to, and what the loop waits on (epoll) is the
        same as its parent's, who would hear no more if the copy took leave of it in good order."""
        if os.getpid() != self._process:
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(0)

    def _end(self) -> None:
        self._ending = True
        if not self._runs:
            self._loop.stop()

    def _on_terminate(self) -> bool:
        if self._runs:
            return False
        if not self._ending:
            self._loop.call_soon_threadsafe(self._end)
        return True

    def _cancel(self, run: Run | None) -> None:
        if run is not None and run.task is not None:
            run.task.cancel()

    def _start(self, run: Run, returned: tuple[Any, ...] = ()) -> None:
        self._runs[run.handle] = run
        running[run.id] = run
        work = self._work(run, returned)
        if self._eager and self._loop.get_task_factory() is None:
            task = asyncio.Task(work, loop=self._loop, eager_start=True)  # type: ignore[call-arg]
        else:
            task = self._loop.create_task(work)
        run.task = task

    def _adjust(self, first: bool = False) -> None:
        before = self._program.concurrency
        wanted = self._program.ask_concurrency(self._connection.log)
        if self._ending or (not first and wanted == before):
            return
        if wanted > 1:
            tell_jobs_apart()
        self._connection.ready(wanted)

    # ---- a job

    async def _work(self, run: Run, returned: tuple[Any, ...]) -> None:
        handle, program = run.handle, self._program
        current.set(run)
        try:
            outcome = await self._outcome(run, returned)
        except asyncio.CancelledError as error:
            reason = run.stopping()
            outcome = program.rules.stopped(reason) if reason is not None else program.rules.failed(error)
        except BaseException as error:  # a task's SystemExit would end the loop
            outcome = program.rules.failed(error)
        self._leave_if_forked()
        del self._runs[handle]
        program.finish(run, outcome)
        run.task = None
        if program.concurrency_modifier is not None:
            self._adjust()
        if self._ending:
            self._end()
        elif not self._pumping:
            self._pump()  # the next job is here, perhaps: that saves a turn of the loop

    async def _outcome(self, run: Run, returned: tuple[Any, ...]) -> Outcome:
        program = self._program
        value = returned[0] if returned else program.handler(program.job_of(run))
        if type(value) is types.CoroutineType or is_awaitable(value):
            value = await value
        if type(value) is types.AsyncGeneratorType:
            return await self._stream(run, value, value.aclose)
        if type(value) is types.GeneratorType:
            return await self._stream(run, _in_turns(value), value.close)
        return program.rules.returned(value)

    async def _stream(self, run: Run, chunks: Any, close: Any) -> Outcome:
        stream = Stream(self._program.rules)
        try:
            async for chunk in chunks:
                text = stream.take(chunk)
                if text is None:
                    break
                status = run.chunk(text, 0)
                while status == _abi.AGAIN:
                    run.credit = self._loop.create_future()
                    await run.credit
                    status = run.chunk(text, 0)
                if status != _abi.OK:
                    stream.end(refused(self._program.rules, run, status, text))
                    break
        except asyncio.CancelledError as error:
            if run.stopping() is not None:
                await closed(close)
                raise
            stream.fail(error)
        except BaseException as error:
            stream.fail(error)
        await closed(close)
        return stream.outcome()


def end_leftovers(loop: asyncio.AbstractEventLoop) -> None:
    tasks = [task for task in asyncio.all_tasks(loop) if not task.done()]
    try:
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=_LEFTOVERS_S))
        loop.run_until_complete(asyncio.wait_for(loop.shutdown_asyncgens(), _LEFTOVERS_S))
    except BaseException as error:
        _failure.print_exception(error, "what a handler left behind raised when it was cancelled")


async def _in_turns(generator: Any) -> AsyncIterator[Any]:
    """A plain generator, with a turn for the other jobs after each chunk."""
    for chunk in generator:
        yield chunk
        await asyncio.sleep(0)


async def closed(close: Any) -> None:
    try:
        closing = close()
        if closing is not None:
            await closing
    except BaseException as error:
        _failure.print_exception(error, "the generator raised when it was closed")
