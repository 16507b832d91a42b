"""The program as a package manager has it: at a path, where another file is put in its place by a rename."""

import os
import shutil
import subprocess
from pathlib import Path

from endpoint import BUILD, BULKHEAD

INIT = BUILD / "supervisor" / "init" / "bulkhead-init"


def without_symbols(folder):
    """As packages have it. With them each copy is 100 MB, in what may be memory (/tmp)."""
    program = folder / "bulkhead.stripped"
    if not program.exists():
        subprocess.run(["strip", "-o", program, BULKHEAD], check=True)
    return program


class Installed:
    def __init__(self, tmp_path):
        self._program = without_symbols(tmp_path.parent)
        self.path = tmp_path / "bin" / "bulkhead"
        (tmp_path / "bin" / "init").mkdir(parents=True)
        (tmp_path / "bin" / "init" / "bulkhead-init").symlink_to(INIT)
        self.good()

    def good(self):
        shutil.copy2(self._program, str(self.path) + ".new")
        os.rename(str(self.path) + ".new", self.path)

    def script(self, text, mode=0o755):
        """`text` is what becomes of it when it shall serve; asked whether it would, it says what the good one says."""
        self.raw(f'#!/bin/sh\n[ "$1" = probe ] && exec {BULKHEAD} "$@"\n{text}\n', mode)

    def raw(self, text, mode=0o755):
        new = Path(str(self.path) + ".new")
        new.write_text(text)
        new.chmod(mode)
        new.rename(self.path)
