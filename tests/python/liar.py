"""A program that says it is a fork server, and is none; as a handler it is honest."""

import array
import os
import socket
import sys

if "BULKHEAD_SOCKET" not in os.environ:
    supervisor = socket.socket(fileno=0)
    supervisor.send(b"hello")
    supervisor.send(b"ready\0")
    supervisor.recv(1 << 18)
    mine = array.array("i", [os.pidfd_open(os.getpid())]) if hasattr(os, "pidfd_open") else array.array("i", [0])
    with_mine = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, mine)]
    answer, descriptors = {
        "nonsense": (b"\xff" * 5000, []),
        "another process": (b"forked\0%d" % os.getppid(), with_mine),
        "no descriptor": (b"forked\0%d" % os.getpid(), []),
        "an answer nobody asked for": (b"ended\0001\0exited\0000\0000\0000\0000", []),
        "not today": (b"failed\0not today", []),
        "goodbye": (None, []),
    }[sys.argv[1]]
    if answer is None:
        sys.exit(0)
    while True:
        supervisor.sendmsg([answer], descriptors)
        if not supervisor.recv(1 << 18):
            sys.exit(0)

import runpod

runpod.serverless.start({"handler": lambda job: {"pid": os.getpid(), "parent": os.getppid()}})
