"""The cases that need a terminal: a pseudo-terminal of which the test holds the other end."""

import os
import pty
import select
from signal import SIGCONT, SIGHUP

from cases import case
from inits import PROBE, Run, children_of, facts_of


class Terminal(Run):
    """A run whose standard input, output and error are a terminal, its controlling terminal."""

    def __init__(self, init, pid1, command, **more):
        self._master, slave = pty.openpty()
        self.text = ""
        super().__init__(init, pid1, command, stdin=slave, stdout=slave, stderr=slave, session=["setsid", "--ctty"], **more)
        os.close(slave)

    def _take(self):
        while self._master is not None and select.select([self._master], [], [], 0)[0]:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # nobody has the other end
                return
            if not data:
                return
            self.text += data.decode(errors="replace").replace("\r\n", "\n")

    def shows(self, text, after=0):
        """Waits until the screen holds it beyond a place, and returns where it ended."""
        def found():
            self._take()
            return self.text.find(text, after) + 1
        try:
            return self.until(found, f"{text!r} on the terminal") - 1 + len(text)
        except AssertionError:
            raise AssertionError(f"{text!r} did not show up on the terminal:\n{self.text}") from None

    def type(self, text):
        os.write(self._master, text.encode())

    def foreground(self):
        """The group that has the terminal."""
        return os.tcgetpgrp(self._master)

    def hang_up(self):
        os.close(self._master)
        self._master = None

    def __exit__(self, *everything):
        super().__exit__(*everything)
        if self._master is not None:
            os.close(self._master)


@case()
def interrupt_key(start, tmp):
    """^C ends the command: 130"""
    with start.terminal(["sh", "-c", "echo rea''dy; exec sleep 1000"]) as run:
        run.shows("ready")
        main = run.main()
        run.until(lambda: open(f"/proc/{main}/comm").read() == "sleep\n", "the command")
        run.type("\x03")
        assert run.code() == 130


@case()
def terminal_input(start, tmp):
    """The command reads from the terminal"""
    with start.terminal(["sh", "-c", "read word; echo got-$word"]) as run:
        run.type("hello\n")
        run.shows("got-hello")
        assert run.code() == 0


@case()
def job_control(start, tmp):
    """A shell below it has job control"""
    with start.terminal(["bash", "--norc", "-i"], env={"PS1": "> "}) as run:
        run.shows("> ")
        run.type("sleep 1000\n")
        # Until it is executed it is still a shell, which ignores the key.
        run.until(lambda: run.foreground() in grandchildren(run) and name_of(run.foreground()) == "sleep", "the job")
        run.type("\x1a")
        at = run.shows("Stopped")
        run.type("kill %1; fg; echo status $?\n")
        run.shows("status 143", at)
        run.type("exit 3\n")
        assert run.code() == 3


def name_of(pid):
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().strip()
    except OSError:
        return ""


def grandchildren(run):
    return [pid for child in children_of(run.pid) for pid in children_of(child)]


@case()
def hang_up(start, tmp):
    """The terminal hangs up: 129"""
    with start.terminal(["sh", "-c", "echo rea''dy; exec sleep 1000"]) as run:
        run.shows("ready")
        main = run.main()
        run.until(lambda: open(f"/proc/{main}/comm").read() == "sleep\n", "the command")
        run.hang_up()
        if run.pid1:
            # Who made the namespace leads the session, and the signal is its.
            run.until(lambda: facts_of(main)[0] is None, "the command's end")
        else:
            assert run.code() == 128 + SIGHUP


@case(chance=True)
def no_stray_hang_up(start, tmp):
    """Taking the terminal over sends the command neither HUP nor CONT"""
    with start.terminal([PROBE, "watch"]) as run:
        run.shows("ready")
        run.type("\x1c")
        run.shows("3\n")
        numbers = [word for word in run.text.split() if word.isdigit()]
        assert str(int(SIGHUP)) not in numbers and str(int(SIGCONT)) not in numbers, run.text


@case(only="subreaper")
def stopped_in_a_shell(start, tmp):
    """^Z stops it for the shell above it, and `fg` continues it"""
    with start.terminal_below_shell() as run:
        run.shows("> ")
        run.type(" ".join([*start.init.argv(False), "--", "sh -c 'echo rea\"\"dy; exec cat'"]) + "\n")
        at = run.shows("ready")
        run.type("one\n")
        at = run.shows("one\none\n", at)
        command = run.foreground()
        run.type("\x1a")
        at = run.shows("Stopped", at)
        run.type("fg\n")
        at = run.shows("exec cat'\n", at)
        # What is typed before the shell has changed the terminal's mode back may be lost.
        run.until(lambda: run.foreground() == command, "the terminal's return")
        run.type("two\n")
        run.shows("two\ntwo\n", at)
        run.type("\x04")
        run.type("echo status $?\n")
        run.shows("status 0")
        run.type("exit 4\n")
        assert run.process.wait(run.init.patience) == 4


@case(only="subreaper")
def stopped_again(start, tmp):
    """^Z stops it also after `bg` and `fg`, and after `&` and `fg`"""
    line = " ".join([*start.init.argv(False), "--", "sh -c 'echo rea\"\"dy; exec sleep 1000'"])
    for first, again in (("", True), (" &", False)):
        with start.terminal_below_shell() as run:
            at = run.shows("> ")
            run.type(f"{line}{first}\n")
            at = run.shows("ready\n", at)
            init = run.until(lambda: children_of(run.process.pid), "the init")[0]
            run.until(lambda: [name_of(pid) for pid in children_of(init)] == ["sleep"], "the command")
            if again:
                run.type("\x1a")
                at = run.shows("Stopped", at)
                run.type("bg\n")
                at = run.shows("&\n", at)
            run.type("fg\n")
            run.until(lambda: run.foreground() == init, "the terminal's return")
            run.type("\x1a")
            at = run.shows("Stopped", at)
            # As a stopped job it can be ended, as any other.
            run.type("kill %1; fg; echo status $?\n")
            run.shows("status 143", at)
            run.type("exit 4\n")
            assert run.process.wait(run.init.patience) == 4


@case(only="subreaper")
def reads_in_the_background(start, tmp):
    """Started with `&` it stops when it reads, and reads on after `fg`"""
    with start.terminal_below_shell() as run:
        run.shows("> ")
        run.type(" ".join([*start.init.argv(False), "--", "cat"]) + " &\n")
        init = run.until(lambda: children_of(run.process.pid), "the init")[0]
        cat = run.until(lambda: [pid for pid in children_of(init) if name_of(pid) == "cat"], "the command")[0]
        run.until(lambda: facts_of(cat)[0] == "T", "its stop")
        run.until(lambda: facts_of(init)[0] == "T", "the init's stop")
        run.type("fg\n")
        run.until(lambda: run.foreground() in (init, cat) and facts_of(cat)[0] == "S", "the terminal's return")
        run.type("hello\n")
        run.shows("hello\nhello\n")
        run.type("\x04")
        run.type("echo status $?\n")
        run.shows("status 0")
        run.type("exit 4\n")
        assert run.process.wait(run.init.patience) == 4


@case(only="subreaper", inits=["bulkhead"])
def logging_under_tostop(start, tmp):
    """`stty tostop` stops no message of the init"""
    with start.terminal_below_shell() as run:
        run.shows("> ")
        script = f"stty tostop; {start.init.program} --supervise 1 -- sh -c 'kill -9 $$'; echo status $?\n"
        run.type(script)
        run.shows("giving up")
        run.shows("status 137")
        run.type("exit 4\n")
        assert run.process.wait(run.init.patience) == 4
