"""The connection to the supervisor: made once, closed last.

Before it is made, Python's own handler of fatal signals is put in place, writing to the crash file: the library's handler
comes on top, writes the native stack, and hands on, so that the crash record has the Python stack of every thread, too.
After it, the environment is a plain one again, so that a program the handler starts is nobody's child.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
from typing import Any

from . import _abi

CANCEL_SIGNAL = signal.SIGURG  # ignored by whoever does not expect it, and used by next to nobody
STACKS_SIGNAL = signal.SIGRTMAX - 6  # see protocol/crash_file.hpp
CLOSE_TIMEOUT_MS = 5000
_PYTHON_DIRECTORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class NoSupervisor(Exception):
    """Why there is no connection."""


def supervised() -> bool:
    """Whether a supervisor started this process."""
    return bool(os.environ.get("BULKHEAD_SOCKET"))


class Connection:
    def __init__(self, cancel_by_signal: bool) -> None:
        self.abi = _abi.load()
        crash_file = _write_python_stacks()
        sdk = ("bulkhead-python/%s %s %d.%d" % (
            self.abi.version().decode(), sys.implementation.name, *sys.version_info[:2]
        )).encode()
        options = _abi.Options(size=ctypes.sizeof(_abi.Options), sdk=sdk, return_on_signal=1)
        options.cancel_signal = CANCEL_SIGNAL if cancel_by_signal else 0
        error = ctypes.create_string_buffer(512)
        self._child: int | None = self.abi.connect(ctypes.byref(options), error, len(error))
        if not self._child:
            raise NoSupervisor(error.value.decode("utf-8", "replace"))
        if crash_file is not None and hasattr(faulthandler, "register"):
            # On top of the library's handler, for it hands on: a stalled job is asked for its stacks by this.
            faulthandler.register(STACKS_SIGNAL, crash_file, all_threads=True, chain=True)
        _forget_environment()
        _print_lines()

    @property
    def child(self) -> int | None:
        return self._child

    def ready(self, concurrency: int) -> None:
        self.abi.ready(self._child, concurrency)

    def log(self, level: int, text: str) -> None:
        data = text.encode("utf-8", "backslashreplace")
        self.abi.log(self._child, level, data, len(data))

    def close(self) -> None:
        child, self._child = self._child, None
        if child:
            self.abi.close(child, CLOSE_TIMEOUT_MS)


def _write_python_stacks() -> int | None:
    """The crash file's descriptor, where there is one."""
    path = os.environ.get("BULKHEAD_CRASH_FILE")
    if not path:
        return None
    try:
        # Kept open for good: at a crash descriptors may have run out.
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        faulthandler.enable(file, all_threads=True)
    except (OSError, ValueError, RuntimeError):
        return None  # then a crash has only its native stack
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_in_a_forked_process)
    return file


def _in_a_forked_process() -> None:
    """The crash file is the parent's; a worker of a data loader speaks for itself."""
    try:
        if hasattr(faulthandler, "unregister"):
            faulthandler.unregister(STACKS_SIGNAL)
        faulthandler.enable(2)
    except (OSError, ValueError, RuntimeError):
        faulthandler.disable()


def _forget_environment() -> None:
    # The library has removed them from the process; os.environ is a copy.
    for name in ("BULKHEAD_SOCKET", "BULKHEAD_TOKEN", "BULKHEAD_CRASH_FILE", "BULKHEAD_BLACK_BOX"):
        os.environ.pop(name, None)
    path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if _PYTHON_DIRECTORY in path:
        path.remove(_PYTHON_DIRECTORY)
        if path:
            os.environ["PYTHONPATH"] = os.pathsep.join(path)
        else:
            del os.environ["PYTHONPATH"]


def _print_lines() -> None:
    """What is printed reaches the supervisor line by line."""
    streams: tuple[Any, ...] = (sys.stdout, sys.stderr)
    for stream in streams:
        try:
            stream.reconfigure(line_buffering=True)
        except (AttributeError, ValueError):
            pass  # replaced by something else
