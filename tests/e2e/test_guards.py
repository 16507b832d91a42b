"""What one handler process may take is bounded, and its strays are found: by cgroup v2, by cgroup v1, by resource limits.

What this machine has decides which of them can be shown. A hierarchy is hidden by a mount namespace of the test's own, and
a part of v2 delegated by the mark that systemd leaves (user.delegate)."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from endpoint import BULKHEAD, Endpoint, example, until
from sanitizer import sanitized

ZOO = [example("crash_zoo")]
ROOT = os.getuid() == 0


def mounted(kind, controller=""):
    """The first mount point of this kind of cgroup."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, behind = line.split(" - ", 1)
        name, _, options = behind.split(" ", 2)
        if name == kind and (not controller or controller in options.split(",")):
            return Path(before.split()[4])
    return None


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def memory_runs_out(endpoint):
    state = endpoint.runsync({"do": "oom", "limit_mb": 2048})
    assert state["status"] == "FAILED", state
    record = json.loads(state["error"])
    assert endpoint.runsync({"do": "ok", "value": 1})["output"] == 1
    return record


def can_make_v1(controller):
    """Containers show these hierarchies, and do not let anybody write into them."""
    place = mounted("cgroup", controller)
    own = re.search(rf"^\d+:(?:[^:]*,)?{controller}(?:,[^:]*)?:(.*)$", Path("/proc/self/cgroup").read_text(), re.M)
    if not place or not own:
        return False
    trial = place / own[1].lstrip("/") / f"bulkhead-trial-{os.getpid()}"
    try:
        trial.mkdir()
        trial.rmdir()
    except OSError:
        return False
    return True


needs_v1 = pytest.mark.skipif(not can_make_v1("memory") or not can_make_v1("pids"),
                              reason="cgroup v1 has no memory and pids controllers here, or none that may be written to")


@needs_v1
def test_version_1_bounds_memory_and_processes(tmp_path):
    with Endpoint(ZOO, "--worker-memory-max", "128M", "--worker-pids-max", "40", state=tmp_path / "state") as endpoint:
        assert endpoint.wait_line(r"memory of each handler process: at most 128 MiB, by cgroup v1")
        assert endpoint.wait_line(r"processes and threads of each handler process: at most 40, by cgroup v1")
        record = memory_runs_out(endpoint)
        assert record["oom_killed"] is True and record["signal"] == "SIGKILL"
        assert "out of memory in its cgroup" in record["error_message"]
        assert 0 < endpoint.runsync({"do": "forks", "count": 200})["output"]["forks"] < 40
        pid = endpoint.runsync({"do": "pid"})["output"]["pid"]
        groups = Path(f"/proc/{pid}/cgroup").read_text()
        leaf = re.search(r"memory:(\S+/bulkhead-[0-9a-f]{8}-w0\.\d+)$", groups, re.M)[1]
    assert not list(mounted("cgroup", "memory").glob("**/" + Path(leaf).name)), "the cgroup is left behind"


@needs_v1
def test_what_a_killed_supervisor_left_in_a_cgroup_is_ended(tmp_path):
    options = ["--worker-pids-max", "100", "--orphan-timeout", "0"]  # a child that is adopted keeps what it started
    with Endpoint(ZOO, *options, state=tmp_path / "state", dies=True) as endpoint:
        endpoint.wait_ready()
        strays = endpoint.runsync({"do": "strays", "count": 2, "hidden": 1})["output"]["strays"]
        leaf = re.search(r"pids:(\S+)", Path(f"/proc/{strays[0]}/cgroup").read_text())[1]
        endpoint.process.kill()
        endpoint.process.wait()
    assert all(alive(pid) for pid in strays), "nothing but their cgroup tells whose they are"
    with Endpoint(ZOO, *options, state=tmp_path / "state") as endpoint:
        until(lambda: not any(alive(pid) for pid in strays), 30, "their end")
        endpoint.wait_line(r"more that were in their cgroups|that an earlier supervisor had left")
    assert not list(mounted("cgroup", "pids").glob("**/" + Path(leaf).name))


WIPES = '''
import ctypes
import os
import runpod

def handler(job):
    start, end = map(int, open("/proc/self/stat").read().rsplit(")", 1)[1].split()[47:49])  # env_start, env_end
    ctypes.memset(start, 0, end - start)  # as who sets the process's title does
    with open(job["input"]["begun"], "w") as file:
        file.write(str(os.getpid()))
    open(job["input"]["until"]).read()
    return os.getpid()

runpod.serverless.start({"handler": handler})
'''


