"""TCP ports of the local stack: a free one, or the configured one with a word on who holds it."""

import errno
import itertools
import os
import socket
from contextlib import closing

import psutil

from deploy.local.parts.child import PartError

LOOPBACK = "127.0.0.1"


#: Below the ports that systems give to outgoing connections (32768 on Linux, 49152 elsewhere), of
#: which any could take a port between its choice and its use; so could all of `bind` to port 0.
FIRST, SPAN = 20_000, 12_000
#: Processes that start one after another, as tests side by side do, begin this many apart.
APART = 61

_choices = itertools.count(os.getpid() * APART)


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody holds now; somebody else may take it before its use.

    Successive calls of a process give different ports. Raises PartError where all are held.
    """
    for choice in itertools.islice(_choices, SPAN):
        port = FIRST + choice % SPAN
        with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError as refused:
                if refused.errno != errno.EADDRINUSE:
                    raise
            else:
                return port
    raise PartError(f"no free port between {FIRST} and {FIRST + SPAN}: end what holds them")


def claim_port(wanted: int, *, part: str, option: str) -> int:
    """`wanted`, checked to be free; a free port when `wanted` is 0.

    Raises PartError naming the holder and `option` (such as "--kafka-port") when it is taken.
    """
    if wanted == 0:
        return free_port()
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, wanted))
        except OSError as refused:
            raise PartError(
                f"{part}: port {wanted} is in use by {_holder(wanted)}: "
                f"choose another with {option}, or stop it"
            ) from refused
    return wanted


def accepts(port: int) -> bool:
    """Whether something accepts a TCP connection on 127.0.0.1:`port`."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1.0):
            return True
    except OSError:
        return False


def _holder(port: int) -> str:
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        return "another process"
    for connection in connections:
        listening = connection.status == psutil.CONN_LISTEN
        if listening and connection.laddr and connection.laddr.port == port and connection.pid:
            try:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
            except psutil.NoSuchProcess:
                break
    return "another process"
