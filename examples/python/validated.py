"""Checks its input against a schema. What is wrong with it becomes the job's error."""

import runpod
from runpod.serverless.utils.rp_validator import validate

SCHEMA = {
    "text": {"type": str, "required": True, "constraints": lambda text: bool(text and text.strip())},
    "times": {"type": int, "required": False, "default": 1},
}


def handler(job):
    checked = validate(job["input"], SCHEMA)
    if "errors" in checked:
        return {"error": "; ".join(checked["errors"])}
    valid = checked["validated_input"]
    return " ".join([valid["text"]] * valid["times"])


if __name__ == "__main__":
    runpod.serverless.start({"handler": handler})
