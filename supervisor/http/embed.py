"""Makes a C++ source of files' bytes.

    embed.py FILE NAME OUTPUT           defines bulkhead::http::NAME, a std::string_view
    embed.py --page OUTPUT [NAME=]FILE… defines bulkhead::http::page_files() of supervisor/http/page.hpp
"""

import gzip
import hashlib
import os
import sys

TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
         ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8"}


def array(name, data):
    rows = [",".join(str(byte if byte < 128 else byte - 256) for byte in data[at:at + 40]) for at in range(0, len(data), 40)]
    return f"constexpr char {name}[] = {{\n" + ",\n".join(rows) + "};\n"


def read(path):
    with open(path, "rb") as file:
        return file.read()


def one(path, name):
    return f"""#include <string_view>
namespace bulkhead::http {{
namespace {{
{array("kBytes", read(path))}}}
extern const std::string_view {name};
constinit const std::string_view {name}(kBytes, sizeof kBytes);
}}
"""


def page(entries):
    arrays, table = [], []
    for number, entry in enumerate(entries):
        name, equals, path = entry.partition("=")
        if not equals:
            name, path = os.path.basename(entry), entry
        data = read(path)
        packed = gzip.compress(data, 9, mtime=0)
        arrays.append(array(f"kFile{number}", data))
        shorter = "{}"
        if len(packed) < len(data):
            arrays.append(array(f"kPacked{number}", packed))
            shorter = f"{{kPacked{number}, sizeof kPacked{number}}}"
        tag = hashlib.sha256(data).hexdigest()[:16]
        table.append(f"""    {{"{name}", "{TYPES[os.path.splitext(name)[1]]}", "\\"{tag}\\"", {{kFile{number}, sizeof kFile{number}}}, {shorter}}},""")
    return f"""#include "supervisor/http/page.hpp"
namespace bulkhead::http {{
namespace {{
{"".join(arrays)}constexpr PageFile kFiles[] = {{
{chr(10).join(table)}
}};
}}
std::span<const PageFile> page_files() {{ return kFiles; }}
}}
"""


def main():
    if sys.argv[1] == "--page":
        output, text = sys.argv[2], page(sys.argv[3:])
    else:
        path, name, output = sys.argv[1:]
        text = one(path, name)
    with open(output, "w") as out:
        out.write(text)


main()
