"""What a running supervisor does when it is signalled: reload, say its state, stop at once with every stack."""

import json
import os
import signal
from pathlib import Path

from endpoint import Endpoint, example, processes_with, until

ZOO = [example("crash_zoo")]
ECHO = [example("echo")]


def ready(endpoint):
    return endpoint.get("/health", headers=endpoint.key).json["workers"]["ready"]


def configured(tmp_path, text, command=ECHO):
    """An endpoint with a settings file, which the test writes again."""
    file = tmp_path / "bulkhead.toml"
    file.write_text(text)
    endpoint = Endpoint(command, "--config", str(file), state=tmp_path / "state", ready=False)
    endpoint.key = {}

    def change(new):
        file.write_text(new)
        endpoint.process.send_signal(signal.SIGHUP)
    endpoint.change = change
    return endpoint


def test_hup_changes_the_number_of_children(tmp_path):
    with configured(tmp_path, "workers = 1\n") as endpoint:
        until(lambda: ready(endpoint) == 1, what="one child")
        pids = set(endpoint.children())
        endpoint.change("workers = 3\nspares = 1\n")
        endpoint.wait_line("read again; changed: workers, spares")
        until(lambda: ready(endpoint) == 4, what="four children")
        assert pids <= set(endpoint.children())
        endpoint.change("workers = 1\n")
        until(lambda: ready(endpoint) == 1 and len(endpoint.children()) == 1, what="one child again")
        assert endpoint.runsync({"a": 1})["output"] == {"a": 1}


def test_hup_loses_no_job(tmp_path):
    with configured(tmp_path, "workers = 4\n", ZOO) as endpoint:
        until(lambda: ready(endpoint) == 4, what="four children")
        jobs = [endpoint.run({"do": "sleep_ms", "ms": 400}) for _ in range(12)]
        for count in (1, 3, 2, 4, 1):
            endpoint.change(f"workers = {count}\n")
        assert [endpoint.wait(job)["status"] for job in jobs] == ["COMPLETED"] * 12
        until(lambda: len(endpoint.children()) == 1, what="one child in the end")


def test_hup_changes_limits_and_level(tmp_path):
    with configured(tmp_path, 'max-run-body = "1M"\n') as endpoint:
        until(lambda: ready(endpoint) == 1, what="a child")
        big = json.dumps({"input": "x" * 5000})
        assert endpoint.post("/run", big).status == 200
        endpoint.change('log-level = "debug"\nmax-run-body = "2K"\nrate-limit = ["status=0/0"]\n')
        endpoint.wait_line("read again; changed: max-run-body, rate-limit, log-level")
        assert endpoint.post("/run", big).status == 413


