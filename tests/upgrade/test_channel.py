"""The init's channel, byte for byte: an init may be older than the supervisors below it, and each of them than the next. The test
stands in for the init, which never looks into what supervisors leave to each other. What is written here is version 1, for good."""

import array
import os
import signal
import socket
import struct
import subprocess

import pytest

from endpoint import BULKHEAD, BUILD, until

STEADY = str(BUILD / "tests" / "crash" / "steady")
HANDED_OVER = 121
LISTENERS = b"bulkhead 1 listeners\n127.0.0.1:0\n"
CONNECTIONS = b"bulkhead 1 connections\nendpoint\n"


class Channel:
    """What an init keeps: two pairs of sockets and a pipe."""

    def __init__(self):
        self.listeners = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.connections = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ready = os.pipe()
        self.descriptors = [end.fileno() for end in (*self.listeners, *self.connections)] + [self.ready[1]]

    def environment(self, version=1, life="first"):
        return {"BULKHEAD_INIT_PID": str(os.getpid()), "BULKHEAD_INIT_LIFE": life,
                "BULKHEAD_INIT_CHANNEL": " ".join(map(str, [version, *self.descriptors]))}

    def close(self):
        for end in (*self.listeners, *self.connections):
            end.close()
        for end in self.ready:
            os.close(end)


@pytest.fixture
def channel():
    made = Channel()
    yield made
    made.close()


class Supervisor:
    def __init__(self, tmp_path, channel, *options, program=BULKHEAD, **how):
        environment = {**os.environ, **channel.environment(**how), "LEDGER": str(tmp_path / "ledger")}
        self.log = tmp_path / "log"
        self.out = open(self.log, "a")
        self.process = subprocess.Popen([program, "serve", "--listen", "127.0.0.1:0", "--state-dir", str(tmp_path / "state"), *options,
                                         "--", STEADY], env=environment, pass_fds=channel.descriptors, stdin=subprocess.DEVNULL,
                                        stderr=self.out)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.out.close()


def take(end, flags=0, timeout=60):
    """A message and the sockets in it."""
    end.settimeout(timeout)
    data, ancillary, _, _ = end.recvmsg(1 << 16, socket.CMSG_SPACE(253 * 4), flags)
    descriptors = array.array("i")
    for level, kind, content in ancillary:
        assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
        descriptors.frombytes(content[:len(content) - len(content) % 4])
    return data, [socket.socket(fileno=fd) for fd in descriptors]


def give(end, data, *sockets):
    end.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [each.fileno() for each in sockets]))])


def ask(connection, path="/health"):
    connection.settimeout(60)
    connection.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
    data = b""
    while True:
        head, end, body = data.partition(b"\r\n\r\n")
        length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        if end and len(body) >= int(length[0].split(b":")[1]):
            return data
        part = connection.recv(65536)
        assert part, data
        data += part


def listener():
    made = socket.create_server(("127.0.0.1", 0))
    made.listen(16)
    return made


def test_what_a_supervisor_leaves_and_finds(tmp_path, channel):
    previous = signal.signal(signal.SIGCHLD, lambda *_: None)  # the knock
    try:
        with Supervisor(tmp_path, channel) as first:
            assert struct.unpack("i", os.read(channel.ready[0], 64)) == (first.process.pid,)
            data, [kept] = take(channel.listeners[1], socket.MSG_PEEK)
            assert data == LISTENERS
            with socket.create_connection(kept.getsockname()) as idle, socket.create_connection(kept.getsockname()) as fresh:
                assert ask(idle).startswith(b"HTTP/1.1 200")
                first.process.send_signal(signal.SIGUSR2)
                assert first.process.wait(60) == HANDED_OVER
                data, passed = take(channel.connections[1])
                assert data == CONNECTIONS and {each.getpeername() for each in passed} == {idle.getsockname(), fresh.getsockname()}
                give(channel.connections[0], data, *passed)
                [each.close() for each in passed]
                late = socket.create_connection(kept.getsockname())  # nobody is there, and it is not refused
                with Supervisor(tmp_path, channel, life="trial 10000") as second:
                    for connection in (idle, fresh, late):
                        assert ask(connection).startswith(b"HTTP/1.1 200")
                    assert b'"life":"trial"' in ask(late, "/bulkhead/upgrade")
                    assert struct.unpack("i", os.read(channel.ready[0], 64)) == (second.process.pid,)
                    data, [again] = take(channel.listeners[1], socket.MSG_PEEK)
                    assert data == LISTENERS and again.getsockname() == kept.getsockname()
                    second.process.terminate()
                    assert second.process.wait(60) == 0
                late.close()
            channel.listeners[1].setblocking(False)
            with pytest.raises(BlockingIOError):
                channel.listeners[1].recv(1, socket.MSG_PEEK)
            kept.close(), again.close()
    finally:
        signal.signal(signal.SIGCHLD, previous)


def test_golden_bytes_of_another_supervisor_are_taken(tmp_path, channel):
    with listener() as door, socket.create_connection(door.getsockname()) as client:
        served, _ = door.accept()
        give(channel.listeners[0], LISTENERS, door)
        give(channel.connections[0], CONNECTIONS, served)
        served.close()
        with Supervisor(tmp_path, channel, life="back it ended with code 1"):
            assert ask(client).startswith(b"HTTP/1.1 200")
            with socket.create_connection(door.getsockname()) as other:
                assert ask(other).startswith(b"HTTP/1.1 200")


