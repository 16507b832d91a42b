"""--rp_debugger: the times that RunPod's debugger has taken are added to each output. The debugger is RunPod's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._json import NotJson

if TYPE_CHECKING:
    from ._arguments import Arguments


def asked_for(arguments: Arguments, imported_at: float, started_at: float) -> Any:
    """What adds to an output, or None. Where there is no debugger, that is an error of the arguments."""
    if not arguments.values["rp_debugger"]:
        return None
    import importlib

    try:
        rp_debugger = importlib.import_module("runpod.serverless.utils.rp_debugger")
    except ImportError:
        return arguments.wrong("--rp_debugger: RunPod's package, which has the debugger, is not installed: pip install runpod")

    def add(value: Any) -> Any:
        if not isinstance(value, dict):
            raise NotJson(
                "output is a %s: --rp_debugger adds its times to a dict, and has no place here" % type(value).__name__
            )
        times = rp_debugger.get_debugger_output()
        times["ready_delay_ms"] = (started_at - imported_at) * 1000
        return dict(value, rp_debugger=times)

    return add
