"""What each kind of value and each form of handler becomes, through a real `bulkhead serve` with the drop-in `runpod`."""

import json
import sys
from pathlib import Path

import pytest
from endpoint import Endpoint, until

ZOO = str(Path(__file__).with_name("zoo.py"))
# What is equal for every form that returns.
RETURNED = {
    "text": "hi", "number": 3, "none": None, "true": True, "false": False, "list": [1, "a"], "tuple": [1, 2], "dict": {"a": 1},
    "nested": {"output": {"a": 1}, "status": "x"}, "error-empty": {"x": 1}, "unicode": "\u00e9\u2603\U0001f600",
    "scalars": {"a": [1, 2.5, True]}, "int": 10**30, "wide": [{"i": i} for i in range(2000)],
}
NAMED = {
    "set": "output.a[1] is a set", "bytes": "output is a bytes", "nan": "output.s[1] is NaN", "infinity": "output is -Infinity",
    "circle": "output.in[0] contains itself", "deep": "nested more than 512 levels", "deep-600": "nested more than 512 levels",
    "surrogate": "output.t is text with half a character", "surrogate-key": "half a character", "digits": "output.n is an integer",
    "tuple-key": "output.m has a key that is a tuple", "object": "output.o is an object", "error-set": "error.e is a set",
    "nan-scalar": "output[0] is NaN", "complex": "output is a Scalar", "nan-key": "output has the key nan",
}


@pytest.fixture(scope="module")
def serve(tmp_path_factory):
    """Endpoints by form, started when they are first asked for."""
    started = {}

    def of(form, *options):
        if (form, options) not in started:
            state = tmp_path_factory.mktemp("state") / "s"
            endpoint = Endpoint([sys.executable, ZOO, form, *options], state=state)
            started[form, options] = endpoint
        return started[form, options]

    yield of
    codes = [endpoint.stop() for endpoint in started.values()]
    assert codes == [0] * len(codes)


@pytest.mark.parametrize("form", ["standard", "coroutine"])
def test_values_arrive_as_they_are(serve, form):
    for name, value in RETURNED.items():
        answer = serve(form).runsync({"do": name})
        assert answer["status"] == "COMPLETED" and answer["output"] == value, (name, answer)


@pytest.mark.parametrize("form", ["standard", "coroutine"])
def test_nothing_to_show(serve, form):
    for name in ("empty", "error-false"):
        answer = serve(form).runsync({"do": name})
        assert answer["status"] == "COMPLETED" and answer.get("output", {}) == {}, answer


def test_keys_become_text_as_json_has_them(serve):
    # True is 1: it replaces the value and keeps the key.
    assert serve("standard").runsync({"do": "keys"})["output"] == {"1": "c", "null": "b", "1.5": "d"}


def test_nesting_up_to_the_limit(serve):
    assert serve("standard").runsync({"do": "deep-500"})["status"] == "COMPLETED"


@pytest.mark.parametrize("form", ["standard", "coroutine"])
def test_errors_keep_their_type(serve, form):
    answer = serve(form).runsync({"do": "error"})
    assert answer["status"] == "FAILED" and answer["error"] == "boom" and "output" not in answer
    answer = serve(form).runsync({"do": "error-dict"})
    assert (answer["status"], answer["error"], answer["output"]) == ("FAILED", {"code": 1}, {"x": 2})
    assert serve(form).runsync({"do": "error-list"})["error"] == ["a", 1]


@pytest.mark.parametrize("form", ["standard", "coroutine"])
def test_a_value_that_cannot_be_sent_fails_by_name(serve, form):
    for name, words in NAMED.items():
        answer = serve(form).runsync({"do": name})
        assert answer["status"] == "FAILED", (name, answer)
        assert words in json.loads(answer["error"])["error_message"], (name, answer["error"])
    assert serve(form).runsync({"do": "text"})["output"] == "hi"


