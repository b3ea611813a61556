"""The frame of every process: logging, health endpoint, signals, one room's `run`, an exit code."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from consumers.runtime import metrics
from consumers.runtime.errors import OperatorError
from consumers.runtime.health import Health, serve_health
from consumers.runtime.logging import configure_logging
from consumers.runtime.settings import Settings
from consumers.runtime.signals import stop_on_signals

#: A room's main: runs until `stop` is set, reports to `health`, finishes what is in flight.
RoomMain = Callable[[Settings, asyncio.Event, Health], Awaitable[None]]

EXIT_STOPPED = 0
EXIT_FAILED = 1

_log = structlog.get_logger(__name__)


def run_process(name: str, room_main: RoomMain, settings: Settings) -> int:
    """Run `room_main` until a signal stops it; returns the exit code.

    0: stopped as asked. 1: it failed or ended unasked; the cause is logged once, with its trace.
    """
    configure_logging(settings.log, name)
    metrics.identify(settings.cluster_id)
    return asyncio.run(_run(name, room_main, settings))


async def _run(name: str, room_main: RoomMain, settings: Settings) -> int:
    health = Health()
    try:
        with stop_on_signals() as stop:
            async with serve_health(health, settings.http) as url:
                _log.info("started", room=name, ready=f"{url}/readyz", metrics=f"{url}/metrics")
                await room_main(settings, stop, health)
                if not stop.is_set():
                    _log.error("ended without being asked to: this is a defect, please report it")
                    return EXIT_FAILED
    except OperatorError as refused:
        _log.error(str(refused))
        return EXIT_FAILED
    except Exception:  # noqa: BLE001 - the process boundary: log the cause once, end with 1
        _log.exception("ended by an unexpected error")
        return EXIT_FAILED
    _log.info("stopped")
    return EXIT_STOPPED
