"""The manual pages: one for each command, made of its --help, and such that no formatter has anything to say against them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from endpoint import BUILD, BULKHEAD

MANUAL = BUILD / "docs"


def help_of(*words):
    env = {name: value for name, value in os.environ.items() if not name.startswith("BULKHEAD_")}
    return subprocess.run([BULKHEAD, *words, "--help"], env=env, capture_output=True, encoding="utf-8", check=True, timeout=60).stdout


COMMANDS = re.findall(r"^  bulkhead ([a-z]+)\b.*? {2,}\S", help_of().partition("Start here")[0], re.M)
PAGES = ["bulkhead", *(f"bulkhead-{command}" for command in COMMANDS)]


def test_there_is_a_page_for_each_command():
    assert len(COMMANDS) >= 20 and {"serve", "submit", "top", "completion"} <= set(COMMANDS)
    assert {page.stem for page in MANUAL.glob("*.1")} == set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_no_formatter_complains(name):
    page = MANUAL / f"{name}.1"
    judges = [["mandoc", "-T", "lint", "-W", "warning"], ["groff", "-Kutf8", "-man", "-ww", "-z"]]
    there = [judge for judge in judges if shutil.which(judge[0])]
    if not there:
        pytest.skip("neither mandoc nor groff is installed")
    for judge in there:
        # A sanitizer that Python handlers need finds faults in troff.
        env = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
        done = subprocess.run([*judge, page], env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and not done.stdout + done.stderr, done


def shown(page):
    """As a reader sees it, or else its source without its marks."""
    if shutil.which("mandoc"):
        text = subprocess.run(["mandoc", "-T", "utf8", "-O", "width=200", page], capture_output=True, encoding="utf-8", check=True, timeout=60).stdout
        return re.sub(r".\x08", "", text)
    return re.sub(r"\\f[BIR]|\\&", "", page.read_text(encoding="utf-8")).replace("\\-", "-")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_page_has_all_that_the_help_has(command):
    text = shown(MANUAL / f"bulkhead-{command}.1")
    told = help_of(command)
    for flag in re.findall(r"^  (?:-\w, )?(--[a-z][a-z-]+)", told, re.M):
        assert flag in text, flag
    if "Exit codes:\n" in told:
        for code in re.findall(r"^  (\d+) ", told.partition("Exit codes:\n")[2], re.M):
            assert re.search(rf"^\s+{code}\s", text, re.M), code
    for part in ("NAME", "SYNOPSIS", "SEE ALSO"):
        assert part in text
    for example in re.findall(r"^  (bulkhead .*)$", told.partition("Examples:\n")[2].partition("\n\n")[0], re.M):
        assert " ".join(example.split()) in " ".join(text.split()), example


def test_the_help_fits_a_terminal():
    for words in ([], *([command] for command in COMMANDS)):
        assert not [line for line in help_of(*words).splitlines() if len(line) > 125], words
