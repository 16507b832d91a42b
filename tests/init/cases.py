"""What an init has to do, one function a promise: `case(start, tmp)`, where start(COMMAND, …) starts the init in question
in the mode in question. The first line of a function's text is its row in docs/INIT.md."""

import signal
import subprocess
from pathlib import Path

from inits import BULKHEAD, NAMESPACE, OURS, PROBE, Run, children_of, facts_of
from signal import (SIGABRT, SIGBUS, SIGCHLD, SIGCONT, SIGFPE, SIGHUP, SIGILL, SIGINT, SIGKILL, SIGPIPE, SIGQUIT, SIGSEGV,
                    SIGSTOP, SIGSYS, SIGTERM, SIGTRAP, SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2)

CASES = []
FAULTS = {SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS}
TERMINAL = {SIGTSTP, SIGTTIN, SIGTTOU}


def case(only=None, inits=None, chance=False):
    """`only`: the one mode it makes sense in. `inits`: for whom the case exists; all, if not said. `chance`: others keep
    it now and then."""
    def add(function):
        function.only, function.inits, function.chance = only, inits, chance
        function.title = function.__doc__.split("\n")[0]
        CASES.append(function)
        return function
    return add


# ---- exit ----------------------------------------------------------------------------------------------------------


def all_codes(start, success=()):
    """All 256, one init after the other."""
    # Whoever is not root may make namespaces in a user namespace, if at all.
    above = ["unshare", "--map-root-user"] if start.pid1 and "--map-root-user" in NAMESPACE else []
    zeros = "".join(f",{code}," for code in success)
    command = [*start.init.argv(start.pid1, success=success), "--"]
    with start.bare([*above, PROBE, "codes", "pid1" if start.pid1 else "plain", zeros, *command]) as run:
        code = run.process.wait(10 * run.init.patience)
        run.read_out()
        assert code == 0 and run.lines[-1] == "256 codes, 0 wrong", run.lines


@case()
def exit_codes(start, tmp):
    """Exit codes pass through"""
    all_codes(start)


@case()
def death_by_signal(start, tmp):
    """Death by signal N becomes 128+N"""
    for number in (SIGHUP, SIGQUIT, SIGKILL, SIGTERM, SIGSEGV, SIGPIPE):
        with start([PROBE, "die", str(int(number))]) as run:
            assert run.code() == 128 + number


@case(inits=["bulkhead", "tini"])
def remapped_codes(start, tmp):
    """Codes told to mean success become 0, others stay (`-e`)"""
    all_codes(start, success=(3, 143, 255))
    with start([PROBE, "exit", "77"], success=range(256)) as run:
        assert run.code() == 0


@case()
def not_found(start, tmp):
    """A command that is not there: 127; that cannot be executed, or is a directory: 126"""
    plain = tmp / "plain"
    plain.write_text("")
    for command, code in (("/no/such/program", 127), ("no-such-program", 127), (str(plain), 126), (str(tmp), 126)):
        with start([command]) as run:
            assert run.code() == code, command


@case()
def usage(start, tmp):
    """No command, a bad flag: an exit code other than 0, and a usage text; help and version: 0"""
    def ask(*words):
        return subprocess.run([start.init.argv(False)[0], *words], capture_output=True, text=True, timeout=60)
    for words in ((), ("--no-such-flag", "true")):
        run = ask(*words)
        assert run.returncode != 0 and (run.stderr + run.stdout).strip(), words
    for word in ("-h", "--version"):
        assert ask(word).returncode == 0, word


@case(inits=["bulkhead"])
def malformed_values(start, tmp):
    """A malformed value is refused by name"""
    for option, value in (("-e", "256"), ("-e", "x"), ("-r", "TERM"), ("-r", "TERM:NO"), ("-r", "0:1"), ("-p", "99"),
                          ("--grace", "-1"), ("--grace", "1x")):
        run = subprocess.run([OURS.program, option, value, "--", "true"], capture_output=True, text=True, timeout=60)
        assert run.returncode == 2 and f"{option} {value}: must be" in run.stderr, (option, value, run.stderr)


@case()
def flags_of_the_command(start, tmp):
    """The command's own flags are its own, without `--` too"""
    with start(["echo", "-g", "--help", "-e", "no"], dashes=False) as run:
        assert run.code() == 0
        run.line("-g --help -e no")


