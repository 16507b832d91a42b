#!/usr/bin/python3
"""Runs pytest and reports each case as one line of TAP on standard output, so that `meson test` counts cases.

    run_pytest.py [pytest arguments…]

Everything pytest and the tests themselves print goes to standard error. A case that fails in set-up or tear-down counts
as failed once; a run that collected nothing, or broke, is a failed run.
"""

import os
import sys

import pytest


class Tap:
    """Collects the three phases of each case into one verdict."""

    def __init__(self, out):
        self._out = out
        self._number = 0
        self._verdict = {}

    def pytest_runtest_logreport(self, report):
        verdict = self._verdict.setdefault(report.nodeid, ["ok", ""])
        if report.failed:
            verdict[0] = "not ok"
        elif report.skipped and hasattr(report, "wasxfail"):
            verdict[1] = f" # TODO {report.wasxfail}"
            verdict[0] = "not ok"
        elif report.skipped and verdict[0] == "ok":
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            verdict[1] = " # SKIP " + reason.removeprefix("Skipped: ").replace("\n", " ")
        if report.when == "teardown":
            self._number += 1
            state, directive = self._verdict.pop(report.nodeid)
            name = report.nodeid.split("::", 1)[-1].replace("#", "_")
            self._out.write(f"{state} {self._number} - {name}{directive}\n")
            self._out.flush()

    def pytest_collectreport(self, report):
        if report.failed:
            self._number += 1
            self._out.write(f"not ok {self._number} - collecting {report.nodeid.replace('#', '_')}\n")

    def plan(self):
        self._out.write(f"1..{self._number}\n")
        self._out.flush()
        return self._number


def main():
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.dont_write_bytecode = True
    tap = Tap(out)
    arguments = ["-p", "no:cacheprovider", "--color=no", "-q", "-rs", *sys.argv[1:]]
    status = int(pytest.main(arguments, plugins=[tap]))
    if tap.plan() == 0:
        print("run_pytest: no case was collected", file=sys.stderr)
        return 1
    # Failed cases (1) are told by TAP; anything else is a broken run.
    return 0 if status in (0, 1) else status


if __name__ == "__main__":
    sys.exit(main())
