"""A handler program run by hand: which job it takes, what it prints, and its exit code."""

import json
import os
import pathlib
import re
import subprocess

import pytest

BUILD = pathlib.Path(os.environ["BULKHEAD_BUILD"])
FORMS = str(BUILD / "tests/sdk/forms")
ENVIRONMENT = {name: value for name, value in os.environ.items()
               if not name.startswith(("BULKHEAD_", "RUNPOD_"))}


def run(*arguments, cwd, program=FORMS, **environment):
    return subprocess.run([program, *arguments], cwd=cwd, env=ENVIRONMENT | environment, text=True,
                          capture_output=True, timeout=60)


def handle(value, *arguments, cwd, form="standard", **environment):
    return run("--form", form, "--test_input", json.dumps({"input": value}), *arguments, cwd=cwd, **environment)


def result_of(process):
    line = re.search(r"^INFO   \| Job result: (.*)$", process.stdout, re.MULTILINE)
    assert line, process.stdout
    return json.loads(line[1])


def test_input_by_flag(tmp_path):
    process = handle({"return": {"a": 1}}, cwd=tmp_path)
    assert process.returncode == 0
    assert result_of(process) == {"output": {"a": 1}}
    lines = [line for line in process.stdout.splitlines() if not line.startswith("WARN")]
    assert lines[0] == "INFO   | test_input set, using test_input as job input."
    assert lines[1].startswith("DEBUG  | Retrieved local job: {") and '"id":"local_test"' not in lines[1]
    assert lines[2] == "INFO   | local_test | Started."
    assert lines[3] == "INFO   | Job local_test completed successfully."
    assert lines[-1] == "INFO   | Local testing complete, exiting."
    assert process.stderr == ""


def test_input_by_flag_with_an_equals_sign(tmp_path):
    process = run('--test_input={"input": {"return": "a=b"}}', cwd=tmp_path)
    assert process.returncode == 0 and result_of(process) == {"output": "a=b"}


def test_input_by_file(tmp_path):
    (tmp_path / "test_input.json").write_text('{"id": "mine", "input": {"facts": 1}, "webhook": "w"}\n')
    process = run(cwd=tmp_path)
    assert process.returncode == 0
    assert "INFO   | Using test_input.json as job input." in process.stdout
    assert "INFO   | Job mine completed successfully." in process.stdout
    output = result_of(process)["output"]
    assert output["id"] == "mine" and output["attempt"] == 1 and output["extra"] == {"webhook": "w"}


def test_the_flag_goes_before_the_file(tmp_path):
    (tmp_path / "test_input.json").write_text('{"input": {"return": "file"}}')
    assert result_of(handle({"return": "flag"}, cwd=tmp_path)) == {"output": "flag"}


def test_nothing_to_do_is_explained(tmp_path):
    process = run(cwd=tmp_path)
    assert process.returncode == 1
    assert "WARN   | test_input.json not found, exiting." in process.stdout
    for hint in ("bulkhead serve -- ./handler", "--test_input", "BULKHEAD_SOCKET"):
        assert hint in process.stderr


@pytest.mark.parametrize("job", ["{}", '{"input": null}', '{"id": "x"}'])
def test_a_job_without_input(tmp_path, job):
    process = run("--test_input", job, cwd=tmp_path)
    assert process.returncode == 1
    assert "ERROR  | Job has no input parameter. Unable to run." in process.stdout


@pytest.mark.parametrize("job", ["[1]", "3", '"input"'])
def test_a_job_that_is_no_object(tmp_path, job):
    process = run("--test_input", job, cwd=tmp_path)
    assert process.returncode == 1 and "Unable to run." in process.stdout


@pytest.mark.parametrize("job, byte", [('{"input": }', 10), ('{"input": 1', 11), ("", 0), ('{"input":1} x', 12)])
def test_a_job_that_is_no_json(tmp_path, job, byte):
    process = run("--test_input", job, cwd=tmp_path)
    assert process.returncode == 1
    assert re.search(rf"^ERROR  \| test_input is not JSON: .* at byte {byte}$", process.stdout, re.MULTILINE), process.stdout


