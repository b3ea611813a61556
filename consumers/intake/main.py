"""The intake process: takes in every topic, poll by poll, and publishes dead letters and entries.

Any number of replicas: the consumer group decides who reads which partition, the ledger who may
record it. Broker or database down: it waits, says so in /readyz, and goes on where it stood.
"""

import asyncio
from collections.abc import Callable, Iterable
from uuid import UUID, uuid4

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError
from sqlalchemy.exc import SQLAlchemyError

from consumers.contract.events import Record
from consumers.contract.kafka_client import (
    KafkaSetupError,
    consumer_options,
    ensure_topics,
    producer_options,
    started,
)
from consumers.contract.kafka_trouble import explain
from consumers.contract.topics import entity_topics
from consumers.intake.dead_letter_topics import publish_dead_letters
from consumers.intake.outbox import publish_entries
from consumers.intake.positions import Positions, as_record
from consumers.intake.taking_in import Taken, take_in
from consumers.runtime import metrics
from consumers.runtime.health import Health
from consumers.runtime.settings import Settings
from consumers.runtime.signals import pause
from ledger.store.database import FROZEN_AFTER_S, UNAVAILABLE, Database, why_unavailable
from ledger.store.guard import unsafe
from ledger.store.inputs import ZombieConsumer

_log = structlog.get_logger(__name__)

RECORDS = metrics.counter("intake_records", "Kafka records taken in")
NEWS = metrics.counter("intake_news", "Observations that were news")
DEAD_LETTERS = metrics.counter("intake_dead_letters", "Records that could not be taken in")
LAG = metrics.Snapshot(fresh_s=30, of="process")
UNREAD = LAG.gauge(
    "intake_lag_records", "Records of a partition that are not taken in yet", ("topic", "partition")
)
TRANSACTIONS = metrics.histogram("intake_transaction_seconds", "One poll's transaction")

_POLL_MS = 200
_RETRY_S = 1.0
_HEAL_EVERY_S = 3.0
_LAST_BATCH_S = 5.0


async def run(settings: Settings, stop: asyncio.Event, health: Health) -> None:
    """Take in until `stop`; what was polled and not recorded is read again by the next owner."""
    database = Database(
        settings.postgres.dsn.get_secret_value(),
        pool_size=settings.postgres.pool_size,
        statement_timeout_s=settings.postgres.statement_timeout_s,
        idle_in_transaction_s=FROZEN_AFTER_S,
        application_name="eni-ledger-intake",
    )
    health.ready("kafka", False, "connecting")
    publishing: asyncio.Task[None] | None = None
    try:
        while not stop.is_set():
            try:
                why = await asyncio.to_thread(_unsafe, settings, database)
                health.ready("guard", why is None, why or "the right schema and clock")
                if why is None:
                    publishing = publishing or asyncio.create_task(
                        publish_entries(settings, database, stop, uuid4, health)
                    )
                    await _serve(settings, database, stop, health)
                else:
                    _log.error("not taking in yet", cause=why)
            except (KafkaError, KafkaSetupError, OSError) as unavailable:
                why = explain(unavailable, settings.kafka.sasl_username)
                health.ready("kafka", False, f"connecting again: {why}")
                _log.warning("Kafka is unavailable: connecting again", cause=why)
            await pause(stop, 0 if stop.is_set() else _RETRY_S)
    finally:
        if publishing is not None:
            await _ended(publishing, _LAST_BATCH_S if stop.is_set() else 0)
        database.close()


async def _ended(task: "asyncio.Task[None]", grace_s: float) -> None:
    """Wait for what is in flight, so long; then cut it off: what was not acknowledged is repeated."""
    await asyncio.wait({task}, timeout=grace_s)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _unsafe(settings: Settings, database: Database) -> str | None:
    """Why nothing may be taken in, or None."""
    try:
        with database.transaction() as connection:
            return unsafe(connection, clock_may_be_replaced=settings.local_stack)
    except UNAVAILABLE as unavailable:
        return f"PostgreSQL: {why_unavailable(unavailable)}"


async def _serve(
    settings: Settings, database: Database, stop: asyncio.Event, health: Health
) -> None:
    """One stay with the broker: ends at `stop`, or with what made it impossible to go on."""
    await ensure_topics(settings.kafka)
    reading = consumer_options(
        settings.kafka, "eni-ledger-intake", group_id=settings.kafka.group_id
    )
    async with (
        started(AIOKafkaConsumer(**reading)) as consumer,
        started(AIOKafkaProducer(**_dead_letter_producer_options(settings))) as producer,
    ):
        positions = Positions(database, settings.kafka)
        intake = Intake(settings, database, positions, health, uuid4, stop)
        consumer.subscribe(
            list(entity_topics(settings.kafka.topic_prefix)),
            listener=_Assignment(consumer, positions, health),
        )
        await _until_stopped(consumer, producer, intake, database, stop)