@case()
def together(start, tmp):
    """The command and its orphans die at the same moment: no hang, the right code"""
    for _ in range(5):
        with start([PROBE, "burst", "20"]) as run:
            assert run.code() == 5


@case()
def ignored_sigchld(start, tmp):
    """Started with SIGCHLD ignored: the exit code is still found"""
    with start([PROBE, "exit", "6"], before=["ignore", int(SIGCHLD)]) as run:
        assert run.code() == 6


@case()
def dies_at_once(start, tmp):
    """A command that ends before the init looks"""
    for _ in range(20):
        with start(["true"]) as run:
            assert run.code() == 0


@case()
def stop_is_no_exit(start, tmp):
    """A stopped and continued command has not ended"""
    with start([PROBE, "watch"]) as run:
        run.line("ready")
        main = run.main()
        for _ in range(3):
            run.signal(SIGSTOP, main)
            run.until(lambda: facts_of(main)[0] == "T", "its stop")
            run.signal(SIGCONT, main)
            run.until(lambda: facts_of(main)[0] == "S", "its going on")
        assert run.process.poll() is None
        run.signal(SIGKILL, main)
        assert run.code() == 128 + SIGKILL


@case()
def first_thread_ends(start, tmp):
    """The command's first thread ends, another goes on: it lives"""
    with start([PROBE, "leader"]) as run:
        run.line("ready")
        assert facts_of(run.main())[0] == "Z" and run.process.poll() is None
        run.write()
        assert run.code() == 7


# ---- signals -------------------------------------------------------------------------------------------------------


def sent_on(number):
    return number not in {SIGKILL, SIGSTOP, SIGCHLD} | FAULTS


@case()
def every_signal(start, tmp):
    """Signals 1 to 31 arrive under their numbers (the terminal's may arrive as a stop)"""
    for number in range(1, 32):
        if not sent_on(number) or number == SIGTERM or number in TERMINAL:
            continue
        with start([PROBE, "watch"]) as run:
            run.line("ready")
            run.signal(number)
            run.line(str(int(number)))


@case()
def terminal_signals(start, tmp):
    """TSTP, TTIN and TTOU arrive, or stop the command"""
    for number in sorted(TERMINAL):
        with start([PROBE, "watch"]) as run:
            run.line("ready")
            main = run.main()
            run.signal(number)
            run.until(lambda: str(int(number)) in run.lines or facts_of(main)[0] == "T", f"signal {number}")


@case()
def realtime_signals(start, tmp):
    """Realtime signals 34 to 64 too"""
    with start([PROBE, "watch"]) as run:
        run.line("ready")
        for number in range(34, 65):
            run.signal(number)
            run.line(str(number))


@case(inits=["bulkhead", "dumb-init"])
def rewriting(start, tmp):
    """Rewrite, swap and drop (`-r`)"""
    rules = [(SIGHUP, SIGQUIT), (SIGUSR1, SIGUSR2), (SIGUSR2, SIGUSR1), (SIGINT, 0)]
    with start([PROBE, "watch"], rewrite=rules) as run:
        run.line("ready")
        for number in (SIGINT, SIGHUP, SIGUSR1, SIGUSR2):
            run.signal(number)
            if number != SIGINT:
                run.line(str(int(dict(rules)[number])))
        assert run.lines == ["ready", str(int(SIGQUIT)), str(int(SIGUSR2)), str(int(SIGUSR1))]


@case(inits=["bulkhead", "dumb-init"])
def rewriting_realtime(start, tmp):
    """Realtime signals are rewritten too"""
    with start([PROBE, "watch"], rewrite=[(40, SIGUSR1), (SIGUSR2, 50)]) as run:
        run.line("ready")
        for number, arrives in ((40, SIGUSR1), (SIGUSR2, 50), (41, 41)):
            run.signal(number)
            run.line(str(int(arrives)))


@case(inits=["bulkhead"])
def signal_to_the_dead(start, tmp):
    """Signals that come when the command is gone do no harm"""
    command = ["sh", "-c", f'{PROBE} stubborn - & while [ -z "$(cat {tmp}/go 2>/dev/null)" ]; do sleep 0.02; done; exit 4']
    with start(command, grace=3600) as run:
        run.line("ready"), run.line("child .*")
        main, pid = run.main(), run.pid
        (tmp / "go").write_text("1")
        run.until(lambda: main not in children_of(pid), "the command's end")
        for _ in range(20):
            for number in (SIGHUP, SIGUSR1, signal.SIGWINCH, 40):
                run.signal(number, pid)
        run.signal(SIGTERM, pid)
        assert run.code() == 4


