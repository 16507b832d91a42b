"""`bulkhead submit`, `status`, `cancel` and `health` against a real `bulkhead serve`: what scripts and people see of them."""

import http.server
import json
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from endpoint import BULKHEAD, Endpoint, example, until

ECHO = [example("echo")]
ZOO = [example("crash_zoo")]
PATIENCE = 120


class Client:
    """Calls `bulkhead`, which finds the endpoint in its environment."""

    def __init__(self, url, **more):
        clean = {name: value for name, value in os.environ.items() if not name.startswith("BULKHEAD_")}
        self.env = {**clean, "BULKHEAD_URL": url, **more}

    def __call__(self, *arguments, stdin=None, **more):
        return subprocess.run([BULKHEAD, *arguments], input=stdin, stdin=subprocess.DEVNULL if stdin is None else None,
                              capture_output=True, text=True, timeout=PATIENCE, env=self.env, **more)

    def good(self, *arguments, **more):
        """Its standard output, without the last line end."""
        done = self(*arguments, **more)
        assert done.returncode == 0, (arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout.removesuffix("\n")

    def start(self, *arguments):
        return subprocess.Popen([BULKHEAD, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, env=self.env)


def url_of(endpoint):
    return f"http://{endpoint.host}:{endpoint.port}"


def done_jobs(endpoint):
    return endpoint.get("/health").json["jobs"]["completed"]


@pytest.fixture(scope="module")
def echo(tmp_path_factory):
    with Endpoint(ECHO, state=tmp_path_factory.mktemp("echo") / "state") as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    with Endpoint(ZOO, "--workers", "2", state=tmp_path_factory.mktemp("zoo") / "state") as endpoint:
        yield endpoint


@pytest.fixture
def ask(echo):
    return Client(url_of(echo))


@pytest.fixture
def visit(zoo):
    return Client(url_of(zoo))


# ---- what goes in ----------------------------------------------------------------------------------------------------


def test_submit_prints_the_id_and_status_the_job(ask):
    done = ask("submit", '{"n": 1}')
    assert done.returncode == 0 and done.stderr == ""
    job = done.stdout.removesuffix("\n")
    assert "\n" not in job and job.endswith("-u1")
    state = json.loads(ask.good("status", "--json", "--wait", job))
    assert state["id"] == job and state["status"] == "COMPLETED" and state["output"] == {"n": 1}
    assert json.loads(ask.good("status", "--json", job)) == state


def test_the_input_is_an_argument_a_file_or_standard_input(ask, tmp_path):
    text = '{"say": "ünï ☃", "n": [1, 2]}'
    file = tmp_path / "input.json"
    file.write_text(text + "\n")
    for arguments, stdin in [([text], None), ([f"@{file}"], None), (["--file", str(file)], None), ([f"--file={file}"], None),
                             ([], text), (["-"], text)]:
        done = ask("submit", "--wait", *arguments, stdin=stdin)
        assert (done.returncode, done.stdout) == (0, text + "\n"), (arguments, done.stderr)


@pytest.mark.parametrize("text", ["null", "0", "-1", "-1.50", '"text"', "[]", "123456789012345678901234567890", "1e999", '"\\ud800"', '["\\ude00"]',
                                  '{"a":{"input":1}}', '{"a\\u0022":"}]"}'])
def test_any_json_goes_in_and_comes_back_as_it_is(ask, text):
    assert ask.good("submit", "--wait", text) == text


def test_an_output_of_several_lines_is_printed_on_one(ask):
    assert ask.good("submit", "--wait", '{\n  "a": 1,\r\n  "b": [2]\n}') == '{   "a": 1,    "b": [2] }'


def test_request_is_the_whole_request(ask, tmp_path):
    file = tmp_path / "test_input.json"
    file.write_text('{"id": "test", "input": {"n": 5}, "policy": {"ttl": 60000}}')
    assert ask.good("submit", "--wait", "--request", f"@{file}") == '{"n": 5}'
    both = ask("submit", "--request", f"@{file}", "--ttl", "1h")
    assert both.returncode == 2 and "policy" in both.stderr
    without = ask("submit", "--request", '{"n": 5}')
    assert without.returncode == 2 and "input" in without.stderr
    # The whole request given as the input is most likely a mistake; it is done as it was said.
    done = ask("submit", "--wait", f"@{file}")
    assert done.returncode == 0 and "--request" in done.stderr and json.loads(done.stdout)["input"] == {"n": 5}


def test_an_input_of_many_megabytes(ask):
    text = json.dumps({"data": "x" * (8 << 20)})
    assert ask.good("submit", "--wait", stdin=text) == text


@pytest.mark.parametrize("text, where", [("{n: 1}", "line 1, column 2"), ('{"n": 1', "line 1, column 8"), ("", "is empty"),
                                         ('{"a": 1,\n "b": tru }', "line 2, column"), ("[1] [2]", "line 1, column 5"),
                                         ("[" * 600 + "]" * 600, "too deep")])
def test_bad_json_is_refused_with_its_place_before_it_is_sent(text, where):
    nobody = Client("http://127.0.0.1:1")  # it would say 5 if it got that far
    for done in (nobody("submit", text), nobody("submit", stdin=text)):
        assert done.returncode == 2 and where in done.stderr, done.stderr
        assert done.stdout == ""


def test_policy_and_webhook_reach_the_endpoint(visit, zoo):
    job = visit.good("submit", "--execution-timeout", "5s", "--ttl", "1h", "--low-priority", '{"do": "sleep_ms", "ms": 60000}')
    state = zoo.wait(job)
    assert state["status"] == "FAILED" and state["error"] == "executionTimeout exceeded"
    for option, value, word in [("--execution-timeout", "1s", "executionTimeout"), ("--ttl", "30d", "ttl")]:
        done = visit("submit", option, value, '{"do": "ok"}')
        assert done.returncode == 2 and word in done.stderr  # the endpoint's own words
    done = visit("submit", "--webhook", "ftp://nowhere", "{}")
    assert done.returncode == 2 and "--webhook" in done.stderr


def test_one_idempotency_key_is_one_job(ask, echo):
    before = done_jobs(echo)
    ids = {ask.good("submit", "--idempotency-key", "order-17", '{"n": 1}') for _ in range(3)}
    assert len(ids) == 1
    echo.wait(*ids)
    assert done_jobs(echo) == before + 1
    assert len({ask.good("submit", '{"n": 1}') for _ in range(3)}) == 3


# ---- what comes out --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("job, word", [({"do": "throw", "message": "nein"}, "nein"),
                                       ({"do": "segfault"}, "WorkerCrash: handler process"),
                                       ({"do": "error", "message": "out of paper"}, "out of paper")])
