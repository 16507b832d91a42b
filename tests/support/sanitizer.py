"""Whether a program was built with AddressSanitizer: it needs to be told of preloaded libraries, and memory means nothing."""

import functools
import subprocess


@functools.cache
def sanitized(program):
    return any(name in subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
               for name in ("libasan", "libtsan"))