@case(inits=["bulkhead"])
def blocked_first(start, tmp):
    """A SIGTERM that comes before the command is there is honoured, once signals are blocked"""
    for _ in range(5):
        # It waits already when the init begins.
        with start(["--mask", "0", "--", "sleep", "1000"], before=["raise", int(SIGTERM)], dashes=False) as run:
            assert run.code() == 128 + SIGTERM


@case()
def faults_from_outside(start, tmp):
    """SEGV and ABRT from outside are survived, and not sent on"""
    with start([PROBE, "watch"]) as run:
        run.line("ready")
        for number in sorted(FAULTS):
            run.signal(number)
        run.signal(SIGUSR1)
        run.line(str(int(SIGUSR1)))
        assert run.lines == ["ready", str(int(SIGUSR1))]


@case()
def inherited_signals(start, tmp):
    """What was blocked or ignored at entry is so for the command, and nothing else"""
    ignored, blocked = (SIGTTOU, SIGSEGV, SIGINT), (SIGTTIN, SIGILL, SIGTERM)
    before = [word for number in ignored for word in ("ignore", int(number))]
    before += [word for number in blocked for word in ("block", int(number))]
    inherited = {}
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(("SigBlk", "SigIgn")):
            inherited[line[:6]] = int(line.split()[1], 16)
    # Python ignores SIGPIPE and SIGXFSZ for itself and gives them back to what it starts.
    inherited["SigIgn"] &= ~(1 << (SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1))
    with start([PROBE, "facts"], before=before) as run:
        assert run.code() == 0
        for name, numbers in (("SigBlk", blocked), ("SigIgn", ignored)):
            mask = int(run.line(f"{name}:\\s+([0-9a-f]+)").group(1), 16)
            for number in numbers:
                inherited[name] |= 1 << (number - 1)
            assert mask == inherited[name], f"{name} {mask:016x}, not {inherited[name]:016x}"


@case(inits=["bulkhead"])
def sigpipe_of_handlers(start, tmp):
    """Under `serve`, handlers have SIGPIPE at its default, though systemd starts services with it ignored"""
    command = [BULKHEAD, "serve", "--listen", f"unix:{tmp}/door", "--state-dir", str(tmp / "state"), "--", PROBE, "facts"]
    with Run(start.init, start.pid1, command, bare=True, before=["ignore", int(SIGPIPE)]) as run:
        run.error(r"SigIgn:\s+0{16}$")
        run.error(r"SigBlk:\s+0{16}$")


@case()
def interruptions(start, tmp):
    """A thousand signals and stops, and the command is still waited for"""
    with start([PROBE, "watch"]) as run:
        run.line("ready")
        pid = run.pid
        for turn in range(250):
            for number in (signal.SIGWINCH, SIGCONT, signal.SIGURG, SIGCHLD):
                run.signal(number, pid)
            if turn % 25 == 0:
                run.signal(SIGSTOP, pid)
                run.signal(SIGCONT, pid)
        run.signal(SIGUSR2, pid)
        run.line(str(int(SIGUSR2)))
        run.signal(SIGKILL, run.main())
        assert run.code() == 128 + SIGKILL


@case()
def sigchld_by_hand(start, tmp):
    """A SIGCHLD somebody sends is no death"""
    with start([PROBE, "watch"]) as run:
        run.line("ready")
        for _ in range(10):
            run.signal(SIGCHLD)
        run.signal(SIGUSR1)
        run.line(str(int(SIGUSR1)))
        assert run.process.poll() is None


# ---- groups, and what is left --------------------------------------------------------------------------------------


@case()
def group_mode(start, tmp):
    """To the group (`-g`): parent and child get the signal"""
    with start([PROBE, "family"], group=True) as run:
        run.line("parent ready"), run.line("child ready")
        run.signal(SIGUSR1)
        run.line(f"parent {int(SIGUSR1)}"), run.line(f"child {int(SIGUSR1)}")
        assert run.code() == 0


@case()
def single_mode(start, tmp):
    """To the command alone (`-c`): its child gets nothing"""
    with start([PROBE, "family"]) as run:
        run.line("parent ready"), run.line("child ready")
        run.signal(SIGUSR1)
        run.line(f"parent {int(SIGUSR1)}")
        run.signal(SIGUSR2)
        assert run.code() == 9
        run.read_out()
        assert f"child {int(SIGUSR1)}" not in run.lines