@pytest.mark.parametrize("form", ["standard", "coroutine"])
def test_exceptions_of_every_kind_fail_the_job(serve, form):
    told = {}
    for name in ("exception", "odd", "odd-kind", "base", "exit", "interrupt", "surrogate-exception", "cancelled"):
        answer = serve(form).runsync({"do": name})
        assert answer["status"] == "FAILED", (name, answer)
        told[name] = json.loads(answer["error"])
    assert told["exception"]["error_type"] == "<class 'ValueError'>" and told["exception"]["error_message"] == "bo\u00f6m"
    assert "in raised" in told["exception"]["error_traceback"] and "bulkhead/" not in told["exception"]["error_traceback"]
    assert "RuntimeError" in told["odd"]["error_message"]
    assert told["odd-kind"]["error_type"] == "<class '__main__.OddKind'>" and told["odd-kind"]["error_message"] == "odd"
    assert told["base"]["error_message"] == "base"
    assert "SystemExit" in told["exit"]["error_type"] and told["exit"]["error_message"] == "3"
    assert "KeyboardInterrupt" in told["interrupt"]["error_type"]
    assert "CancelledError" in told["cancelled"]["error_type"]
    for key in ("hostname", "worker_id", "runpod_version"):
        assert told["base"][key]


def test_causes_are_told(serve):
    trace = json.loads(serve("standard").runsync({"do": "chain"})["error"])["error_traceback"]
    assert "KeyError: 'inner'" in trace and "direct cause" in trace and "ValueError: outer" in trace


@pytest.mark.parametrize("form", ["callable", "method", "async_method", "lambda", "partial", "async_partial", "wrapped_coroutine",
                                  "async_lambda"])
def test_forms_that_return(serve, form):
    for _ in range(3):
        assert serve(form).runsync({"do": "dict"})["output"] == {"a": 1}
    assert serve(form).runsync({"do": "exception"})["status"] == "FAILED"


def test_standard_handlers_run_on_the_main_thread(serve):
    assert serve("standard").runsync({"do": "threads"})["output"] is True


def stream(endpoint, chunks):
    """The chunks streamed and the final state."""
    job = endpoint.run({"chunks": chunks})
    state = endpoint.wait(job)
    return [part["output"] for part in endpoint.get(f"/stream/{job}").json["stream"]], state


STREAMING = ["generator", "async_generator", "streaming_method", "wrapped_generator", "wrapped_async_generator"]


@pytest.mark.parametrize("form", STREAMING)
def test_streams(serve, form):
    got, state = stream(serve(form), ["a", {"b": 1}, None, False, {}, {"refresh_worker": True}, {"error": ""}])
    assert got == ["a", {"b": 1}, None, False, {}, {"refresh_worker": True}, {"error": ""}]
    assert state["status"] == "COMPLETED" and state["output"] == []
    got, state = stream(serve(form), [])
    assert got == [] and state["status"] == "COMPLETED" and state["output"] == []


@pytest.mark.parametrize("form", ["generator", "async_generator"])
def test_an_aggregate_holds_all_chunks(serve, form):
    got, state = stream(serve(form, "aggregate"), ["a", {"b": 1}])
    assert got == state["output"] == ["a", {"b": 1}]


@pytest.mark.parametrize("form", ["generator", "async_generator"])
def test_streams_that_fail(serve, form):
    endpoint = serve(form)
    got, state = stream(endpoint, ["a", {"error": "bad", "x": 1}, "never"])
    assert (got, state["status"], state["error"]) == (["a"], "FAILED", "bad")
    got, state = stream(endpoint, [{"error": {"message": "m"}}])
    assert (got, state["status"], state["error"]) == ([], "FAILED", "{'message': 'm'}")
    got, state = stream(endpoint, ["a", "!exception"])
    assert got == ["a"] and state["status"] == "FAILED"
    assert state["error"].startswith("handler: bo\u00f6m \ntraceback: Traceback")
    got, state = stream(endpoint, ["a", "!set", "never"])
    assert got == ["a"] and "chunk.a[1] is a set" in state["error"]
    for name in ("!base", "!exit", "!odd"):
        got, state = stream(endpoint, ["a", name])
        assert got == ["a"] and state["status"] == "FAILED", state
    got, state = stream(endpoint, ["x" * 1_200_000])
    assert got == [] and state["status"] == "FAILED" and "a chunk has" in state["error"]


