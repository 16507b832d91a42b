"""Imported by a fork server, or by a handler that was started."""

import os
import signal
import tempfile

PID = os.getpid()
seen = []
tempfile.gettempdir()

if os.environ.get("HEAVY_ENDS") and "BULKHEAD_SOCKET" not in os.environ:
    os.kill(PID, signal.SIGKILL)
