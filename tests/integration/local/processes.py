"""Looking at processes from outside, and waiting for a condition with a deadline."""

import time
from collections.abc import Callable

import psutil


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
