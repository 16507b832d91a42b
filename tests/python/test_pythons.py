"""One built `bulkhead`, every Python this machine has: 3.8 and later, and a virtual environment with RunPod's package."""

import glob
import os
import subprocess
from pathlib import Path

import pytest
from endpoint import SOURCE, Endpoint

ZOO = str(Path(__file__).with_name("zoo.py"))


def version(python):
    try:
        asked = subprocess.run([python, "-c", "import sys; print(*sys.version_info[:2], sys.implementation.name)"], capture_output=True,
                               text=True, timeout=60)
    except OSError:
        return None
    return asked.stdout.split() if asked.returncode == 0 else None


def pythons():
    """Each once, by what it is in the end."""
    found = {}
    patterns = ["/usr/bin/python3*", "/usr/bin/pypy3*", "/usr/local/bin/python3*", "/opt/*/bin/python3",
                os.path.expanduser("~/.pyenv/versions/*/bin/python3"), os.path.expanduser("~/*conda*/bin/python3")]
    for path in sorted(sum(map(glob.glob, patterns), [])):
        real = os.path.realpath(path)
        if not real.endswith("-config") and real not in found:
            found[real] = version(real)
    return [(path, " ".join(facts)) for path, facts in found.items() if facts and (int(facts[0]), int(facts[1])) >= (3, 8)]


@pytest.mark.parametrize("python", [path for path, _ in pythons()], ids=[facts for _, facts in pythons()])
def test_every_form_under_every_python(tmp_path, python):
    environment = {"PYTHONDONTWRITEBYTECODE": "1"}
    with Endpoint([python, ZOO, "standard"], state=tmp_path / "a", env=environment) as endpoint:
        assert endpoint.runsync({"do": "nested"})["output"] == {"output": {"a": 1}, "status": "x"}
        assert endpoint.runsync({"do": "exception"})["status"] == "FAILED"
        assert "output.a[1] is a set" in endpoint.runsync({"do": "set"})["error"]
        assert "contains itself" in endpoint.runsync({"do": "circle"})["error"]
        assert "nested more than 512 levels" in endpoint.runsync({"do": "deep"})["error"]
        job = endpoint.run({"do": "generator"})
        assert endpoint.wait(job)["output"] == []
    with Endpoint([python, ZOO, "async_generator"], state=tmp_path / "b", env=environment) as endpoint:
        job = endpoint.run({"chunks": [1, 2, 3]})
        assert endpoint.wait(job)["status"] == "COMPLETED"
        assert [part["output"] for part in endpoint.get(f"/stream/{job}").json["stream"]] == [1, 2, 3]
    with Endpoint([python, ZOO, "coroutine", "at-once=4"], state=tmp_path / "c", env=environment) as endpoint:
        jobs = [endpoint.run({"do": "text", "sleep": 0.1}) for _ in range(8)]
        assert all(endpoint.wait(job)["output"] == "hi" for job in jobs)


OFFICIAL = SOURCE / "tests" / "clients" / ".venv"

PARTS = """
import sys
import runpod
heavy = {"requests", "aiohttp", "boto3", "fastapi", "paramiko"}
at_import = sorted(heavy & set(sys.modules))
from runpod.serverless.utils.rp_validator import validate
from runpod.serverless.modules.rp_logger import RunPodLogger
after_light_parts = sorted(heavy & set(sys.modules))
start = runpod.serverless.start

def handler(job):
    import runpod.serverless.utils.rp_validator as rp_validator
    from runpod.serverless.utils import download_files_from_urls, rp_download
    import runpod.serverless.modules.rp_progress as rp_progress
    runpod.api_key = "mine"
    return {
        "at import": at_import, "after light parts": after_light_parts,
        "validator": rp_validator.__file__, "same": runpod.serverless.utils.rp_validator.validate is validate,
        "logger": runpod.RunPodLogger is RunPodLogger, "download": download_files_from_urls is rp_download.download_files_from_urls,
        "endpoint": runpod.Endpoint.__module__, "pods": runpod.create_pod.__module__, "key": runpod.api_key,
        "start": runpod.serverless.start is start, "progress": rp_progress.progress_update is runpod.serverless.progress_update,
        "version": runpod.__version__, "cache": runpod.serverless.VolumeCache.__module__,
    }

start({"handler": handler})
"""


@pytest.fixture
def official():
    """A Python that has the package."""
    python = OFFICIAL / "bin" / "python"
    assert python.exists(), "RunPod's package is not installed: script/bootstrap test"
    return str(python)


