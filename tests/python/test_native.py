"""`import bulkhead`: the module for handlers that are written for Bulkhead."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from endpoint import Endpoint, until

NATIVE = str(Path(__file__).with_name("native.py"))


def serve(tmp_path, form, *options, env=None, **more):
    return Endpoint([sys.executable, NATIVE, *form.split(",")], *options, state=tmp_path / "s", env=env, **more)


def test_facts_and_setup(tmp_path):
    for form in ("standard", "async"):
        with serve(tmp_path, form) as endpoint:
            for _ in range(2):
                facts = endpoint.runsync({"do": "facts"})["output"]
                assert facts == {"id": facts["id"], "same": True, "attempt": 1, "traceparent": None, "cancelled": False,
                                 "loaded": 1}
            trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
            traced = endpoint.post("/runsync", {"input": {"do": "facts"}}, headers={"traceparent": trace})
            assert traced.json["output"]["traceparent"] == trace


def test_a_checkpoint_carries_over_to_the_next_attempt(tmp_path):
    with serve(tmp_path, "standard", "--retries", "1") as endpoint:
        assert endpoint.runsync({"do": "steps"})["output"] == {"first": 3, "steps": 6, "attempt": 2}
    with serve(tmp_path, "async") as endpoint:
        assert endpoint.runsync({"do": "save"})["output"] == [True, 1]


def test_stopped_is_an_exception_a_handler_may_catch(tmp_path):
    with serve(tmp_path, "standard") as endpoint:
        job = endpoint.run({"do": "until cancelled"}, policy={"executionTimeout": 5000})
        until(lambda: endpoint.get(f"/status/{job}").json.get("output"), what="progress")
        pid = endpoint.children()
        endpoint.post(f"/cancel/{job}")
        assert endpoint.wait(job)["status"] == "CANCELLED"
        assert endpoint.children() == pid


def test_a_generator_that_is_stopped_is_closed_before_its_job_ends(tmp_path):
    with serve(tmp_path, "generator") as endpoint:
        job = endpoint.run({})
        until(lambda: endpoint.get(f"/status/{job}").json.get("output"), 60, "progress")
        endpoint.post(f"/cancel/{job}")
        assert endpoint.wait(job)["status"] == "CANCELLED"
        assert job in endpoint.wait_line(".*closed while the job is there").group(0)


def test_error_is_exactly_what_was_given(tmp_path):
    with serve(tmp_path, "standard") as endpoint:
        before = endpoint.runsync({"do": "pids"})["output"]
        answer = endpoint.runsync({"do": "error"})
        assert answer["status"] == "FAILED" and answer["error"] == {"code": 7}
        assert endpoint.runsync({"do": "pids"})["output"] == before
        assert endpoint.runsync({"do": "error", "refresh": True})["error"] == {"code": 7}
        after = endpoint.runsync({"do": "pids"})["output"]
        assert after != before
        assert "error is a set" in endpoint.runsync({"do": "odd error"})["error"]
        assert endpoint.runsync({"do": "pids"})["output"] != after


def test_nan_may_be_null(tmp_path):
    for form, env in (("standard,nan", None), ("standard", {"BULKHEAD_NAN_AS_NULL": "1"})):
        with serve(tmp_path, form, env=env) as endpoint:
            assert endpoint.runsync({"do": "nan"})["output"] == [None, {"a": None}, [1.5]]
    with serve(tmp_path, "standard,nan", "--retries", "1") as endpoint:
        assert endpoint.runsync({"do": "nan kept"})["output"] == {"loss": None}
        job = endpoint.run({"do": "nan kept", "wait": True})
        shown = until(lambda: endpoint.get(f"/status/{job}").json.get("output"), 60, "progress")
        endpoint.post(f"/cancel/{job}")
        assert shown == {"at": None}
    with serve(tmp_path, "standard") as endpoint:
        assert "output[0] is NaN" in json.loads(endpoint.runsync({"do": "nan"})["error"])["error_message"]


def test_a_line_of_a_jobs_log(tmp_path):
    with serve(tmp_path, "standard") as endpoint:
        job = endpoint.run({"do": "log"})
        endpoint.wait(job)
        assert job in endpoint.wait_line(".*a line of the job").group(0)


def test_a_setup_that_raises_is_told(tmp_path):
    with serve(tmp_path, "bad setup", ready=False) as endpoint:
        endpoint.wait_line("KeyError: 'no such model'")
        endpoint.wait_line("set-up failed 1 time")


def test_a_module_of_types(tmp_path):
    """Whoever checks types finds that the package has some."""
    source = os.environ["BULKHEAD_SOURCE"]
    assert os.path.exists(os.path.join(source, "child/python/bulkhead/py.typed"))
    if shutil.which("mypy") is None:
        pytest.skip("mypy is not installed")
    done = subprocess.run(["mypy", "--cache-dir", str(tmp_path)], cwd=source, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout
