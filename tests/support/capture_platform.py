"""RunPod's platform as a worker sees it, for tests: an HTTP server on loopback that hands jobs out by long polls, takes
results, and writes down every call. It fails when it is told to.

    with Platform() as platform:
        platform.add({"id": "a", "input": 1})
        worker = subprocess.Popen([...], env={**os.environ, **platform.environment()})
        platform.wait_done("a")
"""

import asyncio
import collections
import json
import re
import socket
import ssl
import struct
import subprocess
import threading
import time
import urllib.parse

from endpoint import until

KEY = "a-key-that-nobody-may-see"
STATUS = {200: "OK", 204: "No Content", 302: "Found", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found",
          413: "Content Too Large", 429: "Too Many Requests", 500: "Internal Server Error", 502: "Bad Gateway",
          503: "Service Unavailable"}


class Call:
    """One request as it came. `kind` is take, batch, stop, done, progress, stream, ping or other."""

    def __init__(self, method, target, headers, body):
        self.method, self.target, self.headers, self.body = method, target, headers, body
        path, _, query = target.partition("?")
        self.path, self.query = path, dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        self.at = time.monotonic()
        self.answer = None  # the status, or the name of the fault
        self.last = False   # on its connection
        words = path.strip("/").split("/")
        self.word = words[2] if len(words) > 2 else ""
        self.job = words[-1] if self.word in ("job-done", "job-stream") else None
        self.kind = {"job-take": "take", "job-take-batch": "batch", "job-stop": "stop", "job-done": "done",
                     "job-stream": "stream", "ping": "ping"}.get(self.word, "other")
        if self.kind == "done" and b'"IN_PROGRESS"' in body[:64]:
            self.kind = "progress"

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.kind} {self.target} -> {self.answer}>"


