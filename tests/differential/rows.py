"""The table: handlers, what the official SDK sends of each, and where Bulkhead differs on purpose.

A row is the body of a handler. `sends` is what the official SDK (the version that tests/clients/requirements.txt pins) posts
as the job's result, `chunks` and `progress` what it posts before that. Both sides run each row live; a row without `better`
must come out equal. A row with `better` has there the reason why it does not, and in `instead` what clients of Bulkhead see:
`Fails(pattern)` for a failed job whose error matches, or the result as `sends` would say it.

In bodies `job`, `runpod`, and what handlers.py offers are at hand. Exceptions are written as Raised(type, message), the text
of a generator that raised as Broke(message): tracebacks name files, and are looked at apart.
"""

import json
import random
import re
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Raised:
    """The JSON in a string that an exception becomes."""
    kind: str
    message: str


@dataclass(frozen=True)
class Broke:
    """The text that a generator's exception becomes."""
    message: str


@dataclass(frozen=True)
class Ends:
    """The worker's process ended: an exit code, or minus a signal's number. Nothing was sent."""
    status: int


@dataclass(frozen=True)
class Fails:
    """What clients of Bulkhead see: FAILED, with an error of which this can be found in the text."""
    pattern: str
    refresh: bool = False


NOTHING = None  # no result was sent: to a client the job runs for ever


@dataclass
class Row:
    name: str
    form: str
    body: str
    sends: Any
    chunks: list = field(default_factory=list)
    progress: list = field(default_factory=list)
    input: Any = ...
    extra: dict = field(default_factory=dict)
    better: str = ""
    instead: Any = ...
    streams: Any = ...  # the chunks that clients of Bulkhead get, where they are others
    alone: bool = False  # on the official side it takes the process with it, or the job's id

    def __post_init__(self):
        if self.streams is ...:
            self.streams = self.chunks

    def job_input(self, release):
        """`release`: a file that the test makes when it has seen the job's progress."""
        if self.form == "any input":
            return self.input
        return {"row": self.name, "release": release, **({} if self.input is ... else self.input)}

    @property
    def process(self):
        return f"{self.form}: {self.name}" if self.alone else self.form


ROWS = []
FORM = ""


def form(name):
    global FORM
    FORM = name


def row(name, body, sends, **more):
    ROWS.append(Row(name, FORM, body, sends, **more))


def lost(name, body, pattern, why, sends=NOTHING, **more):
    """Rows of the short list: Bulkhead fails the job and says why."""
    instead = pattern if isinstance(pattern, (Fails, dict)) else Fails(pattern)
    row(name, body, sends, better=why, instead=instead, **more)


def nested(levels):
    value = None
    for _ in range(levels):
        value = [value]
    return value


def random_value(seed):
    """Anything that JSON has, and some of what Python makes of it, the same for the same seed."""
    source = random.Random(seed)

    def text():
        alphabet = "ab \"\\\n\t\x00\x1f\x7f/\u00e9\u2028\u65e5\ufeff\uffff\U0001f600\U0010ffff"
        return "".join(source.choice(alphabet) for _ in range(source.randrange(8)))

    def number():
        return source.choice([0, -0.0, 1, -1, 2**63, -2**63, 2**64, 10**30, 0.1, 1e22, 1e16, 1e-7, 5e-324, 1.7976931348623157e308,
                              source.getrandbits(80), source.random(), source.uniform(-1e9, 1e9)])

    def value(levels):
        kind = source.randrange(9 if levels else 5)
        if kind >= 7:
            return {source.choice([text, text, number, lambda: None, lambda: True])(): value(levels - 1)
                    for _ in range(source.randrange(5))}
        if kind >= 5:
            return [list, tuple][kind - 5](value(levels - 1) for _ in range(source.randrange(5)))
        return [text, number, lambda: None, lambda: True, lambda: False][kind]()

    return value(5)


# The reasons of the short list.
UNSENT = "the result cannot be written as JSON: the official SDK logs that and sends nothing, so the job runs until it expires"
NAN = "NaN and Infinity are no JSON: most clients cannot read the official SDK's body"
BASE = "what is no Exception ends the official SDK's task or process without a result"
GENERATORS = "a generator that is not seen as one is sent by the official SDK as an object, that is, not at all"
CHUNK = "the official SDK leaves out a chunk that it cannot send: the client gets a stream with a hole and COMPLETED"
NAMED = "both fail; the official SDK's error is about its own log line, Bulkhead's names the value"
DEEP = "512 levels are what the gateway takes; more is refused by the parsers of many clients"

