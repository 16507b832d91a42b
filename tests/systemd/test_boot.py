"""A real boot: a minimal Debian root, the project installed into it, systemd as PID 1 of a container, and a walk through
the life of the service.

Needs root, mmdebstrap, systemd-nspawn and a package mirror. BULKHEAD_BOOT_ROOT names a root made before."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from endpoint import BUILD, BULKHEAD, example, until

PATIENCE = 180

pytestmark = [
    pytest.mark.skipif(os.getuid() != 0, reason="only root can boot a container"),
    pytest.mark.skipif(shutil.which("systemd-nspawn") is None, reason="systemd-nspawn is not installed"),
    pytest.mark.skipif(shutil.which("mmdebstrap") is None and "BULKHEAD_BOOT_ROOT" not in os.environ,
                       reason="mmdebstrap is not installed")]


def packages_of(*programs):
    """The packages that hold the libraries they need."""
    libraries = set()
    for program in programs:
        text = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
        libraries |= set(re.findall(r"=> (/\S+)", text))
    found = set()
    for library in libraries:
        for name in (library, os.path.realpath(library), "/usr" + library):
            owner = subprocess.run(["dpkg-query", "-S", name], capture_output=True, text=True).stdout
            if owner:
                found.add(owner.split(":")[0])
                break
    return sorted(found)


def make_root(path):
    codename = re.search(r"VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text())[1]
    packages = ["systemd", "dbus", "curl", "procps", *packages_of(BULKHEAD, example("crash_zoo"))]
    subprocess.run(["mmdebstrap", "--variant=minbase", "--include=" + ",".join(packages), codename, str(path)], check=True,
                   timeout=900)


class Machine:
    """A booted root."""

    def __init__(self, root):
        self.root = root
        self.process = subprocess.Popen(
            ["systemd-nspawn", "--quiet", f"--directory={root}", "--boot", "--register=no", "--keep-unit", "--private-network",
             "--console=pipe"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self.leader = until(self.find_leader, PATIENCE, "the container's first process")
            until(lambda: self("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded"),
                  PATIENCE, "the boot")
        except BaseException:
            self.end()
            raise

    def find_leader(self):
        assert self.process.poll() is None, "systemd-nspawn ended"
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return next((int(pid) for pid in children if Path(f"/proc/{pid}/comm").read_text().strip() == "systemd"), None)

    def __call__(self, *command, check=True, timeout=PATIENCE):
        run = subprocess.run(["nsenter", f"--target={self.leader}", "--all", *command], capture_output=True, text=True,
                             timeout=timeout)
        assert not check or run.returncode == 0, (command, run.returncode, run.stdout[-2000:], run.stderr[-2000:])
        return run

    def show(self, name, unit="bulkhead"):
        return self("systemctl", "show", "--value", f"--property={name}", unit).stdout.strip()

    def ask(self, path, body=None):
        words = ["-d", json.dumps(body)] if body is not None else []
        run = self("curl", "-s", "--max-time", "60", f"http://127.0.0.1:8000{path}", *words, check=False)
        return json.loads(run.stdout) if run.returncode == 0 else None

    def do(self, **what):
        return self.ask("/runsync?wait=60000", {"input": what})

    def supervisor(self):
        children = self("cat", f"/proc/{self.show('MainPID')}/task/{self.show('MainPID')}/children").stdout.split()
        return next((pid for pid in children
                     if self("cat", f"/proc/{pid}/cmdline", check=False).stdout.split("\0")[0].endswith("/bulkhead")), None)

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def journal(self):
        return self("journalctl", "--no-pager", "-o", "cat", "-u", "bulkhead").stdout

    def power_off(self):
        self("systemctl", "poweroff", check=False)
        try:
            self.process.wait(90)
        except subprocess.TimeoutExpired:
            self.end()

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()  # what is in it dies with it
            self.process.wait()


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    given = os.environ.get("BULKHEAD_BOOT_ROOT")
    root = Path(given) if given else tmp_path_factory.mktemp("boot") / "root"
    if not given:
        make_root(root)
    subprocess.run(["meson", "install", "-C", str(BUILD), "--no-rebuild", "--destdir", str(root)], check=True,
                   capture_output=True)
    subprocess.run(["chroot", str(root), "/sbin/ldconfig"], check=True)
    shutil.copy(example("crash_zoo"), root / "opt" / "crash_zoo")
    booted = Machine(root)
    try:
        booted("systemd-sysusers"), booted("systemd-tmpfiles", "--create", check=False)
        unit = booted("systemctl", "cat", "bulkhead").stdout
        booted.settings = re.search(r"--config (\S+)", unit)[1].lstrip("/")
        booted.write(booted.settings, 'command = ["/opt/crash_zoo"]\nworkers = 2\n')
        yield booted
    finally:
        booted.power_off()


def test_start_is_over_when_it_serves(machine):
    machine("systemctl", "start", "bulkhead")
    assert machine.show("ActiveState") == "active"
    assert machine.ask("/health")["workers"]["ready"] >= 1
    until(lambda: machine.show("StatusText") == "2 of 2 handler processes ready, 0 jobs running, 0 waiting", 60, "the status")
    assert machine.do(do="ok", value=7)["output"] == 7


def test_a_crash_is_a_failed_job(machine):
    main = machine.show("MainPID")
    assert "SIGSEGV" in machine.do(do="segfault")["error"]
    assert machine.do(do="ok", value=8)["output"] == 8
    assert machine.show("MainPID") == main and machine.show("NRestarts") == "0"


def test_each_handler_has_a_cgroup_of_its_own(machine):
    """What it starts stays there, however it hides, and ends with it."""
    pid = machine.do(do="pid")["output"]["pid"]
    group = machine("cat", f"/proc/{pid}/cgroup").stdout
    leaf = re.search(r"^0::(\S*/bulkhead\.service/bulkhead-[0-9a-f]{8}-w\d+\.\d+)$", group, re.M)
    assert leaf, group
    # Both handlers die, so that one of them is the strays'.
    strays = machine.do(do="strays", count=2, hidden=1)["output"]["strays"]
    for _ in range(20):
        machine.do(do="abort")
        if not any(machine("test", "-e", f"/proc/{stray}", check=False).returncode == 0 for stray in strays):
            break
    else:
        raise AssertionError(f"{strays} live")
    assert machine.show("ActiveState") == "active" and machine.do(do="ok", value=9)["output"] == 9


def test_reload(machine):
    main = machine.show("MainPID")
    machine.write(machine.settings, 'command = ["/opt/crash_zoo"]\nworkers = 3\n')
    machine("systemctl", "reload", "bulkhead")
    until(lambda: "3 of 3" in machine.show("StatusText"), 60, "three handlers")
    assert machine.show("MainPID") == main


def test_a_killed_supervisor(machine):
    main, first = machine.show("MainPID"), machine.supervisor()
    machine("kill", "-9", first)
    until(lambda: machine.supervisor() not in (None, first) and machine.do(do="ok", value=9), 60, "the next one")
    assert machine.show("MainPID") == main and machine.show("NRestarts") == "0"
    assert machine.show("ActiveState") == "active"


def test_the_doctor_says_what_is_so(machine):
    """In the service's own confinement, and as root beside it."""
    machine("systemctl", "stop", "bulkhead")
    kept = [line for line in machine("systemctl", "cat", "bulkhead").stdout.splitlines()
            if not re.match(r"(Type|NotifyAccess|Restart\w*|WatchdogSec|ExecReload)=", line)]
    unit = re.sub(r"^ExecStart=(\S+) serve (.*)$", r"Type=oneshot\nStandardOutput=truncate:/run/doctor.json\n"
                  r"ExecStart=\1 doctor --json \2", "\n".join(kept), flags=re.M)
    machine.write("etc/systemd/system/doctor.service", unit + "\n")
    machine("systemctl", "daemon-reload")
    machine("systemctl", "start", "doctor")  # its exit code: Bulkhead runs here

    def found(text):
        return {finding["subject"]: finding for finding in json.loads(text)["findings"]}
    service = found(machine("cat", "/run/doctor.json").stdout)
    root = found(machine("bulkhead", "doctor", "--json", "--config", "/" + machine.settings).stdout)
    user = machine("id", "-u", "bulkhead").stdout.strip()
    assert service["service manager"]["found"] == "started by systemd"
    assert service["privileges"]["found"] == f"user {user}, no capabilities, behind a seccomp filter, no new privileges"
    assert service["cgroups"]["verdict"] in ("ok", "limited"), "each handler has one: see above"
    assert "v2, and ours to divide" in service["cgroups"]["found"]
    assert service["namespaces"]["verdict"] == service["ptrace"]["verdict"] == "missing", "the unit takes them away"
    assert service["pidfd"]["verdict"] == service["init"]["verdict"] == service["address"]["verdict"] == "ok"
    assert service["file system"]["section"] == "State in /var/lib/bulkhead"
    assert root["service manager"]["found"] == "not started by one (PID 1 is systemd)"
    assert root["privileges"]["found"].startswith("root, capabilities")
    assert root["namespaces"]["verdict"] == root["ptrace"]["verdict"] == "ok"
    machine("systemctl", "start", "bulkhead")


