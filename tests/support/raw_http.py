"""HTTP as bytes: for tests that send what no library would, and want to see all that comes back."""

import re
import socket


class Response:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body


class Broken(AssertionError):
    """What came back is not a row of whole responses."""


def take_response(data, head_only=False):
    """The first response in `data` and what is behind it; None when it is not whole."""
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return None
    lines = head.decode("latin-1").split("\r\n")
    status = re.fullmatch(r"HTTP/1\.1 (\d{3}) [A-Z][A-Za-z ]+", lines[0])
    if not status:
        raise Broken(f"not a status line: {lines[0]!r}")
    headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(": ")
        if not colon or name.lower() in headers:
            raise Broken(f"not a header line: {line!r}")
        headers[name.lower()] = value
    status = int(status[1])
    if status < 200 or status == 204:
        return Response(status, headers, b""), rest
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while True:
            size, end, rest = rest.partition(b"\r\n")
            if not end or len(rest) < int(size, 16) + 2:
                return None
            body += rest[:int(size, 16)]
            rest = rest[int(size, 16) + 2:]
            if int(size, 16) == 0:
                return Response(status, headers, body), rest
    if "content-length" not in headers:
        raise Broken(f"nobody knows where this ends: {head!r}")
    length = 0 if head_only else int(headers["content-length"])
    return (Response(status, headers, rest[:length]), rest[length:]) if len(rest) >= length else None


class Wire:
    def __init__(self, address, timeout=60):
        self._socket = socket.create_connection(address, timeout=timeout)
        self._data = b""

    def send(self, data):
        """As much as the other side lets through: it may have answered and closed before the end."""
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def half_close(self):
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def receive(self, head_only=False):
        """The next response (interim ones left out), or None when the connection was closed before one began."""
        while True:
            taken = take_response(self._data, head_only)
            if taken is not None:
                response, self._data = taken
                if response.status >= 200:
                    return response
                continue
            try:
                more = self._socket.recv(1 << 20)
            except ConnectionResetError:
                more = b""
            if not more:
                if self._data:
                    raise Broken(f"closed in the middle of a response: {self._data[:200]!r}")
                return None
            self._data += more

    def close(self):
        self._socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
