#!/usr/bin/python3
"""A no-op Python handler under Bulkhead, beside the official SDK and mosec, in one run and by one load generator.

    bench/python/compare.py BUILD_DIR --peers VENV [--seconds 5] [--connections 1 32] [--rounds 10] [--heavy numpy,onnxruntime]

VENV is a virtual environment with the PyPI packages `runpod` and `mosec`. Needs wrk. Prints, and judges nothing:

 - /runsync per second, one worker process each. Bulkhead runs the very file that the SDK's local server runs, by a Python that
   has the official package and by one that has not; with a journal in memory, as the peers keep none, and with a durable one.
 - Cold start: from exec to the first result. Bulkhead's over HTTP, the SDK's worker at a server of RunPod's worker endpoints.
 - Refresh: from a result that asks for a fresh process to the next job's, without and with a spare.
 - Memory: what one more worker process takes (its proportional set).

--heavy: the last three also for a handler that imports these modules, which VENV has; refresh and memory with --preload, too.
"""

import argparse
import http.client
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "http"))
from compare import MOSEC_SERVER, SDK_HANDLER, Served, free_port, load  # noqa: E402

REFRESHING = """
import os, {imports}
import runpod
runpod.serverless.start({{"handler": lambda job: {{"refresh_worker": job["input"].get("refresh"), "pid": os.getpid()}}}})
"""


# ---- requests per second -----------------------------------------------------------------------------------------------


class Bulkhead:
    def __init__(self, build, scratch):
        self.program, self.scratch = str(build / "supervisor" / "bulkhead"), scratch

    def serve(self, *handler, options=(), durability="memory"):
        """The command, and the port it will listen on."""
        port, state = free_port(), tempfile.mkdtemp(dir=self.scratch)
        return [self.program, "serve", "--listen", f"127.0.0.1:{port}", "--state-dir", state, "--durability", durability,
                "--log-level", "warning", *options, "--", *handler], port


def servers(bulkhead, venv, scratch):
    handler = str(write(scratch, "handler.py", SDK_HANDLER))
    for python, name in ((venv, "with runpod"), ("/usr/bin/python3", "without")):
        for durability in ("memory", "full"):
            command, port = bulkhead.serve(python, handler, durability=durability)
            yield Served(f"bulkhead, {durability}, {name}", command, f"http://127.0.0.1:{port}/runsync")
    port = free_port()
    yield Served("runpod --rp_serve_api", [venv, handler, "--rp_serve_api", "--rp_api_port", str(port), "--rp_log_level", "ERROR"],
                 f"http://127.0.0.1:{port}/runsync", cwd=scratch)
    port = free_port()
    yield Served("mosec", [venv, str(write(scratch, "mosec_server.py", MOSEC_SERVER)), "--port", str(port), "--address",
                           "127.0.0.1", "--log-level", "error"], f"http://127.0.0.1:{port}/inference", cwd=scratch)


def throughput(bulkhead, venv, scratch, connections, seconds):
    rates = {}
    print("/runsync" + " " * 28 + "".join(f"{f'{count} connections':>34}" for count in connections))
    for server in servers(bulkhead, venv, scratch):
        with server:
            load(server, 4, 1, scratch)
            cells = []
            for count in connections:
                rate, p50, p99, bad = load(server, count, seconds, scratch)
                rates[server.name, count] = rate
                cells.append(f"{rate:>10.0f}/s {p50:>7.0f} {p99:>7.0f} us" + (f" {bad} bad" if bad else ""))
        print(f"{server.name:36}" + "".join(f"{cell:>34}" for cell in cells), flush=True)
    for peer in ("runpod --rp_serve_api", "mosec"):
        for name in dict.fromkeys(name for name, _ in rates if name.startswith("bulkhead")):
            print(f"{name} / {peer}: " + " ".join(f"{rates[name, count] / rates[peer, count]:6.1f}x at {count}"
                                                   for count in connections))


def write(scratch, name, text):
    path = Path(scratch) / name
    path.write_text(text)
    return path


# ---- cold start --------------------------------------------------------------------------------------------------------


def first_answer(port, deadline=60):
    """Sends a job again and again until one is answered."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=deadline)
        try:
            connection.request("POST", "/runsync", '{"input":{"n":1}}', {"Content-Type": "application/json"})
            response = connection.getresponse()
            if response.status == 200 and json.loads(response.read())["status"] == "COMPLETED":
                return
        except OSError:
            time.sleep(0.002)
        finally:
            connection.close()
    raise SystemExit("no answer came")


def ended(process):
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def quietly(command, **more):
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                            start_new_session=True, **more)


def cold_bulkhead(bulkhead, *handler):
    command, port = bulkhead.serve(*handler)
    begun = time.monotonic()
    process = quietly(command)
    first_answer(port)
    took = time.monotonic() - begun
    ended(process)
    return took


class WorkerEndpoints(BaseHTTPRequestHandler):
    """RunPod's side of a worker: one job, and a note of when its result came."""
    protocol_version = "HTTP/1.1"

    def answer(self, body):
        self.send_response(200 if body else 204)
        if body:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if "/job-take" in self.path and not self.server.given:
            self.server.given = True
            return self.answer(b'{"id":"one","input":{"n":1}}')
        self.server.done.wait(30)
        return self.answer(b"")

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.done_at = time.monotonic()
        self.server.done.set()
        self.answer(b"{}")

    def log_message(self, *_):
        pass


