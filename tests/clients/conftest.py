import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["BULKHEAD_SOURCE"], "tests", "support"))

# The official client reads keys from the home directory and proxies from the environment: these are the test's own.
os.environ["HOME"] = tempfile.mkdtemp(prefix="bulkhead-clients-")
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"

from served import echo, tokens, zoo  # noqa: E402, F401: fixtures, found once the path is set


def pytest_unconfigure():
    import shutil

    shutil.rmtree(os.environ["HOME"], ignore_errors=True)