# ---- what a function returns ------------------------------------------------------------------------------------------

form("function")
row("text", "return 'hi'", {"output": "hi"})
row("empty text", "return ''", {"output": ""})
row("integer", "return 3", {"output": 3})
row("zero", "return 0", {"output": 0})
row("negative", "return -1", {"output": -1})
row("big integer", "return 2**70", {"output": 2**70})
row("float", "return 0.1", {"output": 0.1})
row("whole float", "return 1.0", {"output": 1.0})
row("large and small floats", "return [1e300, 5e-324, -0.0]", {"output": [1e300, 5e-324, -0.0]})
row("None", "return None", {"output": None})
row("no return", "pass", {"output": None})
row("True", "return True", {"output": True})
row("False", "return False", {"output": False})
row("list", "return [1, 'a', None]", {"output": [1, "a", None]})
row("empty list", "return []", {"output": []})
row("tuple", "return (1, 2)", {"output": [1, 2]})
row("dict", "return {'a': 1}", {"output": {"a": 1}})
row("order of keys", "return {'z': 1, 'a': 2, 'm': 3}", {"output": {"z": 1, "a": 2, "m": 3}})
row("empty dict", "return {}", {})
row("nested empty dict", "return {'a': {}}", {"output": {"a": {}}})
row("unicode", "return 'h\\u00e9llo \\u65e5\\u672c \\U0001f600 \\u2028'", {"output": "héllo 日本 😀 \u2028"})
row("control characters", "return '\\x00\\x1f\\x7f\\n\\t\"\\\\'", {"output": "\x00\x1f\x7f\n\t\"\\"})
row("unicode keys", "return {'日本': 'é', '': 0}", {"output": {"日本": "é", "": 0}})
row("an output within", "return {'output': {'x': 1}, 'status': 'x'}", {"output": {"output": {"x": 1}, "status": "x"}})
row("keys of the protocol", "return {'id': 'x', 'stopPod': True}", {"output": {"id": "x", "stopPod": True}})
row("numbers as keys", "return {1: 'a', 2.5: 'b', True: 'c', None: 'd'}", {"output": {"1": "c", "2.5": "b", "null": "d"}})
row("subclasses", "return {'i': Number(3), 's': Text('t'), 'd': OrderedDict(a=1), 'e': Level.HIGH}",
    {"output": {"i": 3, "s": "t", "d": {"a": 1}, "e": 2}})
row("a hundred levels", "return nested(100)", {"output": nested(100)})
row("a long text", "return 'x' * 300000", {"output": "x" * 300000})
row("the input", "return job['input']['value']", {"output": {"a": [1, {"b": None}], "é": "😀"}},
    input={"value": {"a": [1, {"b": None}], "é": "😀"}})
row("a big integer in the input", "return job['input']['value']", {"output": 2**70}, input={"value": 2**70})
row("storage keys", "return job['s3Config']['bucketName']", {"output": "b"}, extra={"s3Config": {"bucketName": "b"}})
row("a changed input", "job['input'].clear(); return 1", {"output": 1})

row("error text", "return {'error': 'boom'}", {"error": "boom"})
row("error text with more", "return {'error': 'boom', 'x': 1}", {"output": {"x": 1}, "error": "boom"})
row("error dict", "return {'error': {'code': 1}, 'x': 2}", {"output": {"x": 2}, "error": {"code": 1}})
row("error list", "return {'error': ['a', 1]}", {"error": ["a", 1]})
row("error number", "return {'error': 7}", {"error": 7})
row("error True", "return {'error': True}", {"error": True})
row("error unicode", "return {'error': 'é 😀'}", {"error": "é 😀"})
row("error False", "return {'error': False}", {})
row("error empty", "return {'error': '', 'x': 1}", {"output": {"x": 1}})
row("error None", "return {'error': None, 'x': 1}", {"output": {"x": 1}})
row("refresh", "return {'refresh_worker': True, 'r': 1}", {"output": {"r": 1}, "stopPod": True})
row("refresh alone", "return {'refresh_worker': True}", {"stopPod": True})
row("refresh False", "return {'refresh_worker': False, 'r': 1}", {"output": {"r": 1}})
row("refresh by any true value", "return {'refresh_worker': 'yes', 'r': 1}", {"output": {"r": 1}, "stopPod": True})
row("refresh with an error", "return {'error': 'e', 'refresh_worker': True}", {"error": "e", "stopPod": True})

