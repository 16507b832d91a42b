"""A configuration of RunPod's as a program of Bulkhead's."""

import os
import sys
import time

from bulkhead import _debugger, _failure, _outcome, _program, _start
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
        _debugger.asked_for(arguments, sys.modules["runpod.serverless"]._imported_at, config["reference_counter_start"]),
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
