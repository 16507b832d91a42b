"""What docs/CONTAINER.md tells to write into a pod, and the images' Containerfiles, run as they are written."""

import json
import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from endpoint import BULKHEAD, SOURCE, example, until

PAGE = (SOURCE / "docs" / "CONTAINER.md").read_text()
POD = PAGE[PAGE.index("```yaml"):].split("```")[1]
FOLDER = SOURCE / "examples" / "container"


def words(text, after):
    """The list of words behind `after`: YAML's and Docker's are JSON's."""
    return json.loads(re.search(re.escape(after) + r".*?(\[[^\]]*\])", text, re.S)[1])


@pytest.fixture
def here(tmp_path):
    """Turns a command of the page into one for this machine: programs from the build, and a port that is free."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    bin = tmp_path / "bin"
    bin.mkdir()
    (bin / "bulkhead").symlink_to(BULKHEAD)
    (bin / "echo-handler").symlink_to(example("echo"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BULKHEAD_")}
    environment |= {"PATH": f"{bin}:{os.environ['PATH']}", "BULKHEAD_STATE_DIR": str(tmp_path / "state"),
                    "BULKHEAD_URL": f"http://127.0.0.1:{port}"}

    def translate(argv):
        return [{"./handler": example("echo")}.get(word, word.replace(":8000", f":{port}")) for word in argv]
    translate.environment = environment
    return translate


def lives(translate, argv, keys, probes, after=signal.SIGTERM):
    """Starts it, has its probes succeed, and ends it; a probe with a wrong key, or without the server, fails."""
    environment = translate.environment | keys
    def probe(name, **more):
        return subprocess.run(probes[name], env=environment | more, capture_output=True, timeout=60).returncode
    process = subprocess.Popen(translate(argv), env=environment, stderr=subprocess.PIPE, text=True)
    try:
        for name in probes:
            until(lambda: process.poll() is not None or probe(name) == 0, 60, f"{name}'s success")
            assert process.poll() is None, process.stderr.read()
            assert "BULKHEAD_API_KEY" not in keys or probe(name, BULKHEAD_API_KEY="wrong") != 0, name
        process.send_signal(after)
        assert process.wait(60) == 0
        assert all(probe(name) != 0 for name in probes)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_the_pod_starts_and_its_probes_work(here, tmp_path):
    assert set(re.findall(r"name: (BULKHEAD_\w+)", POD)) == {"BULKHEAD_STATE_DIR", "BULKHEAD_API_KEYS"}
    assert "args:" not in POD, "they would stand behind the image's entry point"
    paths = dict(re.findall(r"(\w+Probe): +\{httpGet: \{path: (\S+), port: 8000\}", POD))
    assert set(paths) == {"startupProbe", "readinessProbe", "livenessProbe"}
    port = here([":8000"])[0]
    asking = "import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=30)"
    probes = {name: [sys.executable, "-c", asking, f"http://127.0.0.1{port}{path}"] for name, path in paths.items()}
    lives(here, words(POD, "command:"), {"BULKHEAD_API_KEYS": "clients=long-key-of-clients"}, probes)


def stages(file):
    """Each target of a Containerfile: its name -> its text."""
    return dict(re.findall(r"^FROM \S+ AS (\w+)\n(.*?)(?=^FROM |\Z)", (FOLDER / file).read_text(), re.M | re.S))


@pytest.mark.parametrize("file", ["cpp.Containerfile", "python.Containerfile"])
def test_only_what_can_answer_has_a_health_check(file):
    targets = stages(file)
    assert list(targets)[-1] == "worker", "the default"
    assert words(targets["worker"], "ENTRYPOINT")[:3] == ["bulkhead", "run", "--"]
    assert words(targets["endpoint"], "ENTRYPOINT")[:3] == ["bulkhead", "serve", "--"]
    assert [name for name, text in targets.items() if "HEALTHCHECK" in text] == ["endpoint"]


def test_the_endpoint_s_image_starts_and_is_healthy(here):
    text = stages("cpp.Containerfile")["endpoint"]
    here.environment["BULKHEAD_LISTEN"] = here([re.search(r"BULKHEAD_LISTEN=(\S+)", text)[1]])[0]
    keys = {"BULKHEAD_API_KEYS": "me=some-long-key-of-mine", "BULKHEAD_API_KEY": "some-long-key-of-mine"}
    lives(here, words(text, "ENTRYPOINT"), keys, {"HEALTHCHECK": words(text, "CMD")})


def test_the_worker_s_image_runs_a_test_input(here, tmp_path):
    argv = words(stages("cpp.Containerfile")["worker"], "ENTRYPOINT")
    run = subprocess.run([*argv, "--test_input", json.dumps({"input": {"hello": "you"}})], env=here.environment, text=True,
                         capture_output=True, timeout=60, cwd=tmp_path)
    assert run.returncode == 0 and '{"hello":"you"}' in run.stdout.replace(" ", ""), run.stdout + run.stderr
