"""A receiver of webhooks for a test: a real HTTP server on a port of its own, which answers what it is told to."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from endpoint import until


class Call:
    def __init__(self, path, headers, body):
        self.path, self.headers, self.body = path, headers, body

    @property
    def json(self):
        return json.loads(self.body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass  # a supervisor that is killed hangs up


class Receiver:
    """`answers`: statuses given one by one, the last for ever; a status may come with headers: (307, {"Location": …}).

    With `down=True` its port is taken and nobody listens there (connections are refused) until up(). Calls to a path
    that begins with /hang are not answered before release()."""

    def __init__(self, answers=(200,), down=False):
        self.calls = []
        self.answers = list(answers)
        self._lock = threading.Lock()
        self._released = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one piece, or the kernel holds the body back for an acknowledgement

            def do_POST(self):
                receiver._answer(self)

            do_GET = do_POST

            def log_message(self, *_):
                pass

        self.server = _Server(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self.server.server_bind()
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = None
        if not down:
            self.up()

    def up(self):
        self.server.server_activate()
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def release(self):
        self._released.set()

    def _answer(self, handler):
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        with self._lock:
            self.calls.append(Call(handler.path, handler.headers, body))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if handler.path.startswith("/hang"):
            self._released.wait(300)
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "2")
        handler.end_headers()
        handler.wfile.write(b"ok")
        handler.wfile.flush()

    def to(self, path):
        with self._lock:
            return [call for call in self.calls if call.path == path]

    def wait(self, count=1, path=None, timeout=60.0):
        """The first `count` calls (to one path)."""
        def come():
            calls = self.to(path) if path else list(self.calls)
            return calls if len(calls) >= count else None
        return until(come, timeout, f"{count} calls of the webhook{' ' + path if path else ''}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release()
        if self._thread:
            self.server.shutdown()
        self.server.server_close()
