"""What a handler's values become: the rules of docs/HANDLERS-PYTHON.md ("Results"), from values to texts.

The keys `error` and `refresh_worker` of a returned dict are instructions, not output. A stream follows rules of its own,
oddities included, since clients rely on them. A value that cannot be sent fails its job and is named.
"""

from __future__ import annotations
from typing import TYPE_CHECKING, Any

from . import _failure
from ._json import NotJson, encode

if TYPE_CHECKING:
    from ._failure import Identity


class Outcome:
    """How a run ended. Texts are JSON as bytes, or None where there is none."""

    __slots__ = ("output", "error", "refresh_worker")

    def __init__(self, output: bytes | None = None, error: bytes | None = None, refresh_worker: bool = False) -> None:
        self.output = output
        self.error = error
        self.refresh_worker = refresh_worker


class Rules:
    """The rules with what a program has set. `debugger`: adds to an output, or None."""

    def __init__(self, who: Identity, aggregate: bool = False, nan_as_null: bool = False, debugger: Any = None) -> None:
        self.who = who
        self.aggregate = aggregate
        self.nan_as_null = nan_as_null
        self.debugger = debugger

    def encode(self, value: Any, name: str) -> bytes:
        return encode(value, name, self.nan_as_null)

    def returned(self, value: Any) -> Outcome:
        """Of what a standard handler or a coroutine returned. Raises NotJson."""
        error = None
        if isinstance(value, dict):
            if "error" not in value and "refresh_worker" not in value:
                if value and self.debugger is None:
                    return Outcome(encode(value, "output", self.nan_as_null))
            else:
                # A copy: the handler may return the same dict again.
                value = dict(value)
                error, refresh = value.pop("error", None), bool(value.pop("refresh_worker", None))
                if refresh:
                    return self._refreshing(value, error)
        return self._split(value, error)

    def _split(self, value: Any, error: Any) -> Outcome:
        if self.debugger is not None and not error:
            value = self.debugger(value)
        return Outcome(
            None if isinstance(value, dict) and not value else self.encode(value, "output"),
            self.encode(error, "error") if error else None,
        )

    def _refreshing(self, value: Any, error: Any) -> Outcome:
        """The wish for a fresh process stands, whether what came with it can be sent or not."""
        try:
            outcome = self._split(value, error)
        except NotJson as fault:
            outcome = self.failed(fault)
        outcome.refresh_worker = True
        return outcome

    def failed(self, error: BaseException) -> Outcome:
        """Of an exception that left the handler."""
        if isinstance(error, _failure.Error):
            said, refresh = error.error or "bulkhead.Error without a text", bool(error.refresh_worker)
            try:
                return Outcome(None, self.encode(said, "error"), refresh)
            except NotJson as fault:
                return Outcome(None, self._not_json(fault), refresh)
        if isinstance(error, NotJson):
            return Outcome(None, self._not_json(error))
        # Who asks for the end of the process gets it; the job has its answer first.
        return Outcome(None, _failure.text_of_exception(self.who, error), isinstance(error, SystemExit))

    def _not_json(self, fault: NotJson) -> bytes:
        return _failure.failure_text(self.who, "bulkhead.NotJson", str(fault), str(fault))

    def stopped(self, reason: str | None) -> Outcome:
        return Outcome(None, _failure.text_of_stop(self.who, reason))

    def too_large(self, name: str, size: int, limit: str) -> Outcome:
        text = "%s has %d bytes: %s" % (name, size, limit)
        return Outcome(None, _failure.failure_text(self.who, "bulkhead.TooLarge", text, text))


class Stream:
    """The result of a stream, chunk by chunk."""

    __slots__ = ("_rules", "_all", "_end")

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._all: list[bytes] = []
        self._end: Outcome | None = None

    def take(self, chunk: Any) -> bytes | None:
        """The text to send, or None where the chunk reports an error: the stream is over then. Raises NotJson."""
        if isinstance(chunk, dict) and chunk.get("error"):
            # Its text and nothing else: so it has always been told.
            self.end(Outcome(None, self._rules.encode(_failure.clean(str(chunk["error"])), "error")))
            return None
        text = self._rules.encode(chunk, "chunk")
        if self._rules.aggregate:
            self._all.append(text)
        return text

    def fail(self, error: BaseException) -> None:
        """The generator raised, or a chunk cannot be sent."""
        if isinstance(error, (_failure.Error, NotJson)):
            return self.end(self._rules.failed(error))
        text = "handler: %s \ntraceback: %s" % (_failure.message_of(error), _failure.trace_of(error))
        self.end(Outcome(None, self._rules.encode(_failure.clean(text), "error"), isinstance(error, SystemExit)))

    def end(self, outcome: Outcome) -> None:
        self._end = outcome

    def outcome(self) -> Outcome:
        return self._end or Outcome(b"[" + b",".join(self._all) + b"]")