@needs_v1
def test_a_child_that_is_adopted_needs_no_environment(tmp_path):
    (tmp_path / "handler.py").write_text(WIPES)
    os.mkfifo(tmp_path / "until")
    command = [sys.executable, str(tmp_path / "handler.py")]
    with Endpoint(command, "--worker-pids-max", "100", state=tmp_path / "state", dies=True) as endpoint:
        job = endpoint.run({"begun": str(tmp_path / "begun"), "until": str(tmp_path / "until")})
        begun = tmp_path / "begun"
        pid = int(until(lambda: begun.exists() and begun.read_text(), 60, "its start"))
        endpoint.process.kill()
        endpoint.process.wait()
    with Endpoint(command, "--worker-pids-max", "100", state=tmp_path / "state") as endpoint:
        with open(tmp_path / "until", "r+b", buffering=0) as file:  # which does not wait for a reader
            file.write(b"now")
        state = endpoint.wait(job)
        assert (state["status"], state["output"]) == ("COMPLETED", pid), state


HANDLER = '''
import os
import runpod

def handler(job):
    return {"parent": os.getppid(), "groups": open("/proc/self/cgroup").read()}

runpod.serverless.start({"handler": handler})
'''


@needs_v1
def test_a_forked_handler_is_bounded_too(tmp_path):
    (tmp_path / "handler.py").write_text(HANDLER)
    command = [sys.executable, str(tmp_path / "handler.py")]
    with Endpoint(command, "--preload", "json", "--worker-pids-max", "64", state=tmp_path / "state") as endpoint:
        output = endpoint.runsync({})["output"]
        assert output["parent"] != endpoint.process.pid, "the fork server's"
        assert re.search(r"pids:/\S*bulkhead-[0-9a-f]{8}-w0\.\d+$", output["groups"], re.M), output


@pytest.fixture
def delegated():
    """A part of cgroup v2, as systemd gives it to a service."""
    top = mounted("cgroup2")
    if not ROOT or top is None:
        pytest.skip("needs root and a cgroup v2 hierarchy")
    place = top / f"bulkhead-test-{os.getpid()}-{time.monotonic_ns()}"
    try:
        place.mkdir()
    except OSError as refused:
        pytest.skip(f"may not make a cgroup: {refused}")
    os.setxattr(place, "user.delegate", b"1")
    yield place
    for leaf in sorted(place.glob("**/"), key=lambda path: -len(path.parts)):
        until(lambda: not (leaf / "cgroup.procs").read_text(), 30, f"an empty {leaf}")
        leaf.rmdir()


def inside(place):
    return ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(place)]


def test_version_2_holds_what_a_handler_starts(tmp_path, delegated):
    with Endpoint(ZOO, "--log-level", "debug", state=tmp_path / "state", before=inside(delegated)) as endpoint:
        endpoint.wait_line(r"each handler process has a cgroup of its own below " + re.escape(str(delegated)))
        leaf = next(delegated.glob("bulkhead-*-w0.1"))
        strays = endpoint.runsync({"do": "strays", "count": 3, "hidden": 1})["output"]["strays"]
        pid = endpoint.runsync({"do": "pid"})["output"]["pid"]
        assert {pid, *strays} <= {int(line) for line in (leaf / "cgroup.procs").read_text().split()}
        assert "SIGABRT" in endpoint.runsync({"do": "abort"})["error"]
        until(lambda: not any(alive(stray) for stray in strays), 30, "the strays' end")
        endpoint.wait_line(r"ended 3 of the processes it had started and left behind: sleep")
        until(lambda: not leaf.exists(), 30, "the cgroup's removal")
        assert endpoint.runsync({"do": "ok", "value": 3})["output"] == 3
    assert not list(delegated.glob("bulkhead-*-w*"))


