"""Python imports this before a program, where the supervisor wants a fork server: only then is this directory in the path.

It goes away without a trace. What it hides, a sitecustomize of the user's or of the system's, is imported in its stead: in
each fork, as in a child that was started.
"""

import importlib
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [_place for _place in sys.path if os.path.abspath(_place) != _HERE]
sys.path_importer_cache.pop(_HERE, None)

from bulkhead import _fork_server  # noqa: E402

_fork_server.serve(_HERE)

_this = sys.modules.pop(__name__)
try:
    importlib.import_module(__name__)
except ImportError as _error:
    if _error.name != __name__:
        raise
    sys.modules[__name__] = _this
