import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.environ["BULKHEAD_SOURCE"], "tests", "support"))


@pytest.fixture
def platform():
    from capture_platform import Platform
    with Platform() as platform:
        yield platform
