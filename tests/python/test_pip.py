"""`pip install .` of the sources into a virtual environment: a whole Bulkhead, for this Python and for every other."""

import os
import shutil
import subprocess
import sys

import pytest
from endpoint import SOURCE


def test_a_virtual_environment_has_it_all(tmp_path):
    source, venv = tmp_path / "source", tmp_path / "venv"
    subprocess.run(["git", "clone", "-q", str(SOURCE), str(source)], check=True, timeout=120)
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True, timeout=120)
    asked = subprocess.run([str(venv / "bin" / "pip"), "download", "-q", "--no-deps", "-d", str(tmp_path), "meson-python"],
                           capture_output=True, text=True, timeout=300)
    if asked.returncode != 0:
        pytest.skip("PyPI does not answer: " + asked.stderr.strip().splitlines()[-1])
    compilers = {"CXX": "ccache g++", "CC": "ccache gcc"} if shutil.which("ccache") else {}
    done = subprocess.run([str(venv / "bin" / "pip"), "install", "."], cwd=source, capture_output=True, text=True, timeout=3000,
                          env={**os.environ, **compilers})
    assert done.returncode == 0, done.stdout + done.stderr

    def run(*command):
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "BULKHEAD_BUILD")}
        return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path, env=environment)

    native, official = tmp_path / "native.py", tmp_path / "official.py"
    native.write_text("import bulkhead\nbulkhead.start(lambda job: bulkhead.__file__)\n")
    official.write_text("import runpod\nrunpod.serverless.start({'handler': lambda job: runpod.__file__})\n")
    bulkhead, test = str(venv / "bin" / "bulkhead"), ("--test_input", '{"input": {}}')
    for python in (str(venv / "bin" / "python"), "/usr/bin/python3"):
        for program in (native, official):
            done = run(bulkhead, "run", *test, "--", python, str(program))
            assert done.returncode == 0 and f'"output":"{venv}' in done.stdout, done.stdout + done.stderr
    assert run(str(venv / "bin" / "python"), str(native), *test).returncode == 0
    # By itself the environment has no module of RunPod's, since nobody installed one.
    assert "No module named 'runpod'" in run(str(venv / "bin" / "python"), str(official), *test).stderr
