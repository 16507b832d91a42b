"""Makes a C++ source of a file's bytes:  embed.py FILE NAME OUTPUT  defines bulkhead::http::NAME as a std::string_view."""

import sys

path, name, output = sys.argv[1:]
with open(path, "rb") as file:
    data = file.read()
rows = [",".join(str(byte if byte < 128 else byte - 256) for byte in data[at:at + 40]) for at in range(0, len(data), 40)]
with open(output, "w") as out:
    out.write(f"""#include <string_view>
namespace bulkhead::http {{
static constexpr char kBytes[] = {{
{",".join(row + chr(10) for row in rows)}}};
extern const std::string_view {name};
constinit const std::string_view {name}(kBytes, sizeof kBytes);
}}
""")
