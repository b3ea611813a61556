"""Publishes every entry of the ledger, in feed order and without gaps, to `eni-ledger.entries.v1`.

One intake at a time has the turn, which PostgreSQL gives. Order does not rest on that: whoever
publishes begins right after what the broker acknowledged, and a batch is one write to the log.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from uuid import UUID

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from consumers.contract.entries import EntryAllocation, EntryData, RecordedEntry
from consumers.contract.events import object_key
from consumers.contract.kafka_client import (
    KafkaSetupError,
    ensure_topics,
    producer_options,
    started,
)
from consumers.contract.kafka_trouble import explain
from consumers.contract.topics import entries_topic
from consumers.intake.entries_log import standing
from consumers.intake.entries_writer import EntriesWriter, EntryTooLarge
from consumers.runtime import metrics
from consumers.runtime.health import Health
from consumers.runtime.settings import Settings
from consumers.runtime.signals import pause
from ledger.store import outbox
from ledger.store.database import UNAVAILABLE, Database
from ledger.store.incarnations import newest_incarnation, unconfirmed
from ledger.store.outbox import Cursor, FeedBroken, Unpublished

_log = structlog.get_logger(__name__)

PUBLISHED = metrics.counter("outbox_published_entries", "Entries that the broker acknowledged")
OUTBOX = metrics.Snapshot(fresh_s=30)
LAG = OUTBOX.gauge("outbox_lag_entries", "Entries that the topic has not seen yet")
#: Whoever has the turn knows; without it the figure goes away.
_STOPPED = metrics.Snapshot(fresh_s=30, of="process")
STOPPED = _STOPPED.gauge(
    "outbox_stopped", "1 while publishing can't go on before somebody acts", ("cause",)
)

_VERIFY = "find out who wrote there: eni-ledger verify --seal"
_ATTACH = "bring table ledger.{} back and attach it: deploy/howto/retention.md"
_AT_ONCE = 500
_POLL_S = 0.5
_RETRY_S = 1.0
#: Where somebody has to act first; well within what `STOPPED` is fresh for.
_STOPPED_RETRY_S = 10.0
_PART = "entries"
#: Between renewals of the turn while there is nothing to publish; well within `outbox.HOLD`.
_RENEW_S = 3.0


async def publish_entries(
    settings: Settings,
    database: Database,
    stop: asyncio.Event,
    new_id: Callable[[], UUID],
    health: Health,
) -> None:
    """Publish until `stop`, whenever the turn is ours. Taking in does not wait for it, and stays ready
    whatever is wrong here: `health` has it as the reason."""
    publisher = Publisher(settings, database, stop, new_id(), health)
    while not stop.is_set():
        wait_s = _RETRY_S
        try:
            await publisher.take_turn()
        except EntryTooLarge as refused:
            said = "entries are not published: one is too large for the broker"
            _stopped(health, said, "too-large", str(refused), refused.next_step)
            wait_s = _STOPPED_RETRY_S
        except (KafkaError, KafkaSetupError, OSError) as unavailable:
            why = explain(unavailable, settings.kafka.sasl_username, publisher.topic)
            health.ready(_PART, True, f"waiting for Kafka: {why}")
            _log.warning("entries wait for Kafka", cause=why)
        except UNAVAILABLE as unavailable:
            health.ready(_PART, True, "waiting for PostgreSQL")
            _log.warning("entries wait for PostgreSQL", cause=str(unavailable))
        except FeedBroken as broken:
            next_step = _VERIFY if broken.archive is None else _ATTACH.format(broken.archive)
            _stopped(health, "entries can't be published", "feed-broken", str(broken), next_step)
            wait_s = _STOPPED_RETRY_S
        except Exception:  # noqa: BLE001 - the boundary: a defect here must not stop the intake
            _log.exception("publishing failed: this is a defect, please report it")
        await pause(stop, wait_s)


def _stopped(health: Health, said: str, kind: str, cause: str, next_step: str) -> None:
    """Somebody has to act: in the log, on /readyz, and as a metric."""
    _log.error(said, cause=cause, next_step=next_step)
    health.ready(_PART, True, f"{said}: {cause}: {next_step}")
    with _STOPPED.renewed():
        STOPPED.labels(cause=kind).set(1)


class Publisher:
    """One who may have the turn: `token` is its name."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        stop: asyncio.Event,
        token: UUID,
        health: Health,
    ) -> None:
        self._kafka = settings.kafka
        self.topic = entries_topic(settings.kafka.topic_prefix)
        self._database = database
        self._stop = stop
        self._token = token
        self._health = health
        self._told: str | None = None

    async def take_turn(self) -> None:
        """Publish while the turn is ours; returns at once where it is another's."""
        why = await asyncio.to_thread(self._unready)
        if why != self._told:
            _log.log(logging.WARNING if why else logging.INFO, "entries", waiting_for=why)
            self._told = why
        if why is not None:
            self._health.ready(_PART, True, f"waiting for {why}")
            return
        if await asyncio.to_thread(self._claim) is None:
            self._health.ready(_PART, True, "another intake publishes")
            return
        options = producer_options(self._kafka, "eni-ledger-intake-outbox")
        try:
            async with started(AIOKafkaProducer(**options)) as producer:
                writer = EntriesWriter(producer, self.topic)
                cursor = await self._look()
                while cursor is not None and not self._stop.is_set():
                    self._health.ready(_PART, True, f"published up to position {cursor.position}")
                    cursor = await self._go_on(writer, cursor)
        finally:
            # In vain while PostgreSQL is away: then the turn ends by itself.
            with contextlib.suppress(*UNAVAILABLE):
                await asyncio.to_thread(self._give_up)

    async def _look(self) -> Cursor | None:
        """Where to go on, after a look at the log; None where the turn was lost meanwhile."""
        # Also on the way: a broker that came back empty has no topic either.
        created = await ensure_topics(self._kafka, [self.topic])
        cursor = await asyncio.to_thread(self._claim)
        if cursor is None:
            return None
        held = Cursor(0, 0) if created else await standing(self._kafka, self.topic, cursor)
        return held if held == cursor else await self._move(cursor, held)

    async def _go_on(self, writer: EntriesWriter, cursor: Cursor) -> Cursor | None:
        """Publish what there is, or wait a moment; None where the turn was lost."""
        entries = await asyncio.to_thread(self._read, cursor.position)
        if entries is None:
            return None
        if not entries:
            loop = asyncio.get_running_loop()
            renew_at = loop.time() + _RENEW_S
            while not self._stop.is_set() and loop.time() < renew_at:
                await pause(self._stop, _POLL_S)
                if await asyncio.to_thread(self._lag):
                    break
            renewed = await asyncio.to_thread(self._claim)
            return cursor if renewed == cursor else None
        count, offset = await writer.write(entries)
        if offset < cursor.next_offset:
            # The log is shorter than it was: what lay before this batch has to be looked at.
            return await self._look()
        PUBLISHED.inc(count)
        return await self._move(cursor, Cursor(entries[count - 1].entry.position, offset + count))

    async def _move(self, before: Cursor, after: Cursor) -> Cursor | None:
        moved = await asyncio.to_thread(self._advance, before, after)
        if not moved:
            _log.warning("another publishes entries now", position=before.position)
        return after if moved else None

    # ------------------------------------------------------------------ PostgreSQL, in threads

    def _claim(self) -> Cursor | None:
        with self._database.transaction() as connection:
            _show(outbox.lag(connection, self.topic))
            return outbox.claim(connection, self.topic, self._token)

    def _lag(self) -> int:
        with self._database.transaction() as connection:
            count = outbox.lag(connection, self.topic)
        _show(count)
        return count

    def _unready(self) -> str | None:
        # A restored ledger goes on under another number, so that readers can tell: not before it
        # was noted.
        with self._database.transaction() as connection:
            why = unconfirmed(connection)
        return None if why is None else f"a reconciler, to note that {why}"

    def _read(self, after: int) -> list[RecordedEntry] | None:
        with self._database.transaction() as connection:
            if unconfirmed(connection) is not None:
                return None
            incarnation = newest_incarnation(connection)
            entries = outbox.read_unpublished(connection, after, _AT_ONCE)
        return [_recorded(each, incarnation) for each in entries]

    def _advance(self, before: Cursor, after: Cursor) -> bool:
        with self._database.transaction() as connection:
            return outbox.advance(connection, self.topic, self._token, before, after)

    def _give_up(self) -> None:
        with self._database.transaction() as connection:
            outbox.give_up(connection, self.topic, self._token)


def _show(lag: int) -> None:
    with OUTBOX.renewed():
        LAG.set(lag)


def _recorded(row: Unpublished, incarnation: int) -> RecordedEntry:
    about = None
    if row.allocation_id is not None:
        about = EntryAllocation.model_validate(
            {
                "id": row.allocation_id,
                "version": row.version,
                "namespace": row.namespace or "",
                "pod": row.pod or "",
                "interface": row.interface or "",
            }
        )
    data = EntryData(
        position=row.position,
        id=row.id,
        kind=row.kind,
        recorded_at=row.recorded_at,
        allocation=about,
        cause=dict(row.cause),
        data=dict(row.data),
    )
    subject = object_key(row.namespace, row.pod) if row.namespace and row.pod else ""
    return RecordedEntry(cluster=row.cluster, incarnation=incarnation, subject=subject, entry=data)
