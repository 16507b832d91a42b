"""One run of one job: the C library's handle and what may be said through it, from any thread, until the result.

A handle is only valid until its result was given, and a handler's threads may outlive its job: every call that another
thread could make holds the run's lock and looks whether the handle is still there.
"""

from __future__ import annotations

import ctypes
import sys
from _thread import allocate_lock
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from . import _abi
from ._failure import REASONS
from ._json import NotJson, decode

if TYPE_CHECKING:
    from ._outcome import Outcome, Rules

current: ContextVar[Run] = ContextVar("bulkhead_run")  # the run a coroutine works for
running: dict[str, Any] = {}  # by job id

_size = ctypes.c_size_t()
_size_at = ctypes.addressof(_size)
_string_at = ctypes.string_at


def of(job: Any) -> Any:
    """The run of a job dict; of one without an id, that of this context, or the only one there is. None after its end."""
    try:
        return running.get(job["id"])  # and no other: a thread may speak of its job when the next one runs
    except (TypeError, KeyError):  # no dict, or one that was emptied
        pass
    run = current.get(None)
    if run is None and len(running) == 1:
        run = next(iter(running.values()))
    return run


class Run:
    __slots__ = ("abi", "handle", "rules", "id", "lock", "task", "credit", "saving", "unsent", "saved", "__weakref__")

    def __init__(self, abi: _abi.Abi, handle: int | None, rules: Rules) -> None:
        self.abi = abi
        self.handle = handle
        self.rules = rules
        self.id = abi.job_id(handle).decode("utf-8", "replace")
        self.lock = allocate_lock()
        self.task: Any = None  # where coroutines run: its task, and what it waits for credit with
        self.credit: Any = None
        self.saving: Any = None  # the task that sees checkpoints arrive, while there are some, and what it waits with
        self.saved: Any = None
        self.unsent: tuple[bytes, list[Any]] | None = None  # the newest behind the one on its way, and who awaits it

    def job(self) -> dict[str, Any]:
        """The dict a handler gets. Called once, by the thread that took the event."""
        abi, handle = self.abi, self.handle
        text = abi.job_input(handle, _size_at)
        value = decode(_string_at(text, _size.value))
        extra = abi.job_extra(handle, _size_at)
        job = {"id": self.id, "input": value}
        size = _size.value
        if not size:
            return job
        for key, part in decode(_string_at(extra, size)).items():
            job.setdefault(key, part)
        return job

    # ---- what a job says

    def progress(self, value: Any) -> None:
        """Never fails a job: what cannot be sent is left out, with a warning."""
        try:
            text = self.rules.encode(value, "progress")
        except NotJson as fault:
            return self.log(_abi.WARN, "progress left out: %s" % fault)
        with self.lock:
            status = self.abi.job_progress(self.handle, text, len(text)) if self.handle else _abi.OK
        if status == _abi.TOO_LARGE:
            self.log(_abi.WARN, "progress left out: %d bytes are too many" % len(text))

    def log(self, level: int, text: str) -> None:
        data = text.encode("utf-8", "backslashreplace")
        with self.lock:
            if self.handle:
                self.abi.job_log(self.handle, level, data, len(data))

    def attempt(self) -> int:
        with self.lock:
            return int(self.abi.job_attempt(self.handle)) if self.handle else 0

    def stopping(self) -> str | None:
        """Why it should stop: "cancel", "timeout", "drain"; None while it need not."""
        with self.lock:
            return REASONS.get(self.abi.job_stopping(self.handle)) if self.handle else None

    def checkpoint(self) -> bytes | None:
        """The bytes an earlier attempt saved last, or None."""
        size = ctypes.c_size_t()
        with self.lock:
            data = self.abi.job_checkpoint(self.handle, ctypes.addressof(size)) if self.handle else None
            return _string_at(data, size.value) if data is not None else None

    def save_checkpoint(self, data: bytes) -> bool:
        """Returns when it is durable. False where it is not kept."""
        return self._send_checkpoint(data, -1) == _abi.OK

    def start_saving(self, data: bytes) -> Any:
        """The same for a coroutine: sends it and gives an awaitable. On another thread than the loop's it waits.

        While one is on its way the newest of those that follow waits for its turn, and those between are not sent at all:
        their awaitables end with its."""
        import asyncio

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return self.save_checkpoint(data)
        kept = loop.create_future()
        if self.saving is not None:
            self.unsent = (data, [*(self.unsent[1] if self.unsent else ()), kept])
        elif self._checkpoint_saved() == _abi.AGAIN:  # of a thread
            self.unsent = (data, [kept])
            self.saving = loop.create_task(self._save([]))
        else:
            status = self._send_checkpoint(data, 0)  # before this returns
            if status == _abi.AGAIN:
                self.saving = loop.create_task(self._save([kept]))
            else:
                kept.set_result(status == _abi.OK)
        return kept

    def go_on(self) -> None:
        """Credit has come, or a checkpoint has arrived."""
        for waiting in (self.credit, self.saved):
            if waiting is not None and not waiting.done():
                waiting.set_result(None)

    async def _save(self, waiting: list[Any]) -> None:
        """Sees what was sent arrive, then sends what waits, until nothing does. A task of its own, which no handler cancels:
        whoever gave up waiting for one checkpoint must not be taken for its arrival by the next."""
        status = _abi.AGAIN
        while True:
            while status == _abi.AGAIN:
                status = await self._arrival()
            for kept in waiting:
                if not kept.done():
                    kept.set_result(status == _abi.OK)
            if self.unsent is None:
                self.saving = None
                return
            data, waiting = self.unsent
            self.unsent = None
            try:
                status = self._send_checkpoint(data, 0)
            except ValueError as fault:
                for kept in waiting:
                    if not kept.done():
                        kept.set_exception(fault)
                waiting, status = [], _abi.OK

    async def _arrival(self) -> int:
        import asyncio

        self.saved = asyncio.get_running_loop().create_future()
        status = self._checkpoint_saved()
        if status == _abi.AGAIN:
            await self.saved
            status = self._checkpoint_saved()
        return status

    def _checkpoint_saved(self) -> int:
        with self.lock:
            return int(self.abi.job_checkpoint_saved(self.handle)) if self.handle else _abi.LOST

    def _send_checkpoint(self, data: bytes, timeout_ms: int) -> int:
        with self.lock:
            if not self.handle:
                return _abi.LOST
            status: int = self.abi.job_save_checkpoint(self.handle, data, len(data), timeout_ms)
        if status == _abi.TOO_LARGE:
            raise ValueError("the checkpoint has %d bytes: %s" % (len(data), self.abi.text_of(status)))
        return status

    # ---- its end

    def chunk(self, text: bytes, timeout_ms: int) -> int:
        """A status. Only for the thread that will give the result."""
        status: int = self.abi.job_chunk(self.handle, text, len(text), timeout_ms)
        return status

    def finish(self, outcome: Outcome) -> None:
        """The result, once."""
        try:
            sys.stdout.flush()  # what the job printed leaves before its result does
            sys.stderr.flush()
        except Exception:
            pass  # closed, or replaced by something else
        with self.lock:
            handle, self.handle = self.handle, None
        running.pop(self.id, None)
        if self.saved is not None:
            self.go_on()  # who still waits for a checkpoint hears that it is none any more
        status = self._give(handle, outcome)
        if status in (_abi.TOO_LARGE, _abi.SYSTEM):
            size = len(outcome.output or b"") + len(outcome.error or b"")
            name = "the output" if outcome.error is None else "the error with its output"
            smaller = self.rules.too_large(name, size, self.abi.text_of(status))
            smaller.refresh_worker = outcome.refresh_worker
            self._give(handle, smaller)

    def _give(self, handle: int | None, outcome: Outcome) -> int:
        flags = _abi.REFRESH_WORKER if outcome.refresh_worker else 0
        output, error = outcome.output, outcome.error
        size = len(output) if output is not None else 0
        status: int
        if error is None:
            status = self.abi.job_done(handle, output, size, flags)
        else:
            status = self.abi.job_failed(handle, error, len(error), output, size, flags)
        return status
