"""What a handler of the native module gets: a dict with the job's `id` and `input`, and what can be said about it."""

from typing import Any, Dict, Optional

from . import _abi
from ._json import decode


class Job(Dict[str, Any]):
    """A job. Valid until its handler has returned; may be used from any thread."""

    def __init__(self, run: Any, waits: bool) -> None:
        super().__init__(run.job())
        self._run = run
        self._waits = waits

    @property
    def id(self) -> str:
        return self._run.id  # type: ignore[no-any-return]

    @property
    def input(self) -> Any:
        return self["input"]

    @property
    def traceparent(self) -> Optional[str]:
        """The request's, as W3C's Trace Context has it: "00-…-…-01"; None where it had none."""
        return self.get("traceparent")

    @property
    def attempt(self) -> int:
        """1, or more when earlier attempts crashed or were lost."""
        return self._run.attempt()  # type: ignore[no-any-return]

    @property
    def stopping(self) -> Optional[str]:
        """Why the job should stop: "cancel", "timeout", "drain"; None while it need not."""
        return self._run.stopping()  # type: ignore[no-any-return]

    @property
    def cancelled(self) -> bool:
        """Whether the job should stop, for whatever reason."""
        return self._run.stopping() is not None

    def progress(self, value: Any) -> None:
        """Shown as the job's `output` while it runs; the newest counts. Never fails the job."""
        self._run.progress(value)

    def log(self, text: str, level: str = "INFO") -> None:
        """A line of log that belongs to this job."""
        self._run.log(_LEVELS[level.upper()], text)

    def checkpoint(self) -> Any:
        """What an earlier attempt saved last; None where there is nothing."""
        data = self._run.checkpoint()
        return decode(data) if data is not None else None

    def save_checkpoint(self, value: Any) -> Any:
        """Keeps a JSON value for a later attempt; False where it could not be kept any more.

        Returns when it is durable. In an `async` handler it sends it and gives an awaitable:
        `await job.save_checkpoint(value)` is True when it is durable. One that is not awaited is on its way.
        """
        return self.save_raw_checkpoint(self._run.rules.encode(value, "checkpoint"))

    def raw_checkpoint(self) -> Optional[bytes]:
        return self._run.checkpoint()  # type: ignore[no-any-return]

    def save_raw_checkpoint(self, data: bytes) -> Any:
        """The same for bytes of any kind."""
        return self._run.save_checkpoint(data) if self._waits else self._run.start_saving(data)


_LEVELS = {
    "TRACE": _abi.TRACE,
    "DEBUG": _abi.DEBUG,
    "INFO": _abi.INFO,
    "WARN": _abi.WARN,
    "WARNING": _abi.WARN,
    "ERROR": _abi.ERROR,
}
