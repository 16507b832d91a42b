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
from ._blocking import close
from ._outcome import Stream
from ._program import SETUP_WAITS, is_awaitable, waits

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

    def save_checkpoint(self, data: bytes) -> bool:
        self.log(_abi.DEBUG, "Checkpoint of %d bytes; there is no later attempt to give it to." % len(data))
        return True

    def start_saving(self, data: bytes) -> Any:
        return _Saved(self.save_checkpoint(data))


class _Saved:
    """Stands where a checkpoint on its way stands."""

    def __init__(self, kept: bool) -> None:
        self._kept = kept

    def __await__(self) -> Any:
        return self._kept
        yield  # which makes it an iterator


class LocalTest:
    def __init__(self, program: Program, arguments: Arguments) -> None:
        self._program = program
        self._values = arguments.values
        self._threshold = arguments.threshold()
        self._loop: Any = None  # one for all that waits: what set-up has made is of use in the handler

    def say(self, level: int, message: str, job_id: str | None = None) -> None:
        if level >= self._threshold:
            encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
            line = "%-7s| %s%s" % (LEVELS[level], job_id + " | " if job_id else "", message)
            print(line.encode(encoding, "backslashreplace").decode(encoding), flush=True)

    def run(self) -> int:
        """The exit code."""
        try:
            expected = self._parsed(self._values["test_output"], "--test_output")
            job = self._find_job()
        except Fault as fault:
            self.say(_abi.ERROR, str(fault))
            return 1
        if job is None:
            return 1
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
        except RecursionError:
            raise Fault("%s is nested too deeply" % name) from None

    def _find_job(self) -> dict[str, Any] | None:
        if self._values["test_input"] is not None:
            self.say(_abi.INFO, "test_input set, using test_input as job input.")
            return self._checked(self._parsed(self._values["test_input"], "--test_input"), "--test_input")
        if os.path.lexists(FILE):
            self.say(_abi.INFO, "Using test_input.json as job input.")
            try:
                with open(FILE, encoding="utf-8") as file:
                    text = file.read()
            except (OSError, ValueError) as error:
                raise Fault("%s cannot be read: %s. Mend it, or give the job by --test_input." % (FILE, error)) from None
            return self._checked(self._parsed(text, FILE), FILE)
        self.say(_abi.WARN, "test_input.json not found, exiting.")
        print(
            "bulkhead: nothing to do. No supervisor started this program (BULKHEAD_SOCKET is not set), and there is "
            "no job to\nbulkhead: try it on: neither --test_input nor test_input.json in the working directory.\n"
            "bulkhead: to serve jobs:     bulkhead serve -- python3 %s\n"
            "bulkhead: to try it on one:  python3 %s --test_input '{\"input\": {}}'" % (sys.argv[0], sys.argv[0]),
            file=sys.stderr,
        )
        return None

    @staticmethod
    def _checked(job: Any, name: str) -> dict[str, Any]:
        if not isinstance(job, dict):
            raise Fault('A job is an object such as {"input": {}}. Unable to run. (%s holds another value)' % name)
        if job.get("input") is None:
            raise Fault('Job has no input parameter. Unable to run. (%s needs "input")' % name)
        job_id = job.setdefault("id", "local_test")
        if isinstance(job_id, int) and not isinstance(job_id, bool):
            job["id"] = job_id = str(job_id)  # as `bulkhead run` has it
        if not isinstance(job_id, str):
            raise Fault('"id" of %s is %s: it must be text, as in {"id": "job-1", "input": {}}' % (
                name, _shortened(json.dumps(job_id, ensure_ascii=False), 80)
            ))
        return job

    # ---- its run

    def _outcome(self, run: LocalRun) -> Outcome:
        """By the same rules as under a supervisor: what waits runs in an event loop from its set-up on, all else in none."""
        program = self._program
        program.rules.aggregate = True  # all chunks are wanted here, to be shown and compared
        program.coroutines = waits(program.handler) or waits(program.setup)
        try:
            setup = program.setup() if program.setup is not None else None
            if is_awaitable(setup):
                if not program.coroutines:
                    raise TypeError(SETUP_WAITS)
                self._wait_for(setup)
            if program.coroutines:
                outcome: Outcome = self._wait_for(self._work(run))
                return outcome
            value = program.handler(program.job_of(run))
            if is_awaitable(value) or type(value) is types.AsyncGeneratorType:
                outcome = self._wait_for(self._work(run, value))
                return outcome
            if type(value) is types.GeneratorType:
                return self._stream(run, value)
            return program.rules.returned(value)
        except BaseException as error:
            return program.rules.failed(error)
        finally:
            self._end_loop()

    async def _work(self, run: LocalRun, *returned: Any) -> Outcome:
        program = self._program
        value = returned[0] if returned else program.handler(program.job_of(run))
        if is_awaitable(value):
            value = await value
        if type(value) is types.AsyncGeneratorType:
            return await self._async_stream(run, value)
        return self._stream(run, value) if type(value) is types.GeneratorType else program.rules.returned(value)

    def _stream(self, run: LocalRun, chunks: Any) -> Outcome:
        stream = Stream(self._program.rules)
        try:
            for chunk in chunks:
                if not self._show(stream, chunk, run.id):
                    break
        except BaseException as error:
            stream.fail(error)
        close(chunks)
        return self._streamed(stream, run.id)

    async def _async_stream(self, run: LocalRun, chunks: Any) -> Outcome:
        from ._coroutines import closed

        stream = Stream(self._program.rules)
        try:
            async for chunk in chunks:
                if not self._show(stream, chunk, run.id):
                    break
        except BaseException as error:
            stream.fail(error)
        await closed(chunks.aclose)
        return self._streamed(stream, run.id)

    def _show(self, stream: Stream, chunk: Any, job_id: str) -> bool:
        """Whether there may be more."""
        text = stream.take(chunk)
        if text is not None:
            self.say(_abi.INFO, "Generator output: " + text.decode(), job_id)
        return text is not None

    def _streamed(self, stream: Stream, job_id: str) -> Outcome:
        self.say(_abi.INFO, "Finished running generator.", job_id)
        return stream.outcome()

    def _wait_for(self, awaitable: Any) -> Any:
        import asyncio

        async def waiting() -> Any:
            return await awaitable

        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        return self._loop.run_until_complete(waiting())

    def _end_loop(self) -> None:
        loop, self._loop = self._loop, None
        if loop is not None:
            from ._coroutines import end_leftovers

            end_leftovers(loop)
            loop.close()

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
        if self._values["test_output"] is not None and not self._matches(expected, result):
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
    host = "[%s]" % values["rp_api_host"] if ":" in values["rp_api_host"] else values["rp_api_host"]
    words = [command, "serve", "--listen", "%s:%d" % (host, values["rp_api_port"]),
             "--workers", str(values["rp_api_concurrency"]), "--", *_this_program(arguments)]
    sys.stdout.flush()
    os.execv(command, words)


def _this_program(arguments: Arguments) -> list[str]:
    """The command that starts it as it was started: Python's own flags, a -m or -c, and what concerns a child of ours."""
    original, given = getattr(sys, "orig_argv", None), arguments.given  # from Python 3.10 on
    if original and original[len(original) - len(given):] == given:
        start = original[1:len(original) - len(given)]
    else:
        import subprocess

        spec = getattr(sys.modules["__main__"], "__spec__", None)
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        start = [*flags, *(["-m", spec.name] if spec is not None else sys.argv[:1])]
    level = arguments.values["rp_log_level"]
    kept = ["--rp_log_level", level] if level is not None else []
    kept += ["--rp_debugger"] if arguments.values["rp_debugger"] else []
    return [sys.executable, *start, *kept, *arguments.rest]


def main(program: Program, arguments: Arguments) -> int | None:
    """The exit code of a handler program that no supervisor started."""
    if arguments.help:
        print(USAGE, end="")
        return 0
    arguments.threshold()
    if arguments.error is not None:
        print("bulkhead: %s" % arguments.error, file=sys.stderr)
        return 2
    if arguments.values["rp_serve_api"]:
        return serve(arguments)
    return LocalTest(program, arguments).run()