def test_version_2_bounds_memory_and_processes(tmp_path, delegated):
    missing = {"memory", "pids", "cpu"} - set((delegated / "cgroup.controllers").read_text().split())
    if missing:
        pytest.skip(f"cgroup v2 has no controller {', '.join(sorted(missing))} here")
    options = ["--worker-memory-max", "128M", "--worker-pids-max", "40", "--worker-cpu-weight", "50"]
    with Endpoint(ZOO, *options, state=tmp_path / "state", before=inside(delegated),
                  env={"BULKHEAD_INIT": "always"}) as endpoint:
        endpoint.wait_line(r"memory of each handler process: at most 128 MiB, by cgroup v2")
        endpoint.wait_line(r"processes and threads of each handler process: at most 40, by cgroup v2")
        assert not (delegated / "cgroup.procs").read_text(), "init and supervisor have moved"
        assert len((delegated / "bulkhead-supervisor" / "cgroup.procs").read_text().split()) == 2
        leaf = next(delegated.glob("bulkhead-*-w0.1"))
        assert (leaf / "memory.oom.group").read_text() == "1\n" and (leaf / "cpu.weight").read_text() == "50\n"
        record = memory_runs_out(endpoint)
        assert record["oom_killed"] is True and record["signal"] == "SIGKILL"
        assert 0 < endpoint.runsync({"do": "forks", "count": 200})["output"]["forks"] < 40
        assert not leaf.exists()


@pytest.mark.skipif(not ROOT or shutil.which("unshare") is None or not mounted("cgroup2"),
                    reason="needs root and unshare")
def test_other_processes_in_the_place_are_no_reason_to_fail(tmp_path, delegated):
    """A cgroup that holds a shell, too, hands no controllers on: that is said, and what else can guard does."""
    neighbour = subprocess.Popen([*inside(delegated), "sleep", "1000"])
    try:
        with Endpoint(ZOO, "--worker-memory-max", "512M", state=tmp_path / "state", before=inside(delegated)) as endpoint:
            endpoint.wait_line(r"memory of each handler process: at most 512 MiB")
            assert endpoint.runsync({"do": "ok", "value": 4})["output"] == 4
        assert not (delegated / "bulkhead-supervisor").exists()
    finally:
        neighbour.kill()
        neighbour.wait()


@pytest.fixture
def without_cgroups():
    """A command that ends by executing another, which sees no cgroup."""
    before = ["unshare", "--mount", "sh", "-c", 'umount -R /sys/fs/cgroup && exec "$@"', "sh"]
    if not mounted("cgroup") and not mounted("cgroup2"):
        return []
    if not ROOT or subprocess.run([*before, "true"], capture_output=True).returncode != 0:
        pytest.skip("cgroups cannot be hidden without root")
    return before


def test_resource_limits_are_the_last_resort(tmp_path, without_cgroups):
    """The address space of each single process: an allocation fails, nobody is killed."""
    if sanitized(ZOO[0]):
        pytest.skip("AddressSanitizer reserves terabytes of address space")
    with Endpoint(ZOO, "--worker-memory-max", "512M", state=tmp_path / "state", before=without_cgroups) as endpoint:
        endpoint.wait_line(r"memory of each handler process: at most 512 MiB of address space .*\(RLIMIT_AS\).*"
                           r"cgroup v2: there is none here; cgroup v1: there is none here")
        assert memory_runs_out(endpoint)["error_type"] == "std::bad_alloc"
        pid = endpoint.runsync({"do": "pid"})["output"]["pid"]
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert re.search(r"^Max address space +536870912 +536870912 ", limits, re.M), limits


@pytest.fixture
def theirs():
    """A directory of another user's."""
    with tempfile.TemporaryDirectory() as name:
        os.chown(name, 65534, 65534)
        yield Path(name)


def test_processes_by_a_resource_limit_are_counted_by_user(tmp_path, without_cgroups, request):
    folder, before = tmp_path, list(without_cgroups)
    if ROOT:  # the kernel holds root to no such limit
        if shutil.which("setpriv") is None:
            pytest.skip("setpriv is not installed")
        folder = request.getfixturevalue("theirs")
        before += ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        if subprocess.run([*before, BULKHEAD, "--version"], capture_output=True).returncode != 0:
            pytest.skip("another user cannot run what was built here")
    with Endpoint(ZOO, "--worker-pids-max", "30", state=folder / "state", before=before,
                  env={"XDG_RUNTIME_DIR": "", "TMPDIR": str(folder)}) as endpoint:
        endpoint.wait_line(r"at most 30 beyond those that the user has when it starts \(RLIMIT_NPROC\)")
        assert 0 < endpoint.runsync({"do": "forks", "count": 200})["output"]["forks"] <= 30


def test_a_limit_that_does_nothing_is_said_to(tmp_path, without_cgroups):
    with Endpoint(ZOO, "--worker-pids-max", "30", "--worker-cpu-weight", "10", state=tmp_path / "state",
                  before=without_cgroups) as endpoint:
        endpoint.wait_line(r"handler processes have no CPU weight: cgroup v2: there is none here")
        if ROOT:
            endpoint.wait_line(r"does not hold root to it: this is NO limit here")
