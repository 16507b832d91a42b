"""The smallest handler: what it returns is the job's output, what it raises is its error."""

import runpod


def handler(job):
    name = job["input"].get("name", "world")
    return f"Hello, {name}!"


if __name__ == "__main__":
    runpod.serverless.start({"handler": handler})
