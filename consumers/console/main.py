"""The console process: serves the audit API until it is stopped."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import structlog
import uvicorn

from consumers.console.api import build_api
from consumers.runtime.health import Health
from consumers.runtime.settings import Settings
from ledger.store.database import Database

_log = structlog.get_logger(__name__)


class ConsoleError(Exception):
    """The console can't be served: names the address or setting, the cause and the next step."""


async def run(settings: Settings, stop: asyncio.Event, health: Health) -> None:
    """Serve until `stop`. Raises ConsoleError where the address can't be had."""
    if not settings.console.tokens:
        health.ready("console", False, "no token is set: every request is refused")
        _log.warning("every request is refused: set ENI_LEDGER_CONSOLE__TOKENS to name: token")
    database = Database(
        settings.postgres.dsn.get_secret_value(),
        pool_size=settings.postgres.pool_size,
        statement_timeout_s=settings.postgres.statement_timeout_s,
        application_name="eni-ledger-console",
    )
    try:
        with _listen(settings.console.host, settings.console.port) as listener:
            host, port = listener.getsockname()[:2]
            server = _Server(
                uvicorn.Config(
                    build_api(settings, database), log_config=None, access_log=False, lifespan="off"
                )
            )
            serving = asyncio.create_task(server.serve(sockets=[listener]), name="console")
            _log.info("serving the audit API", url=f"http://{host}:{port}/api/v1/docs")
            if settings.console.tokens:
                health.ready("console", True)
            await stop.wait()
            server.should_exit = True
            await serving
    finally:
        database.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as refused:
        raise ConsoleError(
            f"the console can't listen on {host}:{port}: {refused.strerror}: set "
            "ENI_LEDGER_CONSOLE__PORT to a free port"
        ) from refused


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: the process decides when everything stops."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
