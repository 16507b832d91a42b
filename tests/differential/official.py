"""What the official SDK makes of the table: its workers against a server that speaks RunPod's worker endpoints.

The server hands each worker the rows of its form in one batch, notes what is posted, and knows that a worker is through when
it says that nothing is in progress, when all its rows are answered, or when its process has ended.
"""

import json
import os
import signal
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from rows import ROWS, Ends

HERE = Path(__file__).parent
FLAGS = {"debugger": ["--rp_debugger"]}
MARKER = {"input": {"row": "marker"}}


class Seen:
    """What was posted about one row."""

    def __init__(self):
        self.done, self.chunks, self.progress = None, [], []
        self.is_stream = None
        self.is_done = threading.Event()


class Worker:
    """One process, with the rows it is to run."""

    def __init__(self, number, rows, scratch):
        self.number = number
        self.jobs = {f"{number}-{i}": row for i, row in enumerate(rows)}
        self.seen = {job: Seen() for job in self.jobs}
        self.releases = {job: str(scratch / f"release-{job}") for job in self.jobs}
        self.given = self.marked = False
        self.through, self.ended = threading.Event(), threading.Event()
        self.status = None
        self.faults = []  # what a thread of the server's has seen go wrong

    def batch(self):
        def job_input(job, row):
            return row.job_input(self.releases[job])

        return [{"id": job, "input": job_input(job, row), **row.extra} for job, row in self.jobs.items()]

    def take(self, busy):
        """The next answer to a worker that asks for jobs; None: nothing for now."""
        if not self.given:
            self.given = True
            return self.batch()
        if not busy:
            self.through.set()
        if any(isinstance(row.sends, Ends) for row in self.jobs.values()):
            # It dies while its next request is held. Where that is answered in the same moment, it goes on with a closed
            # session, in circles.
            self.ended.wait()
            return None
        # A worker whose handler lost the job's id thinks that it is busy for ever: another job after that one tells.
        if len(self.jobs) == 1 and not self.marked and all(row.sends is None for row in self.jobs.values()):
            self.marked = True
            return [{"id": f"{self.number}-marker", **MARKER}]
        return None

    def posted(self, job, body, is_stream):
        if job == f"{self.number}-marker":
            return self.through.set()
        seen = self.seen.get(job)
        if seen is None:  # the id that a handler made up
            return None
        if body.get("status") == "IN_PROGRESS":
            seen.progress.append(body["output"])
            Path(self.releases[job]).touch()
        else:
            if seen.done is not None:
                self.faults.append(f"{self.jobs[job].name}: two results")
            seen.done, seen.is_stream = body, is_stream
            seen.is_done.set()
            if all(one.done is not None for one in self.seen.values()):
                self.through.set()
        return None


class Server(ThreadingHTTPServer):
    """A worker posts all results of its batch at once. Beyond the queue connections are made and lost again, and the official
    SDK gives a result up after three tries."""
    daemon_threads = True
    request_queue_size = 1024


class Official:
    """with Official(python, scratch) as official: … official.of(row)"""

    def __init__(self, python, scratch):
        self.python, self.scratch, self.process = python, scratch, None
        processes = {}
        for row in ROWS:
            processes.setdefault(row.process, []).append(row)
        self.workers = [Worker(number, rows, scratch) for number, rows in enumerate(processes.values(), 1)]
        self.stopping = threading.Event()
        self.lock = threading.Lock()

    def __enter__(self):
        self.server = Server(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        base = f"http://127.0.0.1:{self.server.server_address[1]}/v2/ep"
        plan = [[next(iter(worker.jobs.values())).form] for worker in self.workers]
        env = {name: value for name, value in os.environ.items() if not name.startswith(("RUNPOD_", "BULKHEAD_"))}
        env |= {"RUNPOD_WEBHOOK_GET_JOB": base + "/job-take/$ID?gpu=none",
                "RUNPOD_WEBHOOK_POST_OUTPUT": base + "/job-done/$RUNPOD_POD_ID/$ID?gpu=none",
                "RUNPOD_WEBHOOK_POST_STREAM": base + "/job-stream/$RUNPOD_POD_ID/$ID?gpu=none",
                "RUNPOD_POD_ID": "worker", "RUNPOD_POD_HOSTNAME": "host",
                "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true", "RUNPOD_SKIP_GPU_CHECK": "true", "HOME": str(self.scratch),
                "PYTHONDONTWRITEBYTECODE": "1", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        self.log = open(self.scratch / "official.log", "w")
        self.process = subprocess.Popen(
            [self.python, str(HERE / "official_worker.py"), str(self.scratch / "official-runs"),
             json.dumps([[form, *FLAGS.get(form, [])] for [form] in plan])],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log, env=env, cwd=self.scratch, text=True,
            start_new_session=True)
        threading.Thread(target=self._statuses, daemon=True).start()
        return self

    def _statuses(self):
        for line in self.process.stdout:
            number, status = map(int, line.split())
            self.workers[number - 1].status = status
            self.workers[number - 1].ended.set()
            self.workers[number - 1].through.set()

    def of(self, row):
        """What was seen of a row, when its worker is through; `Seen`, and the status with which the process ended."""
        worker = next(worker for worker in self.workers if row in worker.jobs.values())
        if not worker.through.wait(max(0.0, self.deadline - time.monotonic())):
            self.log.flush()
            raise AssertionError(f"the official worker of {row.process!r} is not through: " +
                                 (self.scratch / "official.log").read_text()[-4000:])
        if isinstance(row.sends, Ends) and not worker.ended.wait(max(0.0, self.deadline - time.monotonic())):
            raise AssertionError(f"the official worker of {row.process!r} did not end")
        assert not worker.faults, worker.faults
        job = next(job for job, one in worker.jobs.items() if one is row)
        if row.sends is not None and not isinstance(row.sends, Ends):
            # One thread may still read a long result when another hears that nothing is in progress.
            worker.seen[job].is_done.wait(30)
        return worker.seen[job], worker.status

    @property
    def deadline(self):
        self._deadline = getattr(self, "_deadline", None) or time.monotonic() + 120
        return self._deadline

    def __exit__(self, *_):
        self.stopping.set()
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.server.shutdown()
        self.server.server_close()
        self.log.close()

    def _handler(self):
        official = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, body=None):
                data = b"" if body is None else json.dumps(body).encode()
                self.send_response(204 if body is None else 200)
                if body is not None:
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self):
                url = urlsplit(self.path)
                query = parse_qs(url.query)
                if "/job-stop/" in url.path:
                    official.stopping.wait()
                    return
                wanted = int(query.get("batch_size", ["1"])[0])
                worker = official.workers[-(-wanted // 1000) - 1]
                jobs = worker.take(query["job_in_progress"] == ["1"])
                if jobs is None and worker.through.is_set():
                    official.stopping.wait()
                    return
                if jobs is None:
                    worker.through.wait(0.05)
                self.answer(jobs)

            def do_POST(self):
                url = urlsplit(self.path)
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                job = url.path.rsplit("/", 1)[1]
                numbers = job.split("-")[0]
                if numbers.isdigit():
                    worker = official.workers[int(numbers) - 1]
                    with official.lock:
                        if "/job-stream/" in url.path:
                            worker.seen[job].chunks.append(body["output"])
                        else:
                            worker.posted(job, body, parse_qs(url.query)["isStream"] == ["true"])
                self.answer({})

            def log_message(self, *_):
                pass

        return Handler
