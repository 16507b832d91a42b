"""A handler program by itself, without a supervisor: the flags of RunPod's SDK, and what the program prints and returns."""

import contextlib
import json
import os
import select
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from endpoint import BULKHEAD, Endpoint

HERE = Path(__file__).parent
# As an installation would have it for Bulkhead's own module; here it also makes the drop-in visible.
ENV = {**os.environ, "PYTHONPATH": os.path.join(os.environ["BULKHEAD_BUILD"], "child", "python"), "PYTHONDONTWRITEBYTECODE": "1"}
ENV.pop("BULKHEAD_SOCKET", None)
ENV["PATH"] = os.path.dirname(BULKHEAD) + os.pathsep + ENV["PATH"]  # the build folder may have any name


def run(form, *words, cwd, program="zoo.py", env=None):
    return subprocess.run([sys.executable, str(HERE / program), form, *words], capture_output=True, text=True, cwd=cwd, timeout=60,
                          env={**ENV, **(env or {})})


@contextlib.contextmanager
def served(words, cwd):
    """A program with --rp_serve_api, as a function from a job's input to its output."""
    env = {**ENV, "BULKHEAD_STATE_DIR": str(cwd / "s")}
    process = subprocess.Popen([*words, "--rp_api_port", "0", "--rp_api_host", "127.0.0.1"], cwd=cwd, env=env, stderr=subprocess.PIPE,
                               text=True)

    def ask(job_input):
        request = urllib.request.Request(f"{address}/runsync", json.dumps({"input": job_input}).encode())
        return json.load(urllib.request.urlopen(request, timeout=60))["output"]

    try:
        assert select.select([process.stderr], [], [], 60)[0], "nothing was said"
        line = process.stderr.readline()
        assert "listening on " in line, line + process.stderr.read()
        address = line.split("listening on ")[1].strip()
        yield ask
    finally:
        process.terminate()
        try:
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
    assert process.returncode == 0


