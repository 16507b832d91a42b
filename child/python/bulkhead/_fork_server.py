"""The fork server: imports what `--preload` names, before the program, and forks children that go on into the program.

It is the handler's own command, up to the moment where Python has set itself up and not yet begun with the program: so flags,
virtual environment and arguments are right by themselves, and each fork reads the program anew. Its descriptor 0 is a socket
to the supervisor, which is also what it ends by; supervisor/process/fork_server.hpp has the messages.

One thread, for a fork copies one: whatever else runs here would be gone in the children, with the locks it holds. Native
libraries that end their threads at a fork and start new ones when they need them (OpenBLAS) do no harm, and are told from
the others by a trial.
"""

from __future__ import annotations

import array
import ctypes
import gc
import importlib
import os
import resource
import signal
import socket
import struct
import sys
import time
import traceback
import warnings
from typing import Any, Dict, List, Optional, Tuple

from . import _abi

_VARIABLE = "BULKHEAD_FORK_SERVER"
# What every handler needs, of ours and for us.
_OURS = ("faulthandler", _abi.__name__, "bulkhead._start", "bulkhead._coroutines", "runpod")
_WAITID = {"x86_64": 247, "aarch64": 95}.get(os.uname().machine)
_PIDFD_OPEN = 434  # everywhere
_P_PID, _WEXITED, _WNOWAIT = 1, 4, 1 << 24  # PyPy names none of these
_SO_PEERCRED = getattr(socket, "SO_PEERCRED", 17)
_MSG_CMSG_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0x40000000)
_COOKIE = b"BULKHEAD_COOKIE="
_MOST_TEXT = 4000
_ENDING_THREADS_S = 1.0


class Refused(Exception):
    """Why there can be no fork server: for a person."""


def serve(hook_directory: str) -> None:
    """Returns in each fork, and at once where nobody wants a fork server. The server itself never returns."""
    modules = os.environ.pop(_VARIABLE, None)
    _forget(hook_directory)
    supervisor = _take_socket() if modules is not None else None
    if supervisor is None:
        return
    process = os.getpid()
    try:
        Server(supervisor).run([name for name in (modules or "").split(",") if name])
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(127 if os.getpid() != process else 1)


def _forget(directory: str) -> None:
    places = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if directory in places:
        places.remove(directory)
        os.environ["PYTHONPATH"] = os.pathsep.join(places)


def _take_socket() -> Optional[socket.socket]:
    """What the supervisor put at descriptor 0, where /dev/null takes its place; None if it is something else."""
    copy = os.dup(0)
    try:
        supervisor = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return None
    if supervisor.family != socket.AF_UNIX or supervisor.type != socket.SOCK_SEQPACKET:
        supervisor.close()
        return None
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(nothing, 0)
    os.close(nothing)
    return supervisor


