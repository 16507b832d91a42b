#!/usr/bin/env python3
"""Makes the manual pages out of what `bulkhead … --help` prints: one source for both.

    make_manual.py PROGRAM VERSION DIRECTORY     writes bulkhead.1 and bulkhead-COMMAND.1 for each command

The texts of --help have a fixed form: a first line "Usage: …" (and more below it, indented), paragraphs, and parts with a
title at the line's beginning, "Options:", whose lines are indented by two: a term, two blanks or more, what it means.
"""

import os
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

TITLE = re.compile(r"[A-Z][^.:]*:$")
ENTRY = re.compile(r"  (\S.*?)(?: {2,}(\S.*))?$")
CODE = re.compile(r"(?:^ +| {3,})(\d+(?:\+N)?) +(\S.*?)(?=$| {3,}\d+(?:\+N)? )")
HIGHLIGHT = re.compile(r"(?<![\w-])(--?[a-zA-Z][\w-]*)")


def help_of(program, *words):
    env = {name: value for name, value in os.environ.items() if not name.startswith("BULKHEAD_")}
    return subprocess.run([program, *words], env=env, check=True, capture_output=True, encoding="utf-8").stdout


def plain(text):
    """As it is, in roff."""
    return text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga").replace("^", "\\(ha").replace("~", "\\(ti")


def line(text):
    """A line of filled text: flags stand out."""
    marked = HIGHLIGHT.sub(lambda match: f"\0{match.group(1)}\1", text)
    result = plain(marked).replace("\0", "\\fB").replace("\1", "\\fR")
    return "\\&" + result if result[:1] in ".'" else result


def term(text):
    """Of an option or a command: what is to be typed is bold, what stands for something is not."""
    parts = re.split(r"(\s+)", text)
    return "".join(f"\\fB{plain(part)}\\fR" if re.match(r"-|[a-z|]+$", part) else f"\\fI{plain(part)}\\fR" if re.match(r"[A-Z]", part)
                   else plain(part) for part in parts)


def split(text):
    """(title, lines) of each part; what stands before the first has the title ""."""
    parts = [("", [])]
    lines = text.rstrip("\n").split("\n")
    for number, here in enumerate(lines):
        below = lines[number + 1] if number + 1 < len(lines) else ""
        if TITLE.match(here) and below.startswith("  "):
            parts.append((here[:-1], []))
        elif not here.startswith(" ") and parts[-1][0] and here:
            if parts[-1][1] and parts[-1][1][-1] == "":
                parts.append(("", []))
            parts[-1][1].append(here)
        else:
            parts[-1][1].append(here)
    return parts


def paragraphs(lines):
    out, open_ = [], False
    for here in lines:
        if not here.strip():
            open_ = False
            continue
        if ENTRY.match(here) and here.startswith("  ") and " " * 2 in here.strip():
            out += entries([here])
            open_ = False
            continue
        if not open_:
            out.append(".PP")
        open_ = True
        out.append(line(here.strip()))
    return out


def entries(lines):
    """A list of terms; a line further in goes on with the one before."""
    out = []
    for here in lines:
        if not here.strip():
            continue
        match = ENTRY.match(here)
        if match and not here.startswith("   "):
            out += [".TP", term(match.group(1))]
            if match.group(2):
                out.append(line(match.group(2)))
        else:
            out.append(line(here.strip()))
    return out


def codes(lines):
    found, order = {}, []
    for here in lines:
        matches = list(CODE.finditer(here))
        for match in matches:
            order.append(match.group(1))
            found[match.group(1)] = [match.group(2).strip()]
        if not matches and here.strip():
            found[order[-1]].append(here.strip())
    out = []
    for code in sorted(order, key=lambda code: int(code.split("+")[0])):
        out += [".TP", f"\\fB{plain(code)}\\fR", *map(line, found[code])]
    return out


def as_typed(lines):
    while lines and not lines[-1].strip():
        lines.pop()
    return [".PP", ".nf", ".RS 2", *(("\\&" if here.strip()[:1] in ".'" else "") + plain(here.strip()) for here in lines), ".RE", ".fi"]


def tidy(lines):
    """Without what roff warns of: a paragraph that begins where a part does, and filled lines of more than 80 bytes."""
    out, filled = [], True
    for here in lines:
        filled = here == ".fi" or (filled and here != ".nf")
        if here == ".PP" and out and out[-1].startswith((".SH", ".SS")):
            continue
        if filled and not here.startswith("."):
            first, *more = textwrap.wrap(here, 72, break_long_words=False, break_on_hyphens=False) or [here]
            out += [first, *("\\&" + rest if rest[0] in ".'" else rest for rest in more)]
        else:
            out.append(here)
    return out


def synopsis(lines):
    out = []
    for here in lines:
        words = here.replace("Usage:", "").strip()
        program = re.match(r"bulkhead( [a-z]+)?", words).group(0)
        out += [".br"] * bool(out) + [f"\\fB{plain(program)}\\fR{plain(words[len(program):])}"]
    return out


def page(name, summary, text, version, see):
    """The whole of it."""
    now = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time())))
    out = [f'.TH {plain(name.upper())} 1 "{time.strftime("%Y-%m-%d", now)}" "Bulkhead {version}" "Bulkhead"',
           ".SH NAME", f"{plain(name)} \\- {plain(summary)}"]
    parts = split(text)
    first = parts[0][1]
    usage = [here for here in first if here.startswith("Usage:") or (here.startswith("       bulkhead"))]
    if usage:
        out += [".SH SYNOPSIS", *synopsis(usage)]
    described = paragraphs([here for here in first if here not in usage])
    if described:
        out += [".SH DESCRIPTION", *described]
    options = False
    for title, lines in parts[1:]:
        if title == "Usage":
            out += [".SH COMMANDS", *entries(lines)]
        elif title.startswith(("Example", "Start here")):
            out += [".SH EXAMPLES", *as_typed(lines)]
        elif title == "Exit codes":
            out += [".SH EXIT STATUS", *codes(lines)]
        elif title == "Signals":
            out += [".SH SIGNALS", *entries(lines)]
        elif title:
            out += [] if options else [".SH OPTIONS"]
            options = True
            out += ([] if title == "Options" else [f".SS {plain(title)}"]) + entries(lines)
        else:
            out += [".SH ENVIRONMENT" if "environment" in " ".join(lines) else ".SH NOTES", *paragraphs(lines)]
    out += [".SH SEE ALSO", *(f".BR {plain(other)} (1){',' if other != see[-1] else ''}" for other in see)]
    return "\n".join(tidy(out)) + "\n"


def main():
    program, version, directory = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    whole = help_of(program, "--help")
    commands = {name: summary for name, summary in re.findall(r"^  bulkhead ([a-z]+)\b.*? {2,}(\S.*)$", whole.partition("Start here")[0], re.M)}
    names = [f"bulkhead-{command}" for command in commands]
    (directory / "bulkhead.1").write_text(
        page("bulkhead", "a supervisor for serverless job handlers", whole, version, names), encoding="utf-8")
    for command, summary in commands.items():
        others = ["bulkhead"] + [name for name in names if name != f"bulkhead-{command}"][:6]
        (directory / f"bulkhead-{command}.1").write_text(
            page(f"bulkhead-{command}", summary, help_of(program, command, "--help"), version, others), encoding="utf-8")


main()