def test_what_is_of_another_version_is_let_go(tmp_path, channel):
    with listener() as door, socket.create_connection(door.getsockname()) as client:
        served, _ = door.accept()
        give(channel.listeners[0], b"bulkhead 2 listeners\n127.0.0.1:0\n", door)
        give(channel.connections[0], b"bulkhead 2 connections\nendpoint\n", served)
        served.close()
        with Supervisor(tmp_path, channel):
            os.read(channel.ready[0], 64)
            client.settimeout(60)
            assert client.recv(1) == b""
            data, [kept] = take(channel.listeners[1], socket.MSG_PEEK)
            assert data == LISTENERS and kept.getsockname() != door.getsockname()
            kept.close()


def test_under_an_init_of_another_version_there_is_no_upgrade(tmp_path, channel):
    with Supervisor(tmp_path, channel, version=2) as supervisor:
        until(lambda: "listening on" in supervisor.log.read_text(), 60, "its start")
        supervisor.process.send_signal(signal.SIGUSR2)
        until(lambda: "no upgrade: the init above is" in supervisor.log.read_text(), 60, "its refusal")


@pytest.mark.parametrize("channel_version, words, code, says", [
    ("1", ["serve", "--", "true"], 0, '{"version":"'),
    ("2", ["serve", "--", "true"], 71, "version 2 of its channel, and this program speaks version 1"),
    ("1", ["serve", "--no-such-option", "--", "true"], 2, "unknown option"),
    ("1", ["serve", "--config", "/nowhere.toml", "--", "true"], 78, "/nowhere.toml")])
def test_the_probe(tmp_path, channel_version, words, code, says):
    done = subprocess.run([BULKHEAD, "probe", channel_version, *words], env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == code and says in (done.stdout if code == 0 else done.stderr), done
    assert not list(tmp_path.iterdir()), "it changes nothing"


@pytest.mark.parametrize("listening, listen, metrics, refused", [
    (None, "TAKEN", "TAKEN", None),                              # asked by a version that does not say where it listens
    ("endpoint TAKEN\nmetrics unix:/m\n", "TAKEN", "unix:/m", None),  # handed over
    ("endpoint 127.0.0.1:1\n", "TAKEN", None, "TAKEN"),
    ("endpoint 127.0.0.1:1\n", "FREE", "TAKEN", "TAKEN"),
    ("endpoint 127.0.0.1:1\n", "localhost:FREE", None, None),
    ("endpoint 127.0.0.1:1\n", "127.0.0.1:0,unix:/no/such/place/socket", None, "unix:/no/such/place/socket"),
    ("endpoint 127.0.0.1:1\n", "unix:.", None, "unix:."),
    ("endpoint TAKEN\n", "localhost:TAKEN", None, None),         # in our own way
    ("endpoint fd:3\n", "TAKEN", None, None),                    # handed over under another name
    ("metrics 127.0.0.1:1\n", "TAKEN", "FREE", None)])           # jobs come from elsewhere
def test_the_probe_tries_addresses(tmp_path, listening, listen, metrics, refused):
    with socket.socket() as taken, socket.socket() as free:
        for one in (taken, free):
            one.bind(("127.0.0.1", 0))
        taken.listen()
        ports = {"TAKEN": taken.getsockname()[1], "FREE": free.getsockname()[1]}
        free.close()

        def filled(text):
            for name, port in ports.items():
                text = text.replace(f"localhost:{name}", f"localhost:{port}").replace(name, f"127.0.0.1:{port}")
            return text

        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "BULKHEAD_LISTEN": filled(listen)}
        if metrics:
            env["BULKHEAD_METRICS_LISTEN"] = filled(metrics)
        if listening is not None:
            env["BULKHEAD_PROBE_LISTENING"] = filled(listening)
        done = subprocess.run([BULKHEAD, "probe", "1", "serve", "--", "true"], env=env, cwd=tmp_path, capture_output=True, text=True,
                              timeout=60)
    if refused:
        assert done.returncode == 71 and done.stderr.startswith(f"cannot listen on {filled(refused)}: "), done
    else:
        assert done.returncode == 0 and done.stdout.startswith('{"version":"'), done
    assert not list(tmp_path.iterdir()), "it changes nothing"


def test_a_newer_journal_is_refused_with_the_way_back(tmp_path):
    import sqlite3
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    with sqlite3.connect(state / "journal.db") as journal:
        journal.execute(f"PRAGMA application_id = {0x42486a6c}")
        journal.execute("PRAGMA user_version = 999")
        journal.execute("CREATE TABLE later (x)")
    words = ["serve", "--state-dir", str(state), "--", "true"]
    done = subprocess.run([BULKHEAD, "probe", "1", *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 71 and "format version 999" in done.stderr, done
    done = subprocess.run([BULKHEAD, *words], env={**os.environ, "BULKHEAD_INIT": "never"}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 71 and "999" in done.stderr and "journal.v" in done.stderr, done