def test_many_chunks_wait_for_credit(serve):
    for form in ("generator", "async_generator"):
        got, state = stream(serve(form), list(range(500)))
        assert got == list(range(500)) and state["status"] == "COMPLETED"


def test_a_returned_generator_is_streamed(serve):
    endpoint = serve("standard")
    job = endpoint.run({"do": "generator"})
    assert endpoint.wait(job)["output"] == []
    assert [part["output"] for part in endpoint.get(f"/stream/{job}").json["stream"]] == [0, 1, 2]


def test_the_job_has_further_keys(serve):
    endpoint = serve("standard")
    job = endpoint.runsync({"do": "echo"}, policy={"ttl": 60_000}, s3Config={"bucketName": "b"})["output"]
    assert job["input"] == {"do": "echo"} and job["id"] and job["s3Config"] == {"bucketName": "b"}


def test_refresh_brings_a_fresh_process(serve):
    endpoint = serve("standard")
    before = endpoint.children()
    assert endpoint.runsync({"do": "refresh"})["output"] == {"r": 1}
    assert endpoint.runsync({"do": "text"})["output"] == "hi"
    assert set(endpoint.children()).isdisjoint(before)
    assert endpoint.runsync({"do": "error-refresh"})["error"] == "e"
    assert serve("standard", "refresh").runsync({"do": "text"})["output"] == "hi"


REFRESHES = {"large-refresh": "the output has 22020", "set-refresh": "output.s is a set", "debris": "error.e is a set"}


@pytest.mark.parametrize("form", ["standard", "coroutine"])
def test_an_answer_in_place_of_another_keeps_its_wish_for_a_fresh_process(serve, form):
    endpoint = serve(form)
    for name, words in REFRESHES.items():
        before = endpoint.runsync({"do": "pid"})["output"]
        answer = endpoint.runsync({"do": name})
        assert answer["status"] == "FAILED" and words in answer["error"], answer
        assert endpoint.runsync({"do": "pid"})["output"] != before, name
    endpoint = serve(form, "refresh")
    before = endpoint.runsync({"do": "pid"})["output"]
    assert endpoint.runsync({"do": "large"})["status"] == "FAILED"
    assert endpoint.runsync({"do": "pid"})["output"] != before


def test_what_is_too_large_says_so(serve):
    answer = serve("standard").runsync({"do": "large"})
    assert answer["status"] == "FAILED" and "the output has 22020098 bytes: larger than" in answer["error"]


@pytest.mark.parametrize("form", ["standard", "coroutine"])
def test_progress(serve, form):
    endpoint = serve(form)
    job = endpoint.run({"do": "progress", "values": [1, {"at": 2}], "pause": 0.0})
    assert endpoint.wait(job)["output"] == "done"
    assert endpoint.runsync({"do": "bad progress"})["output"] == "done"
    endpoint.wait_line("progress left out: progress.s is a set")
    assert endpoint.runsync({"do": "no id"})["output"] == "done"


def test_progress_of_a_job_that_has_ended_is_nobody_elses(serve):
    endpoint = serve("generator")
    endpoint.runsync({"do": "keep"})
    job = endpoint.run({"do": "late progress"})
    # The chunk was sent after both.
    until(lambda: endpoint.get(f"/stream/{job}").json["stream"], 60, "the chunk")
    state = endpoint.get(f"/status/{job}").json
    endpoint.post(f"/cancel/{job}")
    assert (state["status"], state["output"]) == ("IN_PROGRESS", "mine")


def test_what_is_printed_is_logged_in_order(serve):
    endpoint = serve("standard")
    assert endpoint.runsync({"do": "print", "text": "one\ntwo"})["output"] == 1
    for line in ("one", "two", "no end", "to stderr"):
        endpoint.wait_line(line)
