"""Each example does what its README says, run by hand."""

import base64
import http.server
import json
import os
import pathlib
import re
import signal
import subprocess
import threading

import pytest

BUILD = pathlib.Path(os.environ["BULKHEAD_BUILD"]) / "examples"
SOURCE = pathlib.Path(os.environ["BULKHEAD_SOURCE"]) / "examples"
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("BULKHEAD_", "RUNPOD_"))}


def run(example, value, *arguments, cwd=SOURCE, **environment):
    folder = example.split("_async")[0]
    return subprocess.run([BUILD / folder / example, "--rp_log_level", "INFO", "--test_input", json.dumps({"input": value}),
                           *arguments], cwd=cwd, env=ENVIRONMENT | environment, text=True, capture_output=True, timeout=120)


def output_of(process):
    line = re.search(r"^INFO   \| Job result: (.*)$", process.stdout, re.MULTILINE)
    assert line and process.returncode == 0, process.stdout + process.stderr
    return json.loads(line[1])["output"]


def test_every_example_has_a_readme():
    folders = [folder for folder in SOURCE.iterdir() if folder.is_dir()]
    assert len(folders) >= 5
    for folder in folders:
        assert len((folder / "README.md").read_text()) > 300


@pytest.mark.parametrize("example", ["echo", "echo_async"])
@pytest.mark.parametrize("value", [{"a": [1, None, "é"]}, {}, 7, {"error": "is no instruction here"}])
def test_echo(example, value):
    assert output_of(run(example, value)) == value


def test_tokens():
    process = run("tokens", {"text": " one  two\nthree ", "repeat": 2, "delay_ms": 1})
    assert output_of(process) == ["one", "two", "three"] * 2
    assert process.stdout.count("Generator output: ") == 6
    assert len(output_of(run("tokens", {}))) > 5


@pytest.fixture
def server():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = f"you asked for {self.path}".encode()
            self.send_response(200 if self.path == "/here" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 128

    with Server(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield httpd.server_address[1]
        httpd.shutdown()
        thread.join()


def test_fetch(server):
    output = output_of(run("fetch", {"port": server, "path": "/here", "count": 20}))
    assert output["results"] == [{"status": 200, "bytes": 19, "begins": "you asked for /here"}] * 20
    assert output_of(run("fetch", {"port": server, "path": "/x"}))["results"][0]["status"] == 404


def test_fetch_waits_for_all_timers_at_once():
    output = output_of(run("fetch", {"sleep_ms": 100, "count": 500}))
    assert output["results"] == [{"slept_ms": 100}] * 500
    assert 100 <= output["took_ms"] < 500 * 100


def test_fetch_fails_where_nobody_listens():
    process = run("fetch", {"port": 1})
    assert process.returncode == 1 and "Connection refused" in process.stdout
    assert run("fetch", {"count": 0, "sleep_ms": 1}).returncode == 1


needs_ocr = pytest.mark.skipif(not (BUILD / "ocr/ocr").exists(), reason="Tesseract's development files are not installed")


@needs_ocr
def test_ocr_reads_the_file_beside_it():
    process = subprocess.run([BUILD / "ocr/ocr"], cwd=SOURCE / "ocr", env=ENVIRONMENT, text=True, capture_output=True,
                             timeout=120)
    text = output_of(process)["text"]
    assert "INVOICE" in text and "HARBOUR CHANDLERY LTD" in text and "817.68" in text


@needs_ocr
def test_ocr_pages_words_and_progress():
    process = run("ocr", {"path": ["letter.tiff", "page.png"]}, cwd=SOURCE / "ocr")
    output = output_of(process)
    assert len(output["pages"]) == 3
    assert "Captain Moreno" in output["pages"][0]["text"]
    assert "Total: 2,650" in output["pages"][1]["text"]
    assert "divided by bulkheads" in output["pages"][2]["text"]
    assert output["text"] == "".join(page["text"] for page in output["pages"])
    assert 80 <= output["confidence"] <= 100
    for page in output["pages"]:
        assert page["words"]
        for word in page["words"]:
            assert 0 <= word["confidence"] <= 100 and len(word["box"]) == 4 and min(word["box"]) >= 0
    assert re.findall(r'Progress: \{"page":(\d),"of":3\}', process.stdout) == ["1", "2", "3"]


@needs_ocr
def test_ocr_takes_base64():
    image = base64.b64encode((SOURCE / "ocr/receipt.png").read_bytes()).decode()
    assert "CORNER CAFE" in output_of(run("ocr", {"image": image}))["text"]


@needs_ocr
@pytest.mark.parametrize("value, message", [
    ({}, "needs an image"), ({"path": "missing.png"}, "cannot read missing.png"), ({"image": "%%%"}, "not base64"),
    ({"image": base64.b64encode(b"not an image").decode()}, "not an image"), ({"image": ""}, "not an image"),
])
def test_ocr_says_what_is_wrong_with_an_input(value, message):
    process = run("ocr", value)
    assert process.returncode == 1 and message in process.stdout.split("failed with error:")[1]


@needs_ocr
def test_ocr_without_its_language():
    process = run("ocr", {}, OCR_LANGUAGE="klingon")
    assert process.returncode == 1 and "Tesseract has no data for the language klingon" in process.stderr


@pytest.mark.parametrize("do, fatal", [("segfault", signal.SIGSEGV), ("abort", signal.SIGABRT), ("divide", signal.SIGFPE),
                                       ("bad_free", signal.SIGABRT), ("stack_overflow", signal.SIGSEGV),
                                       ("terminate", signal.SIGABRT), ("kill", signal.SIGKILL)])
def test_the_zoo_dies_of_the_signal_it_names(do, fatal):
    assert run("crash_zoo", {"do": do}).returncode == -fatal


def test_the_zoo_exits_and_fails_and_returns():
    assert run("crash_zoo", {"do": "exit0"}).returncode == 0
    assert run("crash_zoo", {"do": "exit3"}).returncode == 3
    assert run("crash_zoo", {"do": "exit", "code": 77}).returncode == 77
    for do in ("throw", "error", "no such animal"):
        assert run("crash_zoo", {"do": do}).returncode == 1
    assert output_of(run("crash_zoo", {"do": "ok", "value": [1]})) == [1]
    assert output_of(run("crash_zoo", {"do": "ok"}, "--stream")) == [0, 1, 2, "ok"]
    assert len(output_of(run("crash_zoo", {"do": "big", "mb": 3}))["big"]) == 3 << 20
    report = output_of(run("crash_zoo", {"do": "pid"}))
    assert report["jobs"] == 1 and report["pid"] > 1 and report["ppid"] == os.getpid()


def test_the_zoo_has_an_animal_for_each_name_in_its_readme():
    names = re.findall(r"^\| ([^|]+) \|", (SOURCE / "crash_zoo/README.md").read_text(), re.MULTILINE)
    documented = {name for cell in names for name in re.findall(r"`(\w+)`", cell)}
    present = set(re.findall(r'^      \{"(\w+)",', (SOURCE / "crash_zoo/crash_zoo.cpp").read_text(), re.MULTILINE))
    assert documented == present
