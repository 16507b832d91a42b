"""How these tests call `bulkhead`."""

import os
import subprocess
import sys
from pathlib import Path

from endpoint import BULKHEAD, Endpoint

HANDLER = [sys.executable, str(Path(__file__).with_name("handler.py"))]
PATIENCE = 120


def environment(endpoint, **more):
    """`endpoint`: one of support's, or an address."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BULKHEAD_")}
    url = f"http://{endpoint.host}:{endpoint.port}" if isinstance(endpoint, Endpoint) else endpoint
    return {**clean, "BULKHEAD_URL": url, **more}


def call(endpoint, *words, code=0, **more):
    """What it prints; where it is to fail, what it says."""
    done = subprocess.run([BULKHEAD, *words], env=environment(endpoint, **more), stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=PATIENCE)
    assert done.returncode == code, (words, done)
    assert len(done.stderr.splitlines()) <= 3, done.stderr
    return done.stdout if code == 0 else done.stderr


def start(endpoint, *words):
    return subprocess.Popen([BULKHEAD, *words], env=environment(endpoint), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)
