"""A handler program by itself, without a supervisor: the flags of RunPod's SDK, and what the program prints and returns."""

import json
import os
import select
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from endpoint import until

HERE = Path(__file__).parent
# As an installation would have it for Bulkhead's own module; here it also makes the drop-in visible.
ENV = {**os.environ, "PYTHONPATH": os.path.join(os.environ["BULKHEAD_BUILD"], "child", "python"), "PYTHONDONTWRITEBYTECODE": "1"}
ENV.pop("BULKHEAD_SOCKET", None)


def run(form, *words, cwd, program="zoo.py", env=None):
    return subprocess.run([sys.executable, str(HERE / program), form, *words], capture_output=True, text=True, cwd=cwd, timeout=60,
                          env={**ENV, **(env or {})})


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


def test_wrong_flags_are_exit_code_2(tmp_path):
    for words in (("--rp_log_level", "LOUD"), ("--test_input",), ("--rp_api_port", "many")):
        assert run("standard", *words, cwd=tmp_path).returncode == 2
    done = run("standard", "--help", cwd=tmp_path)
    assert done.returncode == 0 and "--test_output" in done.stdout


def test_the_native_module(tmp_path):
    for form in ("standard", "async"):
        done = run(form, "--test_input", '{"input": {"do": "facts"}}', cwd=tmp_path, program="native.py")
        assert done.returncode == 0 and '"loaded": 1' in done.stdout, done.stdout + done.stderr


def test_rp_serve_api_is_bulkhead_serve(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {**ENV, "BULKHEAD_STATE_DIR": str(tmp_path / "s")}
    process = subprocess.Popen([sys.executable, str(HERE / "zoo.py"), "standard", "--rp_serve_api", "--rp_api_port", str(port),
                                "--rp_api_host", "127.0.0.1"], cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True)
    try:
        assert select.select([process.stderr], [], [], 60)[0], "nothing was said"
        assert "listening on" in process.stderr.readline()
        request = urllib.request.Request(f"http://127.0.0.1:{port}/runsync", b'{"input": {"do": "dict"}}')
        assert json.load(urllib.request.urlopen(request, timeout=60))["output"] == {"a": 1}
    finally:
        process.terminate()
        try:
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
    assert process.returncode == 0


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
