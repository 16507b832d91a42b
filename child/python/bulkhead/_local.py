"""Local testing: a handler that no supervisor started runs one job and says what came of it.

The lines go to stdout in the form "LEVEL  | message" that people and scripts know from RunPod's SDK; the exit code is 0 when
the job succeeded and, with --test_output, gave what was expected.
"""

from __future__ import annotations

import json
import os
import sys
import types
from typing import TYPE_CHECKING, Any, Iterator

from . import _abi, _command, _json, _run
from ._arguments import LEVELS, USAGE
from ._outcome import Stream
from ._program import is_awaitable

if TYPE_CHECKING:
    from ._arguments import Arguments
    from ._outcome import Outcome, Rules
    from ._program import Program

FILE = "test_input.json"
_MOST_SHOWN = 4096


class Fault(Exception):
    """Why there is no job to run."""


class LocalRun:
    """Stands where a Run stands: prints what the job says."""

    def __init__(self, job: Any, rules: Rules, say: Any) -> None:
        self.id = job["id"]
        self.rules = rules
        self.handle = None
        self._job: dict[str, Any] = job
        self._say = say

    def job(self) -> dict[str, Any]:
        return self._job

    def progress(self, value: Any) -> None:
        try:
            self._say(_abi.INFO, "Progress: " + self.rules.encode(value, "progress").decode(), self.id)
        except _json.NotJson as fault:
            self.log(_abi.WARN, "progress left out: %s" % fault)

    def log(self, level: int, text: str) -> None:
        self._say(level, text, self.id)

    def attempt(self) -> int:
        return 1

    def stopping(self) -> str | None:
        return None

    def checkpoint(self) -> bytes | None:
        return None

    def save_checkpoint(self, data: bytes, wait: bool) -> bool:
        self.log(_abi.DEBUG, "Checkpoint of %d bytes; there is no later attempt to give it to." % len(data))
        return True


class LocalTest:
    def __init__(self, program: Program, arguments: Arguments) -> None:
        self._program = program
        self._values = arguments.values
        self._threshold = arguments.threshold() or 0

    def say(self, level: int, message: str, job_id: str | None = None) -> None:
        if level >= self._threshold:
            print("%-7s| %s%s" % (LEVELS[level], job_id + " | " if job_id else "", message), flush=True)

    def run(self) -> int:
        """The exit code."""
        try:
            expected = self._parsed(self._values["test_output"], "test_output")
            job = self._find_job()
        except Fault as fault:
            self.say(_abi.ERROR, str(fault))
            return 1
        if job is None:
            return 1
        job.setdefault("id", "local_test")
        self.say(_abi.DEBUG, "Retrieved local job: " + _shortened(json.dumps(job, ensure_ascii=False)))
        run = LocalRun(job, self._program.rules, self.say)
        _run.running[run.id] = run
        self.say(_abi.INFO, "Started.", run.id)
        return self._judge(run.id, self._outcome(run), expected)

    # ---- the job

    @staticmethod
    def _parsed(text: str | None, name: str) -> Any:
        if text is None:
            return None
        try:
            return json.loads(text)
        except ValueError as error:
            raise Fault("%s is not JSON: %s" % (name, error)) from None

    def _find_job(self) -> dict[str, Any] | None:
        if self._values["test_input"] is not None:
            self.say(_abi.INFO, "test_input set, using test_input as job input.")
            job = self._parsed(self._values["test_input"], "test_input")
        elif os.path.exists(FILE):
            self.say(_abi.INFO, "Using test_input.json as job input.")
            with open(FILE, encoding="utf-8") as file:
                job = self._parsed(file.read(), FILE)
        else:
            self.say(_abi.WARN, "test_input.json not found, exiting.")
            print(
                "bulkhead: nothing to do. No supervisor started this program (BULKHEAD_SOCKET is not set), and there is "
                "no job to\nbulkhead: try it on: neither --test_input nor test_input.json in the working directory.\n"
                "bulkhead: to serve jobs:     bulkhead serve -- python3 %s\n"
                "bulkhead: to try it on one:  python3 %s --test_input '{\"input\": {}}'" % (sys.argv[0], sys.argv[0]),
                file=sys.stderr,
            )
            return None
        if not isinstance(job, dict):
            raise Fault('A job is an object such as {"input": {}}. Unable to run.')
        if job.get("input") is None:
            raise Fault("Job has no input parameter. Unable to run.")
        return job

    # ---- its run

    def _outcome(self, run: LocalRun) -> Outcome:
        rules, program = self._program.rules, self._program
        stream = None
        try:
            if program.setup is not None:
                value = program.setup()
                if is_awaitable(value):
                    _wait_for(value)
            value = program.handler(program.job_of(run))
            if is_awaitable(value):
                value = _wait_for(_awaited(value))
            if type(value) is types.AsyncGeneratorType:
                value = _each(value)
            if type(value) is not types.GeneratorType:
                return rules.returned(value)
            rules.aggregate = True  # all chunks are wanted here, to be shown and compared
            stream = Stream(rules)
            for chunk in value:
                text = stream.take(chunk)
                if text is None:
                    break
                self.say(_abi.INFO, "Generator output: " + text.decode(), run.id)
        except BaseException as error:
            if stream is None:
                return rules.failed(error)
            stream.fail(error)
        self.say(_abi.INFO, "Finished running generator.", run.id)
        return stream.outcome()

    def _judge(self, job_id: str, outcome: Outcome, expected: Any) -> int:
        result = {}
        if outcome.output is not None:
            result["output"] = json.loads(outcome.output.decode())
        if outcome.error is not None:
            error = json.loads(outcome.error.decode())
            self.say(_abi.ERROR, "Job %s failed with error: %s" % (
                job_id, error if isinstance(error, str) else json.dumps(error, ensure_ascii=False)
            ))
            return 1
        if outcome.refresh_worker or self._program.refresh_worker:
            result["stopPod"] = True
        self.say(_abi.INFO, "Job %s completed successfully." % job_id)
        self.say(_abi.INFO, "Job result: " + json.dumps(result, ensure_ascii=False))
        if expected is not None and not self._matches(expected, result):
            return 1
        self.say(_abi.INFO, "Local testing complete, exiting.")
        return 0

    def _matches(self, expected: Any, result: dict[str, Any]) -> bool:
        self.say(_abi.INFO, "test_output set, comparing output to test_output.")
        whole = isinstance(expected, dict) and "output" in expected
        differences = list(_differences(expected, result.get("output", {}), "output"))
        if differences and whole:
            differences = list(_differences(expected, result, "result"))
        if not differences:
            self.say(_abi.INFO, "Job output matches test_output.")
            return True
        self.say(_abi.ERROR, "Job output does not match test_output.")
        for line in differences[:20]:
            self.say(_abi.ERROR, "  " + line)
        return False