class Server:
    def __init__(self, supervisor: socket.socket) -> None:
        self._supervisor = supervisor
        self._directory = os.getcwd()
        self._to_reap: List[int] = []

    def run(self, modules: List[str]) -> None:
        self._say("hello")
        try:
            self._must_be_its_child()
            try:
                os.close(_open_process(os.getpid()))
            except OSError as error:
                raise Refused("this system does not name processes by descriptors (Linux does from 5.3 on): %s" % error) from None
            remark = load(modules)
        except Refused as reason:
            _write_out()
            self._say("refused", str(reason)[:_MOST_TEXT])
            self._supervisor.recv(1)  # until it is closed
            os._exit(0)
        self._at_child_end = signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # so that statuses are kept
        _write_out()
        gc.collect()
        if hasattr(gc, "freeze"):
            gc.freeze()  # a collection in a child writes into what it looks at, and so would copy it
        self._say("ready", remark)
        while not self._answer():
            pass

    def _must_be_its_child(self) -> None:
        made_by = struct.unpack("3i", self._supervisor.getsockopt(socket.SOL_SOCKET, _SO_PEERCRED, 12))[0]
        if made_by != os.getppid():
            raise Refused(
                "the command starts Python as a process of its own: write Python itself behind the --, or end the script "
                "with exec"
            )

    def _say(self, *fields: str) -> None:
        self._supervisor.sendall("\0".join(fields).encode("utf-8", "backslashreplace"))

    def _answer(self) -> bool:
        """Does as the next message says. True in a fork."""
        descriptors = array.array("i")
        packet, control, _, _ = self._supervisor.recvmsg(
            1 << 18, socket.CMSG_SPACE(64 * descriptors.itemsize), _MSG_CMSG_CLOEXEC
        )
        for level, kind, data in control:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
        if not packet:
            os._exit(0)  # the supervisor is gone, or wants us no more
        asked, *fields = packet.split(b"\0")
        if asked == b"fork":
            return self._fork(fields, list(descriptors))
        if asked == b"status":
            self._say("ended", fields[0].decode(), *status_of(int(fields[0])))
        elif asked == b"reap":
            self._to_reap.append(int(fields[0]))
        self._to_reap = [pid for pid in self._to_reap if not _reaped(pid)]
        return False

    def _fork(self, fields: List[bytes], descriptors: List[int]) -> bool:
        waits, goes = os.pipe()  # the child goes on once the supervisor knows of it
        try:
            pid = os.fork()
        except OSError as error:
            self._say("failed", "the fork server cannot fork: %s" % error)
            pid = -1
        if pid == 0:
            os.close(goes)
            self._supervisor.close()
            if not os.read(waits, 1):
                os._exit(0)  # the server has died: the supervisor starts another in this one's place
            os.close(waits)
            become_child(fields, descriptors, self._directory)
            if self._at_child_end is not None:
                signal.signal(signal.SIGCHLD, self._at_child_end)
            return True
        for descriptor in (*descriptors, waits):
            os.close(descriptor)
        if pid > 0:
            pidfd = _open_process(pid)
            self._supervisor.sendmsg(
                [b"forked\0%d" % pid], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [pidfd]))]
            )
            os.close(pidfd)
            os.write(goes, b"!")
        os.close(goes)
        return False


