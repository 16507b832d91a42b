#!/usr/bin/python3
"""/runsync of a no-op handler: Bulkhead beside the official SDK's local server and mosec, in one run, by one load generator.

    bench/http/compare.py BUILD_DIR [--seconds 5] [--peers VENV]

VENV is a virtual environment with the PyPI packages `runpod` and `mosec`; without it Bulkhead is measured alone. Needs wrk.
Prints requests per second, p50 and p99, and the ratios; measures, and judges nothing.
"""

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

BODY = '{"input":{"n":1}}'
LUA = "wrk.method='POST'\nwrk.headers['Content-Type']='application/json'\nwrk.body='%s'\n"

SDK_HANDLER = """
import runpod
runpod.serverless.start({"handler": lambda job: job["input"]})
"""
MOSEC_SERVER = """
from mosec import Server, Worker

class NoOp(Worker):
    def forward(self, data):
        return data

if __name__ == "__main__":
    server = Server()
    server.append_worker(NoOp, num=1)
    server.run()
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(url, body):
    try:
        request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})
        return urllib.request.urlopen(request, timeout=5).status == 200
    except OSError:
        return False


class Served:
    """A server under measurement, ended with everything it started."""

    def __init__(self, name, command, url, body=BODY, cwd=None, env=None):
        self.name, self.url, self.body = name, url, body
        self.process = subprocess.Popen(command, cwd=cwd, env={**os.environ, **(env or {})}, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, start_new_session=True)

    def __enter__(self):
        deadline = time.monotonic() + 40
        while not answers(self.url, self.body):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{self.name} did not start")
            time.sleep(0.1)
        return self

    def __exit__(self, *_):
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def load(served, connections, seconds, scripts):
    script = Path(scripts) / f"{served.name.replace(' ', '_').replace('/', '_')}.lua"
    script.write_text(LUA % served.body)
    out = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), served.url],
                         capture_output=True, text=True, check=True).stdout
    unit = {"us": 1, "ms": 1000, "s": 1e6}
    quantile = {q: float(v) * unit[u] for q, v, u in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s)", out)}
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1))
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    return rate, quantile["50"], quantile["99"], int(bad.group(1)) if bad else 0


def servers(build, peers, scratch):
    bulkhead = str(build / "supervisor" / "bulkhead")
    echo, echo_async = (str(build / "examples" / "echo" / name) for name in ("echo", "echo_async"))
    for durability in ("memory", "full"):
        for label, options, handler in (("2 workers", ["--workers", "2"], [echo]), ("1 async worker", [], [echo_async])):
            port, state = free_port(), tempfile.mkdtemp(dir=scratch)
            yield Served(f"bulkhead {durability}, {label}",
                         [bulkhead, "serve", "--listen", f"127.0.0.1:{port}", "--state-dir", state, "--durability", durability,
                          *options, "--", *handler], f"http://127.0.0.1:{port}/runsync")
    if not peers:
        return
    python, port = str(peers / "bin" / "python"), free_port()
    handler = Path(scratch) / "sdk_handler.py"
    handler.write_text(SDK_HANDLER)
    yield Served("runpod --rp_serve_api", [python, str(handler), "--rp_serve_api", "--rp_api_port", str(port),
                                           "--rp_log_level", "ERROR"], f"http://127.0.0.1:{port}/runsync", cwd=scratch)
    port = free_port()
    server = Path(scratch) / "mosec_server.py"
    server.write_text(MOSEC_SERVER)
    yield Served("mosec", [python, str(server), "--port", str(port), "--address", "127.0.0.1", "--log-level", "error"],
                 f"http://127.0.0.1:{port}/inference", cwd=scratch)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=Path)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--connections", type=int, nargs="*", default=[1, 32, 256])
    arguments = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("bench/http needs wrk (the package of that name)")
    rates = {}
    with tempfile.TemporaryDirectory() as scratch:
        print(f"{'':36}" + "".join(f"{f'{c} connections':>34}" for c in arguments.connections))
        for server in servers(arguments.build.resolve(), arguments.peers and arguments.peers.resolve(), scratch):
            with server:
                load(server, 4, 1, scratch)
                cells = []
                for connections in arguments.connections:
                    rate, p50, p99, bad = load(server, connections, arguments.seconds, scratch)
                    rates[server.name, connections] = (rate, p50)
                    cells.append(f"{rate:>10.0f}/s {p50:>7.0f} {p99:>7.0f} us" + (f" {bad} bad" if bad else ""))
            print(f"{server.name:36}" + "".join(f"{cell:>34}" for cell in cells), flush=True)
    for peer in ("runpod --rp_serve_api", "mosec"):
        for name in dict.fromkeys(name for name, _ in rates):
            if not name.startswith("bulkhead") or (peer, 1) not in rates:
                continue
            ratio = " ".join(f"{rates[name, c][0] / rates[peer, c][0]:8.1f}x at {c}" for c in arguments.connections)
            print(f"{name} / {peer}: {ratio}; p50 at {arguments.connections[0]}: "
                  f"{rates[name, arguments.connections[0]][1] / rates[peer, arguments.connections[0]][1]:.2f}x")


if __name__ == "__main__":
    main()