def test_a_reload_with_a_new_program_is_an_upgrade(machine):
    """As a package manager puts it there: under another name first, then in place of the old one."""
    job = machine.ask("/run", {"input": {"do": "sleep_ms", "ms": 5000}})["id"]
    until(lambda: machine.ask(f"/status/{job}")["status"] == "IN_PROGRESS", 60, "its start")
    main, first, restarts = machine.show("MainPID"), machine.supervisor(), machine.show("NRestarts")
    program = machine.root / machine("sh", "-c", "command -v bulkhead").stdout.strip().lstrip("/")
    shutil.copy2(program, f"{program}.new")
    os.replace(f"{program}.new", program)
    machine("systemctl", "reload", "bulkhead")
    until(lambda: machine.supervisor() not in (None, first), 60, "another supervisor")
    state = until(lambda: (seen := machine.ask(f"/status/{job}")) and seen["status"] == "COMPLETED" and seen, 60, "the job's end")
    assert "bulkhead" not in state, "its first attempt"
    assert (machine.show("MainPID"), machine.show("NRestarts")) == (main, restarts)
    assert machine.show("ActiveState") == "active"


def test_the_watchdog(machine):
    machine.write("etc/systemd/system/bulkhead.service.d/watchdog.conf", "[Service]\nWatchdogSec=3s\n")
    machine("systemctl", "daemon-reload")
    machine("systemctl", "restart", "bulkhead")
    fed = int(machine.show("WatchdogTimestampMonotonic"))
    until(lambda: int(machine.show("WatchdogTimestampMonotonic")) > fed + 5_000_000, PATIENCE, "signs of life for longer than it waits")
    assert machine.show("NRestarts") == "0"
    machine("kill", "-STOP", machine.supervisor())
    until(lambda: machine.show("NRestarts") == "1" and machine.show("ActiveState") == "active", PATIENCE, "its restart")
    assert machine.do(do="ok", value=10)["output"] == 10
    assert "ended by SIGABRT; its stack:" in machine.journal()