def _write_out() -> None:
    """What waited in a buffer of ours would be written by each fork, or by none."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass  # there is none, or it is closed
    ctypes.CDLL(None).fflush(None)


# ---- before the first fork ----------------------------------------------------------------------------------------------


def load(modules: List[str]) -> str:
    """Imports them, and says what is worth knowing about it. Raises Refused where a fork would be wrong."""
    # Its uploader is a thread (from 1.29 on), which would be missing in the children.
    untold = os.environ.setdefault("ORT_DISABLE_TELEMETRY", "") == ""
    if untold:
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    before = _descriptors()
    started: Dict[int, str] = {}  # by thread: at whose import
    place = _program_directory()
    if place is not None:
        sys.path.insert(0, place)
    for name in (*_OURS, *modules):
        try:
            importlib.import_module(name)
            if name == _abi.__name__:
                _abi.load()  # it does nothing until it connects
        except BaseException as error:
            traceback.print_exc()
            raise Refused("importing %s failed: %s: %s" % (name, type(error).__name__, error)) from None
        for thread in _threads():
            started.setdefault(thread, name)
        _refuse_cuda(name)
    if place is not None and place in sys.path:
        sys.path.remove(place)
    if untold:
        del os.environ["ORT_DISABLE_TELEMETRY"]
    _refuse_threads(started)
    left_open = ["%s" % target for number, target in _descriptors().items() if number not in before]
    return "what is imported keeps open, and all children share: " + ", ".join(left_open) if left_open else ""


def _program_directory() -> Optional[str]:
    """What Python will put in front of sys.path for the program."""
    if getattr(sys.flags, "safe_path", False) or sys.flags.isolated or not getattr(sys, "argv", None):
        return None
    return os.path.dirname(os.path.realpath(sys.argv[0])) if sys.argv[0] not in ("", "-c", "-m") else os.getcwd()


def _threads() -> List[int]:
    return [int(number) for number in os.listdir("/proc/self/task") if int(number) != os.getpid()]


def _refuse_threads(started: Dict[int, str]) -> None:
    if _threads():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that this forks beside threads
            pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
    end = time.monotonic() + _ENDING_THREADS_S
    while _threads() and time.monotonic() < end:
        time.sleep(0.005)  # one that was joined may be seen a little longer
    alive = {started.get(thread, "something") for thread in _threads()}
    if alive:
        raise Refused(
            "%s started threads that would be missing in every fork: leave it out, or make it start them later"
            % ", ".join(sorted(alive))
        )


def _refuse_cuda(name: str) -> None:
    torch = sys.modules.get("torch")
    initialised = getattr(getattr(torch, "cuda", None), "is_initialized", None)
    if initialised is not None and initialised() or any(
        target.startswith(("/dev/nvidia", "/dev/kfd")) for target in _descriptors().values()
    ):
        raise Refused("%s initialised CUDA, which does not work in a fork: leave it out, or make it do so later" % name)


def _descriptors() -> Dict[int, str]:
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[int(number)] = os.readlink("/proc/self/fd/" + number)
        except OSError:
            pass  # that of the listing
    return found


# ---- in a child -----------------------------------------------------------------------------------------------------------


def become_child(fields: List[bytes], descriptors: List[int], directory: str) -> None:
    """What happens between fork and exec to a child that is started, and what an exec would have done."""
    for cgroup in descriptors[2:]:
        entry = os.open("cgroup.procs", os.O_WRONLY | os.O_CLOEXEC, dir_fd=cgroup)
        os.write(entry, b"0")
        os.close(entry)
    os.setsid()
    for number, descriptor in enumerate(descriptors[:2], 1):
        os.dup2(descriptor, number)
    for descriptor in descriptors:
        os.close(descriptor)
    if os.getcwd() != directory:
        os.chdir(directory)
    for field in fields:
        kind, _, text = field.partition(b" ")
        if kind == b"env":
            name, _, value = text.partition(b"=")
            os.environb[name] = value
            if name + b"=" == _COOKIE:
                _wear_cookie(value)
        elif kind == b"limit":
            which, soft, hard = map(int, text.split())
            resource.setrlimit(which, (soft, hard))
    _renew()


def _wear_cookie(cookie: bytes) -> None:
    """Others read it where the exec put the first environment of this process, so it is replaced there."""
    with open("/proc/self/stat", "rb") as stat:
        fields = stat.read().rpartition(b")")[2].split()
    start, end = int(fields[47]), int(fields[48])
    text = ctypes.string_at(start, end - start) if start else b""
    at = 0 if text.startswith(_COOKIE) else text.find(b"\0" + _COOKIE) + 1
    at += len(_COOKIE)
    if text[at - len(_COOKIE) : at] == _COOKIE and text.find(b"\0", at) - at == len(cookie):
        ctypes.memmove(start + at, cookie, len(cookie))


def _renew() -> None:
    """What two processes must not have in common."""
    modules: Dict[str, Any] = sys.modules
    if "random" in modules:
        modules["random"].seed()
    if "numpy.random" in modules:
        modules["numpy.random"].seed()
    if "tempfile" in modules:
        modules["tempfile"].tempdir = None  # the server's
    if "multiprocessing.process" in modules:
        modules["multiprocessing.process"].current_process().authkey = os.urandom(32)


# ---- the parent's part --------------------------------------------------------------------------------------------------


def status_of(pid: int) -> Tuple[str, ...]:
    """How a child has ended, whose zombie stays: the fields behind its number."""
    info, usage = (ctypes.c_int * 32)(), (ctypes.c_long * 32)()
    if _WAITID is not None and sys.maxsize > 1 << 32:
        call = ctypes.CDLL(None, use_errno=True).syscall  # os.waitid does not tell what it used
        if call(_WAITID, _P_PID, pid, info, _WEXITED | _WNOWAIT, usage) == 0:
            return _status(info[2], info[6], usage[4], usage[0] * 1000000 + usage[1], usage[2] * 1000000 + usage[3])
    try:
        found = os.waitid(_P_PID, pid, _WEXITED | _WNOWAIT)
    except (AttributeError, ChildProcessError):
        found = None
    if found is None:
        return ("lost", "0", "0", "0", "0")
    return _status(found.si_code, found.si_status, 0, 0, 0)


def _status(code: int, number: int, *used: int) -> Tuple[str, ...]:
    how = {1: "exited", 2: "killed", 3: "core"}.get(code, "lost")  # CLD_EXITED, CLD_KILLED, CLD_DUMPED
    return (how, *map(str, (number, *used)))


def _reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def _open_process(pid: int) -> int:
    if hasattr(os, "pidfd_open"):
        return os.pidfd_open(pid)
    libc = ctypes.CDLL(None, use_errno=True)
    fd: int = libc.syscall(_PIDFD_OPEN, pid, 0)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "pidfd_open")
    return fd
