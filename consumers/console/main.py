"""The console process: serves the audit API until it is stopped."""

import asyncio

import structlog

from consumers.console.api import build_api
from consumers.runtime.health import Health
from consumers.runtime.serving import serving
from consumers.runtime.settings import Settings
from ledger.store.database import Database

_log = structlog.get_logger(__name__)


async def run(settings: Settings, stop: asyncio.Event, health: Health) -> None:
    """Serve until `stop`. Raises ListenError where the address can't be had."""
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
        async with serving(
            build_api(settings, database),
            settings.console.host,
            settings.console.port,
            what="the console",
            setting="ENI_LEDGER_CONSOLE__PORT",
        ) as port:
            _log.info("serving the audit API", host=settings.console.host, port=port)
            if settings.console.tokens:
                health.ready("console", True)
            await stop.wait()
    finally:
        database.close()
