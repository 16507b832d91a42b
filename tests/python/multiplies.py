"""A handler that needs numpy, whose BLAS has threads."""

import os

import numpy
import runpod


def handler(job):
    size = job["input"]["size"]
    numbers = numpy.arange(size * size, dtype=float).reshape(size, size) / size
    product = numbers @ numpy.eye(size) @ numpy.full((size, size), 2.0)
    expected = 2.0 * numbers.sum(axis=1, keepdims=True)
    return {
        "right": bool(numpy.allclose(product, expected)),
        "inverse": bool(numpy.allclose(numpy.linalg.inv(numpy.eye(size) * 4.0), numpy.eye(size) / 4.0)),
        "random": float(numpy.random.random()),
        "pid": os.getpid(),
        "parent": os.getppid(),
        "threads of the parent": len(os.listdir("/proc/%d/task" % os.getppid())),
        "refresh_worker": True,
    }


if __name__ == "__main__":
    runpod.serverless.start({"handler": handler})
