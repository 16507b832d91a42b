"""`--preload`: children forked from a process that has imported what they need. They are what started ones are, down to how
they end; and where there is no such process, that is said once, and all goes on without."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from endpoint import SOURCE, Endpoint, processes_with, until
from test_pythons import pythons

HERE = Path(__file__).parent
WITH_NUMPY = Path(os.environ.get("BULKHEAD_NUMPY_PYTHON", SOURCE / "tests" / "clients" / ".venv" / "bin" / "python"))
HEAVY = str(HERE / "heavy.py")
TAKEN_OVER = ("argv", "path", "main", "directory", "signals", "blocked", "files", "threads")


@pytest.fixture
def serve(tmp_path):
    """Endpoints that are gone, with all they had started, when the test is over."""
    started = []

    def start(*options, preload="heavy_module", command=None, stops=0, **more):
        options = (*(("--preload", preload) if preload else ()), *options)
        endpoint = Endpoint(command or [sys.executable, HEAVY, "a", "b c"], *options, state=tmp_path / f"s{len(started)}", **more)
        started.append((endpoint, stops))
        return endpoint

    yield start
    for endpoint, code in started:
        assert endpoint.stop() == code
    assert until(lambda: not processes_with(str(tmp_path)) or None, what="the end of all processes")


def ask(endpoint, do=None, **more):
    answer = endpoint.runsync({"do": do, **more})
    assert answer["status"] == "COMPLETED", answer
    return answer["output"]


def record(endpoint, do, **more):
    answer = endpoint.runsync({"do": do, **more})
    assert answer["status"] == "FAILED", answer
    return json.loads(answer["error"])


def server_of(endpoint):
    """The pid of the fork server: the one child that is never a handler."""
    return ask(endpoint)["parent"]


def zombies(parent):
    found = []
    for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            found.append(pid)
    return found


def test_a_forked_child_is_what_a_started_one_is(serve):
    forked, started = (ask(serve(preload=preload)) for preload in ("heavy_module", ""))
    assert forked["imported by"] == forked["parent"] and started["imported by"] == started["pid"]
    assert {name: forked[name] for name in TAKEN_OVER} == {name: started[name] for name in TAKEN_OVER}
    for child in (forked, started):
        assert child["session"] == child["group"] == child["pid"]
        environment = child["environment"]
        assert environment["TMPDIR"] == environment["BULKHEAD_SCRATCH"] == child["temporary"]
        assert environment["BULKHEAD_FORK_SERVER"] is None and environment["ORT_DISABLE_TELEMETRY"] is None
        # What a search for strays reads is the environment a process was begun with.
        assert child["environ"] == ["BULKHEAD_COOKIE=" + environment["BULKHEAD_COOKIE"]]
    kinds = [sorted(target.split(":")[0] for target in child["descriptors"] if not target.startswith(("/proc", "/run", "/tmp")))
             for child in (forked, started)]
    assert kinds[0] == kinds[1]


def test_children_differ_where_they_must(serve):
    endpoint = serve("--workers", "4", env={"MINE": "of the operator"})
    jobs = [endpoint.run({"do": "sleep", "s": 1.0}) for _ in range(4)]
    children = [endpoint.wait(job)["output"] for job in jobs]
    assert len({child["pid"] for child in children}) == 4 and len({child["parent"] for child in children}) == 1
    for facts in (lambda child: child["random"], lambda child: child["temporary"], lambda child: child["environ"][0]):
        assert len({facts(child) for child in children}) == 4
    assert {child["environment"]["MINE"] for child in children} == {"of the operator"}


def test_a_refresh_gives_a_clean_process(serve):
    endpoint = serve()
    first = ask(endpoint, "remember", value=1)
    assert ask(endpoint, "remember", value=2, refresh=True) == {"seen": [1, 2], "pid": first["pid"]}
    then = ask(endpoint, "remember", value=3)
    assert then["seen"] == [3] and then["pid"] != first["pid"]


def test_ends_are_told_as_of_started_children(serve):
    endpoint = serve()
    server = server_of(endpoint)
    told = record(endpoint, "segfault")
    assert told["signal"] == "SIGSEGV" and told["stack"] and "in handler" in "\n".join(told["interpreter_stack"])
    assert told["peak_rss_bytes"] > 1 << 20
    told = record(endpoint, "_exit", code=7)
    assert told["exit_code"] == 7 and told["log_tail"] == ["about to go"]
    assert record(endpoint, "kill")["signal"] == "SIGKILL"
    assert ask(endpoint)["parent"] == server
    until(lambda: not zombies(server) or None, what="no zombies")


def test_what_a_forked_child_leaves_behind_is_ended(serve):
    """By its own cookie, in a session of its own."""
    endpoint = serve()
    stray = ask(endpoint, "leave behind")["left"]
    assert record(endpoint, "kill")
    until(lambda: not Path(f"/proc/{stray}").exists() or None, timeout=60, what="the stray's end")


def test_nothing_grows_with_the_forks(serve):
    endpoint = serve()
    server = server_of(endpoint)

    def held():
        """When all is quiet: the present child is there, and no other."""
        until(lambda: len(Path(f"/proc/{server}/task/{server}/children").read_text().split()) == 1 or None, what="one child")
        return len(os.listdir(f"/proc/{server}/fd")), len(endpoint.descriptors()), len(os.listdir(endpoint_files(endpoint)))

    for _ in range(3):
        ask(endpoint, "remember", value=0, refresh=True)
    ask(endpoint)
    before = held()
    for _ in range(20):
        ask(endpoint, "remember", value=0, refresh=True)
    ask(endpoint)
    # What is being closed at the moment is soon gone; what is left of each fork stays.
    until(lambda: all(now <= then for now, then in zip(held(), before)) or None, what="no more of anything than before")


def endpoint_files(endpoint):
    """The directory of its children's files."""
    facts = ask(endpoint)
    return Path(facts["environment"]["TMPDIR"]).parents[1] / "children"