def test_hup_changes_keys(tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("one=first-key-of-them\n")
    with configured(tmp_path, f'api-key-file = "{keys}"\n') as endpoint:
        def allowed(key):
            return endpoint.get("/health", headers={"Authorization": f"Bearer {key}"}).status == 200
        endpoint.key = {"Authorization": "Bearer first-key-of-them"}
        until(lambda: ready(endpoint) == 1, what="a child")
        assert allowed("first-key-of-them") and not allowed("second-key-of-them")
        keys.write_text("one=second-key-of-them\n")
        endpoint.process.send_signal(signal.SIGHUP)
        endpoint.wait_line("read again")
        assert allowed("second-key-of-them") and not allowed("first-key-of-them")


def test_a_wrong_file_changes_nothing(tmp_path):
    with configured(tmp_path, "workers = 2\n") as endpoint:
        until(lambda: ready(endpoint) == 2, what="two children")
        pids = sorted(endpoint.children())
        endpoint.change("workers = 0\n")
        endpoint.wait_line("stays as it was: .*workers = 0: must be")
        assert ready(endpoint) == 2 and sorted(endpoint.children()) == pids
        endpoint.change("workers = 3\ngrace = 1\n")
        endpoint.wait_line("only a restart takes it up: grace")
        until(lambda: ready(endpoint) == 3, what="three children")


def test_usr1_says_the_state(tmp_path):
    with Endpoint(ZOO, "--workers", "2", "--orphan-timeout", "0", state=tmp_path / "state") as endpoint:
        job = endpoint.run({"do": "sleep_ms", "ms": 60000})
        until(lambda: endpoint.get(f"/status/{job}").json["status"] == "IN_PROGRESS", what="its start")
        endpoint.process.send_signal(signal.SIGUSR1)
        state = json.loads(endpoint.wait_line(r'^{"event":"state".*}$').group(0))
        assert state["pid"] == endpoint.process.pid and state["phase"] == "serving"
        assert state["jobs"]["running"] == 1 and state["workers_wanted"] == 2
        assert [run["id"] for child in state["children"] for run in child["jobs"]] == [job]
        assert sorted(child["pid"] for child in state["children"]) == sorted(endpoint.children())
        endpoint.stop(signal.SIGKILL)
        endpoint.stop()


def test_quit_stops_at_once_with_stacks(tmp_path):
    with Endpoint(ZOO, "--workers", "2", "--grace", "1h", "--quarantine", "1", state=tmp_path / "state") as endpoint:
        job = endpoint.run({"do": "sleep_ms", "ms": 60000})
        endpoint.until_entered(job)
        assert endpoint.stop(signal.SIGQUIT) == 128 + signal.SIGQUIT
        text = "\n".join(endpoint.lines)
        assert '{"event":"state"' in text and "the supervisor's stack:\n" in text
        assert text.count("its stack:") == 2 and "crash_zoo" in text
    assert not processes_with(str(tmp_path))
    with Endpoint(ZOO, "--quarantine", "1", state=tmp_path / "state") as endpoint:
        state = endpoint.wait(job)
        assert state["status"] == "FAILED" and "stop at once" in state["error"], state
        # It was no crash of the job's.
        assert json.loads(state["error"])["error_type"] == "WorkerLost"
        assert endpoint.get("/bulkhead/dead").json["dead"] == []
        again = endpoint.run({"do": "sleep_ms", "ms": 60000})
        endpoint.until_entered(again)
        endpoint.post(f"/cancel/{again}")


def test_quit_while_draining(tmp_path):
    with Endpoint(ZOO, "--grace", "1h", state=tmp_path / "state") as endpoint:
        job = endpoint.run({"do": "ignore_term"})
        until(lambda: endpoint.get(f"/status/{job}").json["status"] == "IN_PROGRESS", what="its start")
        endpoint.process.send_signal(signal.SIGTERM)
        endpoint.wait_line("finish")
        assert endpoint.stop(signal.SIGQUIT) == 128 + signal.SIGQUIT
    assert not processes_with(str(tmp_path))


def test_abort_leaves_a_stack(tmp_path):
    with Endpoint(ECHO, state=tmp_path / "state") as endpoint:
        assert endpoint.stop(signal.SIGABRT) == -signal.SIGABRT
        endpoint.wait_line("the supervisor was ended by SIGABRT; its stack:")
        assert any("bulkhead(" in line or "libc" in line for line in endpoint.lines)


def test_a_watchdog_s_abort_goes_through_the_init(tmp_path):
    """Also to a supervisor that is stopped, which sees nothing until it is continued."""
    with Endpoint(ECHO, state=tmp_path / "state", env={"BULKHEAD_INIT": "always"}) as endpoint:
        supervisor = endpoint.children()[0]
        os.kill(supervisor, signal.SIGSTOP)
        until(lambda: Path(f"/proc/{supervisor}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T", what="its stop")
        assert endpoint.stop(signal.SIGABRT) == 128 + signal.SIGABRT
        endpoint.wait_line("ended by SIGABRT; its stack:")
    until(lambda: not processes_with(str(tmp_path)), what="the end of everything")
