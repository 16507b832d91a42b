"""The architecture's table is kept, and script/check_includes would notice if it were not."""

import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(os.environ.get("BULKHEAD_SOURCE", pathlib.Path(__file__).parents[2]))


def check(root):
    run = subprocess.run([ROOT / "script/check_includes", root], capture_output=True, text=True)
    assert run.returncode in (0, 1), run.stderr
    return run.stdout


@pytest.fixture
def tree(tmp_path):
    """A small project, to which a test adds files."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    files = {"protocol/message.hpp": "", "supervisor/job/job.hpp": "", "supervisor/pool/worker.hpp": "",
             "supervisor/source/queue.hpp": "", "supervisor/supervisor.hpp": "", "child/include/bulkhead/bulkhead.h": "",
             "child/src/link.hpp": ""}

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
        return tmp_path

    for name, text in files.items():
        write(name, text)
    return write


def test_the_project_keeps_its_table():
    assert check(ROOT) == ""


@pytest.mark.parametrize("file, include", [
    ("supervisor/job/job.cpp", '"supervisor/job/job.hpp"'),
    ("supervisor/job/job.cpp", '"job.hpp"'),
    ("supervisor/job/job.cpp", "<chrono>"),
    ("supervisor/pool/link.cpp", "<zmq.h>"),
    ("supervisor/pool/worker.cpp", '"protocol/message.hpp"'),
    ("supervisor/http/server.cpp", "<boost/beast/http.hpp>"),
    ("supervisor/main.cpp", '"supervisor/supervisor.hpp"'),
    ("supervisor/init/init.cpp", "<sys/prctl.h>"),
    ("examples/echo/echo.cpp", "<bulkhead/bulkhead.h>"),
    ("child/src/link.cpp", "<zmq.h>"),
])
def test_allowed(tree, file, include):
    assert check(tree(file, f"#include {include}")) == ""


@pytest.mark.parametrize("file, include", [
    ("supervisor/job/job.cpp", '"supervisor/pool/worker.hpp"'),
    ("supervisor/job/job.cpp", "<boost/asio.hpp>"),
    ("supervisor/job/job.cpp", "<thread>"),
    ("supervisor/job/job.cpp", "<unistd.h>"),
    ("supervisor/pool/worker.cpp", "<zmq.h>"),
    ("supervisor/pool/worker.cpp", '"supervisor/source/queue.hpp"'),
    ("supervisor/pool/worker.cpp", '"../source/queue.hpp"'),
    ("supervisor/source/queue.cpp", '"supervisor/pool/worker.hpp"'),
    ("supervisor/pool/worker.cpp", '"child/src/link.hpp"'),
    ("supervisor/http/server.cpp", "<sqlite3.h>"),
    ("supervisor/http/server.cpp", '"supervisor/supervisor.hpp"'),
    ("supervisor/misc/thing.cpp", "<string>"),
    ("supervisor/init/init.cpp", "<boost/asio.hpp>"),
    ("protocol/codec.cpp", "<zmq.h>"),
    ("protocol/codec.cpp", '"supervisor/job/job.hpp"'),
    ("child/src/body.hpp", '"supervisor/job/job.hpp"'),
    ("child/include/bulkhead/job.hpp", '"protocol/message.hpp"'),
    ("examples/echo/echo.cpp", '"child/src/link.hpp"'),
    ("protocol/codec.cpp", '"protocol/gone.hpp"'),
])
def test_refused(tree, file, include):
    assert check(tree(file, f"// first line\n#include {include}")).startswith(f"{file}:2: #include {include}: ")
