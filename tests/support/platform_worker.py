"""A real `bulkhead run` as a worker of a Platform (capture_platform.py), for a test."""

import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

from endpoint import BULKHEAD


class Worker:
    """with Worker(platform, [example("echo")], "--workers", "2", state=tmp_path / "state") as worker: …"""

    def __init__(self, platform, command, *options, state, env=None, start=True):
        self.state = Path(state)
        self.argv = [BULKHEAD, "run", "--state-dir", str(self.state), *options, "--", *command]
        # The process is the supervisor itself, to be killed and looked at: below an init it would come back.
        self.env = {**os.environ, "BULKHEAD_INIT": "never", **platform.environment(), **(env or {})}
        self.lines = []
        self.process = None
        if start:
            self.start()

    def start(self):
        self.lines.append(f"---- {' '.join(self.argv)}")
        self._seen = threading.Condition()
        self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, env=self.env, cwd=str(self.state.parent), text=True,
                                        errors="replace")
        self._reader = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self._reader.start()
        return self

    def _read(self, stream):
        for line in stream:
            with self._seen:
                self.lines.append(line.rstrip("\n"))
                self._seen.notify_all()
        with self._seen:
            self._seen.notify_all()

    def wait_line(self, pattern, timeout=60.0):
        """The first line that matches, past or to come."""
        deadline, checked = time.monotonic() + timeout, 0
        with self._seen:
            while True:
                for line in self.lines[checked:]:
                    if match := re.search(pattern, line):
                        return match
                checked = len(self.lines)
                if not self._reader.is_alive() or time.monotonic() > deadline:
                    raise AssertionError(f"no line matches {pattern!r}:\n" + "\n".join(self.lines[-40:]))
                self._seen.wait(0.2)

    def with_text(self, text):
        return [line for line in self.lines if text in line]

    def wait(self, timeout=90.0):
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the worker did not end within {timeout} s:\n" + "\n".join(self.lines[-40:]))
        self._reader.join(5)
        return self.process.returncode

    def stop(self, how=signal.SIGTERM, timeout=90.0):
        """The exit code, or minus the signal's number."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.wait(timeout)

    def kill(self):
        return self.stop(signal.SIGKILL)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            print("\n".join(self.lines[-80:]))
        if self.process and self.process.poll() is None:
            self.stop(signal.SIGKILL)
