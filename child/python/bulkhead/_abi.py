"""The C library by ctypes: its functions, its structures, its numbers (bulkhead/bulkhead.h explains them).

Functions that may wait are called without the interpreter's lock, so that heartbeats and cancels never wait for a
handler, nor other threads for the supervisor. Those that only read a job keep it: letting go would cost more than they do.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_void_p
from typing import Any, Iterator

OK, AGAIN, LOST, CANCELLED, TOO_LARGE, INVALID, SYSTEM = 0, -1, -2, -3, -4, -5, -6
EVENT_JOB, EVENT_CANCEL, EVENT_CREDIT, EVENT_STOP = 1, 2, 3, 4
TRACE, DEBUG, INFO, WARN, ERROR = range(5)
RUNNING, STOP_CANCEL, STOP_TIMEOUT, STOP_DRAIN = range(4)
REFRESH_WORKER = 1

_SONAME = "libbulkhead.so.0"


class Event(ctypes.Structure):
    _fields_ = [("kind", c_int), ("job", c_void_p)]


class Options(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("sdk", c_char_p),
        ("keep_signals", c_int),
        ("cancel_signal", c_int),
        ("on_stop", c_void_p),
        ("on_stop_user", c_void_p),
        ("return_on_signal", c_int),
    ]


def _places() -> Iterator[str]:
    """Where the library may be: what the supervisor said, then beside this package, installed or in a build."""
    if os.environ.get("BULKHEAD_LIBRARY"):
        yield os.environ["BULKHEAD_LIBRARY"]
    package = os.path.dirname(os.path.realpath(__file__))
    yield os.path.join(package, "_root", "lib", _SONAME)  # by pip
    python = os.path.dirname(package)
    lib = os.path.dirname(os.path.dirname(python))  # …/lib/bulkhead/python
    yield os.path.join(lib, _SONAME)
    for machine in ("x86_64-linux-gnu", "aarch64-linux-gnu"):
        yield os.path.join(lib, machine, _SONAME)
    yield os.path.join(lib, "build", "child", _SONAME)  # child/python of a source tree


def _find() -> str:
    for place in _places():
        if os.path.exists(place):
            return place
    return _SONAME  # wherever the loader looks


def _declare(library: Any, name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(library, name)
    function.restype = result
    function.argtypes = arguments
    return function


class Abi:
    """The functions, one attribute each, named as in C without `bh_`."""

    def __init__(self) -> None:
        path = _find()
        try:
            letting_go = ctypes.CDLL(path)
            holding = getattr(ctypes, "PyDLL", ctypes.CDLL)(path)  # PyPy has one kind
        except OSError as error:
            raise ImportError(
                "Bulkhead's library could not be loaded (%s). Install Bulkhead, or name the file in BULKHEAD_LIBRARY."
                % error
            ) from None
        size = c_void_p  # an address as a number, which is the quickest to pass
        self.connect = _declare(letting_go, "bh_connect", c_void_p, POINTER(Options), c_char_p, c_size_t)
        self.ready = _declare(letting_go, "bh_ready", c_int, c_void_p, c_int)
        self.next = _declare(letting_go, "bh_next", c_int, c_void_p, c_int, c_void_p)
        self.fd = _declare(letting_go, "bh_fd", c_int, c_void_p)
        self.close = _declare(letting_go, "bh_close", c_int, c_void_p, c_int)
        self.log = _declare(letting_go, "bh_log", c_int, c_void_p, c_int, c_char_p, c_size_t)
        self.job_log = _declare(letting_go, "bh_job_log", c_int, c_void_p, c_int, c_char_p, c_size_t)
        self.job_progress = _declare(letting_go, "bh_job_progress", c_int, c_void_p, c_char_p, c_size_t)
        self.job_chunk = _declare(letting_go, "bh_job_chunk", c_int, c_void_p, c_char_p, c_size_t, c_int)
        self.job_save_checkpoint = _declare(
            letting_go, "bh_job_save_checkpoint", c_int, c_void_p, c_char_p, c_size_t, c_int
        )
        self.job_done = _declare(letting_go, "bh_job_done", c_int, c_void_p, c_char_p, c_size_t, c_int)
        self.job_failed = _declare(
            letting_go, "bh_job_failed", c_int, c_void_p, c_char_p, c_size_t, c_char_p, c_size_t, c_int
        )
        self.job_id = _declare(holding, "bh_job_id", c_char_p, c_void_p)
        self.job_input = _declare(holding, "bh_job_input", c_void_p, c_void_p, size)
        self.job_extra = _declare(holding, "bh_job_extra", c_void_p, c_void_p, size)
        self.job_checkpoint_saved = _declare(holding, "bh_job_checkpoint_saved", c_int, c_void_p)
        self.job_checkpoint = _declare(holding, "bh_job_checkpoint", c_void_p, c_void_p, size)
        self.job_attempt = _declare(holding, "bh_job_attempt", c_int, c_void_p)
        self.job_stopping = _declare(holding, "bh_job_stopping", c_int, c_void_p)
        self.strerror = _declare(holding, "bh_strerror", c_char_p, c_int)
        self.version = _declare(holding, "bh_version", c_char_p)

    def text_of(self, status: int) -> str:
        text: bytes = self.strerror(status)
        return text.decode("utf-8", "replace")


_loaded = None


def load() -> Abi:
    """The library, loaded once."""
    global _loaded
    if _loaded is None:
        _loaded = Abi()
    return _loaded
