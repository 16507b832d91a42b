"""Where the modules of `runpod` come from: RunPod's own folder if there is one, else the small parts beside this file.

A package of RunPod's is stood in for by an empty module with the same name and the same folder; its __init__ is run in that
module the first time something is asked of it that is not there. So `runpod.serverless.utils.rp_validator` is the official
module, found the usual way, without the half second that the imports of its package take.
"""

import importlib
import importlib.machinery
import importlib.util
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
_PARTS = os.path.join(_HERE, "parts")

# Ours, always: what talks to the supervisor.
ALWAYS = {
    "runpod.serverless.modules.rp_progress": "progress.py",
    "runpod.serverless.modules.rp_fitness": "fitness.py",
}
# Ours where the official package is not installed.
OWN = {
    "runpod.serverless.modules.rp_logger": "logger.py",
    "runpod.serverless.utils.rp_validator": "validator.py",
    "runpod.serverless.utils.rp_cleanup": "cleanup.py",
}
# Packages of RunPod's that are stood in for.
STAND_INS = ("runpod.serverless.utils", "runpod.serverless.modules")
# Names at the top that need not the whole of it.
TOP = {
    "RunPodLogger": "runpod.serverless.modules.rp_logger",
    "__version__": "runpod.version",
    "Endpoint": "runpod.endpoint",
    "AsyncioEndpoint": "runpod.endpoint",
    "AsyncioJob": "runpod.endpoint",
}

_WHAT_TO_DO = "%s is a part of RunPod's package, which is not installed here: pip install runpod"


class Finder:
    """Of the modules that are not simply files in the official folder."""

    def __init__(self, official):
        self._official = official  # RunPod's folder, or None

    def find_spec(self, name, path=None, target=None):
        if not name.startswith("runpod."):
            return None
        file = ALWAYS.get(name) or (OWN.get(name) if self._official is None else None)
        if file is not None:
            return importlib.util.spec_from_file_location(name, os.path.join(_PARTS, file))
        if name in STAND_INS:
            spec = importlib.machinery.ModuleSpec(name, StandIn(), is_package=True)
            if self._official is not None:
                spec.submodule_search_locations.append(os.path.join(self._official, *name.split(".")[1:]))
            return spec
        return None


class LastFinder:
    """Asked when nobody else found it."""

    def find_spec(self, name, path=None, target=None):
        if name.startswith("runpod."):
            raise ModuleNotFoundError(_WHAT_TO_DO % name, name=name)
        return None


class StandIn:
    """The loader of a package whose __init__ is run later, if ever."""

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        folder = list(module.__path__)
        module.__getattr__ = lambda name: attribute(module, name, folder[0] if folder else None)


def install(name, path):
    """Makes `path`, of the package `name`, lead to the official folder too. Returns that folder, or None."""
    official = _official_folder(name)
    sys.meta_path.insert(0, Finder(official))
    if official is not None:
        path.append(official)
    else:
        sys.meta_path.append(LastFinder())
    return official


def _official_folder(name):
    ours = os.path.dirname(_HERE)
    places = [place for place in sys.path if os.path.abspath(place or ".") != ours]
    for finder in [importlib.machinery.PathFinder, *sys.meta_path]:
        if finder is not importlib.machinery.PathFinder and "editable" not in type(finder).__module__ + repr(finder):
            continue  # only those of editable installations know more than the path
        try:
            spec = finder.find_spec(name, places if finder is importlib.machinery.PathFinder else None)
        except Exception:
            continue
        if spec is not None and spec.origin and os.path.basename(spec.origin) == "__init__.py":
            folder = os.path.dirname(spec.origin)
            if os.path.isdir(os.path.join(folder, "serverless")) and os.path.realpath(folder) != os.path.realpath(_HERE):
                return folder
    return None


def load(name):
    return importlib.import_module(name)


_run = set()  # packages whose official __init__ was run


def attribute(module, name, folder):
    """A name that `module`, which stands in for the package in `folder`, does not have yet."""
    if name.startswith("__"):
        raise AttributeError("module %r has no attribute %r" % (module.__name__, name))
    try:
        return load("%s.%s" % (module.__name__, name))
    except ModuleNotFoundError as error:
        if error.name != "%s.%s" % (module.__name__, name):
            raise
    if folder is None:
        raise ImportError(_WHAT_TO_DO % ("%s.%s" % (module.__name__, name)), name=module.__name__)
    if module.__name__ not in _run:
        _run.add(module.__name__)
        _run_init(module, os.path.join(folder, "__init__.py"))
        if name in module.__dict__:
            return module.__dict__[name]
    raise AttributeError("module %r has no attribute %r" % (module.__name__, name))


def _run_init(module, file):
    """The official __init__ in the module that stands in for it. What is there already, or was set by the user, stays."""
    before = dict(module.__dict__)
    with open(file, "rb") as source:
        code = compile(source.read(), file, "exec")
    exec(code, module.__dict__)
    module.__dict__.update({name: value for name, value in before.items() if name != "__builtins__"})
