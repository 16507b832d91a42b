"""`import runpod`, in a process that Bulkhead's supervisor started.

`runpod.serverless.start` and `progress_update` are Bulkhead's own here. All the rest is RunPod's package where that is
installed: its modules are loaded from its own folder under their own names, each when it is first used, so that importing
this costs nothing. Where it is not installed there are small parts of our own for what handlers use most, and an
ImportError that says what to do for everything else.

Nothing of this is on the path of a Python that no supervisor started.
"""

import sys

from . import _finder

_official = _finder.install(__name__, __path__)

from . import serverless  # noqa: E402  (its submodules are found by what was installed)


def __getattr__(name):
    """Whatever RunPod's package has at its top: its own __init__ is run in this module, once, and adds to it."""
    place = _finder.TOP.get(name)
    if place is not None and (_official is not None or place in _finder.OWN):
        value = globals()[name] = getattr(_finder.load(place), name)
        return value
    if name == "__version__":
        import bulkhead

        return bulkhead.__version__
    return _finder.attribute(sys.modules[__name__], name, _official)
