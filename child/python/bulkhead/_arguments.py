"""The flags of a handler program: those RunPod's SDK gives it, and --test_output. All others are the handler's own."""

from __future__ import annotations

import os
import sys
from typing import Any, Iterator

USAGE = """This program is a Bulkhead job handler.

To serve jobs, put a supervisor in front of it:
  bulkhead serve -- python3 HANDLER.py [ARGUMENTS]

To try it on one job, run it directly, or with "bulkhead run --" in front, which survives crashes:
  python3 HANDLER.py --test_input '{"input": {"prompt": "Hello"}}'
  python3 HANDLER.py             takes the job from test_input.json in the working directory

Flags:
  --test_input JSON      the job: an object with "input", and optionally "id" and other keys
  --test_output JSON     compare the result with this one, show the differences, exit 1 where there are any
  --rp_log_level LEVEL   DEBUG (default), INFO, WARN, ERROR or NOTSET; also by RUNPOD_LOG_LEVEL
  --rp_debugger          add the debugger's times to the output (needs the runpod package)
  --rp_serve_api         serve jobs over HTTP, by "bulkhead serve", at:
  --rp_api_host HOST     (localhost)
  --rp_api_port PORT     (8000)
  --rp_api_concurrency N worker processes (1)

Exit code: 0 when the job succeeded, 1 when it failed or there was none, 2 for wrong flags.
Flags not listed here are left to the handler.
"""

_VALUES = {
    "test_input": str,
    "test_output": str,
    "rp_log_level": str,
    "rp_api_host": str,
    "rp_api_port": int,
    "rp_api_concurrency": int,
}
_SWITCHES = ("rp_debugger", "rp_serve_api")
LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "NOTSET")


def following(words: Iterator[str]) -> str | None:
    for word in words:
        return word
    return None


class Arguments:
    """Taken from sys.argv, which keeps the rest. `error`: what is wrong with one of ours."""

    def __init__(self, argv: list[str] | None = None) -> None:
        argv = sys.argv if argv is None else argv
        self.values: dict[str, Any] = {"rp_log_level": None, "rp_debugger": None, "rp_serve_api": None, "rp_api_port": 8000,
                       "rp_api_concurrency": 1, "rp_api_host": "localhost", "test_input": None, "test_output": None}
        self.error: str | None = None
        self.help = False
        rest: list[str] = []
        words = iter(argv[1:])
        for word in words:
            name, equals, value = word.partition("=")
            name = name[2:] if name.startswith("--") else ""
            if name in _VALUES:
                self._take(name, value if equals else following(words))
            elif name in _SWITCHES and not equals:
                self.values[name] = True
            else:
                self.help = self.help or word in ("--help", "-h")
                rest.append(word)
        self.rest = rest
        argv[1:] = rest

    def _take(self, name: str, value: str | None) -> None:
        try:
            if value is None:
                raise ValueError("needs a value")
            self.values[name] = _VALUES[name](value)
        except ValueError as error:
            self.error = self.error or "--%s: %s" % (name, error)

    def threshold(self) -> int | None:
        """The least level to be shown, as its place in LEVELS; None where the name is unknown."""
        name = self.values["rp_log_level"] or os.environ.get("RUNPOD_LOG_LEVEL")
        name = (name or os.environ.get("RUNPOD_DEBUG_LEVEL") or "DEBUG").upper()
        name = "WARN" if name == "WARNING" else name
        return LEVELS.index(name) if name in LEVELS else None
