"""Completion as shells do it: `bulkhead completion …` read by a real bash, zsh and fish."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from endpoint import BULKHEAD, Endpoint, example
from terminal import Terminal, needs_tmux


def script(shell):
    return subprocess.run([BULKHEAD, "completion", shell], capture_output=True, text=True, check=True, timeout=60).stdout


def needs(shell):
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed")


def environment(url="http://127.0.0.1:1"):
    path = f"{Path(BULKHEAD).parent}:{os.environ['PATH']}"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BULKHEAD_")}
    return {**clean, "PATH": path, "BULKHEAD_URL": url}


def of_bash(*words, url="http://127.0.0.1:1", cwd=None):
    """What bash would offer for the last word."""
    program = script("bash") + """
compopt() { :; }  # there is nothing on the way that it could set
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_bulkhead
printf '%s\\n' "${COMPREPLY[@]}"
"""
    done = subprocess.run(["bash", "--norc", "-c", program, "bash", *words], capture_output=True, text=True, env=environment(url), cwd=cwd,
                          timeout=60)
    assert done.returncode == 0 and done.stderr == "", done
    return done.stdout.split()


def of_fish(*words, url="http://127.0.0.1:1", cwd=None, home="/nonexistent"):
    line = " ".join(words[:-1]) + " " + words[-1]
    done = subprocess.run(["fish", "--no-config", "-c", script("fish") + f"\ncomplete -C {line!r}\n"], capture_output=True, text=True,
                          env={**environment(url), "HOME": home}, cwd=cwd, timeout=60)
    assert done.returncode == 0, done
    offered = [line.split("\t")[0] for line in done.stdout.splitlines()]
    # From fish 4 on it offers besides what has the typed letters anywhere, behind what begins with them.
    return [word for word in offered if word.startswith(words[-1])] or offered


SHELLS = [pytest.param(of_bash, marks=needs("bash"), id="bash"), pytest.param(of_fish, marks=needs("fish"), id="fish")]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    with Endpoint([example("echo")], state=tmp_path_factory.mktemp("echo") / "state") as endpoint:
        yield endpoint


@pytest.mark.parametrize("offers", SHELLS)
def test_commands_flags_and_their_values(offers):
    assert offers("bulkhead", "su") == ["submit"]
    assert {"run", "serve", "status", "stream", "ps", "top", "completion"} <= set(offers("bulkhead", ""))
    assert offers("bulkhead", "submit", "--wa") == ["--wait"]
    assert set(offers("bulkhead", "status", "--t")) == {"--timeout"}
    assert set(offers("bulkhead", "ps", "--state", "C")) == {"COMPLETED", "CANCELLED"}
    assert set(offers("bulkhead", "serve", "--durability", "")) >= {"full", "relaxed", "memory"}
    assert set(offers("bulkhead", "dead", "s")) == {"show"}
    assert set(offers("bulkhead", "journal", "")) >= {"inspect", "verify", "backup"}
    assert set(offers("bulkhead", "completion", "")) >= {"bash", "zsh", "fish"}
    assert "--webhook" not in offers("bulkhead", "status", "--w")


@pytest.mark.parametrize("offers", SHELLS)
def test_files_where_a_file_is_wanted_and_nowhere_else(offers, tmp_path):
    (tmp_path / "the-key").write_text("k")
    assert offers("bulkhead", "ps", "--api-key-file", "the", cwd=tmp_path) == ["the-key"]
    assert "the-key" not in offers("bulkhead", "ps", "", cwd=tmp_path)
    assert "the-key" not in offers("bulkhead", "submit", "--ttl", "the", cwd=tmp_path)


@pytest.mark.parametrize("offers", SHELLS)
def test_no_endpoint_is_no_harm(offers):
    assert offers("bulkhead", "cancel", "x") == []


@needs("zsh")
def test_zsh_reads_it(tmp_path):
    (tmp_path / "_bulkhead").write_text(script("zsh"))
    done = subprocess.run(["zsh", "-n", tmp_path / "_bulkhead"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == "", done


@needs("zsh")
@needs_tmux
def test_zsh_completes(tmp_path):
    (tmp_path / "_bulkhead").write_text(script("zsh"))
    with Terminal(columns=120, env={**environment(), "HOME": str(tmp_path)}, shell=("zsh", "-f")) as terminal:
        terminal.type(f"fpath=({tmp_path} $fpath); autoload -Uz compinit; compinit -u -d {tmp_path}/dump; clear; echo re''ady\n")
        terminal.until("ready")
        for typed, becomes in [("bulkhead subm\t", "bulkhead submit"), ("--idem\t", "submit --idempotency-key"),
                               ("x --lo\t", "x --low-priority")]:
            terminal.type(typed)
            terminal.until(becomes)
        terminal.press("C-u")
        terminal.type("bulkhead ps --state TIM\t")
        terminal.until("--state TIMED_OUT")
        terminal.press("C-u")
        terminal.type("bulkhead dead cl\t")
        terminal.until("dead clear")
        terminal.press("C-u")
        terminal.type("bulkhead serve --dur\tmem\t")
        terminal.until(lambda screen: "--durability=memory" in screen or "--durability memory" in screen)


@needs_tmux
def test_bash_completes_at_the_prompt(tmp_path):
    (tmp_path / "script").write_text(script("bash"))
    with Terminal(columns=120, env=environment()) as terminal:
        terminal.type(f"source {tmp_path}/script; clear; echo re''ady\n")
        terminal.until("ready")
        terminal.type("bulkhead stre\t")
        terminal.until("bulkhead stream")
        terminal.press("C-u")
        terminal.type("bulkhead serve --setup-t\t5m -- ech\t")
        terminal.until("bulkhead serve --setup-timeout 5m -- echo")


def test_another_shell_is_wrong_usage():
    for words in ([], ["tcsh"], ["bash", "zsh"]):
        done = subprocess.run([BULKHEAD, "completion", *words], capture_output=True, text=True, timeout=60)
        assert done.returncode == 2 and "bash, zsh or fish" in done.stderr and done.stdout == ""


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_the_script_for_bash_is_clean():
    done = subprocess.run(["shellcheck", "-"], input=script("bash"), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