def leaves(start, tmp, how):
    file = tmp / f"{how}"
    with start([PROBE, "leave", how, str(file), "3"]) as run:
        run.line("left")
        assert run.code() == 3
        assert not run.below(), "something outlived the init"
        assert file.exists(), "the one left behind had no time"


@case()
def leftovers_get_a_grace(start, tmp):
    """What the command leaves in its group gets SIGTERM, and time to clean up"""
    leaves(start, tmp, "group")


@case()
def escaped_get_a_grace(start, tmp):
    """What left its session gets SIGTERM and time too"""
    leaves(start, tmp, "setsid")


@case()
def daemons_get_a_grace(start, tmp):
    """An adopted daemon gets SIGTERM and time too"""
    leaves(start, tmp, "daemon")


@case()
def escaped_die(start, tmp):
    """What left its session and ignores SIGTERM is gone at the end"""
    command = ["sh", "-c", f'{PROBE} stubborn - & while [ -z "$(cat {tmp}/go 2>/dev/null)" ]; do sleep 0.02; done; exit 8']
    with start(command, grace=0.3) as run:
        run.line("ready"), run.line("child .*")
        (tmp / "go").write_text("1")
        assert run.code() == 8
        assert not run.below()


@case(only="pid1")
def kill_nine_inside(start, tmp):
    """`kill -9 1` from inside is ignored"""
    with start(["sh", "-c", "kill -9 1; kill -STOP 1; exit 12"]) as run:
        assert run.code() == 12


@case()
def term_to_a_stopped(start, tmp):
    """SIGTERM reaches a stopped command: it is continued, or killed in time"""
    with start(["sleep", "1000"], grace=2) as run:
        main = run.main()
        run.until(lambda: Path(f"/proc/{main}/comm").read_text() == "sleep\n", "the command")
        run.signal(SIGSTOP, main)
        run.until(lambda: facts_of(main)[0] == "T", "its stop")
        run.signal(SIGTERM)
        assert run.code() in (128 + SIGTERM, 128 + SIGKILL)


@case()
def term_grace_kill(start, tmp):
    """SIGTERM, the grace, then SIGKILL to all of it"""
    with start([PROBE, "stubborn", "-"], grace=0.5) as run:
        run.line("ready"), run.line("child .*")
        run.signal(SIGTERM)
        assert run.code() == 128 + SIGKILL
        assert not run.below()


@case()
def late_leader(start, tmp):
    """SIGKILL also reaches a command whose first thread has ended"""
    with start([PROBE, "leader_ignores"], grace=0.5) as run:
        run.line("ready")
        main = run.main()
        run.signal(SIGTERM)
        assert run.code() == 128 + SIGKILL
        assert facts_of(main)[0] is None


@case(inits=["bulkhead"])
def no_pidfd(start, tmp):
    """SIGKILL reaches all of it where a filter refuses `pidfd_open`"""
    with start([PROBE, "stubborn", "-"], before=["nopidfd"], grace=0.5) as run:
        run.line("ready"), run.line("child .*")
        run.signal(SIGTERM)
        assert run.code() == 128 + SIGKILL
        assert not run.below()


@case()
def second_term(start, tmp):
    """A second SIGTERM shortens the grace"""
    with start([PROBE, "stubborn", "-"], grace=3600) as run:
        run.line("ready"), run.line("child .*")
        run.signal(SIGTERM)
        # The first is taken: a pending one would swallow the second.
        run.until(lambda: not pending(run.pid, SIGTERM), "its taking the first")
        run.signal(SIGTERM)
        assert run.code() == 128 + SIGKILL
        assert not run.below()


def pending(pid, number):
    text = Path(f"/proc/{pid}/status").read_text()
    return any(int(line.split()[1], 16) >> (number - 1) & 1 for line in text.splitlines()
               if line.startswith(("SigPnd", "ShdPnd")))


@case(inits=["bulkhead"])
def abort_between_lives(start, tmp):
    """Supervising: SIGABRT ends it also while no supervisor runs"""
    with start(["--supervise", "1000", "--", PROBE, "die", str(int(SIGKILL))], dashes=False) as run:
        pid = run.pid
        # From here on its pauses last a second and more.
        run.until(lambda: sum("ended by SIGKILL" in line for line in list(run.errors)) >= 7, "some deaths")
        run.until(lambda: not children_of(pid), "a pause")
        run.signal(SIGABRT, pid)
        assert run.code() in (128 + SIGKILL, 128 + SIGABRT)