def test_stop_waits_for_a_long_job(machine):
    job = machine.ask("/run", {"input": {"do": "sleep_ms", "ms": 4000}})["id"]
    until(lambda: machine.ask(f"/status/{job}")["status"] == "IN_PROGRESS", 60, "its start")
    machine("systemctl", "stop", "bulkhead")
    assert machine.show("Result") == "success" and machine.show("ExecMainStatus") == "0"
    assert machine("pgrep", "-f", "crash_zoo|bulkhead", check=False).stdout == ""  # nothing of it is left
    machine("systemctl", "start", "bulkhead")
    assert machine.ask(f"/status/{job}")["output"] == {"slept_ms": 4000}


def test_nobody_is_refused_during_a_restart(machine):
    script = ("while [ ! -e /run/over ]; do curl -s -o /dev/null --max-time 60 http://127.0.0.1:8000/health || echo refused; "
              "done; echo over")
    asking = subprocess.Popen(["nsenter", f"--target={machine.leader}", "--all", "sh", "-c", script], stdout=subprocess.PIPE,
                              text=True)
    try:
        for _ in range(3):
            machine("systemctl", "restart", "bulkhead")
        machine("touch", "/run/over")
        assert asking.communicate(timeout=PATIENCE)[0] == "over\n"
    finally:
        asking.kill()
        asking.wait()