def test_a_file_that_is_no_json(tmp_path):
    (tmp_path / "test_input.json").write_text("{")
    process = run(cwd=tmp_path)
    assert process.returncode == 1 and "test_input.json is not JSON" in process.stdout


@pytest.mark.parametrize("value", [{}, [], 0, "", False])
def test_a_falsy_input_is_an_input(tmp_path, value):
    process = handle(value, cwd=tmp_path)
    assert process.returncode == 0 and result_of(process) == {"output": "ok"}


@pytest.mark.parametrize("form", ["standard", "async"])
def test_an_error_is_exit_code_1(tmp_path, form):
    process = handle({"return": {"error": "boom", "x": 1}}, cwd=tmp_path, form=form)
    assert process.returncode == 1
    assert "ERROR  | Job local_test failed with error: boom" in process.stdout
    process = handle({"throw": "it broke"}, cwd=tmp_path, form=form)
    assert process.returncode == 1
    record = json.loads(process.stdout.split("failed with error: ")[1])
    assert record["error_type"] == "std::runtime_error" and record["worker_id"] == "local"


def test_raw_json_is_passed_on_and_checked(tmp_path):
    assert result_of(handle([1, 2], cwd=tmp_path, form="raw")) == {"output": [1, 2]}
    process = handle(1, cwd=tmp_path, form="raw_broken")
    assert process.returncode == 1 and "output is not JSON" in process.stdout


def test_no_output_and_refresh_are_shown(tmp_path):
    assert result_of(handle({"return": {}}, cwd=tmp_path)) == {}
    assert result_of(handle({"return": {"refresh_worker": True, "r": 1}}, cwd=tmp_path)) == {"output": {"r": 1}, "stopPod": True}
    assert result_of(handle({"return": 1}, "--refresh", cwd=tmp_path)) == {"output": 1, "stopPod": True}


@pytest.mark.parametrize("form", ["generator", "async_generator"])
def test_generators_print_each_chunk(tmp_path, form):
    process = handle({"yield": ["a", {"b": 1}]}, cwd=tmp_path, form=form)
    assert process.returncode == 0
    printed = re.findall(r"^INFO   \| local_test \| Generator output: (.*)$", process.stdout, re.MULTILINE)
    assert printed == ['"a"', '{"b":1}']
    assert result_of(process) == {"output": ["a", {"b": 1}]}
    process = handle({"yield": ["a", {"error": "bad"}]}, cwd=tmp_path, form=form)
    assert process.returncode == 1 and "failed with error: bad" in process.stdout


def test_progress_and_logs_are_printed(tmp_path):
    process = handle({"progress": {"step": 1}, "log": "careful"}, cwd=tmp_path)
    assert 'INFO   | local_test | Progress: {"step":1}' in process.stdout
    assert "DEBUG  | local_test | debug line" in process.stdout
    assert "ERROR  | local_test | careful" in process.stdout


@pytest.mark.parametrize("expected", ['{"a": [1, 2.0], "b": null}', '{"output": {"b": null, "a": [1.0, 2]}}'])
def test_output_as_expected(tmp_path, expected):
    process = handle({"return": {"a": [1, 2], "b": None}}, "--test_output", expected, cwd=tmp_path)
    assert process.returncode == 0
    assert "INFO   | Job output matches test_output." in process.stdout


@pytest.mark.parametrize("expected, difference", [
    ('{"a": [1, 3], "b": null}', "output.a[1]: expected 3, got 2"),
    ('{"a": [1, 2, 3], "b": null}', "output.a[2]: expected 3, got nothing"),
    ('{"a": [1], "b": null}', "output.a[1]: not expected, got 2"),
    ('{"a": [1, 2]}', "output.b: not expected, got null"),
    ('{"a": [1, 2], "b": null, "c": "x"}', 'output.c: expected "x", got nothing'),
    ("1", "output: expected 1, got {"),
    ('{"output": {"a": [true, 2], "b": null}}', "result.output.a[0]: expected true, got 1"),
])
def test_output_not_as_expected(tmp_path, expected, difference):
    process = handle({"return": {"a": [1, 2], "b": None}}, "--test_output", expected, cwd=tmp_path)
    assert process.returncode == 1
    assert "ERROR  | Job output does not match test_output." in process.stdout
    assert difference in process.stdout


