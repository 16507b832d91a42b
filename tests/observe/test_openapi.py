"""/openapi.json: a valid description, of the routes that there are and of no others. Its own Python has the validator."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from endpoint import SOURCE, Endpoint, example

PYTHON = SOURCE / "tests" / "clients" / ".venv" / "bin" / "python"
VALIDATE = "import json, sys; from openapi_spec_validator import validate; validate(json.load(sys.stdin))"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    with Endpoint([example("crash_zoo")], state=tmp_path_factory.mktemp("openapi") / "state",
                  env={"BULKHEAD_API_KEYS": "a=secret-secret-secret"}, ready=False) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def described(endpoint):
    answer = endpoint.get("/openapi.json")  # without a key
    assert answer.status == 200 and answer.headers["Content-Type"] == "application/json"
    return answer.json


def test_it_is_valid(described):
    if not PYTHON.exists():
        pytest.fail(f"there is no {PYTHON}: script/bootstrap test makes it")
    done = subprocess.run([PYTHON, "-c", VALIDATE], input=json.dumps(described), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def plain(path):
    return path.replace("{id}", "some-id").replace("{path}", "models").replace("{file}", "app.js")


def test_the_methods_of_each_path_are_those_that_the_server_allows(endpoint, described):
    for path, operations in described["paths"].items():
        asked = plain(path).replace("some-id", "live" if path.startswith("/healthz") else "some-id")
        allowed = endpoint.request("OPTIONS", asked).headers["Allow"].split(", ")
        assert {method.upper() for method in operations} == set(allowed) - {"OPTIONS", "HEAD"}, path


def test_every_route_is_described(described):
    text = "".join(source.read_text() for source in (SOURCE / "supervisor" / "http").glob("routes_*.cpp"))
    routes = re.findall(r'Route\{\s*\.name = "([^"]*)"(?:,\s*\.path = "([^"]+)")?', text)
    below = {f"/{name}/{path}" for name, path in routes if path}
    assert below and below == {path for path in described["paths"] if path.startswith("/bulkhead/")}
    assert {name for name, _ in routes} == {path.split("/")[1] for path in described["paths"]}


def test_what_needs_no_key_says_so(endpoint, described):
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            answer = endpoint.request(method.upper(), plain(path), body=b"")
            assert (answer.status == 401) == (operation.get("security") != []), (path, method, answer.status)


def test_its_version_is_the_programs(described):
    meson = (Path(SOURCE) / "meson.build").read_text()
    assert described["info"]["version"] == re.search(r"version: '([^']+)'", meson)[1]
