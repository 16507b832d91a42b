"""Bulkhead's init keeps every promise of cases.py, as PID 1 of a namespace and as a subreaper; tini and dumb-init keep
those that the table in docs/INIT.md says.

    test_init.py table      prints that table, measured now
"""

import functools
import pathlib
import re
import sys
import tempfile

import pytest

import cases
import environment_cases  # the order of these is the table's
import terminal_cases
from cases import CASES
from inits import BULKHEAD, MODES, NAMESPACE, NO_NAMESPACE, OTHERS, OURS, SOURCE, NotOffered, Run

DOCUMENT = SOURCE / "docs" / "INIT.md"


class Start:
    """start(COMMAND, …) of one init in one mode."""

    def __init__(self, init, mode):
        self.init, self.pid1 = init, mode == "pid1"

    def __call__(self, command, **more):
        return Run(self.init, self.pid1, command, **more)

    def bare(self, command, **more):
        return Run(self.init, False, command, bare=True, **more)

    def terminal(self, command, **more):
        return terminal_cases.Terminal(self.init, self.pid1, command, **more)

    def terminal_below_shell(self):
        return terminal_cases.Terminal(self.init, False, ["bash", "--norc", "-i"], bare=True, env={"PS1": "> "})


def applies(case, init, mode):
    return (case.only in (None, mode)) and (case.inits is None or init.name in case.inits)


def verdict(case, init, mode, tmp):
    """"yes", "no", "mostly" for what others keep by chance, or "" where the case does not exist."""
    if not applies(case, init, mode):
        return ""
    if case.chance and init is not OURS:
        return "mostly"
    try:
        case(Start(init, mode), tmp)
        return "yes"
    except NotOffered:
        return ""
    except (AssertionError, OSError):
        return "no"


OUR_CASES = [pytest.param(case, mode, id=f"{case.__name__}-{mode}") for case in CASES for mode in MODES
             if applies(case, OURS, mode)]


@pytest.mark.parametrize("case, mode", OUR_CASES)
def test_bulkhead(case, mode, tmp_path):
    if mode == "pid1" and NAMESPACE is None:
        pytest.skip(NO_NAMESPACE)
    case(Start(OURS, mode), tmp_path)


class Front(type(OURS)):
    """As users call it: `bulkhead init`, which becomes the same program."""

    def argv(self, *arguments, **options):
        return [BULKHEAD, "init", *super().argv(*arguments, **options)[1:]]


@pytest.mark.parametrize("case", [cases.inherited_signals, cases.ignored_sigchld, cases.not_found, cases.remapped_codes,
                                  environment_cases.closed_stdin, cases.leftovers_get_a_grace, cases.flags_of_the_command],
                         ids=lambda case: case.__name__)
def test_through_the_program(case, tmp_path):
    case(Start(Front(), "subreaper"), tmp_path)


def rows():
    """The table of docs/INIT.md: title -> {column: cell}."""
    text = DOCUMENT.read_text()
    lines = [line for line in text[text.index("| What |"):].splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    columns = cells[0][1:]
    return {row[0]: dict(zip(columns, row[1:])) for row in cells[2:]}


def column(init, mode):
    return f"{init.name}, {'PID 1' if mode == 'pid1' else 'subreaper'}"


def test_the_table_has_every_case():
    assert list(rows()) == [case.title for case in CASES]
    for case in CASES:
        for mode in MODES:
            assert rows()[case.title][column(OURS, mode)] == ("yes" if applies(case, OURS, mode) else "")


OTHERS_CASES = [pytest.param(case, init, mode, id=f"{init.name}-{case.__name__}-{mode}") for init in OTHERS
                for case in CASES for mode in MODES if applies(case, init, mode)]


@pytest.mark.parametrize("case, init, mode", OTHERS_CASES or [pytest.param(None, None, None, id="none")])
def test_others(case, init, mode, tmp_path):
    if init is None:
        pytest.skip("neither tini nor dumb-init is installed")
    if mode == "pid1" and NAMESPACE is None:
        pytest.skip(NO_NAMESPACE)
    expected = rows()[case.title][column(init, mode)]
    if expected == "no":
        init = functools.partial(quicker, init)()
    # Their own races are not ours: what they do in one of three tries, they do.
    for attempt in ("first", "second", "third"):
        (tmp_path / attempt).mkdir()
        seen = verdict(case, init, mode, tmp_path / attempt)
        if seen == expected:
            return
    assert seen == expected


def quicker(init):
    """One that is known to fail is not waited for as long."""
    class Quicker(type(init)):
        patience = 2.0
    return Quicker()


def measured():
    """What the machine at hand says of everybody."""
    columns = [(init, mode) for init in [OURS, *OTHERS] for mode in MODES]
    head = [column(init, mode) for init, mode in columns]
    print("| What | " + " | ".join(head) + " |")
    print("| --- |" + " --- |" * len(head))
    for case in CASES:
        cells = []
        for init, mode in columns:
            with tempfile.TemporaryDirectory() as tmp:
                cells.append(verdict(case, init, mode, pathlib.Path(tmp)))
        print("| " + case.title + " | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__" and sys.argv[1:] == ["table"]:
    measured()