@case(only="subreaper")
def no_group_but_its_own(start, tmp):
    """No process to be had for the command: it ends, and signals no group (that of 0 is its own, that of 1 everybody)"""
    beside = ["sh", "-c", '"$@"; echo ended with $?', "sh"]  # in the init's group, and above it
    argv = [PROBE, "setup", "nofork", "--", *start.init.argv(False), "--", "true"]
    with start.bare([*beside, *argv]) as run:
        code = int(run.line(r"ended with (\d+)").group(1))
        assert code not in (0, 98)
        assert run.code() == 0


@case(only="subreaper")
def strangers_are_spared(start, tmp):
    """Not PID 1 (`--pid=host`): who is not of its tree is let be"""
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as stranger:
        try:
            with start([PROBE, "stubborn", "-"], grace=0.2) as run:
                run.line("ready")
                run.signal(SIGTERM)
                run.signal(SIGTERM)
                try:
                    run.code()
                except AssertionError:
                    pass  # whether it ends is another case
            assert stranger.poll() is None
        finally:
            stranger.kill()


# ---- reaping -------------------------------------------------------------------------------------------------------


def zombies_below(pid):
    return [child for child in children_of(pid) if facts_of(child)[0] == "Z"]


@case()
def orphans(start, tmp):
    """A hundred orphans are reaped"""
    with start([PROBE, "orphans", "100"]) as run:
        run.line("ready")
        pid = run.pid
        run.until(lambda: len(children_of(pid)) == 101, "the orphans, adopted")
        run.write()
        run.line("released")
        run.until(lambda: len(children_of(pid)) == 1, "their reaping")


@case()
def background_shells(start, tmp):
    """Nested shells with children in the background leave no zombie"""
    script = "sh -c 'sh -c \"sleep 0.01 & sleep 0.02 &\" & sleep 0.01 &' & sleep 0.1; echo done; read x"
    with start(["sh", "-c", script]) as run:
        run.line("done")
        pid = run.pid
        run.until(lambda: len(children_of(pid)) == 1, "the reaping of all")
        assert not zombies_below(pid)


@case()
def many_deaths_at_once(start, tmp):
    """Deaths that share one SIGCHLD are all seen"""
    with start([PROBE, "orphans", "60"]) as run:
        run.line("ready")
        pid = run.pid
        run.signal(SIGSTOP, pid)
        run.write()
        run.line("released")
        run.until(lambda: len(zombies_below(pid)) >= 60, "their deaths")
        run.signal(SIGCONT, pid)
        run.until(lambda: len(children_of(pid)) == 1, "their reaping")


@case(only="subreaper", chance=True)
def children_from_before(start, tmp):
    """A child it had before it became an init is not the command"""
    with start([PROBE, "watch"], wrap=["sh", "-c", 'sh -c "exit 44" & exec "$@"', "sh"]) as run:
        run.line("ready")
        run.until(lambda: len(children_of(run.pid)) == 1, "the other one's reaping")
        assert run.process.poll() is None
        run.signal(SIGUSR1)
        run.line(str(int(SIGUSR1)))


@case(only="subreaper", inits=["bulkhead", "tini"])
def no_subreaper(start, tmp):
    """Neither PID 1 nor a subreaper: it says so"""
    with start([PROBE, "exit", "0"], before=["nosubreaper"]) as run:
        run.code()
        run.error("(?i)reap")


@case()
def zombies_of_others(start, tmp):
    """The zombie of a living parent is left to it"""
    with start([PROBE, "zombie"]) as run:
        run.line(r"\d+")
        main = run.main()
        run.signal(SIGCHLD)
        run.until(lambda: not pending(run.pid, SIGCHLD), "its taking the signal")
        assert zombies_below(main)
        run.write()
        assert run.code() == 0


@case()
def nested(start, tmp):
    """One below another: code and signals go through both"""
    inner = start.init.argv(False)
    with start([*inner, "--", PROBE, "exit", "9"]) as run:
        assert run.code() == 9
    with start([*inner, "--", PROBE, "watch"]) as run:
        run.line("ready")
        run.signal(SIGUSR1)
        run.line(str(int(SIGUSR1)))
        run.signal(SIGKILL, children_of(run.main())[0])
        assert run.code() == 128 + SIGKILL
