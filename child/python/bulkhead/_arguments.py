"""The flags of a handler program: those RunPod's SDK gives it, and --test_output. All others are the handler's own."""

from __future__ import annotations

import os
import sys
from typing import Any, Callable, Iterator

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

LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "NOTSET")


def level_of(name: str) -> str:
    """One of LEVELS. Raises ValueError."""
    level = name.upper()
    level = "WARN" if level == "WARNING" else level
    if level not in LEVELS:
        raise ValueError("%r is no level: it is one of %s" % (name, ", ".join(LEVELS)))
    return level


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("%r is no whole number" % text) from None


_VALUES: dict[str, Callable[[str], Any]] = {
    "test_input": str,
    "test_output": str,
    "rp_log_level": level_of,
    "rp_api_host": str,
    "rp_api_port": _number,
    "rp_api_concurrency": _number,
}
_SWITCHES = ("rp_debugger", "rp_serve_api")


def following(words: Iterator[str]) -> str | None:
    for word in words:
        return word
    return None


class Arguments:
    """Taken from sys.argv, which keeps the rest. `error`: what is wrong with one of ours."""

    def __init__(self, argv: list[str] | None = None) -> None:
        argv = sys.argv if argv is None else argv
        self.given = argv[1:]
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
            self.wrong("--%s: %s" % (name, error))

    def wrong(self, text: str) -> None:
        """The first counts."""
        self.error = self.error or text

    def threshold(self) -> int:
        """The least level to be shown, as its place in LEVELS. A wrong one of the environment is noted as an error."""
        for variable in ("RUNPOD_LOG_LEVEL", "RUNPOD_DEBUG_LEVEL"):
            if self.values["rp_log_level"] is None and os.environ.get(variable):
                try:
                    return LEVELS.index(level_of(os.environ[variable]))
                except ValueError as error:
                    self.wrong("%s: %s" % (variable, error))
        return LEVELS.index(self.values["rp_log_level"] or "DEBUG")
