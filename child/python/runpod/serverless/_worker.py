"""A configuration of RunPod's as a program of Bulkhead's."""

import os
import sys
import time

from bulkhead import NotJson, _failure, _outcome, _program, _start
from bulkhead._arguments import Arguments
from bulkhead._connection import supervised

from .modules import rp_fitness

_was_supervised = supervised()


def tested():
    """Whether this was a local test, which ends the process."""
    return not _was_supervised


def run(config):
    """The exit code; None where this process has nothing to start."""
    handler = config.get("handler")
    if not callable(handler):
        raise TypeError('runpod.serverless.start: config["handler"] must be callable, not %r' % (handler,))
    config["reference_counter_start"] = time.perf_counter()
    arguments = Arguments()
    config["rp_args"] = arguments.values
    _set_log_level(arguments.values["rp_log_level"])
    rules = _outcome.Rules(
        _failure.Identity(_version),
        bool(config.get("return_aggregate_stream", False)),
        _start.nan_as_null(),
        _debugger(config["reference_counter_start"]) if arguments.values["rp_debugger"] else None,
    )
    program = _program.Program(
        handler,
        rules,
        bool(config.get("refresh_worker", False)),
        config.get("concurrency_modifier"),
        setup=rp_fitness.run_registered if _was_supervised and rp_fitness.registered() else None,
    )
    return _start.start_program(program, arguments)


def _version():
    return {"runpod_version": sys.modules["runpod"].__version__}


def _set_log_level(level):
    """For the handler's own use of RunPodLogger, in this module or one it imports later."""
    if level:
        os.environ["RUNPOD_LOG_LEVEL"] = level.upper()
        logger = sys.modules.get("runpod.serverless.modules.rp_logger")
        if logger is not None:
            logger.RunPodLogger.level = level.upper()


def _debugger(started_at):
    """Adds the official debugger's times to an output. Raises ImportError where there is none."""
    from .utils import rp_debugger

    def add(value):
        if not isinstance(value, dict):
            raise NotJson(
                "output is a %s: --rp_debugger adds its times to a dict, and has no place here" % type(value).__name__
            )
        times = rp_debugger.get_debugger_output()
        times["ready_delay_ms"] = (started_at - sys.modules["runpod.serverless"]._imported_at) * 1000
        return dict(value, rp_debugger=times)

    return add