row("exception", "raise ValueError('boom')", {"error": Raised("<class 'ValueError'>", "boom")})
row("exception without a text", "raise RuntimeError", {"error": Raised("<class 'RuntimeError'>", "")})
row("exception with unicode", "raise ValueError('é 😀')", {"error": Raised("<class 'ValueError'>", "é 😀")})
row("KeyError", "return job['input']['absent']", {"error": Raised("<class 'KeyError'>", "'absent'")})
row("an own exception", "raise Own('a', 1)", {"error": Raised("<class '__main__.Own'>", "('a', 1)")})
row("a chain", "try:\n    1 / 0\nexcept ZeroDivisionError as cause:\n    raise Own('later') from cause",
    {"error": Raised("<class '__main__.Own'>", "later")})
row("StopIteration", "return next(iter([]))", {"error": Raised("<class 'StopIteration'>", "")})
row("a refused assertion", "assert job['input'] == 1, 'not one'", {"error": Raised("<class 'AssertionError'>", "not one")})

lost("NaN", "return float('nan')", r"^output is NaN", NAN, sends={"output": float("nan")})
lost("Infinity within", "return {'a': [1, float('-inf')]}", r"^output\.a\[1\] is -Infinity", NAN,
     sends={"output": {"a": [1, float("-inf")]}})
lost("set", "return {1}", r"^output is a set", UNSENT)
lost("set within", "return {'a': [0, {'b': {1}}]}", r"^output\.a\[1\]\.b is a set", UNSENT)
lost("bytes", "return b'raw'", r"^output is a bytes.*base64", UNSENT)
lost("datetime", "return {'at': datetime.datetime(2020, 1, 2)}", r"^output\.at is a datetime.*isoformat", UNSENT)
lost("dataclass", "return [Point(1, 2)]", r"^output\[0\] is a Point", UNSENT)
lost("complex", "return 1j", r"^output is a complex", UNSENT)
lost("a function", "return {'f': print}", r"^output\.f is a builtin", UNSENT)
lost("tuples as keys", "return {(1, 2): 3}", r"^output.* key that is a tuple", UNSENT)
lost("circular", "value = [1]; value.append({'again': value}); return value", r"^output\[1\]\.again contains itself",
     UNSENT)
lost("half of a character", "return {'t': 'ab\\ud800'}", r"^output\.t is text with half a character", UNSENT)
lost("half of a character in an error", "return {'error': 'ab\\ud800'}", r"^error is text with half a character", UNSENT)
lost("error set", "return {'error': {1}}", r"^error is a set", UNSENT)
lost("a scalar of a numeric library", "return {'n': Scalar(2.5)}", {"output": {"n": 2.5}}, UNSENT)
lost("deep", "return nested(600)", r"nested more than 512 levels", DEEP, sends={"output": nested(600)})
lost("very deep", "return nested(100000)", r"nested more than 512 levels", NAMED,
     sends={"error": Raised("<class 'RecursionError'>", "maximum recursion depth exceeded")})
lost("integer of many digits", "return {'n': 10**5000}", r"^output\.n is an integer of about 5000 digits", NAMED,
     sends={"error": Raised("<class 'ValueError'>", "Exceeds the limit (4300 digits) for integer string conversion; "
                                                    "use sys.set_int_max_str_digits() to increase the limit")})
lost("str() of the exception raises", "raise Speechless", r"Speechless", UNSENT)
lost("half of a character in an exception", "raise ValueError('ab\\ud800')",
     r"ab\\ud800", "half a character cannot be shown: it is written out", sends={"error": Raised("<class 'ValueError'>", "ab\ud800")})
