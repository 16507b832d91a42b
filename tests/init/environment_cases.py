"""The cases of what an init is started with: standard input, descriptors, directory, environment, parent."""

import os
import subprocess
import sys
from signal import SIGUSR1

from cases import case
from inits import PROBE


@case()
def closed_stdin(start, tmp):
    """Started with standard input closed, or not a terminal"""
    with start([PROBE, "exit", "5"], before=["close", 0]) as run:
        assert run.code() == 5
    with start([PROBE, "exit", "5"], stdin=subprocess.DEVNULL) as run:
        assert run.code() == 5


@case(only="subreaper", inits=["bulkhead", "tini"])
def parent_death(start, tmp):
    """The parent's death arrives as the signal asked for (`-p`)"""
    argv = [*start.init.argv(False, death=SIGUSR1), "--", PROBE, "watch"]
    code = ("import subprocess, sys, time; subprocess.Popen(sys.argv[1:]); sys.stdin.read(1); "
            "import os; os._exit(0)")
    with start.bare([sys.executable, "-c", code, *argv]) as run:
        run.line("ready")
        run.write("x")
        run.line(str(int(SIGUSR1)))


@case(inits=["bulkhead"])
def listen_pid(start, tmp):
    """LISTEN_PID names the command, where it named the init"""
    read, write = os.pipe()
    try:
        with start([PROBE, "facts"], before=["listen_pid", 1], pass_fds=(read,)) as run:
            assert run.code() == 0
            run.line("listen_pid mine")
    finally:
        os.close(read), os.close(write)


@case()
def descriptors_and_directory(start, tmp):
    """The init keeps no directory busy and no descriptor open; the command has them"""
    read, write = os.pipe()
    try:
        with start(["sh", "-c", f"pwd; test -e /proc/self/fd/{read} && echo open; read x"], cwd=tmp, pass_fds=(read,)) as run:
            run.line(str(tmp)), run.line("open")
            pid = run.pid
            run.until(lambda: os.readlink(f"/proc/{pid}/cwd") == "/", "its working directory")
            run.until(lambda: all(int(fd) < 3 for fd in os.listdir(f"/proc/{pid}/fd")), "its closing of descriptors")
            run.write()
            run.code()
    finally:
        os.close(read), os.close(write)


@case()
def held_output(start, tmp):
    """Something below holds standard output open: the end is told when it comes"""
    with start(["sh", "-c", "sleep 1000 & exit 11"], grace=0.2) as run:
        assert run.code() == 11
