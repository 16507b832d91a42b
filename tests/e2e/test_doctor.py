"""`bulkhead doctor` says what is so: on this machine, without rights, behind a filter, with little of everything."""

import ctypes
import json
import os
import pathlib
import re
import resource
import socket
import struct
import subprocess

import pytest

from endpoint import BULKHEAD, example

VERDICTS = {"ok", "limited", "missing", "broken"}
SUBJECTS = {"pidfd", "subreaper", "init", "cgroups", "namespaces", "privileges", "stacks", "OOM kills", "ptrace", "core dumps",
            "processors", "processes", "open files", "shared memory", "GPUs", "file system", "room", "disk syncs",
            "service manager", "clock", "address"}
NOBODY = 65534
PIDFD_OPEN = 434  # the same on every architecture


def doctor(state_dir, *arguments, **more):
    command = [str(BULKHEAD), "doctor", "--json", f"--state-dir={state_dir}", "--listen=127.0.0.1:0", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, **more)
    assert run.returncode in (0, 1), run.stderr
    report = json.loads(run.stdout)
    assert report["runs"] == (run.returncode == 0) == all(f["verdict"] != "broken" for f in report["findings"])
    return {finding["subject"]: finding for finding in report["findings"]}


def test_each_thing_has_a_verdict_and_what_is_not_ok_a_cost(tmp_path):
    findings = doctor(tmp_path / "state")
    assert findings.keys() == SUBJECTS
    for finding in findings.values():
        assert finding["verdict"] in VERDICTS and finding["found"]
        assert (finding["verdict"] == "ok") == (not finding["cost"]), finding
    assert findings["init"]["verdict"] == findings["pidfd"]["verdict"] == "ok"
    assert not any(tmp_path.iterdir()), "something was left behind"


def test_the_text_says_the_same(tmp_path):
    run = subprocess.run([str(BULKHEAD), "doctor", f"--state-dir={tmp_path}", "--listen=127.0.0.1:0"], capture_output=True,
                         text=True, timeout=60)
    assert run.returncode == 0, run.stdout
    for subject in SUBJECTS:
        assert f" {subject} " in run.stdout
    assert "\033" not in run.stdout
    assert all(len(line) <= 100 for line in run.stdout.splitlines() if "/" not in line), "a path may be longer"
    assert run.stdout.splitlines()[-1].startswith("Bulkhead runs here")


def test_rights_that_are_not_there_are_missed(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can give rights up")
    tmp_path.chmod(0o755)
    kept = tmp_path / "kept"
    kept.mkdir(mode=0o700)

    def lose():
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)

    findings = doctor(kept / "state", preexec_fn=lose, cwd="/")
    filtered = re.search(r"^Seccomp:\s*(\d)", pathlib.Path("/proc/self/status").read_text(), re.M)[1] == "2"  # of a container's making
    behind = ", behind a seccomp filter" if filtered else ""
    assert findings["privileges"]["found"] == f"user {NOBODY}, no capabilities{behind}, no new privileges"
    assert findings["cgroups"]["verdict"] == "missing"
    assert findings["disk syncs"]["verdict"] == "broken" and "Permission denied" in findings["disk syncs"]["found"]
    assert findings["pidfd"]["verdict"] == "ok"


def refuse(number):
    """A seccomp filter: this system call fails with EPERM, all others go through."""
    statements = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000)]
    code = b"".join(struct.pack("HBBI", *statement) for statement in statements)
    program = ctypes.create_string_buffer(code)
    header = struct.pack("HxxxxxxP", len(statements), ctypes.addressof(program))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.c_char_p(header), 0, 0) == 0


def test_a_filter_that_refuses_pidfds_is_told_and_serve_runs_behind_it(tmp_path):
    findings = doctor(tmp_path, preexec_fn=lambda: refuse(PIDFD_OPEN))
    assert findings["pidfd"]["verdict"] == "limited" and "Operation not permitted" in findings["pidfd"]["found"]
    assert "a thread waits for each child" in findings["pidfd"]["cost"]
    done = subprocess.run([str(BULKHEAD), "run", "--", example("echo"), "--test_input", '{"input": {"n": 1}}'], capture_output=True,
                          text=True, timeout=60, cwd=tmp_path, preexec_fn=lambda: refuse(PIDFD_OPEN))
    assert done.returncode == 0 and "a thread waits for each child" in done.stderr, done.stderr
    assert "seccomp" in findings["pidfd"]["way_out"] and "behind a seccomp filter" in findings["privileges"]["found"]


def test_few_descriptors_are_told(tmp_path):
    few = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    finding = doctor(tmp_path, preexec_fn=few)["open files"]
    assert finding["verdict"] == "limited" and finding["found"].startswith("256 ") and "LimitNOFILE" in finding["way_out"]


def test_memory_is_no_disk():
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("there is no /dev/shm to write to")
    finding = doctor(pathlib.Path("/dev/shm/bulkhead-doctor-test/state"))["file system"]
    assert finding["verdict"] == "limited" and "tmpfs" in finding["found"]


def test_an_address_in_use_is_told(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = "127.0.0.1:%d" % taken.getsockname()[1]
        run = subprocess.run([str(BULKHEAD), "doctor", f"--state-dir={tmp_path}", f"--listen={where}"], capture_output=True,
                             text=True, timeout=60)
    assert run.returncode == 1 and f"{where}: Address already in use" in run.stdout and "ss -ltnp" in run.stdout


def test_the_configuration_is_what_serve_would_use(tmp_path):
    file = tmp_path / "bulkhead.toml"
    file.write_text(f'state-dir = "{tmp_path}/from-file"\nlisten = ["unix:{tmp_path}/socket"]\n')
    run = subprocess.run([str(BULKHEAD), "doctor", "--json", "--config", str(file)], capture_output=True, text=True, timeout=60)
    findings = json.loads(run.stdout)["findings"]
    assert run.returncode == 0 and any(f["section"] == f"State in {tmp_path}/from-file" for f in findings)
    assert [f["found"] for f in findings if f["subject"] == "address"] == [f"unix:{tmp_path}/socket is free"]


def test_what_is_wrong_on_the_command_line_is_told():
    run = subprocess.run([str(BULKHEAD), "doctor", "--jsn"], capture_output=True, text=True, timeout=60)
    assert run.returncode == 2 and "--jsn" in run.stderr and "doctor --help" in run.stderr and not run.stdout