lost("a BaseException", "raise Grave('gone')", r"Grave.*gone", BASE)
lost("CancelledError of its own", "raise asyncio.CancelledError('own')", r"CancelledError.*own", BASE)
lost("GeneratorExit", "raise GeneratorExit", r"GeneratorExit", BASE)
lost("a returned generator", "return (n * n for n in range(3))", {"output": []}, GENERATORS, streams=[0, 1, 4])
lost("asyncio.run in a function", "return asyncio.run(asyncio.sleep(0, 'slept'))", {"output": "slept"},
     "functions run beside no event loop: what they call may have one", sends={"error": Raised(
         "<class 'RuntimeError'>", "asyncio.run() cannot be called from a running event loop")})
lost("the loop that runs, in a function", "asyncio.get_running_loop(); return 1", r"no running event loop",
     "functions run beside no event loop, so that what they call may have one", sends={"output": 1})
lost("SystemExit", "raise SystemExit(3)", Fails(r"SystemExit", refresh=True), BASE, sends=Ends(3), alone=True)
lost("sys.exit without a number", "sys.exit()", Fails(r"SystemExit", refresh=True), BASE, sends=Ends(0), alone=True)
lost("os._exit", "os._exit(5)", Fails(r"exit", refresh=True), BASE, sends=Ends(5), alone=True)
lost("a crash", "os.kill(os.getpid(), signal.SIGSEGV)", Fails(r"SIGSEGV", refresh=True), BASE, sends=Ends(-11), alone=True)
lost("KeyboardInterrupt", "raise KeyboardInterrupt", r"KeyboardInterrupt", BASE, sends=Ends(-2), alone=True)
lost("a deleted id", "del job['id']; return 1", {"output": 1}, "the job's id is known without asking its handler", alone=True)
lost("a changed id", "job['id'] = 'another'; return 1", {"output": 1},
     "the job's id is known without asking its handler: the official SDK answers another job", alone=True)

row("progress text", "runpod.serverless.progress_update(job, 'half'); released(job); return 1", {"output": 1},
    progress=["half"])
row("progress dict", "runpod.serverless.progress_update(job, {'done': 1, 'of': 2.5}); released(job); return {'a': 1}",
    {"output": {"a": 1}}, progress=[{"done": 1, "of": 2.5}])
row("progress number", "runpod.serverless.progress_update(job, 50); released(job); return {'error': 'late'}",
    {"error": "late"}, progress=[50])
row("progress that cannot be sent", "runpod.serverless.progress_update(job, {1}); return 1", {"output": 1})

# ---- other things that can be called -----------------------------------------------------------------------------------

for name in ("lambda", "partial", "callable object", "bound method", "static method", "wrapped function"):
    form(name)
    row(name + ": dict", "return {'a': job['input']['n']}", {"output": {"a": 4}}, input={"n": 4})
    row(name + ": error", "return {'error': 'e', 'refresh_worker': True}", {"error": "e", "stopPod": True})
    row(name + ": exception", "raise ValueError('v')", {"error": Raised("<class 'ValueError'>", "v")})

form("random values")
for seed in range(40):
    made = random_value(seed)
    if isinstance(made, dict) and "error" not in made:
        made = {**made, "a": 1}  # empty ones have a row of their own
        row(f"random dict {seed}", f"return {{**random_value({seed}), 'a': 1}}", {"output": json.loads(json.dumps(made))})
    else:
        row(f"random value {seed}", f"return random_value({seed})", {"output": json.loads(json.dumps(made))})
    if made:
        row(f"random error {seed}", f"return {{'error': [random_value({seed})]}}", {"error": [json.loads(json.dumps(random_value(seed)))]})

form("any input")
for value in ([1, 2], "text", 0, 2.5, False, None, {"a": {"b": []}}):
    row(f"input {value!r}", "return [job['input']]", {"output": [value]}, input=value)
row("input {}", "return [job['input']]", {"output": [{}]}, input={})

# ---- coroutines --------------------------------------------------------------------------------------------------------

form("coroutine")
row("coroutine: dict", "await asyncio.sleep(0); return {'a': 1}", {"output": {"a": 1}})
row("coroutine: None", "return", {"output": None})
row("coroutine: empty dict", "return {}", {})
row("coroutine: error", "return {'error': {'code': 1}}", {"error": {"code": 1}})
row("coroutine: refresh", "return {'refresh_worker': True, 'r': 1}", {"output": {"r": 1}, "stopPod": True})
row("coroutine: exception", "await asyncio.sleep(0.01); raise KeyError('k')", {"error": Raised("<class 'KeyError'>", "'k'")})
row("coroutine: a time that ran out", "await asyncio.wait_for(asyncio.sleep(60), 0.01)",
    {"error": Raised("<class 'TimeoutError'>", "")})