def test_a_fork_server_that_is_killed_takes_nobody_along(serve):
    endpoint = serve("--workers", "2")
    server = server_of(endpoint)
    job = endpoint.run({"do": "sleep", "s": 3.0})
    until(lambda: endpoint.get(f"/status/{job}").json.get("output") == "asleep" or None, what="a job at work")
    os.kill(server, signal.SIGKILL)
    endpoint.wait_line("the fork server was killed by SIGKILL; until it is back, children are started without it")
    assert endpoint.wait(job)["output"]["parent"] != endpoint.process.pid
    # Whoever is nobody's child any more still ends, and is told of.
    assert record(endpoint, "_exit", code=3)["error_type"] == "WorkerCrash"
    assert record(endpoint, "_exit", code=3)["error_type"] == "WorkerCrash"
    endpoint.wait_line("the fork server is back", 60)
    for _ in range(4):
        ask(endpoint, "remember", value=0, refresh=True)
    again = until(lambda: ask(endpoint, "remember", value=0, refresh=True) and (ask(endpoint)["parent"] != endpoint.process.pid) or None,
                  timeout=60, what="a forked child")
    assert again and server_of(endpoint) != server


def test_how_an_orphan_ends_is_told_by_its_descriptor(serve):
    """Below an init, which reaps it, and where the kernel tells."""
    endpoint = serve(env={"BULKHEAD_INIT": "always"})
    server = server_of(endpoint)
    job = endpoint.run({"do": "sleep", "s": 600})
    until(lambda: endpoint.get(f"/status/{job}").json.get("output") == "asleep" or None, what="a job at work")
    child = int(Path(f"/proc/{server}/task/{server}/children").read_text())
    os.kill(server, signal.SIGKILL)
    endpoint.wait_line("the fork server was killed by SIGKILL")
    os.kill(child, signal.SIGKILL)
    answer = endpoint.wait(job)
    told = json.loads(answer["error"])
    assert told["error_type"] == "WorkerCrash"
    if tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 15):
        assert told["signal"] == "SIGKILL"
    else:
        assert "ended in a way that nobody saw" in told["error_message"]