def test_a_failed_job_is_1_and_its_reason_is_told(visit, job, word):
    done = visit("submit", "--wait", json.dumps(job))
    assert done.returncode == 1 and done.stdout == "" and word in done.stderr
    job_id = done.stderr.split("job ", 1)[1].split()[0]
    assert f"bulkhead status --json {job_id}" in done.stderr and len(done.stderr.splitlines()) <= 3
    later = visit("status", "--json", job_id)
    assert later.returncode == 1 and json.loads(later.stdout)["status"] == "FAILED"


def test_a_cancelled_job_is_1(visit):
    waiting = visit.start("submit", "--wait", '{"do": "sleep_ms", "ms": 60000}')
    job = waiting.stderr.readline().split()[2]
    assert json.loads(visit.good("cancel", "--json", job)) == {"id": job, "status": "CANCELLED"}
    out, err = waiting.communicate(timeout=PATIENCE)
    assert waiting.returncode == 1 and out == "" and "CANCELLED" in err
    assert visit("status", job).returncode == 1


def test_a_job_that_expired_is_1(tmp_path):
    with Endpoint(ZOO, "--grace", "1s", state=tmp_path / "state") as endpoint:
        ask = Client(url_of(endpoint))
        ask.good("submit", '{"do": "sleep_ms", "ms": 600000}')
        done = ask("submit", "--wait", "--ttl", "10s", '{"do": "ok"}')
        assert done.returncode == 1 and "TIMED_OUT" in done.stderr


