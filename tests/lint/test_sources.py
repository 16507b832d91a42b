"""Holds the sources to the rules that a machine can check quickly. Only files known to git count."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(os.environ.get("BULKHEAD_SOURCE", pathlib.Path(__file__).parents[2]))
CPP = ("*.cpp", "*.hpp", "*.h", "*.c")


def tracked(*patterns):
    out = subprocess.run(["git", "-C", ROOT, "ls-files", "-z", *patterns], check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in out.split("\0") if name and (ROOT / name).is_file()]


def name(file):
    return str(file.relative_to(ROOT))


def texts():
    """Every tracked file that is text."""
    for file in tracked():
        content = file.read_bytes()
        if b"\0" not in content and "corpus" not in file.parts:
            yield file, content.decode(errors="replace")


def test_clang_format():
    """Another version than 14 formats a little differently: it would find fault where there is none."""
    program = shutil.which("clang-format-14") or shutil.which("clang-format")
    if program is None:
        pytest.skip("clang-format is not installed")
    version = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    if " 14." not in version:
        pytest.skip(f"the style is checked with clang-format 14, this is {version.split('version ')[-1].split()[0]}")
    run = subprocess.run([program, "--dry-run", "-Werror", *tracked(*CPP)], cwd=ROOT, capture_output=True, text=True)
    places = [line.replace(f"{ROOT}/", "") for line in run.stderr.splitlines() if "error:" in line]
    assert run.returncode == 0, "clang-format -i would change:\n" + "\n".join(places)


def test_shellcheck():
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    scripts = [file for file in tracked("script/*", ".ci/*", "tests/*", "examples/*", "systemd/*")
               if file.suffix == ".sh" or re.match(rb"#!.*\b(ba)?sh\b", file.read_bytes()[:64])]
    run = subprocess.run(["shellcheck", "-x", *scripts], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


def test_no_source_is_longer_than_600_lines():
    lines = {name(file): file.read_bytes().count(b"\n") for file in tracked(*CPP, "*.py", "script/*")}
    assert not {file: count for file, count in lines.items() if count > 600}


def test_a_long_source_opens_with_an_essay():
    """Over 150 lines a source says first, in at most 20 lines, what it keeps true and who owns it."""
    faults = []
    for file in tracked("protocol/*.cpp", "child/*.cpp", "client/*.cpp", "supervisor/*.cpp"):
        lines = file.read_text().splitlines()
        essay = next((i for i, line in enumerate(lines) if not line.startswith("//")), 0)
        if len(lines) > 150 and not 2 <= essay <= 20:
            faults.append(f"{name(file)}: {len(lines)} lines, an essay of {essay}")
    assert not faults


def test_headers_are_guarded():
    faults = [name(file) for file in tracked("*.hpp") if "\n#pragma once\n" not in "\n" + file.read_text()]
    assert not faults


def test_no_folder_says_nothing():
    """A folder is named after what it is about."""
    empty_words = {"util", "utils", "common", "manager", "impl", "detail", "misc", "helpers"}
    assert not [name(file) for file in tracked() if empty_words & set(file.relative_to(ROOT).parts)]


def test_text_is_clean():
    """No tabs or blanks at line ends in the sources, no unfinished business, no path of somebody's machine."""
    unfinished = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X"]) + r")\b")
    someones = re.compile("(?<![\\w.$}-])/(?:" + "|".join(["wo" + "rk/", "tmp/br" + "ief", "ro" + "ot/"]) + ")")
    faults = []
    for file, text in texts():
        for number, line in enumerate(text.splitlines(), 1):
            for what, bad in (("tab", "\t" in line and file.suffix in {".cpp", ".hpp", ".h", ".py"}),
                              ("blanks at the end", line != line.rstrip() and file.suffix not in {".json", ".txt"}),
                              ("unfinished", unfinished.search(line) and name(file) != "tests/run_pytest.py"
                               and name(file) != "script/test_summary"),
                              ("a machine's path", someones.search(line))):
                if bad:
                    faults.append(f"{name(file)}:{number}: {what}: {line.strip()[:80]}")
        if text and not text.endswith("\n") and file.suffix in {".cpp", ".hpp", ".h", ".py", ".md", ".build"}:
            faults.append(f"{name(file)}: no newline at the end")
    assert not faults, "\n".join(faults)


def test_links_in_documents_lead_somewhere():
    faults = []
    for file in tracked("*.md"):
        prose = re.sub(r"```.*?```|`[^`\n]*`", "", file.read_text(), flags=re.DOTALL)
        for link in re.findall(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)", prose):
            if not re.match(r"[a-z]+:", link) and not (file.parent / link).exists():
                faults.append(f"{name(file)}: {link}")
    assert not faults


def test_nothing_large_or_built_is_committed():
    large = {name(file): file.stat().st_size for file in tracked() if file.stat().st_size > 1_000_000}
    built = [name(file) for file in tracked("*.o", "*.so", "*.a", "*.pyc", "core", "build/*")]
    assert not large and not built
