"""What several jobs print at once, told apart.

The supervisor reads lines from a pipe, and while one job runs it knows whose they are. Where several may run, lines printed
in the course of a job go over the connection instead, with their job. What C code prints goes through the pipe as ever.
"""

from __future__ import annotations

import sys
from typing import Any, Iterable

from . import _abi
from ._run import current


# Of a line without an end, in characters. The library cuts at 8 KiB and says so: it is to see that there is more.
_MOST_KEPT = 8 * 1024 + 1


class JobStream:
    """A text stream that sends whole lines of a job with that job; everything else to the stream it replaces."""

    def __init__(self, stream: Any, level: int) -> None:
        self._stream = stream
        self._level = level
        self._parts: dict[Any, str] = {}  # by run: a line that has no end yet, as far as it is kept

    def write(self, text: str) -> int:
        run = current.get(None)
        if run is None or not run.handle:
            self._parts.pop(run, None)
            return int(self._stream.write(text))
        if not isinstance(text, str):
            raise TypeError("write() argument must be str, not %s" % type(text).__name__)
        *lines, rest = (self._parts.pop(run, "") + text).split("\n")
        for line in lines:
            run.log(self._level, _last_of(line))
        if rest:
            self._parts[run] = _last_of(rest)[:_MOST_KEPT]
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        run = current.get(None)
        rest = self._parts.pop(run, None) if run is not None else None
        if rest and run is not None:
            run.log(self._level, rest)
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _last_of(line: str) -> str:
    """What is to be seen of a line that was written over: a progress bar ends each of its states by a carriage return."""
    return line[line.rfind("\r", 0, -1) + 1:]


def tell_jobs_apart() -> None:
    """Once is enough; where sys.stdout was replaced since, the replacement stands."""
    for name, level in (("stdout", _abi.INFO), ("stderr", _abi.WARN)):
        stream = getattr(sys, name)
        if stream is None or isinstance(stream, JobStream):
            continue
        replacement = JobStream(stream, level)
        setattr(sys, name, replacement)
        # Handlers of logging keep the stream they found.
        logging = sys.modules.get("logging")
        for reference in list(getattr(logging, "_handlerList", ())):
            handler = reference()
            if getattr(handler, "stream", None) is stream and hasattr(handler, "setStream"):
                handler.setStream(replacement)