def test_cancel_says_when_there_was_nothing_left_to_cancel(ask, echo):
    job = ask.good("submit", "1")
    echo.wait(job)
    done = ask("cancel", "--json", job)
    assert done.returncode == 0 and json.loads(done.stdout)["status"] == "COMPLETED" and "had ended before" in done.stderr


def test_a_timeout_of_the_wait_is_3_and_leaves_the_job(visit, zoo):
    done = visit("submit", "--wait", "--timeout", "1s", '{"do": "sleep_ms", "ms": 60000}')
    assert done.returncode == 3 and done.stdout == ""
    back = done.stderr.strip().splitlines()[-1].split("bulkhead ")[-1].split()  # what it says to call
    assert back[:2] == ["status", "--wait"] and back[-1].endswith("-u1")
    assert zoo.get(f"/status/{back[-1]}").json["status"] in ("IN_PROGRESS", "IN_QUEUE")
    assert visit("status", "--wait", "--timeout", "500ms", back[-1]).returncode == 3
    visit.good("cancel", back[-1])


@pytest.mark.parametrize("how", ["--wait", "--stream"])
def test_an_interrupt_leaves_the_job_and_says_how_to_come_back(visit, zoo, how):
    waiting = visit.start("submit", how, '{"do": "sleep_ms", "ms": 1500}')
    job = waiting.stderr.readline().split()[2]
    until(lambda: zoo.get(f"/status/{job}").json["status"] == "IN_PROGRESS", what="its start")
    waiting.send_signal(signal.SIGINT)
    out, err = waiting.communicate(timeout=PATIENCE)
    assert waiting.returncode == 130 and out == ""
    back = "stream" if how == "--stream" else "status --wait"
    assert f"bulkhead {back} --url {url_of(zoo)} {job}" in err
    assert json.loads(visit.good("status", "--json", "--wait", job))["output"] == {"slept_ms": 1500}


def test_chunks_are_printed_as_they_come(tmp_path):
    with Endpoint([*ZOO, "--stream"], state=tmp_path / "state") as endpoint:
        ask = Client(url_of(endpoint))
        streaming = ask.start("submit", "--stream", '{"chunks": 3, "do": "sleep_ms", "ms": 600000}')
        job = streaming.stderr.readline().split()[2]
        assert [streaming.stdout.readline() for _ in range(3)] == ["0\n", "1\n", "2\n"]  # while it still runs
        assert endpoint.get(f"/status/{job}").json["status"] == "IN_PROGRESS"
        ask.good("cancel", job)
        out, err = streaming.communicate(timeout=PATIENCE)
        assert streaming.returncode == 1 and out == "", err
        whole = ask.good("submit", "--stream", '{"chunks": 40, "do": "ok", "value": {"last": true}}')
        assert whole.splitlines() == [*map(str, range(40)), '{"last":true}']
        failed = ask("submit", "--stream", '{"chunks": 2, "do": "segfault"}')
        assert failed.returncode == 1 and "SIGSEGV" in failed.stderr
        assert failed.stdout.splitlines() in ([], ["0"], ["0", "1"])  # what had left it


def test_a_handler_that_does_not_stream_has_its_output_printed(ask):
    assert ask.good("submit", "--stream", '{"n": 1}') == '{"n": 1}'


def test_health(ask, tmp_path):
    assert json.loads(ask.good("health", "--json"))["workers"]["ready"] == 1
    assert ask.good("health").splitlines()[1].startswith("workers  ready 1  idle 1")
    with Endpoint([*ZOO, "--setup", "slow:600000"], "--grace", "1s", state=tmp_path / "state", ready=False) as endpoint:
        done = Client(url_of(endpoint))("health", "--json")
        assert done.returncode == 1 and json.loads(done.stdout)["workers"]["ready"] == 0 and "ready" in done.stderr


def test_an_output_that_cannot_be_written_is_not_success(ask):
    with open("/dev/full", "w") as full:
        done = subprocess.run([BULKHEAD, "submit", "--wait", "1"], stdin=subprocess.DEVNULL, stdout=full,
                              stderr=subprocess.PIPE, text=True, env=ask.env, timeout=PATIENCE)
    assert done.returncode == 71 and "standard output" in done.stderr


