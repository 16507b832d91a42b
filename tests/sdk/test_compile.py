"""What a compiler says to a handler's author: nothing to a right program, something readable to a wrong one."""

import concurrent.futures
import os
import pathlib
import re
import shlex
import subprocess

SOURCE = pathlib.Path(os.environ["BULKHEAD_SOURCE"])
COMPILER = shlex.split(os.environ["SDK_COMPILER"])
HEADERS = SOURCE / "child/include"
FLAGS = ["-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Wshadow", "-Werror", f"-I{HEADERS}"]


def compiled(tmp_path, source):
    file = tmp_path / "handler.cpp"
    file.write_text(source)
    return subprocess.run([*COMPILER, *FLAGS, str(file)], text=True, capture_output=True)


def test_what_is_no_handler_is_told_what_is(tmp_path):
    wrong = ["void f1(bulkhead::Job&) {}",
             "int f2(int) { return 1; }",
             "struct Opaque {}; Opaque f3(bulkhead::Job&) { return {}; }",
             "bulkhead::Generator<void*> f4(bulkhead::Job&) { co_return; }",
             "int f5 = 1;"]
    uses = [f"bulkhead::Handler handler{i}(f{i});" for i in range(1, len(wrong) + 1)]
    run = compiled(tmp_path, "#include <bulkhead/bulkhead.hpp>\n" + "\n".join(wrong + uses) + "\n")
    assert run.returncode != 0
    errors = re.findall(r"\berror: (.*)", run.stderr)
    assert len(errors) == len(wrong), run.stderr
    for error in errors:
        assert "a handler is called with (bulkhead::Job&) and returns a value with a JSON form" in error


def test_the_documents_programs_compile_without_a_warning(tmp_path):
    text = (SOURCE / "docs/HANDLERS-CPP.md").read_text()
    programs = [block for block in re.findall(r"```cpp\n(.*?)```", text, re.DOTALL) if "int main" in block]
    assert len(programs) >= 4
    # All in one compilation, each in a namespace of its own: it is the includes that take the time.
    includes, bodies = [], []
    for number, source in enumerate(programs):
        lines = source.replace("int main(", "int run(").splitlines()
        includes += [line for line in lines if line.startswith("#include")]
        body = "\n".join(line for line in lines if not line.startswith("#include"))
        bodies.append(f"namespace program_{number} {{\n{body}\n}}")
    run = compiled(tmp_path, "\n".join(includes + bodies) + "\n")
    assert run.returncode == 0, run.stderr


def test_every_header_for_users_stands_alone(tmp_path):
    def check(header):
        file = tmp_path / (header.stem + ".cpp")
        file.write_text(f'#include "bulkhead/{header.name}"\n')
        return header.name, subprocess.run([*COMPILER, *FLAGS, str(file)], text=True, capture_output=True)

    headers = [HEADERS / "bulkhead" / name for name in
               re.findall(r"^//     (\w+\.hpp)", (HEADERS / "bulkhead/bulkhead.hpp").read_text(), re.MULTILINE)]
    assert len(headers) >= 7
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        faults = {name: run.stderr for name, run in pool.map(check, headers) if run.returncode != 0}
    assert not faults
