"""A real terminal for a test: a tmux server of its own, one window, what stands on it and what is typed into it."""

import os
import shlex
import shutil
import subprocess
import uuid

import pytest

from endpoint import children_of, command_of, until

needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")


class Terminal:
    """with Terminal() as terminal: terminal.type("bulkhead top\\n"); terminal.until("running 1"); …

    A shell runs in it, whose prompt is "$ "."""

    def __init__(self, columns=80, rows=24, env=None, shell=("bash", "--norc", "--noprofile", "-i")):
        self._socket = f"bulkhead-{uuid.uuid4().hex}"
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("BULKHEAD_", "TMUX", "NO_COLOR"))}
        clean.update({"LC_ALL": "C.UTF-8", "TERM": "xterm-256color", **(env or {})})
        self._env = clean
        # A shell on the way to this one would forget the prompt.
        start = ["env", "PS1=$ ", "PROMPT=$ ", *shell]
        self._tmux("new-session", "-d", "-x", str(columns), "-y", str(rows), shlex.join(start))
        try:
            self._tmux("set-option", "-g", "status", "off")
            self.resize(columns, rows)
            self.pid = int(self._tmux("display-message", "-p", "#{pane_pid}"))
            self.until(lambda screen: screen.strip() == "$")
        except BaseException:
            self._end()
            raise

    def _tmux(self, *words):
        done = subprocess.run(["tmux", "-L", self._socket, "-f", "/dev/null", *words], env=self._env, capture_output=True,
                              encoding="utf-8", timeout=60)
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    def type(self, text):
        self._tmux("send-keys", "-l", "--", text)

    def press(self, *keys):
        """Keys by their names: Enter, Down, C-c, …"""
        self._tmux("send-keys", *keys)

    def resize(self, columns, rows):
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def screen(self, colours=False):
        return self._tmux("capture-pane", "-p", *(["-e"] if colours else []))

    def until(self, text, timeout=60.0, colours=False):
        """The screen once `text` (or what a function of the screen says) is on it."""
        found = text if callable(text) else lambda screen: text in screen
        seen = [""]

        def look():
            seen[0] = self.screen(colours)
            return found(seen[0])
        try:
            until(look, timeout)
        except AssertionError:
            raise AssertionError(f"{text!r} never came; the screen:\n{seen[0]}") from None
        return seen[0]

    def run(self, command):
        """Runs it in the shell, to its end; the screen, with the exit code behind it."""
        mark = uuid.uuid4().hex[:8]
        self.type(f"{command}; echo {mark[:4]}''{mark[4:]} $?\n")
        return self.until(lambda screen: f"\n{mark} " in "\n" + screen)

    @property
    def in_order(self):
        """Whether the terminal is as a shell wants it: the normal screen, a cursor, echo."""
        alternate, cursor = self._tmux("display-message", "-p", "#{alternate_on} #{cursor_flag}").split()
        return (alternate, cursor) == ("0", "1")

    def child(self, name):
        """The pid of the shell's child of this name."""
        def look():
            return next((pid for pid in children_of(self.pid) if os.path.basename(command_of(pid)) == name), 0)
        return until(look, 60, f"a process {name}")

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            print(self.screen())
        self._end()

    def _end(self):
        subprocess.run(["tmux", "-L", self._socket, "kill-server"], env=self._env, capture_output=True)