def test_fork_servers_that_are_killed_while_they_fork(serve):
    """Every job has its one result, and nobody is left over."""
    endpoint = serve("--workers", "4")
    for _ in range(4):
        until(lambda: ask(endpoint)["parent"] != endpoint.process.pid or ask(endpoint, "remember", value=0, refresh=True) and None,
              timeout=60, what="a forked child")
        server = server_of(endpoint)
        jobs = [endpoint.run({"do": "remember", "value": 0, "refresh": True}) for _ in range(12)]
        # Not whoever took in the orphans of a server that was killed before.
        if Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()[1] == str(endpoint.process.pid):
            os.kill(server, signal.SIGKILL)
        jobs += [endpoint.run({"do": "remember", "value": 0, "refresh": True}) for _ in range(12)]
        assert {endpoint.wait(job, 120)["status"] for job in jobs} == {"COMPLETED"}
    endpoint.wait_line("the fork server was killed by SIGKILL")


def test_without_a_fork_server_children_are_started(serve, tmp_path):
    """One that dies again and again is no reason to stop."""
    endpoint = serve(env={"HEAVY_ENDS": "1"})
    endpoint.wait_line("until it is back, children are started without it", 60)
    assert ask(endpoint)["parent"] == endpoint.process.pid
    assert sum("until it is back" in line for line in endpoint.lines) == 1


def test_a_supervisor_that_is_killed_takes_all_along_if_they_are_told_so(tmp_path):
    endpoint = Endpoint([sys.executable, HEAVY], "--preload", "heavy_module", "--workers", "2", "--orphan-timeout", "0",
                        state=tmp_path / "s")
    endpoint.run({"do": "sleep", "s": 600})
    server = server_of(endpoint)
    family = [server, *Path(f"/proc/{server}/task/{server}/children").read_text().split()]
    endpoint.process.kill()
    endpoint.process.wait()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in family) or None, timeout=60, what="the end of all")


def test_numpy_multiplies_right_in_every_fork(serve):
    """Its BLAS has threads from the import on, which end at a fork."""
    assert WITH_NUMPY.exists(), "numpy is not installed: script/bootstrap test"
    endpoint = serve("--workers", "4", preload="numpy", command=[str(WITH_NUMPY), str(HERE / "multiplies.py")])
    for _ in range(2):
        jobs = [endpoint.run({"size": 300}) for _ in range(4)]
        answers = [endpoint.wait(job) for job in jobs]
        assert {answer["status"] for answer in answers} == {"COMPLETED"}, answers
        done = [answer["output"] for answer in answers]
        assert all(one["right"] and one["inverse"] for one in done)
        assert {one["threads of the parent"] for one in done} == {1}
        assert len({one["pid"] for one in done}) == len({one["random"] for one in done}) == 4
        assert {one["parent"] for one in done} != {endpoint.process.pid}


@pytest.mark.parametrize("python", [path for path, _ in pythons()], ids=[facts for _, facts in pythons()])
def test_every_python(serve, python):
    endpoint = serve(command=[python, HEAVY, "a"], env={"PYTHONDONTWRITEBYTECODE": "1"})
    facts = ask(endpoint)
    assert facts["imported by"] == facts["parent"], endpoint.lines
    assert facts["argv"] == [HEAVY, "a"] and facts["environ"] == ["BULKHEAD_COOKIE=" + facts["environment"]["BULKHEAD_COOKIE"]]
    assert record(endpoint, "_exit", code=7)["exit_code"] == 7
    assert record(endpoint, "kill")["signal"] == "SIGKILL"
    assert ask(endpoint, "remember", value=1, refresh=True)["seen"] == [1]
    assert ask(endpoint, "remember", value=2)["seen"] == [2]