# ---- where it goes, and who may ------------------------------------------------------------------------------------


def test_the_address_has_many_forms(echo, tmp_path):
    place = f"{echo.host}:{echo.port}"
    for url in (place, f"http://{place}", f"http://{place}/", f"http://{place}/v2/some-endpoint"):
        assert Client("http://127.0.0.1:1").good("submit", "--wait", "--url", url, "1") == "1"
    proxied = Client(place, http_proxy="http://127.0.0.1:1", HTTP_PROXY="http://127.0.0.1:1", all_proxy="http://127.0.0.1:1")
    assert proxied.good("submit", "--wait", "1") == "1"  # no proxy leads to this machine itself


def test_a_unix_socket(tmp_path):
    path = tmp_path / "s"
    with Endpoint(ECHO, "--listen", f"unix:{path}", state=tmp_path / "state"):
        ask = Client(f"unix:{path}")
        assert ask.good("submit", "--wait", '{"n": 1}') == '{"n": 1}'
        assert ask.good("submit", "--stream", '{"n": 2}') == '{"n": 2}'
        assert json.loads(ask.good("health", "--json"))["workers"]["ready"] == 1


def test_keys_come_from_the_environment_or_a_file(tmp_path):
    with Endpoint(ECHO, state=tmp_path / "state", env={"BULKHEAD_API_KEYS": "me=s3cret"}, ready=False) as endpoint:
        url = url_of(endpoint)
        without = Client(url)("submit", "1")
        assert without.returncode == 6 and "set BULKHEAD_API_KEY" in without.stderr
        assert Client(url, BULKHEAD_API_KEY="wrong")("health").returncode == 6
        mine = Client(url, BULKHEAD_API_KEY="s3cret")
        assert mine.good("submit", "--wait", "1") == "1"
        key = tmp_path / "key"
        key.write_text("s3cret\n")
        assert Client(url).good("submit", "--wait", "--api-key-file", str(key), "1") == "1"
        key.write_text("me=s3cret\n")  # the form of serve's file
        named = Client(url)("health", "--api-key-file", str(key))
        assert named.returncode == 6 and "the key alone" in named.stderr
        waiting = mine.start("submit", "--wait", "--timeout", "30s", "2")
        arguments = Path(f"/proc/{waiting.pid}/cmdline").read_bytes()
        waiting.communicate(timeout=PATIENCE)
        assert b"s3cret" not in arguments and waiting.returncode == 0
        refused = mine("submit", "--api-key", "s3cret", "1")
        assert refused.returncode == 2 and "BULKHEAD_API_KEY" in refused.stderr and "s3cret" not in refused.stderr


def test_nobody_there_is_5_at_once_and_says_what_to_do(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}", f"unix:{tmp_path}/none"):
        for command in (["submit", "1"], ["submit", "--wait", "1"], ["status", "a-u1"], ["stream", "a-u1"], ["cancel", "a-u1"],
                        ["retry", "a-u1"], ["purge"], ["health"], ["ps"], ["logs"], ["logs", "-f"], ["drain"], ["scale", "2"],
                        ["dead", "list"]):
            done = Client(url)(*command)
            assert done.returncode == 5 and len(done.stderr.splitlines()) <= 3 and done.stdout == "", (command, done.stderr)
            assert "is `bulkhead serve` running" in done.stderr and url in done.stderr


@pytest.mark.parametrize("status, body", [(200, b"<html>hello</html>"), (200, b'{"id": 5}'[:0]), (500, b"\x1b[2Jboom"),
                                          (302, b""), (404, b"not here")])
