"""How far other clocks are from ours, read over the network: the database's, the API servers'.

A clock is read between two of our own readings, and counts for the middle of them. HTTP dates have
whole seconds, so half a second is added to the reading and to the doubt.
"""

import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpx2

from consumers.cloud.settings import CloudSettings
from consumers.doctor.attempts import attempt
from consumers.doctor.facts import ClockFacts, Reading
from consumers.kube.reads import ask
from consumers.runtime.settings import PostgresSettings
from ledger.store.database import Database

_HALF_A_SECOND: Final = 0.5


def reading(theirs: float, before: float, after: float, resolution_s: float) -> Reading:
    """A clock that said `theirs`, asked between two readings of ours; all in seconds. Pure."""
    half = resolution_s / 2
    return Reading(theirs + half - (before + after) / 2, (after - before) / 2 + half)


def look_at_database_clock(settings: PostgresSettings, facts: ClockFacts) -> None:
    """PostgreSQL's plain clock, not the ledger's function: that one is judged by its text."""

    def look() -> Reading:
        dsn = settings.dsn.get_secret_value()
        with (
            closing(Database(dsn, pool_size=1)) as database,
            database.transaction() as connection,
        ):
            before = time.time()
            theirs = connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
            return reading(theirs.timestamp(), before, time.time(), 0.0)

    facts.database = attempt(look)


def look_at_kubernetes_clock(client: httpx2.Client, facts: ClockFacts) -> None:
    """The API server's, from the Date of an answer."""
    facts.kubernetes = attempt(
        lambda: _dated(lambda: ask(client, "get", "/version", "/version").headers)
    )


def look_at_cloud_clock(settings: CloudSettings, facts: ClockFacts) -> None:
    """The ECS endpoint's, from the Date of its answer to a request that asks for nothing."""

    def look() -> Reading:
        host = settings.endpoint("ecs") or f"ecs.{settings.region_id}.aliyuncs.com"
        timeout = httpx2.Timeout(settings.connect_timeout_s + settings.read_timeout_s)
        with httpx2.Client(timeout=timeout) as client:
            return _dated(lambda: client.get(f"{settings.protocol}://{host}/").headers)

    facts.cloud = attempt(look)


def _dated(answered: Callable[[], httpx2.Headers]) -> Reading:
    before = time.time()
    date = answered().get("date")
    after = time.time()
    if date is None:
        raise LookupError("the answer has no Date")
    moment: datetime = parsedate_to_datetime(date)
    return reading(moment.astimezone(UTC).timestamp(), before, after, 2 * _HALF_A_SECOND)
