"""A logger of lines, in the form that RunPod's has: "LEVEL  | job | message", or JSON where RUNPOD_ENDPOINT_ID is set."""

import json
import os

MAX_MESSAGE_LENGTH = 4096
LOG_LEVELS = ["NOTSET", "TRACE", "DEBUG", "INFO", "WARN", "ERROR"]


def _checked(level):
    name = level.upper() if isinstance(level, str) else level
    if name in LOG_LEVELS:
        return name
    if isinstance(level, int) and 0 <= level < len(LOG_LEVELS):
        return LOG_LEVELS[level]
    raise ValueError("Invalid debug level: %s" % (level,))


class RunPodLogger:
    """There is one; calling the class gives it."""

    _only = None
    level = _checked(os.environ.get("RUNPOD_LOG_LEVEL") or os.environ.get("RUNPOD_DEBUG_LEVEL") or "DEBUG")

    def __new__(cls):
        if RunPodLogger._only is None:
            RunPodLogger._only = object.__new__(cls)
        return RunPodLogger._only

    def set_level(self, new_level):
        self.level = _checked(new_level)
        self.info("Log level set to %s" % self.level)

    def log(self, message, message_level="INFO", job_id=None):
        if self.level == "NOTSET":
            return
        if message_level != "TIP" and LOG_LEVELS.index(message_level) < LOG_LEVELS.index(self.level):
            return
        message = str(message)
        over = len(message) - MAX_MESSAGE_LENGTH
        if over > 0:
            half = MAX_MESSAGE_LENGTH // 2
            message = "%s\n...TRUNCATED %d CHARACTERS...\n%s" % (message[:half], over, message[-half:])
        if os.environ.get("RUNPOD_ENDPOINT_ID"):
            print(json.dumps({"requestId": job_id, "message": message, "level": message_level}), flush=True)
        else:
            print("%-7s| %s%s" % (message_level, "%s | " % job_id if job_id else "", message), flush=True)

    def secret(self, secret_name, secret):
        secret = str(secret)
        self.info("%s: %s" % (secret_name, secret[:1] + "*" * (len(secret) - 2) + secret[-1:]))

    def trace(self, message, request_id=None):
        self.log(message, "TRACE", request_id)

    def debug(self, message, request_id=None):
        self.log(message, "DEBUG", request_id)

    def info(self, message, request_id=None):
        self.log(message, "INFO", request_id)

    def warn(self, message, request_id=None):
        self.log(message, "WARN", request_id)

    def error(self, message, request_id=None):
        self.log(message, "ERROR", request_id)

    def tip(self, message):
        self.log(message, "TIP")