def test_output_of_a_generator_and_of_none(tmp_path):
    assert handle({"yield": [1, 2]}, "--test_output", "[1,2]", cwd=tmp_path, form="generator").returncode == 0
    assert handle({"yield": [1, 2]}, "--test_output", "[1]", cwd=tmp_path, form="generator").returncode == 1
    assert handle({"return": {}}, "--test_output", "{}", cwd=tmp_path).returncode == 0
    assert handle({"return": None}, "--test_output", "null", cwd=tmp_path).returncode == 0
    assert handle({"return": 1}, "--test_output", "{oops", cwd=tmp_path).returncode == 1


def test_an_expected_output_does_not_hide_an_error(tmp_path):
    assert handle({"return": {"error": "e"}}, "--test_output", '{"error": "e"}', cwd=tmp_path).returncode == 1


@pytest.mark.parametrize("level, first", [("DEBUG", "DEBUG"), ("info", "INFO"), ("WARN", "ERROR"), ("ERROR", "ERROR")])
def test_log_level(tmp_path, level, first):
    shown = {line[:5].strip() for line in handle({"log": "x"}, f"--rp_log_level={level}", cwd=tmp_path).stdout.splitlines()}
    hidden = {"DEBUG", "INFO", "ERROR"} - shown
    order = ["DEBUG", "INFO", "ERROR"]
    assert hidden == set(order[:order.index(first)])


def test_log_level_by_environment(tmp_path):
    assert handle({"log": "x"}, cwd=tmp_path, RUNPOD_LOG_LEVEL="ERROR").stdout == "ERROR  | local_test | x\n"
    assert handle({"log": "x"}, cwd=tmp_path, RUNPOD_DEBUG_LEVEL="ERROR").stdout == "ERROR  | local_test | x\n"
    assert handle({"log": "x"}, cwd=tmp_path, RUNPOD_LOG_LEVEL="NOTSET").stdout == ""
    process = handle({"log": "x"}, "--rp_log_level", "INFO", cwd=tmp_path, RUNPOD_LOG_LEVEL="ERROR")
    assert "INFO" in process.stdout and "DEBUG" not in process.stdout


@pytest.mark.parametrize("arguments", [["--rp_log_level", "LOUD"], ["--rp_log_level"], ["--test_input"], ["--test_output"],
                                       ["--rp_serve_api"]])
def test_wrong_flags_are_exit_code_2(tmp_path, arguments):
    process = run(*arguments, cwd=tmp_path)
    assert process.returncode == 2 and process.stderr.startswith("bulkhead: ")


def test_flags_of_the_handler_are_left_to_it(tmp_path):
    process = run("--model", "x.bin", "--test_input", '{"input": {}}', cwd=tmp_path)
    assert process.returncode == 0
    assert "WARN   | Not flags of Bulkhead's, left to the handler: --model x.bin" in process.stdout


def test_help(tmp_path):
    process = run("--help", cwd=tmp_path)
    assert process.returncode == 0
    for word in ("--test_input", "--test_output", "--rp_log_level", "bulkhead serve", "test_input.json", "Exit code"):
        assert word in process.stdout


def test_a_large_job_is_not_printed_whole(tmp_path):
    (tmp_path / "test_input.json").write_text(json.dumps({"input": {"blob": "x" * 1_000_000}}))
    process = run(cwd=tmp_path)
    assert process.returncode == 0 and len(process.stdout) < 10_000 and "bytes left out" in process.stdout


def test_deep_input_is_taken_and_deeper_is_refused(tmp_path):
    def nested(depth):
        return '{"input": ' + "[" * depth + "]" * depth + "}"
    assert run("--test_input", nested(900), cwd=tmp_path).returncode == 0
    assert run("--test_input", nested(5000), cwd=tmp_path).returncode == 1
