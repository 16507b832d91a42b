"""`runpod.serverless` under Bulkhead: `start` and `progress_update` are ours, the rest is as the package above says."""

import os
import sys
import time

from .. import _finder

_official = sys.modules["runpod"]._official
if _official is not None:
    __path__.append(os.path.join(_official, "serverless"))

from .modules.rp_fitness import register_fitness_check  # noqa: E402
from .modules.rp_progress import progress_update  # noqa: E402

_imported_at = time.perf_counter()
_ELSEWHERE = {
    "RunPodLogger": ("modules.rp_logger", "RunPodLogger"),
    "VolumeCache": ("utils.rp_volume_cache", "VolumeCache"),
}


def __getattr__(name):
    if name in _ELSEWHERE:
        place, name = _ELSEWHERE[name]
        value = globals()[name] = getattr(_finder.load("runpod.serverless." + place), name)
        return value
    if name == "runpod_version":
        return sys.modules["runpod"].__version__
    if name == "log":
        value = globals()[name] = __getattr__("RunPodLogger")()
        return value
    return _finder.attribute(sys.modules[__name__], name, None if _official is None else __path__[-1])


def start(config):
    """Serves Bulkhead's jobs with config["handler"], until the supervisor says stop.

    Other keys: concurrency_modifier, return_aggregate_stream, refresh_worker, as RunPod's documentation has them.
    """
    from . import _worker

    code = _worker.run(config)
    if code or (code == 0 and _worker.tested()):
        sys.exit(code)
