"""Requests that an endpoint must refuse: a table written by hand, and mutations of good ones.

What a mutation has become is decided here, by Python's own JSON parser and the rules below, and never by what the server
made of it: `verdict_on_body` and `verdict_on_head` say None for a request that is (still) good.
"""

import json
import random
import re
from typing import NamedTuple


class Case(NamedTuple):
    name: str
    data: bytes
    statuses: tuple  # one of these
    word: str        # in the message
    ends: bool = True  # our side is shut down behind it: nothing more comes


def post(path, body, *fields, length=None):
    body = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    head = [f"POST {path} HTTP/1.1", "Host: x", *fields, f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


def get(path, *fields, method="GET"):
    path = path if isinstance(path, bytes) else path.encode("utf-8")
    return method.encode() + b" " + path + b" HTTP/1.1\r\n" + "\r\n".join(["Host: x", *fields]).encode("latin-1") + b"\r\n\r\n"


# ---- JSON ------------------------------------------------------------------------------------------------------------

NOT_JSON = [
    "{", "}", "[", "{]", '{"input"', '{"input":', '{"input":}', '{"input":1', '{"input":1,', '{"input":1,}', '{"input" 1}',
    '{input:1}', "{'input':1}", '{"input":1}{', '{"input":1} x', '{"input":1}}', '{"input":1 "a":2}', '{,"input":1}',
    '{"input":[1,]}', '{"input":[1 2]}', '{"input":[,1]}', '{"input":{"a"}}', '{"input":{"a":1]}', '{"input":[1}}',
    '{"input":01}', '{"input":+1}', '{"input":.5}', '{"input":1.}', '{"input":1e}', '{"input":1e+}', '{"input":-}', '{"input":--1}',
    '{"input":0x10}', '{"input":1_000}', '{"input":NaN}', '{"input":Infinity}', '{"input":-Infinity}', '{"input":nan}',
    '{"input":True}', '{"input":None}', '{"input":nul}', '{"input":nulll}', '{"input":undefined}', '{"input":tru}',
    '{"input":"}', '{"input":"a\nb"}', '{"input":"a\tb"}', '{"input":"\x00"}', '{"input":"\x1f"}', '{"input":"\\x41"}',
    '{"input":"\\u12"}', '{"input":"\\u12g4"}', '{"input":"\\U00000041"}', '{"input":"\\"}', "{\"input\":'a'}",
    '{"input":1}//c', '/*c*/{"input":1}', '{"input":1,/*c*/"a":2}', '{"input":"a" + "b"}', '{"input":(1)}', '{"input":`a`}',
    "input=1", "<input>1</input>", '--b\r\nContent-Disposition: form-data; name="input"\r\n\r\n1\r\n--b--\r\n', "input: 1\n",
    '\x0b{"input":1}', '{"input":1}\x00', '\x00{"input":1}', '{"input":1}\x0c', '\u00a0{"input":1}', '{\u201cinput\u201d:1}',
    '{"input":\u0661}', '{"input":1}\u2028',
]
NOT_UTF8 = [b"\xff", b"\x80", b"\xc0\x80", b"\xc1\xbf", b"\xe0\x80\xaf", b"\xed\xa0\x80", b"\xed\xa0\xbd\xed\xb8\x80",
            b"\xf0\x80\x80\xaf", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfe\xff", b"\xe2\x82", b"\xf0\x9f\x98", b"\xc3("]
WRONG_ENCODINGS = [('{"input":1}'.encode("utf-16"), "utf-16"), ('{"input":1}'.encode("utf-32"), "utf-32"),
                   ('{"input":1}'.encode("utf-16-le"), "utf-16-le"), (b"\xef\xbb\xbf" + b'{"input":1}', "a byte order mark"),
                   (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", "gzip"), (b"\x81\xa5input\x01", "msgpack")]
NOT_A_SUBMISSION = [
    ("", "empty"), ("null", "object"), ("1", "object"), ('"input"', "object"), ("[]", "object"), ('[{"input":1}]', "object"),
    ("true", "object"), ("{}", "input"), ('{"Input":1}', "input"), ('{"input ":1}', "input"), ('{"inputs":1}', "input"),
    ('{"input":1,"input":2}', "twice"), ('{"input":1,"\\u0069nput":2}', "twice"), ('{"input":1,"a":1,"a":1}', "twice"),
    ('{"input":1,"policy":{"ttl":10000,"ttl":10000}}', "twice"), ('{"input":1,"n":1e400}', "double"),
    ('{"input":1,"n":-1e400}', "double"), ('{"input":1,"n":' + "9" * 400 + "}", "double"),
    ('{"input":1,' + ",".join(f'"k{i}":1' for i in range(64)) + "}", "64 names"),
    ('{"input":1,"policy":[]}', "policy"), ('{"input":1,"policy":"fast"}', "policy"), ('{"input":1,"policy":5}', "policy"),
    ('{"input":1,"webhook":5}', "webhook"), ('{"input":1,"webhook":{}}', "webhook"), ('{"input":1,"webhook":"ftp://x"}', "webhook"),
    ('{"input":1,"webhook":"x"}', "webhook"), ('{"input":1,"webhook":"http://a b"}', "webhook"),
    ('{"input":1,"webhook":"http://x/\\r\\nX: y"}', "webhook"), ('{"input":1,"webhook":"http://\u00e9"}', "webhook"),
    ('{"input":1,"webhook":"file:///etc/passwd"}', "webhook"), ('{"input":1,"webhook":"http://' + "x" * 5000 + '"}', "webhook"),
    *((f'{{"input":1,"webhook":"{url}"}}', "webhook") for url in ("http://", "http:///x", "//x", "http:x", "https://[::1", "http://x:0",
                                                               "http://x:65536", "http://x:y", "http://<x>", "http://x\\\\y")),
    ('{"input":1,"s3Config":"x"}', "s3Config"), ('{"input":1,"s3Config":[]}', "s3Config"), ('{"input":1,"s3Config":1}', "s3Config"),
]
BAD_TIMES = ["-1", "0", "1", "4999", "604800001", "1e15", "1e300", "5000.5", '"5000"', '"5s"', "[5000]", "{}", "true", "-5000", "1e-5"]
TOO_DEEP = {"arrays": "[" * 513 + "]" * 513, "objects": '{"a":' * 513 + "1" + "}" * 513, "mixed": '[{"a":' * 257 + "1" + "}]" * 257,
            "unclosed arrays": "[" * 100_000, "unclosed objects": '{"a":' * 100_000}


def json_cases():
    for path in ("/run", "/runsync"):
        for text in NOT_JSON:
            yield Case(f"{path}: {text[:40]!r}", post(path, text), (400,), "JSON", False)
        for text, word in NOT_A_SUBMISSION:
            yield Case(f"{path}: {text[:40]!r}", post(path, text), (400,), word, False)
        for what, nested in TOO_DEEP.items():
            yield Case(f"{path}: {what} too deep", post(path, f'{{"input":{nested}}}'), (400,), "nested too deeply", False)
    for bad in NOT_UTF8:
        for where in (b'{"input":"%s"}', b'{"input":1,"%s":2}', b'{"input":1}%s', b'%s{"input":1}'):
            yield Case(f"not UTF-8: {where % bad!r}", post("/run", where % bad), (400,), "UTF-8", False)
    for body, what in WRONG_ENCODINGS:
        yield Case(f"in {what}", post("/run", body), (400,), "", False)
    for name in ("executionTimeout", "ttl"):
        for value in BAD_TIMES:
            yield Case(f"{name} {value}", post("/run", f'{{"input":1,"policy":{{"{name}":{value}}}}}'), (400,), name, False)
    for value in ("1", '"yes"', "[]", "{}"):
        yield Case(f"lowPriority {value}", post("/run", f'{{"input":1,"policy":{{"lowPriority":{value}}}}}'), (400,), "lowPriority", False)
    for text in ("", "{", "[]", '"x"', '{"a":1,"a":2}', '{"stream":tru}', '{"n":1e400}', '{"a":"\ud800"}'):
        yield Case(f"openai: {text!r}", post("/openai/v1/chat/completions", text), (400,), "", False)


# ---- paths, ids, methods, sizes --------------------------------------------------------------------------------------

PATHS = ["/nowhere", "/Run", "/run/x", "/health/x", "/v2", "/v2/", "/v2/run", "/v2/a", "/v2/a/b/run", "/v3/a/run", "/../health",
         "/./health", "/x/../health", "/v2/../health", "/v2/%2e%2e/health", "/%68ealth", "/health%00", "/health%2f", "/health;x", "/health.",
         "/health\\", "\\health", "health", "?", "*", "x://y/health", "http:///health", "http:/health", "http://x", "ftp://x/health",
         "/..%2f..%2fetc/passwd", "/etc/passwd", "/cgi-bin/../../../bin/sh", "/.git/config", "/\u00fcber", "/openai", "/openai/",
         "/openai/v1/../../health", "/openai/v1/%2e%2e/x", "/batches", "/" + "a" * 8000, "/" + "a/" * 3000, "/" + "%41" * 2000]
IDS = ["none-u1", ".", "..", "%2e%2e", "../health", "a/b", "a.b", "a%20b", "a;b", "a,b", "a:b", "a~b", "a+b", "a*b", "'", '"', "<script>", "%00",
       "{id}", "$ID", "\u00e9", "\u2603", "a" * 129, "a" * 8000, "-" * 128, "0", "null", "' OR 1=1 --".replace(" ", "%20")]
METHODS = ["PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "get", "Post", "PROPFIND", "FOO", "A" * 100]


def path_cases():
    for path in PATHS:
        yield Case(f"path {path[:40]!r}", get(path), (404,), "path", False)
    for job in IDS:
        for method, verb in (("GET", "status"), ("POST", "cancel"), ("GET", "stream"), ("POST", "retry"), ("GET", "status-sync")):
            yield Case(f"{verb} of {job[:40]!r}", get(f"/{verb}/{job}", method=method), (404,), "", False)
    for raw in (b"/status/\xff", b"/status/\xc3\x28", b"/he\x80lth"):
        yield Case(f"path {raw!r}", get(raw), (404,), "path", False)
    for method in METHODS:
        for path in ("/run", "/health", "/status/a"):
            yield Case(f"{method[:8]} {path}", get(path, method=method), (400, 405), "", False)
    for method, path in (("GET", "/run"), ("GET", "/runsync"), ("GET", "/cancel/a"), ("POST", "/health"), ("GET", "/purge-queue"), ("HEAD", "/run"), ("POST", "/"), ("POST", "/page/app.js")):
        yield Case(f"{method} {path}", get(path, method=method), (405,), "takes", False)
    for query in ("wait=", "wait=x", "wait=1s", "wait=1.5", "wait=99999999999999999999", "wait=0x10", "wait=+5", "wait=%31"):
        yield Case(f"status-sync?{query}", get(f"/status-sync/a?{query}"), (400,), "wait", False)
        yield Case(f"runsync?{query}", post(f"/runsync?{query}", '{"input":1}'), (400,), "wait", False)
    for query in ("ttl=", "ttl=-1", "ttl=x", "ttl=99999999999999999999"):
        yield Case(f"status?{query}", get(f"/status/a?{query}"), (400,), "ttl", False)
    for number in ("x", "-1", "1.5", "99999999999999999999", "4294967296", "1 2"):
        yield Case(f"Last-Event-ID {number}", get("/stream/a", "Accept: text/event-stream", f"Last-Event-ID: {number}"), (400,), "Last-Event-ID", False)
    yield Case("a long Idempotency-Key", post("/run", '{"input":1}', "Idempotency-Key: " + "k" * 256), (400,), "Idempotency-Key", False)
    for expect in ("tea", "200-ok", "100-continue, tea"):
        yield Case(f"Expect {expect}", post("/run", '{"input":1}', f"Expect: {expect}"), (417,), "Expect", False)


def size_cases():
    for path, limit in (("/run", 10 << 20), ("/runsync", 20 << 20), ("/cancel/a", 64 << 10)):
        for length in (limit + 1, 1 << 40, (1 << 64) - 1):
            yield Case(f"{path} of {length} bytes", post(path, "", length=length), (413,), "too large")
    yield Case("/run of 10 MiB and one byte", post("/run", b"x" * ((10 << 20) + 1)), (413,), "too large")
    chunk = b"%x\r\n%s\r\n" % (1 << 20, b" " * (1 << 20))
    yield Case("/run of eleven chunks of 1 MiB", CHUNKED + chunk * 11, (413,), "too large")
    yield Case("a long field", get("/health", "A: " + "a" * 20_000), (431,), "header")
    yield Case("a long name", get("/health", "A" * 20_000 + ": a"), (400, 431), "")
    yield Case("many fields", get("/health", *[f"A{i}: b" for i in range(3000)]), (431,), "header")
    yield Case("a long target", get("/" + "a" * 20_000), (431,), "header")
    yield Case("a long query", get("/health?" + "a=b&" * 6000), (431,), "header")
    yield Case("a long method", get("/health", method="A" * 20_000), (400, 431), "")


# ---- framing ---------------------------------------------------------------------------------------------------------

HEAD = b"POST /run HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
BODY = b'{"input":1}'

BROKEN_FRAMING = [
    b"GET\r\n\r\n", b"GET /health\r\n\r\n", b"GET /health \r\n\r\n", b"/health HTTP/1.1\r\nHost: x\r\n\r\n", b" GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET  /health HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /health  HTTP/1.1\r\nHost: x\r\n\r\n", b"GET\t/health HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /he alth HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /health HTTP/1.1 \r\nHost: x\r\n\r\n", b"GET /health HTTP/1.1 x\r\nHost: x\r\n\r\n",
    b"GET /health HTTP/0.9\r\nHost: x\r\n\r\n", b"GET /health HTTP/1.2\r\nHost: x\r\n\r\n", b"GET /health HTTP/2.0\r\nHost: x\r\n\r\n",
    b"GET /health HTTP/3\r\nHost: x\r\n\r\n", b"GET /health HTTP/11\r\nHost: x\r\n\r\n", b"GET /health HTTP/1.10\r\nHost: x\r\n\r\n",
    b"GET /health HTTP/01.1\r\nHost: x\r\n\r\n", b"GET /health http/1.1\r\nHost: x\r\n\r\n", b"GET /health HTTPS/1.1\r\nHost: x\r\n\r\n",
    b"GET /health FTP/1.1\r\nHost: x\r\n\r\n", b"GET /health HTTP/1.1\nHost: x\n\n", b"GET /health HTTP/1.1\rHost: x\r\r",
    b"GET /health HTTP/1.1\r\n\r\n", b"GET /health HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", b"GET /health HTTP/1.1\r\nHost: x\r\nhost: y\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: a b\r\n\r\n", b"GET /health HTTP/1.1\r\nHost: a/b\r\n\r\n", b"GET /health HTTP/1.1\r\nHost: <x>\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: \xc3\xa9\r\n\r\n", b"GET /health HTTP/1.1\r\nHost x\r\n\r\n", b"GET /health HTTP/1.1\r\nHost : x\r\n\r\n",
    b"GET /health HTTP/1.1\r\n Host: x\r\n\r\n", b"GET /health HTTP/1.1\r\n: x\r\n\r\n", b"GET /health HTTP/1.1\r\nHost: x\r\nA B: c\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: x\r\nA(: b\r\n\r\n", b"GET /health HTTP/1.1\r\nHost: x\r\n\xff: b\r\n\r\n", b"GET /health HTTP/1.1\r\nHost: x\r\nA: b\x00\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: x\r\nA: b\x7f\r\n\r\n", b"GET /health HTTP/1.1\r\nHost: x\r\nA: b\x1b[2J\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: x\r\nA: b\r\r\n\r\n", b"GET /health HTTP/1.1\r\nHost: x\r\nA: b\n\r\n\r\n", b"GET /health HTTP/1.1\r\nHost: x\r\nnothing\r\n\r\n",
    b"GET /he\x00lth HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /he\x01lth HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /he\x7flth HTTP/1.1\r\nHost: x\r\n\r\n",
    b"G\x00T /health HTTP/1.1\r\nHost: x\r\n\r\n", b"G(T /health HTTP/1.1\r\nHost: x\r\n\r\n", b"\xffGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 60 + b"\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n",
    b"EHLO mail\r\n\r\n", b"*1\r\n$4\r\nPING\r\n", b"\x00" * 64, b"\xff" * 64, b"\n", b"\n\n", b" \r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"{}\r\n\r\n",
    HEAD + b"Content-Length: -1\r\n\r\n", HEAD + b"Content-Length: +1\r\n\r\n1", HEAD + b"Content-Length: 1e3\r\n\r\n", HEAD + b"Content-Length: 0x1\r\n\r\n1",
    HEAD + b"Content-Length: 1.0\r\n\r\n1", HEAD + b"Content-Length: one\r\n\r\n", HEAD + b"Content-Length:\r\n\r\n", HEAD + b"Content-Length: 1 1\r\n\r\n1",
    HEAD + b"Content-Length: 11;\r\n\r\n" + BODY, HEAD + b"Content-Length: 99999999999999999999\r\n\r\n", HEAD + b"Content-Length: 11\r\nContent-Length: 12\r\n\r\n" + BODY,
    HEAD + b"Content-Length: 11, 12\r\n\r\n" + BODY, HEAD + b"Content-Length: 11\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 11\r\n\r\n0\r\n\r\n", HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /run HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    CHUNKED + b"x\r\n", CHUNKED + b"-1\r\n", CHUNKED + b"+1\r\n1\r\n", CHUNKED + b" 1\r\n1\r\n", CHUNKED + b"0x1\r\n1\r\n", CHUNKED + b"\r\n",
    CHUNKED + b"1g\r\n", CHUNKED + b"fffffffffffffffff\r\n", CHUNKED + b"3\r\n12345\r\n0\r\n\r\n", CHUNKED + b"b\r\n" + BODY + b"0\r\n\r\n",
    CHUNKED + b"b\n" + BODY + b"\n0\n\n", CHUNKED + b"b;\x00\r\n" + BODY + b"\r\n0\r\n\r\n", CHUNKED + b"b\r\n" + BODY + b"\r\n0\r\nno colon\r\n\r\n",
    CHUNKED + b"b\r\n" + BODY + b"\r\n0\r\nA\x00: b\r\n\r\n",
]
INCOMPLETE = [b"G", b"GET /heal", b"GET /health HTTP/1.1\r\n", b"GET /health HTTP/1.1\r\nHost: x", b"GET /health HTTP/1.1\r\nHost: x\r\n", HEAD,
              HEAD + b"Content-Length: 11\r\n\r\n", HEAD + b"Content-Length: 11\r\n\r\n{", HEAD + b"Content-Length: 12\r\n\r\n" + BODY, CHUNKED,
              CHUNKED + b"b", CHUNKED + b"b\r\n{", CHUNKED + b"b\r\n" + BODY + b"\r\n", CHUNKED + b"b\r\n" + BODY + b"\r\n0\r\n"]
STRANGE_ENCODINGS = ["gzip", "gzip, chunked", "chunked, identity", "identity", "chunked;q=1", "xchunked", "chunked,", ""]


def framing_cases():
    for data in BROKEN_FRAMING:
        yield Case(f"framing {data[:60]!r}", data, (400,), "")
    for data in INCOMPLETE:
        yield Case(f"incomplete {data[-40:]!r}", data, (400,), "before the request was complete")
    yield Case("a huge chunk", CHUNKED + b"ffffffffffffffff\r\n", (413,), "too large")
    yield Case("an endless chunk extension", CHUNKED + b"5;" + b"a" * 20_000, (431,), "header")
    yield Case("a long trailer", CHUNKED + b"b\r\n" + BODY + b"\r\n0\r\nA: " + b"a" * 20_000 + b"\r\n\r\n", (431,), "header")
    for encoding in STRANGE_ENCODINGS:
        # RFC 9112, 6.1, asks for 501: the one answer to a bad request here that is no 4xx.
        yield Case(f"Transfer-Encoding {encoding!r}", HEAD + f"Transfer-Encoding: {encoding}\r\n\r\n0\r\n\r\n".encode(), (501,), "chunked")


def hand_written():
    return [*json_cases(), *path_cases(), *size_cases(), *framing_cases()]


# What nobody is owed an answer to, since it asks nothing: the connection is closed without one.
ASKS_NOTHING = [b"", b"\r", b"\r\n", b"\r\n" * 10]


# ---- mutations -------------------------------------------------------------------------------------------------------

GOOD_BODIES = [
    '{"input": {"prompt": "a \\"quick\\" \\u00e9 fox \u2603", "n": [1, -2.5e10, true, null, {}]}, "policy": {"ttl": 10000}}',
    '{"input":[1,2,3],"webhook":null,"policy":{"executionTimeout":5000,"ttl":20000,"lowPriority":true}}',
    '{"s3Config":{"accessId":"a","n":0},"unknown":[[],{"a":1e5}],"input":"\\ud83d\\ude00"}',
]
JSON_BYTES = [bytes([byte]) for byte in b"{}[]\",:0123456789eE+-.\\ntfu \n\x00\x01\x80\xc3\xed\xf0"]


def mutate(choose, data, alphabet):
    for _ in range(choose.randint(1, 3)):
        at = choose.randrange(len(data) or 1)
        kind = choose.randrange(5)
        if kind == 0:
            data = data[:at] + choose.choice(alphabet) + data[at + 1:]
        elif kind == 1:
            data = data[:at] + data[at + 1:]
        elif kind == 2:
            data = data[:at] + choose.choice(alphabet) + data[at:]
        elif kind == 3:
            data = data[:at] + data[at:at + choose.randint(1, 20)] * 2 + data[at + 20:]
        else:
            data = data[:max(1, at)]
    return data


def _double(text):
    """Whether a double comes near this number: none does beyond its range, or, for one that is not 0, below."""
    value = float(text)
    return abs(value) != float("inf") and (value != 0 or not re.search("[1-9]", re.split("[eE]", text)[0]))


class Number(str):
    pass


class Members(list):
    """An object, its names in order and as often as they were given."""


def _refuse_constant(name):
    raise ValueError(name)


def _check_names(members):
    names = [name for name, _ in members]
    if len(set(names)) < len(names):
        return "a name twice"
    if len(names) > 64:
        return "more than 64 names"
    for name, value in members:
        if name != "input" and isinstance(value, Number) and not _double(value):
            return "beyond a double"
    return None


def _check_time(value, low):
    if value is None:
        return None
    if not isinstance(value, Number) or float(value) != int(float(value)) or not low <= float(value) <= 604_800_000:
        return "a time"
    return None


def verdict_on_body(body):
    """What is wrong with the body of a submission, or None. Not asked about depth: no mutation here is deep."""
    try:
        text = body.decode("utf-8")
        if text.startswith("\ufeff"):
            return "a byte order mark"
        whole = json.loads(text, parse_int=Number, parse_float=Number, parse_constant=_refuse_constant, object_pairs_hook=Members)
    except ValueError as error:
        return str(error)
    if not isinstance(whole, Members):
        return "no object"
    members = dict(whole)
    policy = members.get("policy")
    if problem := _check_names(whole):
        return problem
    if "input" not in members:
        return "no input"
    if policy is not None:
        if not isinstance(policy, Members):
            return "policy is no object"
        said = dict(policy)
        problem = (_check_names(policy) or _check_time(said.get("executionTimeout"), 5000) or _check_time(said.get("ttl"), 10_000))
        if problem or not isinstance(said.get("lowPriority"), (bool, type(None))):
            return problem or "lowPriority"
    if members.get("webhook") not in (None, ""):  # no mutation makes a URL, which the server would call
        return "webhook"
    if not isinstance(members.get("s3Config"), (Members, type(None))):
        return "s3Config"
    return None


GOOD_HEADS = [b"GET /health HTTP/1.1\r\nHost: localhost:8000\r\nAccept: */*\r\nX-Request-ID: abc\r\n\r\n",
              b"GET /status/none-u1?ttl=60000 HTTP/1.1\r\nHost: [::1]\r\nUser-Agent: x (y; z) 1/2\r\nConnection: keep-alive\r\n\r\n",
              b"POST /purge-queue HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}",
              b"POST /purge-queue HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\nA: b\r\n\r\n"]
HEAD_BYTES = [bytes([byte]) for byte in b"\r\n \t:/?#%;,()[]@\"\\\x00\x01\x7f\x80\xff.-_0123456789abcXYZ"] + [b"\r\n", b"\r\n ", b": "]

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_VALUE = rb"[\t\x20-\x7e\x80-\xff]*"


def verdict_on_head(data):
    """What makes the first request of `data` malformed by RFC 9112, or None when nothing that is looked at here does. A
    body is not looked into, beyond its length. Folded lines pass, as a server may unfold them (5.2)."""
    while data.startswith(b"\r\n"):
        data = data[2:]
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return "no end"
    head = re.sub(rb"\r\n[ \t]+(?=[^ \t\r\n])|\r\n[ \t]+(?=\r\n|$)", b" ", head)
    first, *fields = head.split(b"\r\n")
    if not re.fullmatch(_TOKEN + rb" [\x21-\x7e\x80-\xff]+ HTTP/1\.[01]", first):
        return "the first line"
    seen = {}
    for field in fields:
        match = re.fullmatch(rb"(" + _TOKEN + rb"):(" + _VALUE + rb")", field)
        if not match:
            return "a field"
        seen.setdefault(match[1].lower(), []).append(match[2].strip(b" \t"))
    hosts = seen.get(b"host", [])
    if len(hosts) > 1 or (not hosts and first.endswith(b"1.1")):
        return "not one Host"
    if hosts and not re.fullmatch(rb"[-._~%!$&'()*+,;=:\[\]0-9A-Za-z]*", hosts[0]):
        return "a Host that is none"
    lengths = {length for value in seen.get(b"content-length", []) for length in re.split(rb"[ \t]*,[ \t]*", value)}
    if lengths and not all(re.fullmatch(rb"\d+", length) for length in lengths):
        return "a length that is no number"
    if len({int(length) for length in lengths}) > 1:
        return "two lengths"
    if b"transfer-encoding" in seen:
        if lengths or first.endswith(b"1.0") or [value.lower() for value in seen[b"transfer-encoding"]] != [b"chunked"]:
            return "a transfer encoding"
    elif lengths and len(rest) < int(lengths.pop()):
        return "a body that is too short"
    return None


def mutations(seed, good, alphabet, count):
    """`count` different ones, the same for the same seed."""
    choose = random.Random(seed)
    made = {}
    while len(made) < count:
        data = mutate(choose, choose.choice(good), alphabet)
        if data and data not in good:
            made[data] = None
    return list(made)


def mutated_bodies(count):
    return mutations(20, [body.encode() for body in GOOD_BODIES], JSON_BYTES, count)


def mutated_heads(count):
    return mutations(21, GOOD_HEADS, HEAD_BYTES, count)
