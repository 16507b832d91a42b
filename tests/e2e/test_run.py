"""`bulkhead run -- ./handler --test_input …`: local testing in a supervised child."""

import json
import signal
import subprocess

from endpoint import BULKHEAD, example


def run(*words, cwd, timeout=60):
    return subprocess.run([BULKHEAD, "run", *words], capture_output=True, text=True, cwd=cwd, timeout=timeout)


def test_a_result_is_printed_and_the_exit_code_is_0(tmp_path):
    done = run("--", example("echo"), "--test_input", '{"input": {"a": 1}}', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert '{"output":{"a":1}}' in done.stdout.replace(" ", "")


def test_the_handlers_test_flags_may_stand_in_front(tmp_path):
    done = run("--test_input", '{"input": {"a": 1}}', '--test_output={"a": 2}', "--", example("echo"), cwd=tmp_path)
    assert done.returncode == 1 and "output.a: expected 2, got 1" in done.stdout
    done = run("--test_input", "--", example("echo"), cwd=tmp_path)
    assert done.returncode == 2 and "--test_input" in done.stderr


def test_a_segfault_is_a_report_and_exit_code_1(tmp_path):
    done = run("--", example("crash_zoo"), "--test_input", '{"input": {"do": "segfault"}}', cwd=tmp_path)
    assert done.returncode == 1
    assert "SIGSEGV" in done.stdout


def test_an_interrupt_between_two_attempts_is_a_failure(tmp_path):
    process = subprocess.Popen([BULKHEAD, "run", "--retries", "5", "--retry-backoff", "1h", "--", example("crash_zoo"),
                                "--test_input", '{"input": {"do": "segfault"}}'], cwd=tmp_path, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    assert any("trying again" in line for line in process.stdout)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and "shut down" in out, (process.returncode, out)


def test_the_file_in_the_working_directory_is_used(tmp_path):
    (tmp_path / "test_input.json").write_text(json.dumps({"input": {"do": "ok", "value": [1, 2]}}))
    done = run("--", example("crash_zoo"), cwd=tmp_path)
    assert done.returncode == 0 and '"output":[1,2]' in done.stdout


def test_an_expected_result_is_compared(tmp_path):
    command = ["--", example("crash_zoo"), "--test_input", '{"input": {"do": "ok", "value": {"x": [1, 2.0]}}}', "--test_output"]
    assert run(*command, '{"x": [1, 2]}', cwd=tmp_path).returncode == 0
    wrong = run(*command, '{"x": [1, 3]}', cwd=tmp_path)
    assert wrong.returncode == 1 and "x[1]: expected 3" in wrong.stdout


def test_a_handlers_error_is_exit_code_1(tmp_path):
    done = run("--", example("crash_zoo"), "--test_input", '{"input": {"do": "throw"}}', cwd=tmp_path)
    assert done.returncode == 1 and "thrown on request" in done.stdout


def test_without_a_job_it_says_what_it_looked_for(tmp_path):
    done = run("--", example("echo"), cwd=tmp_path)
    assert done.returncode == 2
    for word in ("--test_input", "test_input.json", "RUNPOD_WEBHOOK_GET_JOB", "bulkhead serve"):
        assert word in done.stderr


def test_a_job_without_input_and_bad_json_are_told(tmp_path):
    for text, word in [("{}", "input"), ("{", "JSON"), ("[]", "object")]:
        done = run("--", example("echo"), "--test_input", text, cwd=tmp_path)
        assert done.returncode == 1 and word in done.stdout + done.stderr


def test_ids_and_files_that_cannot_be_read_are_told(tmp_path):
    done = run("--", example("echo"), "--test_input", '{"id": 5, "input": 1}', cwd=tmp_path)
    assert done.returncode == 0 and "INFO   | 5 | Job completed" in done.stdout
    done = run("--", example("echo"), "--test_input", '{"id": [5], "input": 1}', cwd=tmp_path)
    assert done.returncode == 1 and '"id" of --test_input is array: it must be text' in done.stderr
    (tmp_path / "test_input.json").mkdir()
    done = run("--", example("echo"), cwd=tmp_path)
    assert done.returncode == 1 and "test_input.json cannot be read: it is a directory" in done.stderr
    (tmp_path / "test_input.json").rmdir()
    (tmp_path / "test_input.json").touch()
    done = run("--", example("echo"), cwd=tmp_path)
    assert done.returncode == 1 and "test_input.json is not JSON" in done.stderr


def test_chunks_and_output_lines_are_shown(tmp_path):
    done = run("--", example("crash_zoo"), "--stream", "--test_input",
               '{"input": {"chunks": 2, "do": "print", "text": "hello out", "err": "hello err"}}', cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for word in ("hello out", "hello err", "Generator output: 0", "Generator output: 1"):
        assert word in done.stdout