def _wait_for(awaitable: Any) -> Any:
    import asyncio

    async def waiting() -> Any:
        return await awaitable

    return asyncio.run(waiting())


async def _awaited(awaitable: Any) -> Any:
    """What it gives; where that is an async generator, its chunks, since they belong to this loop."""
    return await awaitable


def _each(chunks: Any) -> Iterator[Any]:
    """The chunks of an async generator, one by one."""
    import asyncio

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        while True:
            try:
                yield loop.run_until_complete(chunks.__anext__())
            except StopAsyncIteration:
                return
    finally:
        loop.run_until_complete(chunks.aclose())
        loop.close()


def _differences(expected: Any, got: Any, path: str) -> Iterator[str]:
    if isinstance(expected, dict) and isinstance(got, dict):
        for key in expected:
            if key in got:
                yield from _differences(expected[key], got[key], "%s.%s" % (path, key))
            else:
                yield "%s.%s: expected %s, got nothing" % (path, key, _shown(expected[key]))
        for key in got:
            if key not in expected:
                yield "%s.%s: not expected, got %s" % (path, key, _shown(got[key]))
    elif isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        for i, (one, other) in enumerate(zip(expected, got)):
            yield from _differences(one, other, "%s[%d]" % (path, i))
    elif expected != got or isinstance(expected, bool) != isinstance(got, bool):
        yield "%s: expected %s, got %s" % (path, _shown(expected), _shown(got))


def _shown(value: Any) -> str:
    return _shortened(json.dumps(value, ensure_ascii=False), 200)


def _shortened(text: str, most: int = _MOST_SHOWN) -> str:
    if len(text) <= most:
        return text
    return "%s ... %d characters left out ... %s" % (text[: most // 2], len(text) - most, text[-(most // 2):])


# ---- --rp_serve_api, and --help ----------------------------------------------------------------------------------------


def serve(arguments: Arguments) -> int:
    """Becomes `bulkhead serve` with this program as its handler. Returns the exit code where it cannot."""
    command = _command.find()
    if command is None:
        print("bulkhead: --rp_serve_api needs the program `bulkhead`, which is not in the PATH", file=sys.stderr)
        return 2
    values = arguments.values
    words = [command, "serve", "--listen", "%s:%d" % (values["rp_api_host"], values["rp_api_port"]),
             "--workers", str(values["rp_api_concurrency"]), "--", sys.executable, *sys.argv]
    sys.stdout.flush()
    os.execv(command, words)


def main(program: Program, arguments: Arguments) -> int | None:
    """The exit code of a handler program that no supervisor started."""
    if arguments.help:
        print(USAGE, end="")
        return 0
    fault = arguments.error
    if fault is None and arguments.threshold() is None:
        fault = "the log level is one of %s" % ", ".join(LEVELS)
    if fault is not None:
        print("bulkhead: %s" % fault, file=sys.stderr)
        return 2
    if arguments.values["rp_serve_api"]:
        return serve(arguments)
    return LocalTest(program, arguments).run()