def test_what_is_no_endpoint_is_told_apart(status, body):
    class Stranger(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            stranger = Client(f"http://127.0.0.1:{server.server_address[1]}")
            for command in (["submit", "1"], ["status", "a-u1"], ["health"]):
                done = stranger(*command)
                assert done.returncode == 5 and done.stdout == "" and "\x1b" not in done.stderr
                assert len(done.stderr.splitlines()) <= 3
                assert "not an endpoint" in done.stderr or f"HTTP {status}" in done.stderr, done.stderr
        finally:
            server.shutdown()
            thread.join()


def test_an_unknown_job_is_4(ask):
    for command in (["status", "none-u1"], ["status", "--wait", "none-u1"], ["stream", "none-u1"], ["cancel", "none-u1"],
                    ["retry", "none-u1"], ["dead", "show", "none-u1"]):
        done = ask(*command)
        assert done.returncode == 4 and len(done.stderr.splitlines()) <= 3 and "bulkhead " in done.stderr
        assert "none-u1" in done.stderr and done.stdout == ""


# ---- what breaks on the way ------------------------------------------------------------------------------------------


def test_a_wait_outlives_a_killed_supervisor(tmp_path):
    path = tmp_path / "s"
    options = ["--retries", "1", "--listen", f"unix:{path}"]
    ask = Client(f"unix:{path}")
    with Endpoint(ZOO, *options, state=tmp_path / "state") as first:
        waiting = ask.start("submit", "--wait", '{"do": "sleep_ms", "ms": 2000}')
        job = waiting.stderr.readline().split()[2]
        until(lambda: first.get(f"/status/{job}").json["status"] == "IN_PROGRESS", what="its start")
        first.stop(signal.SIGKILL)
        assert "trying again" in waiting.stderr.readline()
        assert waiting.poll() is None
    with Endpoint(ZOO, *options, state=tmp_path / "state"):
        out, err = waiting.communicate(timeout=PATIENCE)
        assert (waiting.returncode, out) == (0, '{"slept_ms":2000}\n'), err
        assert "in contact again" in err


def test_a_submission_waits_for_room(tmp_path):
    with Endpoint(ZOO, "--queue-max", "1", "--grace", "1s", state=tmp_path / "state") as endpoint:
        ask = Client(url_of(endpoint))
        running = ask.good("submit", '{"do": "sleep_ms", "ms": 600000}')
        until(lambda: endpoint.get(f"/status/{running}").json["status"] == "IN_PROGRESS", what="its start")
        queued = ask.good("submit", '{"do": "ok", "value": 1}')
        full = ask("submit", "--timeout", "1s", '{"do": "ok", "value": 2}')
        assert full.returncode == 5 and "trying again" in full.stderr
        patient = ask.start("submit", "--wait", '{"do": "ok", "value": 3}')
        assert "trying again" in patient.stderr.readline()
        ask.good("cancel", running)
        out, err = patient.communicate(timeout=PATIENCE)
        assert (patient.returncode, out) == (0, "3\n"), err
        assert endpoint.wait(queued)["output"] == 1


class Last(bytes):
    """What is passed on before the cut."""


class Wire:
    """Between a client and an endpoint; the nth connection is treated by the nth of `treatments`, later ones are left
    alone. A treatment is given what comes from either side and answers what is to be passed on, Last of it, or None to cut."""

    def __init__(self, endpoint, *treatments):
        self._target = (endpoint.host, endpoint.port)
        self._treatments = list(treatments)
        self.seen = []  # what clients sent, by connection
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d" % self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            number = len(self.seen)
            self.seen.append(b"")
            treat = self._treatments[number] if number < len(self._treatments) else lambda data, back: data
            upstream = socket.create_connection(self._target)
            ends = (client, upstream)
            threading.Thread(target=self._pass, args=(ends, number, treat, False), daemon=True).start()
            threading.Thread(target=self._pass, args=(ends[::-1], number, treat, True), daemon=True).start()

    def _pass(self, ends, number, treat, back):
        source, sink = ends
        try:
            while data := source.recv(65536):
                if not back:
                    self.seen[number] += data
                data = treat(data, back)
                if data is None:
                    break
                sink.sendall(data)
                if isinstance(data, Last):
                    break
        except OSError:
            pass
        for end in ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


def test_a_submission_whose_answer_was_lost_runs_once(tmp_path):
    with Endpoint(ECHO, state=tmp_path / "state") as endpoint:
        with Wire(endpoint, *[lambda data, back: None if back else data] * 2) as wire:
            done = Client(wire.url)("submit", "--wait", '{"n": 1}')
        assert (done.returncode, done.stdout) == (0, '{"n": 1}\n'), done.stderr
        assert len([sent for sent in wire.seen if sent.startswith(b"POST /run ")]) == 3
        assert done_jobs(endpoint) == 1


def test_a_stream_that_breaks_goes_on_behind_the_last_chunk(tmp_path):
    with Endpoint([*ZOO, "--stream"], state=tmp_path / "state") as endpoint:
        passed, cuts = bytearray(), []

        def cut_behind_the_third(data, back):
            if not back or cuts:
                return data
            passed.extend(data)
            end = passed.find(b"\n\n", passed.find(b"id: 3\n"))
            if b"id: 3\n" not in passed or end < 0:
                return data
            cuts.append(True)
            # Not before a byte of the answer: a connection that was used before is then tried again without a word.
            return Last(data[: len(data) - (len(passed) - (end + 2))])

        # The stream goes on to use the submission's connection, or has one of its own.
        with Wire(endpoint, cut_behind_the_third, cut_behind_the_third) as wire:
            done = Client(wire.url)("submit", "--stream", '{"chunks": 8, "do": "sleep_ms", "ms": 300}')
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [*map(str, range(8)), '{"slept_ms":300}']
        assert cuts and "trying again" in done.stderr and len(wire.seen) >= 2


# ---- the command line itself -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["submit", "status", "stream", "cancel", "retry", "purge", "health", "ps", "top", "logs", "drain", "scale", "upgrade", "dead"])
def test_each_command_has_its_own_help_with_an_example(command):
    for flag in ("--help", "-h"):
        text = Client("").good(command, flag)
        assert text.startswith(f"Usage: bulkhead {command}") and "Exit codes:" in text and "Example" in text
        assert f"  bulkhead {command}" in text or f"until bulkhead {command}" in text
        assert all(len(line) <= 120 for line in text.splitlines())
    assert command in Client("").good("--help")


@pytest.mark.parametrize("arguments, word", [
    (["status"], "which job"), (["status", "a/b"], "id"), (["status", "../health"], "id"), (["cancel", "a", "b"], "what is b"),
    (["health", "x"], "what is x"), (["scale"], "how many"), (["scale", "many"], "0 to 1024"), (["scale", "1025"], "0 to 1024"),
    (["retry"], "which job"), (["stream", "a", "--after", "-1"], "number of a chunk"), (["ps", "--state", "DONE"], "IN_QUEUE"),
    (["ps", "-n"], "-n needs N"), (["ps", "-n0"], "1 to 1000"), (["logs", "-x"], "unknown option"), (["logs", "--job", "a/b"], "letters"),
    (["submit", "--json", "--stream", "1"], "one of them"), (["submit", "--body", "1"], "unknown option --body"), (["ps", "-q", "--json"], "without"),
    (["top"], "needs a terminal"), (["submit", "1", "2"], "one input"), (["submit", "--nope", "1"], "unknown option --nope"),
    (["status", "--stream", "a"], "not an option of status"), (["submit", "--timeout"], "needs DURATION"),
    (["submit", "--timeout", "soon", "1"], "such as 500ms"), (["submit", "--wait=1", "1"], "takes no value"),
    (["submit", "@"], "name of a file"), (["submit", "@/no/such/file"], "cannot read"), (["submit", "1", "--file", "x"], "once"),
    (["health", "--url", "gopher://x"], "must be http"), (["health", "--url", "http://me:pw@x"], "BULKHEAD_API_KEY"),
    (["health", "--api-key-file", "/no/such/file"], "can be read"), (["submit", "--idempotency-key", "a b", "1"], "without spaces"),
])
def test_wrong_usage_is_2_and_says_what_is_right(arguments, word):
    done = Client("")(*arguments)
    assert done.returncode == 2 and word in done.stderr and done.stdout == "", done.stderr
    assert arguments[0] in done.stderr


def test_the_other_commands_know_of_them(tmp_path):
    ask = Client("http://127.0.0.1:1", BULKHEAD_API_KEY="x", HOME=str(tmp_path))
    assert "BULKHEAD_URL" not in ask.good("check")  # no "nothing reads it"
    wrong = ask("sumbit", "1")
    assert wrong.returncode == 2 and "submit" in wrong.stderr