row("coroutine: a thread's work", "return await asyncio.get_running_loop().run_in_executor(None, sum, [1, 2])", {"output": 3})
row("coroutine: progress", "runpod.serverless.progress_update(job, 'half'); await released_soon(job); return 1",
    {"output": 1}, progress=["half"])
lost("coroutine: NaN", "return {'a': float('nan')}", r"^output\.a is NaN", NAN, sends={"output": {"a": float("nan")}})
lost("coroutine: bytes", "return [b'x']", r"^output\[0\] is a bytes", UNSENT)
lost("coroutine: a BaseException", "raise Grave('gone')", r"Grave.*gone", BASE)
lost("coroutine: CancelledError of its own", "raise asyncio.CancelledError('own')", r"CancelledError.*own", BASE)
lost("coroutine: a task of its own is cancelled",
     "task = asyncio.ensure_future(asyncio.sleep(60)); task.cancel(); return await task", r"CancelledError", BASE)
lost("coroutine: an async generator", "return counted(2)", {"output": []}, GENERATORS, streams=[0, 1])
lost("coroutine: SystemExit", "sys.exit(4)", Fails(r"SystemExit", refresh=True), BASE, sends=Ends(4), alone=True)

for name in ("async callable object", "partial of a coroutine", "bound coroutine", "lambda of a coroutine"):
    form(name)
    row(name + ": dict", "await asyncio.sleep(0); return {'a': job['input']['n']}", {"output": {"a": 4}}, input={"n": 4})
    row(name + ": exception", "raise ValueError('v')", {"error": Raised("<class 'ValueError'>", "v")})

form("function of what waits")
lost("a returned async generator", "return counted(3)", {"output": []}, GENERATORS, streams=[0, 1, 2])
row("awaitable", "return Later({'a': 1})", {"output": {"a": 1}})
row("awaitable that raises", "return Later(ValueError('late'))", {"error": Raised("<class 'ValueError'>", "late")})

# ---- generators --------------------------------------------------------------------------------------------------------

STREAM = "yield 'a'; yield {'b': 1}; yield [2]"
STREAMED = ["a", {"b": 1}, [2]]


def stream_rows(name, pause=""):
    """What generators of both kinds do alike."""
    def streams(what, body, sends, **more):
        row(f"{name}: {what}", pause + body, sends, **more)

    streams("chunks", STREAM, {"output": []}, chunks=STREAMED)
    streams("none", "return\nyield", {"output": []})
    streams("odd chunks", "yield None; yield False; yield {}; yield ''; yield 0", {"output": []}, chunks=[None, False, {}, "", 0])
    streams("unicode", "yield 'é 😀\\u2028'", {"output": []}, chunks=["é 😀\u2028"])
    streams("many", "for n in range(40):\n    yield n", {"output": []}, chunks=list(range(40)))
    streams("an error chunk", "yield 1; yield {'error': 'bad', 'x': 1, 'refresh_worker': True}; yield 2", {"error": "bad"},
            chunks=[1])
    streams("an error chunk that is a dict", "yield {'error': {'message': 'm'}}", {"error": "{'message': 'm'}"})
    streams("an error chunk that is false", "yield {'error': '', 'x': 1}; yield {'error': None}", {"output": []},
            chunks=[{"error": "", "x": 1}, {"error": None}])
    streams("refresh in a chunk", "yield {'refresh_worker': True, 'r': 1}", {"output": []},
            chunks=[{"refresh_worker": True, "r": 1}])
    streams("raises later", "yield 1; raise ValueError('mid')", {"error": Broke("mid")}, chunks=[1])
    streams("raises first", "if job:\n    raise ValueError('first')\nyield", {"error": Broke("first")})


form("generator")
stream_rows("generator")
row("generator: what it returns", "yield 1\nreturn {'r': 2}", {"output": []}, chunks=[1])
row("generator: progress", "runpod.serverless.progress_update(job, 'half'); released(job); yield 1", {"output": []},
    chunks=[1], progress=["half"])
