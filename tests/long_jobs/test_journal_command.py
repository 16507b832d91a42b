"""`bulkhead journal inspect|verify|backup`: beside a supervisor that runs, and without one."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

from endpoint import BULKHEAD, Endpoint

HANDLER = [sys.executable, str(Path(__file__).with_name("handler.py"))]


def journal(state, *words, code=0):
    done = subprocess.run([BULKHEAD, "journal", *words, "--state-dir", str(state)], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done
    return done.stdout if code in (0, 1) else done.stderr


def test_beside_a_supervisor_that_runs(tmp_path):
    state, copy = tmp_path / "state", tmp_path / "copy.db"
    with Endpoint(HANDLER, "--orphan-timeout", "0", state=state) as endpoint:
        for n in range(3):
            endpoint.runsync({"n": n})
        job = endpoint.run({"do": "sleep", "bad attempts": 1})
        endpoint.until_entered(job)
        seen = json.loads(journal(state, "inspect"))
        assert seen["format_version"] == 2 and seen["completed"] == 3 and seen["handed_out"] == 1 and seen["waiting"] == 0
        assert "is whole" in journal(state, "verify")
        journal(state, "backup", str(copy))
        assert copy.stat().st_mode & 0o777 == 0o600 and not os.path.exists(f"{copy}-wal")
        assert "create" in journal(state, "backup", str(copy), code=71)
        assert json.loads(journal(state, "inspect", str(copy)))["handed_out"] == 1
        assert "is whole" in journal(state, "verify", str(copy))
        assert endpoint.get(f"/status/{job}").json["status"] == "IN_PROGRESS"
        endpoint.stop(9)
    damaged = sqlite3.connect(copy)
    damaged.execute("UPDATE open SET attempts = 0")
    damaged.commit()
    damaged.close()
    assert "without an attempt" in journal(state, "verify", str(copy), code=1)
    assert "is whole" in journal(state, "verify")


def test_a_restored_copy_is_taken_up(tmp_path):
    state, copy = tmp_path / "state", tmp_path / "copy.db"
    with Endpoint(HANDLER, state=state) as endpoint:
        done = endpoint.runsync({"n": 1})
        journal(state, "backup", str(copy))
    for name in ("journal.db-wal", "journal.db-shm"):
        (state / name).unlink(missing_ok=True)
    copy.replace(state / "journal.db")
    with Endpoint(HANDLER, state=state) as endpoint:
        assert endpoint.get(f"/status/{done['id']}").json == done


def test_what_is_no_journal_is_said(tmp_path):
    state = tmp_path / "state"
    assert "journal.db" in journal(state, "inspect", code=71)
    other = tmp_path / "other.db"
    sqlite3.connect(other).execute("CREATE TABLE t (x)")
    assert str(other) in journal(state, "verify", str(other), code=71)
    assert "inspect, verify or backup" in journal(state, code=2)
    assert "what is mend" in journal(state, "mend", code=2)
