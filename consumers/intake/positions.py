"""Where each partition is read on: the ledger's offsets against what the broker has.

Kafka's own committed offsets are not used: a position moves in the transaction that took the
messages in, so that a crash between the two can't exist. What can exist is a log that was made
anew, whose offsets start again at 0: it is recognised by the id of the event before the position.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from consumers.contract.events import Record
from consumers.contract.kafka_client import consumer_options
from consumers.intake.batches import event_id
from consumers.runtime.settings import KafkaSettings
from ledger.store import inputs
from ledger.store.database import Database

_log = structlog.get_logger(__name__)

#: How long to wait for the one record that identifies a log.
_PEEK_TIMEOUT_S = 5.0


def as_record(raw: Any) -> Record:
    """A consumed record as the contract reads it."""
    return Record(
        raw.topic, raw.partition, raw.offset, raw.key, raw.value, tuple(raw.headers), raw.timestamp
    )


class Positions:
    """The next offset of every assigned partition; follows the ledger, never leads it."""

    def __init__(self, database: Database, settings: KafkaSettings) -> None:
        self._database = database
        self._settings = settings
        self._next: dict[TopicPartition, int] = {}

    async def take_over(
        self, consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]
    ) -> None:
        """Seek newly assigned partitions to where the ledger stands."""
        ordered = sorted(partitions)
        if not ordered:
            return
        beginnings = await consumer.beginning_offsets(ordered)
        ends = await consumer.end_offsets(ordered)
        for partition in ordered:
            first, end = beginnings[partition], ends[partition]
            position, last_event = await self._in_thread(
                inputs.begin_offset, partition.topic, partition.partition, first
            )
            why = await self._made_anew(partition, position, last_event, first, end)
            if why:
                position = await self._start_again(partition, first, position, why)
            self._next[partition] = position
            consumer.seek(partition, position)

    def give_up(self, partitions: Iterable[TopicPartition]) -> None:
        """Forget revoked partitions: their offsets are another consumer's now."""
        for partition in partitions:
            self._next.pop(partition, None)

    def owned(self, records: Iterable[Record]) -> list[Record]:
        """The records of partitions that are still ours and at or after their position."""
        return [
            record
            for record in records
            if record.offset
            >= self._next.get(TopicPartition(record.topic, record.partition), 2**63)
        ]

    def expected(self) -> dict[tuple[str, int], int]:
        """(topic, partition) -> the offset the ledger stands at."""
        return {(tp.topic, tp.partition): offset for tp, offset in self._next.items()}

    def moved(self, records: Iterable[Record]) -> None:
        """The ledger has taken these in."""
        for record in records:
            self._next[TopicPartition(record.topic, record.partition)] = record.offset + 1

    async def heal(self, consumer: AIOKafkaConsumer) -> None:
        """Seek again where a log now ends before our position, and where we had lost the partition
        to another consumer and are assigned it all the same."""
        known = sorted(self._next)
        ends = await consumer.end_offsets(known) if known else {}
        shrunk = {tp for tp in known if tp in self._next and ends[tp] < self._next[tp]}
        lost = set(consumer.assignment()) - set(self._next)
        await self.take_over(consumer, shrunk | lost)

    async def _made_anew(
        self, partition: TopicPartition, position: int, last_event: str | None, first: int, end: int
    ) -> str | None:
        """Why the position means nothing on this log, or None when it can be read on from there."""
        if position > end:
            return f"the log ends at {end}: it was made anew"
        if position < first:
            return f"the log begins at {first}: what was in between has passed its retention"
        if last_event is None or position - 1 < first:
            return None
        found = await self._event_at(partition, position - 1)
        if found is None or found == last_event:
            return None
        return f"offset {position - 1} holds event {found}, not {last_event}: the log was made anew"

    async def _event_at(self, partition: TopicPartition, offset: int) -> str | None:
        """The id of the event at an offset; None when there is none to be had there."""
        reader = AIOKafkaConsumer(**consumer_options(self._settings, "eni-ledger-intake-peek"))
        await reader.start()
        try:
            reader.assign([partition])
            reader.seek(partition, offset)
            raw = await asyncio.wait_for(reader.getone(partition), _PEEK_TIMEOUT_S)
        except TimeoutError:
            return None
        finally:
            await reader.stop()
        return event_id(as_record(raw)) if raw.offset == offset else None

    async def _start_again(
        self, partition: TopicPartition, first: int, position: int, why: str
    ) -> int:
        _log.warning(
            "starting again at the beginning of the log: what it repeats changes nothing",
            topic=partition.topic,
            partition=partition.partition,
            position=position,
            cause=why,
        )
        await self._in_thread(inputs.reset_offset, partition.topic, partition.partition, first)
        return first

    async def _in_thread(self, call: Callable[..., Any], *arguments: object) -> Any:
        def in_transaction() -> Any:
            with self._database.transaction() as connection:
                return call(connection, *arguments)

        return await asyncio.to_thread(in_transaction)