lost("generator: a chunk that is a set", "yield 1; yield {2}; yield 3", r"^chunk is a set", CHUNK, sends={"output": []}, chunks=[1, 3],
     streams=[1])
lost("generator: a chunk with NaN", "yield 1; yield {'a': float('nan')}", r"^chunk\.a is NaN", NAN, sends={"output": []},
     chunks=[1, {"a": float("nan")}], streams=[1])
lost("generator: a BaseException", "yield 1; raise Grave('gone')", r"gone", BASE, chunks=[1])
lost("generator: SystemExit", "yield 1; sys.exit(3)", Fails(r"SystemExit|handler: 3", refresh=True), BASE, chunks=[1],
     sends=Ends(3), alone=True)

form("generator, aggregate")
row("aggregate: chunks", STREAM, {"output": STREAMED}, chunks=STREAMED)
row("aggregate: none", "return\nyield", {"output": []})
row("aggregate: an error chunk", "yield 1; yield {'error': 'bad'}", {"error": "bad"}, chunks=[1])
row("aggregate: raises later", "yield 1; raise ValueError('mid')", {"error": Broke("mid")}, chunks=[1])
lost("aggregate: a chunk that is a set", "yield 1; yield {2}; yield 3", r"^chunk is a set", UNSENT, chunks=[1, 3], streams=[1])

for name in ("partial of a generator", "bound generator"):
    form(name)
    row(name + ": chunks", STREAM, {"output": []}, chunks=STREAMED)
    row(name + ": raises", "yield 1; raise ValueError('mid')", {"error": Broke("mid")}, chunks=[1])

for name in ("wrapped generator", "generator of a callable object", "lambda of a generator"):
    form(name)
    lost(name + ": chunks", STREAM, {"output": []}, GENERATORS, streams=STREAMED)
    lost(name + ": raises", "yield 1; raise ValueError('mid')", r"^handler: mid \ntraceback: ", GENERATORS, streams=[1])

form("async generator")
stream_rows("async generator", "await asyncio.sleep(0)\n")
lost("async generator: CancelledError of its own", "yield 1; raise asyncio.CancelledError('own')", r"own", BASE, chunks=[1])
lost("async generator: a chunk that is bytes", "yield 1; yield b'x'; yield 3", r"^chunk is a bytes", CHUNK, sends={"output": []},
     chunks=[1, 3], streams=[1])

form("async generator, aggregate")
row("async aggregate: chunks", STREAM, {"output": STREAMED}, chunks=STREAMED)

form("async generator of a callable object")
lost("async generator of a callable object: chunks", STREAM, {"output": []}, GENERATORS, streams=STREAMED)

# ---- what the configuration and the flags add ----------------------------------------------------------------------------

form("refresh_worker")
row("config refresh: text", "return 'r'", {"output": "r", "stopPod": True}, alone=True)
row("config refresh: error", "return {'error': 'e'}", {"error": "e", "stopPod": True}, alone=True)
row("config refresh: exception", "raise ValueError('v')", {"error": Raised("<class 'ValueError'>", "v"), "stopPod": True},
    alone=True)
form("refresh_worker, generator")
row("config refresh: chunks", "yield 1", {"output": [], "stopPod": True}, chunks=[1], alone=True)

form("debugger")
row("debugger: dict", "return {'a': 1}", {"output": {"a": 1, "rp_debugger": "…"}}, alone=True)
lost("debugger: text", "return 'hi'", r"^output is a str: --rp_debugger", "the debugger has no place in what is no dict: the "
     "official SDK fails on it and sends nothing", alone=True)
lost("debugger: error", "return {'error': 'e'}", {"error": "e"}, "the debugger has no place in an error: the official SDK "
     "fails on it and sends nothing", alone=True)


def matches(pattern, error):
    """Whether a failed job's error is what a row of the short list promises; a message within JSON counts, too."""
    return any(re.search(pattern, text, re.DOTALL) for text in ([error] if isinstance(error, str) else []) + _messages(error))


def _messages(error):
    try:
        record = json.loads(error)
    except (TypeError, ValueError):
        return []
    if not isinstance(record, dict):
        return []
    return [str(record.get("error_message", "")), " ".join(str(value) for value in record.values())]
