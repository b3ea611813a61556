"""The console process: serves the audit API and the web console until it is stopped."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import structlog
from sqlalchemy.exc import SQLAlchemyError

from consumers.console.api import build_console
from consumers.console.authentication import authenticator, method_of
from consumers.console.desk import Desk
from consumers.kube import wire
from consumers.runtime.errors import OperatorError
from consumers.runtime.health import Health
from consumers.runtime.serving import serving
from consumers.runtime.settings import Settings
from ledger.audit.overview import readable
from ledger.store.database import Database

_log = structlog.get_logger(__name__)

#: How often the database is asked whether it answers, for /readyz.
LOOK_S = 5.0
#: A reader of an export that takes nothing for this long loses it: its snapshot keeps PostgreSQL from
#: cleaning up.
SLOWEST_READER_S = 60.0


async def run(settings: Settings, stop: asyncio.Event, health: Health) -> None:
    """Serve until `stop`. Raises OperatorError: without a cluster id, where the address can't be had
    (ListenError), and where identities are Kubernetes' and no cluster can be reached."""
    if not settings.cluster_id:
        raise OperatorError(
            "setting cluster_id is empty: set ENI_LEDGER_CLUSTER_ID to the ACK cluster id; without it "
            "every answer would be that nothing is managed here"
        )
    method = method_of(settings.console)
    if method == "tokens" and not settings.console.tokens:
        health.ready("console", False, "no token is set: every request is refused")
        _log.warning("every request is refused: set ENI_LEDGER_CONSOLE__TOKENS to name: token")
    identities = authenticator(settings.console, settings.kube)
    database = Database(
        settings.postgres.dsn.get_secret_value(),
        pool_size=settings.postgres.pool_size,
        statement_timeout_s=settings.postgres.statement_timeout_s,
        idle_in_transaction_s=SLOWEST_READER_S,
        application_name="eni-ledger-console",
    )
    console = settings.console
    try:
        with _cluster(settings) as (kube, no_kube):
            app = build_console(Desk(settings, database, kube, no_kube), identities)
            async with serving(
                app, console.host, console.port,
                what="the console", setting="ENI_LEDGER_CONSOLE__PORT",
            ) as port:  # fmt: skip
                _log.info("serving the audit API and the web console", host=console.host, port=port,
                          authentication=method)  # fmt: skip
                if method == "kubernetes" or console.tokens:
                    health.ready("console", True)
                await _watch_database(database, stop, health)
    finally:
        await identities.close()
        database.close()


@contextmanager
def _cluster(settings: Settings) -> Iterator[tuple[httpx2.Client | None, str]]:
    """The cluster's API, for `explain` alone: without it every other question is still answered."""
    try:
        client = wire.connect(settings.kube)
    except wire.KubeConfigError as missing:
        _log.warning("explain is not available", cause=str(missing))
        yield None, str(missing)
        return
    with client:
        yield client, ""


async def _watch_database(database: Database, stop: asyncio.Event, health: Health) -> None:
    """Say on /readyz whether schema audit can be read, until `stop`."""
    while not stop.is_set():
        trouble = await asyncio.to_thread(_trouble, database)
        health.ready("postgres", not trouble, trouble)
        try:
            await asyncio.wait_for(stop.wait(), LOOK_S)
        except TimeoutError:
            continue


def _trouble(database: Database) -> str:
    try:
        with database.transaction() as connection:
            readable(connection)
    except SQLAlchemyError as failed:
        cause = getattr(failed, "orig", None) or failed
        return f"schema audit can't be read: {str(cause).strip()}: see its server, its grants, its revision"
    return ""
