"""SIGTERM and SIGINT: the first asks the process to finish its work, the second ends it now; and
waiting in a way that a signal ends."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator

import structlog

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_log = structlog.get_logger(__name__)


@contextlib.contextmanager
def stop_on_signals() -> Iterator[asyncio.Event]:
    """Within the block, the first stop signal sets the event and the second ends the process.

    Must be entered in the event loop's thread, the main one.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def receive(received: signal.Signals) -> None:
        if not stop.is_set():
            _log.info("stopping: finishing what is in flight", signal=received.name)
            stop.set()
            return
        _log.warning("stopping now: asked twice", signal=received.name)
        os._exit(128 + received)

    for each in STOP_SIGNALS:
        loop.add_signal_handler(each, receive, each)
    try:
        yield stop
    finally:
        for each in STOP_SIGNALS:
            loop.remove_signal_handler(each)


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait so long, or until `stop`."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
