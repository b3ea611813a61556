"""Looking at processes from outside, and waiting for a condition with a deadline."""

import time
from collections.abc import Callable

import psutil

from deploy.local.stack.state import StackState


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition: Callable[[], bool], what: str, deadline_s: float = 90.0) -> None:
    until = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < until, f"not within {deadline_s:g} s: {what}"
        time.sleep(0.05)


def listens(state: StackState) -> dict[str, set[str]]:
    """Part -> the addresses, without ports, on which it and its children accept connections."""
    found = {}
    for part in state.parts:
        running = part.process.process() if part.process else None
        if running is not None:
            family = [running, *running.children(recursive=True)]
            connections = [each for one in family for each in one.net_connections("inet")]
            found[part.name] = {
                each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN
            }
    return found