def test_the_debuggers_times_are_added_by_the_native_module_too(tmp_path, official):
    program = tmp_path / "debugged.py"
    program.write_text("import bulkhead\nbulkhead.start(lambda job: {'a': 1})\n")
    command = [official, str(program), "--rp_debugger"]
    with Endpoint(command, state=tmp_path / "s", env={"PYTHONDONTWRITEBYTECODE": "1"}) as endpoint:
        output = endpoint.runsync({})["output"]
    assert output["a"] == 1 and output["rp_debugger"]["ready_delay_ms"] > 0
    env = {**os.environ, "PYTHONPATH": str(SOURCE / "child" / "python"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([*command, "--test_input", '{"input": 1}'], capture_output=True, text=True, timeout=120, cwd=tmp_path, env=env)
    assert done.returncode == 0 and "ready_delay_ms" in done.stdout, done


def test_the_official_package_is_the_official_one(tmp_path, official):
    program = tmp_path / "parts.py"
    program.write_text(PARTS)
    with Endpoint([official, str(program)], state=tmp_path / "s") as endpoint:
        answer = endpoint.runsync({})
        assert answer["status"] == "COMPLETED", answer
        got = answer["output"]
    assert got["at import"] == got["after light parts"] == []
    assert got["validator"].startswith(str(OFFICIAL)) and got["validator"].endswith("runpod/serverless/utils/rp_validator.py")
    assert got["same"] and got["logger"] and got["download"] and got["start"] and got["progress"]
    assert got["endpoint"].startswith("runpod.endpoint") and got["pods"] == "runpod.api.ctl_commands"
    assert got["key"] == "mine" and got["version"][0] == "1" and got["cache"] == "runpod.serverless.utils.rp_volume_cache"


def test_without_it_the_rest_says_what_to_install(tmp_path):
    program = tmp_path / "parts.py"
    program.write_text("""
import runpod
from runpod.serverless.utils import rp_cleanup
from runpod.serverless.utils.rp_validator import validate

def handler(job):
    told = []
    for code in ("from runpod.serverless.utils import rp_upload", "import runpod.endpoint", "runpod.create_pod",
                 "from runpod.serverless.utils.rp_upload import upload_file_to_bucket"):
        try:
            exec(code)
            told.append("nothing")
        except ImportError as error:
            told.append(str(error))
    rp_cleanup.clean()
    runpod.RunPodLogger().info("by the logger", job["id"])
    schema = {"n": {"type": float, "required": True, "constraints": lambda n: n > 0}, "s": {"type": str, "required": False, "default": "d"}}
    return {"told": told, "good": validate({"n": 1}, schema), "bad": validate({"n": -1, "x": 0}, schema)}

runpod.serverless.start({"handler": handler})
""")
    with Endpoint(["/usr/bin/python3", "-s", str(program)], state=tmp_path / "s") as endpoint:
        got = endpoint.runsync({})["output"]
        endpoint.wait_line("by the logger")
    assert all("pip install runpod" in told for told in got["told"]), got
    assert got["good"] == {"validated_input": {"n": 1.0, "s": "d"}}
    assert got["bad"] == {"errors": ["Unexpected input. x is not a valid input option.", "n does not meet the constraints."]}


def test_fitness_checks(tmp_path):
    program = tmp_path / "fit.py"
    program.write_text("""
import sys
import runpod
done = []

@runpod.serverless.register_fitness_check
def disk():
    done.append("disk")

@runpod.serverless.register_fitness_check
async def model():
    done.append("model")
    if "broken" in sys.argv:
        raise RuntimeError("no such model")

runpod.serverless.start({"handler": lambda job: done})
""")
    with Endpoint(["/usr/bin/python3", str(program)], state=tmp_path / "s") as endpoint:
        assert endpoint.runsync({})["output"] == ["disk", "model"]
    with Endpoint(["/usr/bin/python3", str(program), "broken"], state=tmp_path / "s", ready=False) as endpoint:
        endpoint.wait_line("the fitness check model failed")
        endpoint.wait_line("RuntimeError: no such model")


HIDDEN = "does not see Bulkhead's modules"


def test_a_python_that_ignores_the_path_is_told(tmp_path):
    """Long before its time for set-up is over."""
    program = tmp_path / "own.py"
    program.write_text("import runpod\nrunpod.serverless.start({'handler': lambda job: 1})\n")
    for number, command in enumerate((["/usr/bin/python3", "-I"], ["/usr/bin/python3", "-sE"], ["env", "-i", "/usr/bin/python3"])):
        with Endpoint([*command, str(program)], state=tmp_path / f"s{number}", ready=False) as endpoint:
            line = endpoint.wait_line(f".*{HIDDEN}.*").group(0)
            assert ("environment cleared" if number == 2 else command[1] + ", which ignores") in line and "sys.path.insert" in line


def test_another_worker_is_ended_at_once(tmp_path):
    """Had it its way, it would take the jobs of somebody else."""
    program = tmp_path / "frozen.py"
    program.write_text("import time\nprint('--- Starting Serverless Worker |  Version 1.12.0 ---', flush=True)\ntime.sleep(600)\n")
    with Endpoint(["/usr/bin/python3", str(program)], state=tmp_path / "s", ready=False) as endpoint:
        line = endpoint.wait_line(r"handler process .*RunPod's own worker was started").group(0)
        assert "before it was ready" in line
        endpoint.wait_line(HIDDEN)