def _dead_letter_producer_options(settings: Settings) -> dict[str, object]:
    # A dead letter may be larger than what we read: it must pass whole, with its reasons.
    size = settings.kafka.fetch_bytes_max + 65_536
    return producer_options(settings.kafka, "eni-ledger-intake-dlq") | {"max_request_size": size}


async def _until_stopped(
    consumer: AIOKafkaConsumer,
    producer: AIOKafkaProducer,
    intake: "Intake",
    database: Database,
    stop: asyncio.Event,
) -> None:
    loop = asyncio.get_running_loop()
    heal_at = loop.time() + _HEAL_EVERY_S
    while not stop.is_set():
        polled = await consumer.getmany(
            timeout_ms=_POLL_MS, max_records=intake.settings.intake.batch_max
        )
        records = [as_record(raw) for batch in polled.values() for raw in batch]
        taken = await intake.take(records)
        due = loop.time() >= heal_at
        try:
            if due:
                # First: a broker that came back empty has no dead-letter topics either.
                await intake.positions.heal(consumer)
                if consumer.assignment():
                    intake.health.ready("kafka", True, _reading(consumer))
                _show_lag(consumer, intake.positions)
            if due or taken.dead_letters:
                await publish_dead_letters(database, producer)
                intake.health.ready("postgres", True)
        except UNAVAILABLE as unavailable:
            await intake.database_is_unavailable(unavailable)
        if due:
            heal_at = loop.time() + _HEAL_EVERY_S


def _show_lag(consumer: AIOKafkaConsumer, positions: Positions) -> None:
    """How far the log is ahead, by the broker's word in its last answer; what was never fetched from
    is left out."""
    with LAG.renewed():
        assigned = consumer.assignment()
        for (topic, partition), following in positions.expected().items():
            read = TopicPartition(topic, partition)
            end = consumer.highwater(read) if read in assigned else None
            if end is not None:
                UNREAD.labels(topic, str(partition)).set(max(0, end - following))


def _reading(consumer: AIOKafkaConsumer) -> str:
    return f"reading {len(consumer.assignment())} partitions"


class Intake:
    """Takes polls in; keeps nothing but positions, which follow the ledger."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        positions: Positions,
        health: Health,
        new_id: Callable[[], UUID],
        stop: asyncio.Event,
    ) -> None:
        self.settings = settings
        self.positions = positions
        self.health = health
        self._database = database
        self._new_id = new_id
        self._stop = stop

    async def take(self, records: Iterable[Record]) -> Taken:
        """Take one poll in, without the partitions that another consumer has taken over meanwhile.

        While the database is not there it waits with the poll in its hands, and stays in the group:
        leaving it would only make the others wait as well.
        """
        while not self._stop.is_set() and (owned := self.positions.owned(records)):
            expected = self.positions.expected()
            try:
                with TRANSACTIONS.time():
                    taken = await asyncio.to_thread(
                        take_in,
                        self._database,
                        owned,
                        expected,
                        self.settings.kafka.message_bytes_max,
                        self._new_id,
                        gap_restarts_ttl=self.settings.intake.gap_restarts_ttl,
                    )
            except ZombieConsumer as zombie:
                _log.warning("another consumer has taken partitions over", cause=str(zombie))
                self.positions.give_up(TopicPartition(*lost) for lost in zombie.partitions)
                continue
            except UNAVAILABLE as unavailable:
                await self.database_is_unavailable(unavailable)
                continue
            self.positions.moved(owned, expected)
            self.health.ready("postgres", True)
            RECORDS.inc(taken.records)
            NEWS.inc(taken.news)
            DEAD_LETTERS.inc(taken.dead_letters)
            return taken
        return Taken(0, 0, 0, 0)

    async def database_is_unavailable(self, unavailable: SQLAlchemyError) -> None:
        """Say so, and wait a moment; nothing has happened, so that the same can be tried again."""
        cause = why_unavailable(unavailable)
        self.health.ready("postgres", False, f"trying again: {cause}")
        _log.warning("PostgreSQL is unavailable: trying again", cause=cause)
        await pause(self._stop, _RETRY_S)


class _Assignment(ConsumerRebalanceListener):  # type: ignore[misc]
    """Follows the group: seeks what comes, forgets what goes."""

    def __init__(self, consumer: AIOKafkaConsumer, positions: Positions, health: Health) -> None:
        self._consumer = consumer
        self._positions = positions
        self._health = health

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._positions.give_up(revoked)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        # What can't be taken over now is taken over by the next `heal`: nothing of it is owned
        # until then. Raised here, it would only reach the client's own log.
        try:
            await self._positions.take_over(self._consumer, assigned)
        except KafkaError as unavailable:
            self._health.ready("kafka", False, f"partitions not taken over: {explain(unavailable)}")
        except UNAVAILABLE as unavailable:
            self._health.ready("postgres", False, f"trying again: {why_unavailable(unavailable)}")
        else:
            # Ready once the group has spoken: before that, what is produced waits unread.
            self._health.ready("kafka", True, _reading(self._consumer))