def test_socket_activation(machine):
    machine("systemctl", "stop", "bulkhead")
    machine("systemctl", "start", "bulkhead.socket")
    assert machine.show("ActiveState") == "inactive"
    assert machine.do(do="ok", value=11)["output"] == 11  # the client starts the service
    until(lambda: machine.show("ActiveState") == "active", 60, "its readiness")
    first = machine.supervisor()
    machine("kill", "-9", first)
    assert machine.do(do="ok", value=12)["output"] == 12  # waits in the socket's queue for the next supervisor
    machine("systemctl", "restart", "bulkhead")
    assert machine.do(do="ok", value=13)["output"] == 13
    machine("systemctl", "stop", "bulkhead.socket", "bulkhead")


def test_the_journal_has_fields(machine):
    machine("systemctl", "start", "bulkhead")
    job = machine.ask("/run", {"input": {"do": "flood", "lines": 5}})["id"]
    until(lambda: machine.ask(f"/status/{job}")["status"] not in ("IN_QUEUE", "IN_PROGRESS"), 60, "its end")

    def entries():
        text = machine("journalctl", "--no-pager", "-o", "json", f"JOB_ID={job}").stdout
        return [json.loads(line) for line in text.splitlines()]
    ended = "ec36f88d1a934c5c8c5497bd920168c5"  # as all of them in docs/SYSTEMD.md
    until(lambda: any(entry["MESSAGE_ID"] == ended for entry in entries()), 60, "the job's whole life")
    accepted, started, *rest = entries()
    assert accepted["MESSAGE_ID"] == "6de2190ebe4349e59afcff3b6ea63fd4" and "WORKER_ID" not in accepted
    assert started["MESSAGE_ID"] == "576c41df706c4373b69552f58dd14416"
    assert any(entry.get("STREAM") == "stdout" for entry in rest)
    assert all(entry["WORKER_ID"].startswith("w") and entry["ATTEMPT"] == "1" for entry in [started, *rest])
    machine("systemctl", "kill", "--kill-whom=main", "--signal=SIGUSR1", "bulkhead")
    until(lambda: '{"event":"state"' in machine.journal(), 60, "the state")


def test_wrong_settings_are_not_tried_again(machine):
    machine("systemctl", "stop", "bulkhead")
    machine.write(machine.settings, "workers = 0\n")
    assert machine("systemctl", "start", "bulkhead", check=False).returncode != 0
    assert machine.show("ExecMainStatus") == "78" and machine.show("NRestarts") == "0"
    assert "workers = 0: must be" in machine.journal()


def test_a_dynamic_user_with_credentials(machine):
    machine.write("etc/keys", "one=a-key-of-some-length\n")
    (machine.root / "etc/keys").chmod(0o600)
    machine.write("etc/systemd/system/bulkhead@zoo.service.d/own.conf",
                  "[Service]\nDynamicUser=yes\nUser=zoo\nGroup=zoo\nLoadCredential=keys:/etc/keys\n"
                  "Environment=BULKHEAD_API_KEY_FILE=%d/keys\n")
    machine.write(str(Path(machine.settings).parent / "zoo.toml"), 'command = ["/opt/crash_zoo"]\n')
    machine("systemctl", "daemon-reload")
    run = machine("systemctl", "start", "bulkhead@zoo", check=False)
    assert run.returncode == 0, machine("journalctl", "--no-pager", "-n", "20", "-u", "bulkhead@zoo").stdout
    code = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:8000/health"]
    assert machine(*code).stdout == "401"
    assert machine(*code, "-H", "Authorization: Bearer a-key-of-some-length").stdout == "200"
