"""Failures in words: the text clients know from an exception, which is an object of six keys in a JSON string."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from . import _abi

_PACKAGE = os.path.dirname(os.path.abspath(__file__))


class Error(Exception):
    """Raise it to fail a job with exactly this `error`, of any JSON type. `refresh_worker` asks for a fresh process."""

    def __init__(self, error: Any, refresh_worker: bool = False) -> None:
        super().__init__(error)
        self.error = error
        self.refresh_worker = refresh_worker


class Stopped(BaseException):
    """What a standard handler's main thread gets when its job is to stop. `reason`: "cancel", "timeout" or "drain".

    Not an Exception, so that `except Exception` lets it pass.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(WHY[reason])
        self.reason = reason


REASONS = {_abi.STOP_CANCEL: "cancel", _abi.STOP_TIMEOUT: "timeout", _abi.STOP_DRAIN: "drain"}
WHY = {
    "cancel": "the job was cancelled",
    "timeout": "executionTimeout exceeded",
    "drain": "the worker is shutting down",
    None: "the supervisor takes no more of this job",
}


class Identity:
    """Who reports a failure. `extra` is what a drop-in adds, asked for when there is a failure."""

    def __init__(self, extra: Any = None) -> None:
        self.worker_id = os.environ.get("BULKHEAD_WORKER_ID") or "local"
        self._extra = extra

    def record(self, kind: str, message: str, trace: str) -> dict[str, Any]:
        record = {
            "error_type": kind,
            "error_message": message,
            "error_traceback": trace,
            "hostname": os.environ.get("RUNPOD_POD_HOSTNAME") or os.uname().nodename,
            "worker_id": self.worker_id,
        }
        if self._extra is not None:
            record.update(self._extra())
        record["bulkhead_version"] = _abi.load().version().decode()
        return record


def clean(text: str) -> str:
    """Without what UTF-8 cannot carry."""
    return str.encode(text, "utf-8", "backslashreplace").decode("utf-8")


def failure_text(who: Identity, kind: str, message: str, trace: str) -> bytes:
    """The `error` of a job, as bytes of JSON."""
    return json.dumps(json.dumps(who.record(clean(kind), clean(message), clean(trace)))).encode()


def kind_of(error: BaseException) -> str:
    """The type, as its str() has it. A metaclass may have written that, too."""
    try:
        return str(type(error))
    except BaseException:
        return type.__repr__(type(error))


def message_of(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as second:  # that one may be anything, too
        return "<its str() raised %s>" % type(second).__name__


def trace_of(error: BaseException) -> str:
    """As Python prints it, with causes, without the frames of this package around the handler."""
    import traceback

    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        trace = trace.tb_next
    try:
        return "".join(traceback.format_exception(type(error), error, trace))
    except BaseException as second:
        return "%s\n(the traceback could not be written: %s)" % (type.__repr__(type(error)), type(second).__name__)


def text_of_exception(who: Identity, error: BaseException) -> bytes:
    """The `error` of a job whose handler raised."""
    return failure_text(who, kind_of(error), message_of(error), trace_of(error))


def text_of_stop(who: Identity, reason: str | None) -> bytes:
    """The `error` of a job that was stopped before it could end by itself."""
    return failure_text(who, "bulkhead.Stopped", WHY[reason], WHY[reason])


def print_exception(error: BaseException, headline: str) -> None:
    """For what ends no job."""
    print("%s\n%s" % (headline, trace_of(error).rstrip()), file=sys.stderr, flush=True)
