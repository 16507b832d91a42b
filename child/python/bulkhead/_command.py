"""The program `bulkhead` that belongs to this package, and its name in a virtual environment."""

from __future__ import annotations

import os
import shutil
import sys


def find() -> str | None:
    """Its path, or None: by pip inside the package, installed or built beside it, or wherever the PATH says."""
    package = os.path.dirname(os.path.realpath(__file__))
    for place in ("_root/bin/bulkhead", "../../../../bin/bulkhead", "../../../build/supervisor/bulkhead"):
        place = os.path.normpath(os.path.join(package, place))
        if os.access(place, os.X_OK) and os.path.isfile(place):
            return place
    return shutil.which("bulkhead")


def main() -> None:
    """What pip installs as `bulkhead`: becomes the program."""
    package = os.path.dirname(os.path.realpath(__file__))
    program = os.path.join(package, "_root", "bin", "bulkhead")
    os.execv(program, [program, *sys.argv[1:]])
