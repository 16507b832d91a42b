"""Holds the sources to the rules that a machine can check."""

import os
import pathlib
import subprocess

ROOT = pathlib.Path(os.environ.get("BULKHEAD_SOURCE", pathlib.Path(__file__).parents[2]))


def tracked(*patterns):
    """Files of the project that match, those not yet committed included."""
    out = subprocess.run(["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns],
                         check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in out.split("\0") if name and (ROOT / name).is_file()]


def test_no_source_is_longer_than_600_lines():
    long = {}
    for file in tracked("*.cpp", "*.hpp", "*.h", "*.c", "*.py", "script/*"):
        lines = file.read_bytes().count(b"\n")
        if lines > 600:
            long[str(file.relative_to(ROOT))] = lines
    assert not long
