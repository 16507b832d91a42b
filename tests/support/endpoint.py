"""A real `bulkhead serve` for a test: started on a free port, stopped by signal, watched for what it leaves behind."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

BUILD = Path(os.environ["BULKHEAD_BUILD"])
SOURCE = Path(os.environ["BULKHEAD_SOURCE"])
BULKHEAD = str(BUILD / "supervisor" / "bulkhead")
FINAL = {"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"}


def example(name):
    return str(BUILD / "examples" / name / name)


def until(condition, timeout=20.0, what="the condition"):
    """Polls `condition` until it gives something true, and returns that; fails after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout} s")
        time.sleep(0.01)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path, port, timeout):
        super().__init__("localhost", port, timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Endpoint:
    """with Endpoint([example("echo")], "--workers", "2", state=tmp_path) as endpoint: …"""

    def __init__(self, command, *options, state, env=None, ready=True, listen="127.0.0.1:0", dies=False, before=(),
                 pass_fds=(), program=BULKHEAD):
        """`dies`: it may be killed at any moment, before it listens too: see `listening`. The process is the supervisor
        itself, to be killed and looked at: with an init above it, it would come back (env={"BULKHEAD_INIT": "always"}).
        `before` stands in front of the command and ends by executing it."""
        self.state = Path(state)
        self.lines = []
        self._seen = threading.Condition()
        argv = [*before, program, "serve", "--listen", listen, "--state-dir", str(self.state), *options, "--", *command]
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                        env={**os.environ, "BULKHEAD_INIT": "never", **(env or {})}, cwd=str(state.parent), pass_fds=pass_fds,
                                        text=True, errors="replace")
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._local = threading.local()
        self.dies = dies
        self.listening = True
        try:
            line = self.wait_line(r"listening on (unix:)?(?:http://)?([^:\s]+)(?::(\d+))?")
        except AssertionError:
            if not dies:
                self.stop(signal.SIGKILL)
                raise
            self.listening = False
            return
        self.unix, self.host, self.port = bool(line.group(1)), line.group(2), int(line.group(3) or 80)
        if ready and not dies:
            self.wait_ready()

    def _read(self):
        for line in self.process.stderr:
            with self._seen:
                self.lines.append(line.rstrip("\n"))
                self._seen.notify_all()
        with self._seen:
            self._seen.notify_all()

    def wait_line(self, pattern, timeout=30.0):
        """The first log line that matches, past or to come."""
        deadline = time.monotonic() + timeout
        checked = 0
        with self._seen:
            while True:
                for line in self.lines[checked:]:
                    match = re.search(pattern, line)
                    if match:
                        return match
                checked = len(self.lines)
                if not self._reader.is_alive() or time.monotonic() > deadline:
                    raise AssertionError(f"no line matches {pattern!r}:\n" + "\n".join(self.lines[-40:]))
                self._seen.wait(0.2)

    def wait_ready(self):
        until(lambda: self.get("/health").json["workers"]["ready"] > 0, what="a ready worker")

    def request(self, method, path, body=None, headers=None, timeout=120.0):
        """Over this thread's kept-alive connection."""
        connection = getattr(self._local, "connection", None)
        if connection is None:
            kind = UnixConnection if self.unix else http.client.HTTPConnection
            connection = self._local.connection = kind(self.host, self.port, timeout=timeout)
        payload = json.dumps(body) if isinstance(body, (dict, list)) else body
        try:
            connection.request(method, path, payload, {"Content-Type": "application/json", **(headers or {})})
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        except Exception:
            connection.close()
            self._local.connection = None
            raise

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post(self, path, body=None, **more):
        return self.request("POST", path, body, **more)

    def runsync(self, job_input, wait=120_000, **more):
        answer = self.post(f"/runsync?wait={wait}", {"input": job_input, **more})
        assert answer.status == 200, (answer.status, answer.body)
        return answer.json

    def run(self, job_input, **more):
        answer = self.post("/run", {"input": job_input, **more})
        assert answer.status == 200, (answer.status, answer.body)
        return answer.json["id"]

    def wait(self, job_id, timeout=60.0):
        """The job's final state."""
        def final():
            state = self.get(f"/status/{job_id}").json
            return state if state.get("status") in FINAL else None
        return until(final, timeout, f"the end of job {job_id}")

    def until_entered(self, *jobs):
        """Until their handlers run: a job is IN_PROGRESS from its hand-out on, and until it is entered nobody's death counts."""
        def entered():
            seen = len(self.lines)
            self.process.send_signal(signal.SIGUSR1)
            until(lambda: any(line.startswith('{"event":"state"') for line in self.lines[seen:]), what="the state")
            state = json.loads([line for line in self.lines[seen:] if line.startswith('{"event":"state"')][0])
            return set(jobs) <= {run["id"] for child in state["children"] for run in child["jobs"] if run["entered"]}
        until(entered, 60, "the handlers' start")

    def children(self):
        """Pids of the supervisor's live children (zombies included)."""
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return [int(pid) for pid in Path(path).read_text().split()]

    def descriptors(self):
        return sorted(os.listdir(f"/proc/{self.process.pid}/fd"), key=int)

    def stop(self, how=signal.SIGTERM, timeout=40.0):
        """The exit code, or minus the signal's number."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the supervisor did not end within {timeout} s:\n" + "\n".join(self.lines[-40:]))
        self._reader.join(5)
        return self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            print("\n".join(self.lines[-80:]))
        self.stop(signal.SIGTERM if kind is None else signal.SIGKILL)


def children_of(pid):
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def command_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
    except OSError:
        return ""


def supervisor_below(pid, other_than=0):
    """Waits for the supervisor under this init, whose children are handlers, too, once it has adopted some. Between fork and
    exec it has the init's name."""
    def found():
        return [child for child in children_of(pid) if child != other_than and command_of(child).endswith("/bulkhead")]
    return until(found, 30, "a supervisor")[0]


def processes_with(text):
    """Live processes whose environment or command line holds `text`: what a test must find empty at its end."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            state = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()[0]
            marks = Path(f"/proc/{entry}/environ").read_bytes() + Path(f"/proc/{entry}/cmdline").read_bytes()
        except OSError:
            continue
        if state != "Z" and text.encode() in marks:
            found.append(int(entry))
    return found