class Platform:
    """`faults(call)` gives, for each call, nothing or what is to go wrong: a status, or "reset" (the connection), "half"
    (of the answer), "garbage" (200 and no JSON), "lost" (the call counts, its answer is lost), "slow" (a reset, later), "hang" (until release()),
    "never" (answered, and it does not count), "mute" (never answered, and it counts, a take excepted), "refused" (a reset, and
    nobody listens for a moment), "close" (all is well, and the connection ends). `handshakes()`, with `tls`, gives for each
    connection nothing or "cut", "half", "garbage" or "hang": what comes in place of the TLS handshake."""

    def __init__(self, hold=20.0, query="?gpu=none", faults=None, lost_after=None, port=0, tls=None, handshakes=None):
        self.hold, self.query, self.faults, self.lost_after, self.tls = hold, query, faults, lost_after, tls
        self.handshakes = handshakes
        self.failed_handshakes = collections.Counter()
        self.outages = 0                                # how often nobody listened
        self.calls = []
        self.jobs = {}                                  # by id: as they were added
        self.handed = collections.Counter()             # how often each was handed over
        self.results = collections.defaultdict(list)    # by id: bodies of done, in the order they came
        self.chunks = collections.defaultdict(list)
        self.progress = collections.defaultdict(list)
        self.late = []                                  # ids of progress or chunks that came after their result
        self.pings = []
        self.seen = {}                                  # by id: when a ping or a take last named it
        self._queue, self._stops = collections.deque(), []
        self._port = port
        self._idle, self._reopening = set(), None
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(30)

    # ---- what a test does

    def environment(self, worker="pod-1", **more):
        base = f"{self.url}/v2/ep"
        return {"RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/$ID{self.query}",
                "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/$RUNPOD_POD_ID/$ID{self.query}",
                "RUNPOD_WEBHOOK_POST_STREAM": f"{base}/job-stream/$RUNPOD_POD_ID/$ID{self.query}",
                "RUNPOD_WEBHOOK_PING": f"{base}/ping/$RUNPOD_POD_ID{self.query}",
                "RUNPOD_PING_INTERVAL": "1000", "RUNPOD_AI_API_KEY": KEY, "RUNPOD_POD_ID": worker,
                "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true", "RUNPOD_SKIP_GPU_CHECK": "true", "no_proxy": "*", **more}

    def add(self, *jobs):
        def put():
            for job in jobs:
                self.jobs[job.get("id")] = job
                self._queue.append(job)
            self._wake()
        self._loop.call_soon_threadsafe(put)

    def stop_job(self, *ids):
        def put():
            self._stops.extend(ids)
            self._wake()
        self._loop.call_soon_threadsafe(put)

    def release(self):
        self._loop.call_soon_threadsafe(self._released.set)

    def of(self, kind, job=None):
        return [call for call in list(self.calls) if call.kind == kind and job in (None, call.job)]

    def result(self, job):
        """The first result of a job, parsed: the one that counts."""
        return json.loads(self.results[job][0])

    def wait_done(self, *jobs, timeout=60.0):
        def missing():
            return [job for job in jobs if job not in self.results]
        try:
            until(lambda: not missing(), timeout, "results")
        except AssertionError as error:
            raise AssertionError(f"no result of {missing()[:10]} ({len(missing())} of {len(jobs)}); the last calls: "
                                 f"{self.calls[-20:]}") from error
        return [self.result(job) for job in jobs]

    def wait_calls(self, kind, count=1, timeout=60.0):
        return until(lambda: (lambda calls: calls if len(calls) >= count else None)(self.of(kind)), timeout,
                     f"{count} calls of {kind}")

    def waiting_polls(self):
        return self._polls

    # ---- the server

    def _run(self):
        asyncio.set_event_loop(self._loop)
        self._event, self._released = asyncio.Event(), asyncio.Event()
        self._polls = 0

        async def begin():
            if self.handshakes:
                self._behind = await self._listen(self._serve, 0, self.tls)
            self._server = await self._listen_in_front(self._port)
            self.port = self._server.sockets[0].getsockname()[1]
            self.url = f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"
            if self.lost_after:
                self._reaper = asyncio.create_task(self._reap())
            self._ready.set()
        self._loop.run_until_complete(begin())
        self._loop.run_forever()

    async def _listen(self, serve, port, tls):
        return await asyncio.start_server(serve, "127.0.0.1", port, limit=64 << 20, backlog=512, ssl=tls)

    async def _listen_in_front(self, port):
        if self.handshakes:
            return await self._listen(self._shake, port, None)
        return await self._listen(self._serve, port, self.tls)

    async def _be_away(self, seconds):
        """New connections are refused, and those that wait for a call end, so that the next call needs a new one."""
        self.outages += 1
        self._server.close()
        for writer in list(self._idle):
            reset(writer)
        await asyncio.sleep(seconds)
        while True:
            try:
                self._server = await self._listen_in_front(self.port)
                break
            except OSError:  # somebody else's for a moment, as the near end of a connection
                await asyncio.sleep(0.1)
        self._reopening = None

    async def _shake(self, reader, writer):
        """In front of the server that speaks TLS: passes bytes on, or spoils the handshake."""
        fault, passed = self.handshakes(), [writer]
        try:
            hello = await reader.read(1 << 16)
            if fault:
                self.failed_handshakes[fault] += 1
            if fault == "cut":
                return reset(writer)
            if fault == "garbage":
                return writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
            if fault == "hang":
                return await reader.read()
            behind, onwards = await asyncio.open_connection("127.0.0.1", self._behind.sockets[0].getsockname()[1])
            passed.append(onwards)
            onwards.write(hello)
            if fault == "half":
                writer.write((await behind.read(1 << 16))[:100])
                return await writer.drain()
            # The first side that ends, ends both.
            await asyncio.wait([asyncio.ensure_future(pass_on(reader, onwards)),
                                asyncio.ensure_future(pass_on(behind, writer))], return_when=asyncio.FIRST_COMPLETED)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            for each in passed:
                each.close()

    def close(self):
        def end():
            self._server.close()
            if self.handshakes:
                self._behind.close()
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.call_later(0.1, self._loop.stop)
        self._loop.call_soon_threadsafe(end)
        self._thread.join(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _wake(self):
        self._event.set()
        self._event = asyncio.Event()

    async def _reap(self):
        """A job that was handed over, has no result and was named by no ping for a while is handed over again."""
        while True:
            await asyncio.sleep(self.lost_after / 5)
            now = time.monotonic()
            for job in [job for job, at in self.seen.items() if now - at > self.lost_after]:
                del self.seen[job]
                if job not in self.results:
                    self._queue.append(self.jobs[job])
            self._wake()

    async def _serve(self, reader, writer):
        try:
            while True:
                self._idle.add(writer)
                head = await reader.readuntil(b"\r\n\r\n")
                self._idle.discard(writer)
                first, *lines = head.decode("latin-1").split("\r\n")
                method, target, _ = first.split(" ", 2)
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                call = Call(method, target, headers, body)
                self.calls.append(call)
                if not await self._answer(call, reader, writer) or call.last:
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._idle.discard(writer)
            writer.close()

    async def _answer(self, call, reader, writer):
        fault = self.faults(call) if self.faults else None
        if call.headers.get("authorization") != KEY:
            return await self._write(call, writer, 401, b'{"error":"who are you?"}')
        if fault == "hang":
            await self._released.wait()
        if fault in ("never", "mute"):
            call.answer = fault
            if fault == "mute" and call.kind not in ("take", "batch", "stop"):
                self._count(call)
            await reader.read()  # until the worker gives up
            return False
        if fault == "refused" and self._reopening is None:
            self._reopening = asyncio.create_task(self._be_away(0.4))
        if fault == "slow":
            await asyncio.sleep(1.5)
        if fault in ("reset", "slow", "refused"):
            call.answer = fault
            reset(writer)
            return False
        call.last = fault == "close"
        if isinstance(fault, int):
            return await self._write(call, writer, fault, b'{"error":"on purpose","for":"%s"}' % KEY.encode())
        if fault == "garbage":
            return await self._write(call, writer, 200, b"<html>the proxy is sorry</html>", "text/html")
        if call.kind in ("take", "batch"):
            return await self._take(call, reader, writer, fault)
        if call.kind == "stop":
            return await self._stop(call, reader, writer)
        self._count(call)
        if fault == "lost":
            call.answer = fault
            writer.transport.abort()
            return False
        if fault == "half":
            call.answer = fault
            writer.write(b"HTTP/1.1 500 Oops\r\nContent-Le")
            return False
        return await self._write(call, writer, 200, b"{}")

    def _count(self, call):
        if call.kind == "done":
            self.results[call.job].append(call.body)
            self.seen.pop(call.job, None)
        elif call.kind in ("progress", "stream"):
            if call.job in self.results:
                self.late.append(call.job)
            (self.progress if call.kind == "progress" else self.chunks)[call.job].append(call.json["output"])
        elif call.kind == "ping":
            self.pings.append(call)
            for job in filter(None, call.query.get("job_id", "").split(",")):
                if job in self.seen:
                    self.seen[job] = time.monotonic()

    async def _held(self, reader, what):
        """Waits for `what` to be true, a disconnection, or the end of the poll."""
        end = time.monotonic() + self.hold
        self._polls += 1
        try:
            while not what() and not reader.at_eof() and (left := end - time.monotonic()) > 0:
                try:
                    await asyncio.wait_for(self._event.wait(), min(left, 0.5))
                except asyncio.TimeoutError:
                    pass
        finally:
            self._polls -= 1
        return bool(what()) and not reader.at_eof()

    async def _take(self, call, reader, writer, fault):
        if not await self._held(reader, lambda: self._queue):
            return await self._write(call, writer, 204, b"")
        most = int(call.query.get("batch_size", 1)) if call.kind == "batch" else 1
        jobs = [self._queue.popleft() for _ in range(min(most, len(self._queue)))]
        body = json.dumps(jobs if call.kind == "batch" else jobs[0]).encode()
        if fault == "half":
            self._queue.extendleft(reversed(jobs))
            call.answer = fault
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
            writer.write(body[:len(body) // 2])
            await writer.drain()
            return False
        for job in jobs:
            if "id" in job:
                self.handed[job["id"]] += 1
                self.seen[job["id"]] = time.monotonic()
        call.gave = [job.get("id") for job in jobs]
        return await self._write(call, writer, 200, body)

    async def _stop(self, call, reader, writer):
        if not await self._held(reader, lambda: self._stops):
            return await self._write(call, writer, 204, b"")
        ids, self._stops = self._stops, []
        return await self._write(call, writer, 200, json.dumps({"jobsToStop": ids}).encode())

    async def _write(self, call, writer, status, body, content_type="application/json"):
        call.answer = status
        head = f"HTTP/1.1 {status} {STATUS.get(status, 'Whatever')}\r\n"
        if status != 204:
            head += f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        writer.write(head.encode() + b"\r\n" + body)
        await writer.drain()
        return True


def reset(writer):
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def pass_on(reader, writer):
    try:
        while some := await reader.read(1 << 16):
            writer.write(some)
            await writer.drain()
    except (ConnectionError, asyncio.CancelledError):
        pass


def certified(folder):
    """The file of a certificate that nobody vouches for, and what Platform's `tls` takes."""
    key, chain = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
                    "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out",
                    str(chain)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return chain, context


def hides_key(text):
    """Nothing of what a worker wrote may have the key in it."""
    return not re.search(re.escape(KEY), text)