@pytest.mark.parametrize("lie", ["nonsense", "another process", "no descriptor", "an answer nobody asked for", "not today", "goodbye"])
def test_a_fork_server_that_lies_is_not_believed(serve, lie):
    endpoint = serve(command=[sys.executable, "-S", str(HERE / "liar.py"), lie], ready=False)
    endpoint.wait_ready()
    assert ask(endpoint)["parent"] == endpoint.process.pid
    assert ask(endpoint)["parent"] == endpoint.process.pid


@pytest.mark.parametrize("modules", ["heavy_module,talks", "talks,no_such_module"])
def test_what_an_import_prints_is_printed_once(serve, modules):
    endpoint = serve("--workers", "3", preload=modules)
    until(lambda: endpoint.get("/health").json["workers"]["ready"] == 3, 60, "three children")
    endpoint.wait_line("imported, and said so")
    for child in range(3):  # each writes its buffer out with this
        record(endpoint, "_exit", code=7)
    until(lambda: sum("about to go" in line for line in endpoint.lines) == 3, 60, "their last words")
    assert sum("imported, and said so" in line for line in endpoint.lines) == 1


REFUSED = {
    "a module that is not there": ("no_such_module", "importing no_such_module failed: ModuleNotFoundError"),
    "a module that fails": ("heavy_module,refused.fails", "importing refused.fails failed: ValueError: not today"),
    "a module that exits": ("refused.exits", "importing refused.exits failed: SystemExit"),
    "threads": ("heavy_module,refused.starts_threads", "refused.starts_threads started threads"),
    "CUDA": ("refused.initialises_cuda", "refused.initialises_cuda initialised CUDA"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_forked_is_refused_with_the_reason(serve, case):
    modules, reason = REFUSED[case]
    endpoint = serve(preload=modules)
    line = endpoint.wait_line(f"no --preload {modules}: .*{reason}.*; children are started without it, one by one", 60)
    assert line and ask(endpoint)["parent"] == endpoint.process.pid


NOT_PYTHON = {
    "another program": (["/bin/sh", "-c", "exit 0"], "the command ended .exited with code 0. without becoming a fork server"),
    "a program behind a script": (["/bin/sh", "-c", f"{sys.executable} {HEAVY}; exit $?"], "starts Python as a process of its own"),
    "isolated": ([sys.executable, "-I", HEAVY], "it was started with -I"),
    "without site": ([sys.executable, "-S", HEAVY], "without becoming a fork server|did not become a fork server"),
}


@pytest.mark.parametrize("case", NOT_PYTHON)
def test_a_command_that_is_no_python_is_told(serve, case):
    command, reason = NOT_PYTHON[case]
    endpoint = serve(command=command, ready=False, stops=69 if case in ("another program", "isolated") else 0)
    endpoint.wait_line(f"no --preload heavy_module: .*({reason})", 60)
    if case in ("a program behind a script", "without site"):
        endpoint.wait_ready()
        assert ask(endpoint)["pid"] != endpoint.process.pid
    else:
        assert endpoint.process.wait(60) == 69


def test_a_script_that_ends_in_exec_will_do(serve):
    endpoint = serve(command=["/bin/sh", "-c", f"exec {sys.executable} {HEAVY}"])
    facts = ask(endpoint)
    assert facts["imported by"] == facts["parent"]


def test_another_sitecustomize_is_not_hidden(serve, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "sitecustomize.py").write_text("import os\nos.environ['MINE'] = 'by sitecustomize'\n")
    endpoint = serve(env={"PYTHONPATH": str(tmp_path / "mine")})
    facts = ask(endpoint)
    assert facts["imported by"] == facts["parent"] and facts["environment"]["MINE"] == "by sitecustomize"


def test_a_stop_while_modules_are_imported(serve):
    endpoint = serve(preload="refused.takes_long", ready=False)
    endpoint.wait_line("taking long", 60)
    begun = time.monotonic()
    assert endpoint.stop() == 0 and time.monotonic() - begun < 30