def cold_sdk(venv, handler, scratch):
    class Server(ThreadingHTTPServer):
        given, done, done_at = False, threading.Event(), None

        def handle_error(self, *_):
            pass  # connections of a worker that was killed

    server = Server(("127.0.0.1", 0), WorkerEndpoints)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_address[1]}/v2/ep"
    env = {**os.environ, "RUNPOD_WEBHOOK_GET_JOB": base + "/job-take/$ID?x=1", "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
           "RUNPOD_WEBHOOK_POST_OUTPUT": base + "/job-done/$RUNPOD_POD_ID/$ID?x=1", "RUNPOD_SKIP_GPU_CHECK": "true",
           "NO_PROXY": "127.0.0.1", "HOME": str(scratch)}
    begun = time.monotonic()
    process = quietly([venv, handler], env=env)
    if not server.done.wait(60):
        raise SystemExit("the official SDK's worker gave no result")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    server.shutdown()
    server.server_close()
    return server.done_at - begun


def times(name, measure, rounds):
    took = sorted(measure() for _ in range(rounds))
    median = statistics.median(took)
    print(f"  {name:44} median {1000 * median:7.1f} ms   best {1000 * took[0]:7.1f}   worst {1000 * took[-1]:7.1f}", flush=True)
    return median


def cold_start(bulkhead, venv, scratch, rounds, imports):
    handler = str(write(scratch, "cold.py", REFRESHING.format(imports=imports or "sys")))
    print(f"exec to first result{f', importing {imports}' if imports else ''}")
    ours = times("bulkhead, with runpod", lambda: cold_bulkhead(bulkhead, venv, handler), rounds)
    if not imports:
        times("bulkhead, without", lambda: cold_bulkhead(bulkhead, "/usr/bin/python3", handler), rounds)
    sdk = times("runpod's own worker", lambda: cold_sdk(venv, handler, scratch), rounds)
    print(f"  bulkhead / runpod: {ours / sdk:.2f}x")


# ---- refresh and memory ------------------------------------------------------------------------------------------------


class Client:
    """Over one kept-alive connection."""

    def __init__(self, port):
        first_answer(port)
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def runsync(self, job_input):
        self.connection.request("POST", "/runsync", json.dumps({"input": job_input}), {"Content-Type": "application/json"})
        return json.loads(self.connection.getresponse().read())["output"]


def refresh(bulkhead, python, scratch, rounds, imports, options, name):
    handler = str(write(scratch, "refresh.py", REFRESHING.format(imports=imports or "sys")))
    command, port = bulkhead.serve(python, handler, options=options)
    process = quietly(command)
    try:
        client = Client(port)

        def once():
            client.runsync({})
            time.sleep(0.3)  # what a spare takes to be there again is not measured
            old = client.runsync({"refresh": True})["pid"]
            begun = time.monotonic()
            assert client.runsync({})["pid"] != old
            return time.monotonic() - begun

        times(name, once, rounds)
    finally:
        ended(process)


def proportional_set(top):
    """In bytes, of a process and all below it."""
    parents, total = {}, 0
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            parents[int(entry)] = int(Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
    for pid in parents:
        above = pid
        while above not in (top, 0):
            above = parents.get(above, 0)
        if above == top:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(rollup.split("\nPss:")[1].split()[0]) << 10
    return total


def memory(bulkhead, python, scratch, imports, options, name):
    handler = str(write(scratch, "memory.py", REFRESHING.format(imports=imports or "sys")))
    taken = []
    for workers in (1, 5):
        command, port = bulkhead.serve(python, handler, options=(*options, "--workers", str(workers)))
        process = quietly(command)
        try:
            client = Client(port)
            connection, end = client.connection, time.monotonic() + 60
            while time.monotonic() < end:
                connection.request("GET", "/health")
                if json.loads(connection.getresponse().read())["workers"]["ready"] == workers:
                    break
                time.sleep(0.05)
            taken.append(proportional_set(process.pid))
        finally:
            ended(process)
    print(f"  {name:44} {(taken[1] - taken[0]) / 4 / (1 << 20):7.1f} MiB", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=Path)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--connections", type=int, nargs="*", default=[1, 32])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--heavy", default="", help="modules, with commas")
    parser.add_argument("--only", choices=["throughput", "cold", "refresh", "memory"])
    arguments = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("bench/python needs wrk (the package of that name)")
    venv = str(arguments.peers.absolute() / "bin" / "python")
    with tempfile.TemporaryDirectory() as scratch:
        bulkhead = Bulkhead(arguments.build.resolve(), scratch)

        def wanted(part):
            return arguments.only in (None, part)

        if wanted("throughput"):
            throughput(bulkhead, venv, scratch, arguments.connections, arguments.seconds)
        for imports in filter(lambda name: name is not None, ("", arguments.heavy or None)):
            what = f", importing {imports}" if imports else ""
            if wanted("cold"):
                cold_start(bulkhead, venv, scratch, arguments.rounds, imports)
            if wanted("refresh"):
                print(f"refresh to the next job's result{what}")
                ways = [((), "bulkhead"), (("--spares", "1"), "bulkhead, one spare")]
                if imports:
                    ways.append((("--preload", imports), "bulkhead, --preload"))
                for options, name in ways:
                    refresh(bulkhead, venv, scratch, arguments.rounds, imports, options, name)
            if wanted("memory"):
                print(f"memory of one more worker process{what}")
                memory(bulkhead, venv, scratch, imports, (), "bulkhead")
                if imports:
                    memory(bulkhead, venv, scratch, imports, ("--preload", imports), "bulkhead, --preload")


if __name__ == "__main__":
    main()
