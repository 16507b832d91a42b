"""The inits that are tested, how each is told the same thing, and a run of one of them."""

import os
import re
import secrets
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

BUILD = Path(os.environ["BULKHEAD_BUILD"])
SOURCE = Path(os.environ["BULKHEAD_SOURCE"])
PROBE = str(BUILD / "tests" / "init" / "probe")
BULKHEAD = str(BUILD / "supervisor" / "bulkhead")
BULKHEAD_INIT = str(BUILD / "supervisor" / "init" / "bulkhead-init")


class NotOffered(Exception):
    """This init has no such option: the case does not exist for it."""


def name_of(number):
    return signal.Signals(number).name[3:] if number < 32 else str(number)


class Bulkhead:
    name = "bulkhead"
    patience = float(os.environ.get("INIT_TEST_PATIENCE", 60))  # s, for what must happen, on a machine that does much else
    program = BULKHEAD_INIT

    def argv(self, pid1, group=False, success=(), rewrite=(), death=None, grace=None):
        options = ["-g"] if group else []
        for code in success:
            options += ["-e", str(code)]
        for a, b in rewrite:
            options += ["-r", f"{name_of(a)}:{name_of(b) if b else 0}"]
        options += ["-p", name_of(death)] if death else []
        options += ["--grace", str(grace)] if grace is not None else []
        return [self.program, *options]


class Tini:
    name = "tini"
    patience = 30.0
    program = "tini"

    def argv(self, pid1, group=False, success=(), rewrite=(), death=None, grace=None):
        if rewrite:
            raise NotOffered
        options = [] if pid1 else ["-s"]
        options += ["-g"] if group else []
        for code in success:
            options += ["-e", str(code)]
        options += ["-p", signal.Signals(death).name] if death else []
        return [self.program, *options]


class DumbInit:
    name = "dumb-init"
    patience = 30.0
    program = "dumb-init"

    def argv(self, pid1, group=False, success=(), rewrite=(), death=None, grace=None):
        if success or death:
            raise NotOffered
        options = [] if group else ["-c"]
        for a, b in rewrite:
            options += ["-r", f"{a}:{b}"]
        return [self.program, *options]


OURS = Bulkhead()
OTHERS = [init for init in (Tini(), DumbInit()) if shutil.which(init.program)]


def namespace_command():
    """What starts a command as PID 1 of a PID namespace of its own, or None where the kernel or its user forbids it."""
    for extra in ([], ["--map-root-user"]):
        command = ["unshare", *extra, "--fork", "--pid", "--mount-proc", "--kill-child"]
        try:
            if subprocess.run([*command, "true"], capture_output=True, timeout=60).returncode == 0:
                return command
        except OSError:
            pass
    return None


NAMESPACE = namespace_command()
MODES = ["pid1", "subreaper"]
NO_NAMESPACE = "this machine lets nobody make a PID namespace (unshare): not tried as PID 1"


def facts_of(pid):
    """State and parent, or (None, None)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return fields[0], int(fields[1])
    except (OSError, IndexError):
        return None, None


def children_of(pid):
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


class Run:
    """One init with one command below it. Its pid is as seen from here, whichever namespace it is in."""

    def __init__(self, init, pid1, command, before=(), stdin=subprocess.PIPE, cwd=None, pass_fds=(), env=None, wrap=(),
                 dashes=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, session=(), bare=False, **options):
        """`wrap`, `session`: commands in front of the init, below and above the namespace. `bare`: the command is all."""
        self.init, self.pid1 = init, pid1
        self.mark = "INIT_TEST_" + secrets.token_hex(8)
        argv = [*([] if bare else [*init.argv(pid1, **options), *(["--"] if dashes else [])]), *command]
        if before:
            argv = [PROBE, "setup", *map(str, before), "--", *argv]
        argv = [*session, *(NAMESPACE if pid1 else []), *wrap, *argv]
        self.lines, self.errors = [], []
        self._seen = threading.Condition()
        self.process = subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=stderr, cwd=cwd,
                                        pass_fds=pass_fds, env={**os.environ, self.mark: "1", **(env or {})},
                                        start_new_session=not session, text=True, errors="replace", bufsize=1)
        self._readers = []
        for stream, into in ((self.process.stdout, self.lines), (self.process.stderr, self.errors)):
            if stream:
                self._readers.append(threading.Thread(target=self._read, args=(stream, into), daemon=True))
                self._readers[-1].start()

    def _read(self, stream, into):
        try:
            for line in stream:
                with self._seen:
                    into.append(line.rstrip("\n"))
                    self._seen.notify_all()
        except ValueError:  # closed: the run is over
            pass

    def read_out(self):
        """Whatever was written before the end is in `lines` and `errors`."""
        for reader in self._readers:
            reader.join(self.init.patience)

    def until(self, condition, what):
        deadline = time.monotonic() + self.init.patience
        while not (value := condition()):
            assert time.monotonic() < deadline, f"{what}: not within {self.init.patience} s; {self.lines[-20:]} {self.errors[-5:]}"
            time.sleep(0.005)
        return value

    @property
    def pid(self):
        """Of the init."""
        if not self.pid1:
            return self.process.pid
        return self.until(lambda: children_of(self.process.pid), "the first process of the namespace")[0]

    def line(self, pattern, count=1):
        """Waits for the count-th line that matches the whole pattern, and returns its match."""
        def found():
            with self._seen:
                matches = [match for line in self.lines if (match := re.fullmatch(pattern, line))]
            return matches[count - 1] if len(matches) >= count else None
        return self.until(found, f"the line {pattern!r}")

    def error(self, pattern):
        return self.until(lambda: any(re.search(pattern, line) for line in list(self.errors)), f"{pattern!r} on stderr")

    def main(self):
        """The command's pid."""
        return self.until(lambda: children_of(self.pid), "the command")[0]

    def signal(self, number, pid=None):
        os.kill(pid or self.pid, number)

    def write(self, text="\n"):
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def code(self):
        """Waits for the end; minus N for a death by signal N."""
        try:
            return self.process.wait(self.init.patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end within {self.init.patience} s; {self.lines[-20:]} {self.errors[-5:]}") from None

    def below(self):
        """Everything that was started by this run and lives: zombies are not among it."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    if self.mark.encode() in Path(f"/proc/{entry}/environ").read_bytes() and facts_of(entry)[0] not in ("Z", None):
                        found.append(int(entry))
                except OSError:
                    pass
        return found

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid in [*(children_of(self.process.pid) if self.pid1 else []), *self.below()]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream:
                try:
                    stream.close()
                except OSError:
                    pass