def test_a_test_input(tmp_path):
    done = run("standard", "--test_input", '{"input": {"do": "dict"}}', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for line in ("INFO   | test_input set, using test_input as job input.", "INFO   | local_test | Started.",
                 "INFO   | Job local_test completed successfully.", 'INFO   | Job result: {"output": {"a": 1}}',
                 "INFO   | Local testing complete, exiting."):
        assert line in done.stdout.splitlines(), done.stdout


def test_the_file_in_the_working_directory(tmp_path):
    (tmp_path / "test_input.json").write_text(json.dumps({"id": "mine", "input": {"do": "echo"}}))
    done = run("coroutine", "--rp_log_level=INFO", cwd=tmp_path)
    assert done.returncode == 0 and "Job mine completed" in done.stdout and "DEBUG" not in done.stdout


@pytest.mark.parametrize("form", ["generator", "async_generator"])
def test_streams_are_shown_and_collected(tmp_path, form):
    done = run(form, "--test_input", '{"input": {"chunks": ["a", {"b": 1}]}}', "--test_output", '["a", {"b": 1}]', cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ('Generator output: "a"', 'Generator output: {"b":1}', "Finished running generator."):
        assert words in done.stdout


def test_an_expected_result_is_compared(tmp_path):
    asked = ("--test_input", '{"input": {"do": "refresh"}}', "--test_output")
    for expected in ('{"r": 1}', '{"r": 1.0}', '{"output": {"r": 1}, "stopPod": true}'):
        assert run("standard", *asked, expected, cwd=tmp_path).returncode == 0, expected
    done = run("standard", *asked, '{"r": 2}', cwd=tmp_path)
    assert done.returncode == 1 and "output.r: expected 2, got 1" in done.stdout


def test_failures_are_exit_code_1(tmp_path):
    for asked, words in (('{"input": {"do": "error"}}', "failed with error: boom"), ('{"input": {"do": "exception"}}', "ValueError"),
                         ('{"input": {"do": "set"}}', "output.a[1] is a set"), ("{}", "no input parameter"), ("[]", "A job is an object"),
                         ("{", "test_input is not JSON"), ('{"input": {"do": "exit"}}', "SystemExit")):
        done = run("standard", "--test_input", asked, cwd=tmp_path)
        assert done.returncode == 1 and words in done.stdout, (asked, done.stdout, done.stderr)
    done = run("standard", cwd=tmp_path)
    assert done.returncode == 1 and "test_input.json not found" in done.stdout and "bulkhead serve" in done.stderr


def test_what_is_no_job_is_told_by_its_field(tmp_path):
    for asked, words in (('{"id": [1], "input": 1}', '"id" of --test_input is [1]: it must be text'), ("[" * 100_000, "--test_input is nested too deeply"),
                         ('{"id": null, "input": 1}', '"id" of --test_input is null'), ('{"a": "\\ud800"}', 'needs "input"')):
        done = run("standard", "--test_input", asked, cwd=tmp_path)
        assert done.returncode == 1 and words in done.stdout and "Traceback" not in done.stdout + done.stderr, (asked[:80], done)
    done = run("standard", "--test_input", '{"id": 5, "input": {"do": "echo"}, "more": "\\ud800"}', cwd=tmp_path)
    assert "5 | Started." in done.stdout and "output.more is text with half a character" in done.stdout, done
    file = tmp_path / "test_input.json"
    file.write_bytes(b'{"input": "\xff"}')
    for make in (lambda: None, lambda: (file.unlink(), file.mkdir()), lambda: (file.rmdir(), file.symlink_to("nowhere"))):
        make()
        done = run("standard", cwd=tmp_path)
        assert done.returncode == 1 and "test_input.json cannot be read: " in done.stdout and "Traceback" not in done.stderr, done


def test_null_is_an_expected_result_too(tmp_path):
    for do, code in (("none", 0), ("dict", 1)):
        done = run("standard", "--test_input", json.dumps({"input": {"do": do}}), "--test_output", "null", cwd=tmp_path)
        assert done.returncode == code, done.stdout
    assert 'output: expected null, got {"a": 1}' in done.stdout


WAITING = """
import asyncio, runpod, bulkhead
queue = closed = None

async def load():
    global queue
    queue = asyncio.Queue()
    queue.loop = asyncio.get_running_loop()
    asyncio.ensure_future(feed())
    asyncio.ensure_future(asyncio.sleep(600))

async def feed():
    for number in range(3):
        await asyncio.sleep(0.01)
        await queue.put(number)

async def one(job):
    return [await queue.get(), asyncio.get_running_loop() is queue.loop]

async def each(job):
    task = asyncio.current_task()
    for _ in range(3):
        yield [await queue.get(), asyncio.get_running_loop() is queue.loop, asyncio.current_task() is task]
"""


@pytest.mark.parametrize("handler, expected", [("one", [0, True]), ("each", [[n, True, True] for n in range(3)]),
                                               ("lambda job: one(job)", [0, True])])
def test_all_that_waits_is_in_one_event_loop(tmp_path, handler, expected):
    program = tmp_path / "waiting.py"
    program.write_text(f"{WAITING}\nbulkhead.start({handler}, setup=load)\n")
    done = subprocess.run([sys.executable, str(program), "--test_input", '{"input": 1}', "--test_output", json.dumps(expected)],
                          capture_output=True, text=True, timeout=60, cwd=tmp_path, env=ENV)
    assert done.returncode == 0 and not done.stderr, done.stdout + done.stderr


def test_wrong_flags_are_exit_code_2(tmp_path):
    for words, told in ((("--rp_log_level", "LOUD"), "--rp_log_level: 'LOUD' is no level: it is one of TRACE, DEBUG"),
                        (("--test_input",), "--test_input: needs a value"), (("--rp_api_port", "many"), "'many' is no whole number"),
                        (("--rp_debugger",), "--rp_debugger: RunPod's package")):
        for program in ("zoo.py", "native.py"):
            done = run("standard", *words, cwd=tmp_path, program=program)
            assert done.returncode == 2 and told in done.stderr and "Traceback" not in done.stderr, done
    done = run("standard", cwd=tmp_path, env={"RUNPOD_LOG_LEVEL": "LOUD"})
    assert done.returncode == 2 and "RUNPOD_LOG_LEVEL: 'LOUD' is no level" in done.stderr
    done = run("standard", "--help", cwd=tmp_path)
    assert done.returncode == 0 and "--test_output" in done.stdout


def test_the_native_module(tmp_path):
    for form in ("standard", "async"):
        done = run(form, "--test_input", '{"input": {"do": "facts"}}', cwd=tmp_path, program="native.py")
        assert done.returncode == 0 and '"loaded": 1' in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("program", ["zoo.py", "native.py"])
def test_wrong_flags_are_told_under_a_supervisor(tmp_path, program):
    command = [sys.executable, str(HERE / program), "standard", "--rp_log_level", "LOUD"]
    with Endpoint(command, state=tmp_path / "s", ready=False) as endpoint:
        endpoint.wait_line("bulkhead: --rp_log_level: 'LOUD' is no level")
        endpoint.wait_line("set-up failed 1 time")


FLAGS = """
import sys
from os import path
import runpod
from runpod.serverless.modules.rp_logger import RunPodLogger
runpod.serverless.start({"handler": lambda job: [__package__, sys.flags.dev_mode, RunPodLogger().level, sys.argv[1:]]})
"""


def test_rp_serve_api_loses_no_flags(tmp_path):
    """Neither Python's own, nor ours that still mean something, nor the handler's."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").touch()
    (tmp_path / "mine" / "handler.py").write_text(FLAGS)
    (tmp_path / "handler.py").write_text(FLAGS)
    for start, package in ((["-m", "mine.handler"], "mine"), (["-c", FLAGS], None), (["handler.py"], None)):
        words = [sys.executable, "-X", "dev", *start, "--mine", "--rp_serve_api", "--rp_log_level", "warning", "x"]
        with served(words, tmp_path) as ask:
            assert ask({}) == [package, True, "WARN", ["--mine", "x"]], start


def test_rp_serve_api_is_bulkhead_serve(tmp_path):
    with served([sys.executable, str(HERE / "zoo.py"), "standard", "--rp_serve_api"], tmp_path) as ask:
        assert ask({"do": "dict"}) == {"a": 1}


def test_a_process_that_multiprocessing_spawned_starts_nothing(tmp_path):
    program = tmp_path / "pool.py"
    program.write_text("import multiprocessing, runpod\n"
                       "def square(x):\n    return x * x\n"
                       "def handler(job):\n"
                       "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n        return pool.map(square, [1, 2, 3])\n"
                       "runpod.serverless.start({'handler': handler})\n")
    done = subprocess.run([sys.executable, str(program), "--test_input", '{"input": {}}'], capture_output=True, text=True, timeout=60,
                          cwd=tmp_path, env=ENV)
    assert done.returncode == 0 and '{"output": [1, 4, 9]}' in done.stdout, done.stdout + done.stderr


def test_flags_are_stripped_and_others_left(tmp_path):
    program = tmp_path / "flags.py"
    program.write_text("import sys, runpod\nrunpod.serverless.start({'handler': lambda job: sys.argv[1:]})\n")
    done = subprocess.run([sys.executable, str(program), "--mine", "--test_input", '{"input": 1}', "x"], capture_output=True, text=True,
                          timeout=60, cwd=tmp_path, env=ENV)
    assert '{"output": ["--mine", "x"]}' in done.stdout, done.stdout + done.stderr
