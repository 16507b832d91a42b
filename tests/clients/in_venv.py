#!/usr/bin/python3
"""Runs a Python program with the official clients that script/bootstrap installed into tests/clients/.venv.

    in_venv.py PROGRAM [arguments…]

Where they are missing that is one failed test, in TAP, with what to do: never a test left out.
"""

import os
import sys
from pathlib import Path

VENV = Path(os.environ["BULKHEAD_SOURCE"]) / "tests" / "clients" / ".venv"


def main():
    if not (VENV / "made-from").is_file():
        print("the official clients are not installed: script/bootstrap test installs them from PyPI (see what it says),\n"
              f"or by hand: python3 -m venv {VENV} && {VENV}/bin/pip install -r {VENV.parent}/requirements.txt"
              f" && touch {VENV}/made-from", file=sys.stderr)
        print("1..1\nnot ok 1 - the official clients are installed", flush=True)
        return 1
    python = str(VENV / "bin" / "python")
    os.execv(python, [python, *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
