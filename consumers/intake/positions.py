"""Where each partition is read on: the ledger's offsets against what the broker has.

Kafka's own committed offsets are not used: a position moves in the transaction that took the
messages in, so that a crash between the two can't exist. What can exist is a log that was made
anew, whose offsets start again at 0. It is recognised by what lies before the position, when a
partition is taken over and every few seconds after that: a client that reconnects to such a log
would read on in the middle of it, silently. Then everything is read again from the beginning,
which changes nothing that was known (P5).
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from consumers.contract.events import Record
from consumers.contract.kafka_client import consumer_options, started
from consumers.contract.topics import entity_topic
from consumers.intake.batches import event_id
from consumers.intake.gaps import restart_after_loss
from consumers.runtime import metrics
from consumers.runtime.settings import KafkaSettings
from ledger.store import inputs
from ledger.store.database import Database

_log = structlog.get_logger(__name__)

REPLACED = metrics.counter(
    "intake_logs_replaced", "Partitions begun again, because a log is not what it was", ("topic",)
)

#: How long to wait for the records that identify the logs.
_PEEK_TIMEOUT_S = 3.0
#: One record of each log is enough; a broker sends a whole batch at least, whatever is asked for.
_PEEK_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a partition is read on, and which event lies before that (None: not known)."""

    next: int
    last_event: str | None


def as_record(raw: Any) -> Record:
    """A consumed record as the contract reads it. A header without a value gets an empty one."""
    headers = tuple((name, bytes(value or b"")) for name, value in raw.headers)
    return Record(raw.topic, raw.partition, raw.offset, raw.key, raw.value, headers, raw.timestamp)


class Positions:
    """The next offset of every assigned partition; follows the ledger, never leads it."""

    def __init__(self, database: Database, settings: KafkaSettings) -> None:
        self._database = database
        self._settings = settings
        self._at: dict[TopicPartition, Standing] = {}
        # Where each stood when its log was last found to be the one it was before.
        self._proven: dict[TopicPartition, Standing] = {}

    async def take_over(
        self, consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]
    ) -> None:
        """Seek newly assigned partitions to where the ledger stands."""
        ordered = sorted(partitions)
        if not ordered:
            return
        beginnings = await consumer.beginning_offsets(ordered)
        standing = await asyncio.to_thread(self._read, beginnings)
        replaced = await self._replaced(standing, standing, beginnings)
        for partition, why in replaced.items():
            standing[partition] = await self._start_again(
                partition, beginnings[partition], standing[partition].next, why
            )
        assigned = consumer.assignment()
        for partition in ordered:
            if partition in assigned:  # a rebalance may have taken it meanwhile
                self._at[partition] = self._proven[partition] = standing[partition]
                consumer.seek(partition, standing[partition].next)

    def give_up(self, partitions: Iterable[TopicPartition]) -> None:
        """Forget revoked partitions: their offsets are another consumer's now."""
        for partition in partitions:
            self._at.pop(partition, None)
            self._proven.pop(partition, None)

    def owned(self, records: Iterable[Record]) -> list[Record]:
        """The records of partitions that are still ours and at or after their position."""
        return [
            record
            for record in records
            if (at := self._at.get(TopicPartition(record.topic, record.partition)))
            and record.offset >= at.next
        ]

    def expected(self) -> dict[tuple[str, int], int]:
        """(topic, partition) -> the offset the ledger stands at."""
        return {(tp.topic, tp.partition): at.next for tp, at in self._at.items()}

    def moved(self, records: Iterable[Record], expected: Mapping[tuple[str, int], int]) -> None:
        """The ledger has taken these in, from `expected` on.

        A partition that was given up or sought anew while that went on stands where it stands now.
        """
        last = {TopicPartition(record.topic, record.partition): record for record in records}
        for partition, record in last.items():
            at = self._at.get(partition)
            if at is not None and at.next == expected[partition.topic, partition.partition]:
                self._at[partition] = Standing(record.offset + 1, event_id(record))

    async def heal(self, consumer: AIOKafkaConsumer) -> None:
        """Make sure that each log is still the one it was, and seek again where it is not; also
        where we had lost a partition to another consumer and are assigned it all the same."""
        assigned = set(consumer.assignment())
        self.give_up(set(self._at) - assigned)
        # Looked at together, before the first wait: a rebalance may change both meanwhile.
        standing, proofs = dict(self._at), dict(self._proven)
        if standing:
            beginnings = await consumer.beginning_offsets(sorted(standing))
            replaced = await self._replaced(standing, proofs, beginnings)
            for partition, why in replaced.items():
                first = beginnings[partition]
                await self._start_again(partition, first, standing[partition].next, why)
            self._proven.update({tp: at for tp, at in standing.items() if tp in self._at})
            self.give_up(replaced)
        await self.take_over(consumer, assigned - set(self._at))

    async def _replaced(
        self,
        standing: Mapping[TopicPartition, Standing],
        proofs: Mapping[TopicPartition, Standing],
        beginnings: Mapping[TopicPartition, int],
    ) -> dict[TopicPartition, str]:
        """Which positions mean nothing on the log that is there now, and why.

        `proofs` say which event is known to lie before which offset; reading past one does not make
        it fresh, because what was read may already have been the new log's.
        """
        replaced: dict[TopicPartition, str] = {}
        before: dict[TopicPartition, int] = {}
        for partition, at in standing.items():
            first, proof = beginnings[partition], proofs[partition]
            if at.next < first:
                replaced[partition] = (
                    f"the log begins at {first}: what was in between has passed its retention"
                )
            elif proof.last_event is not None and proof.next > first:
                before[partition] = proof.next - 1
        found = await self._events_at(before)
        # Not asked first: the quick start's broker reports ends that are too low.
        ends = await self._ends(set(before) - set(found))
        for partition, offset in before.items():
            expected = proofs[partition].last_event
            if partition not in found and ends[partition] <= offset:
                replaced[partition] = f"the log ends at {ends[partition]}: it was made anew"
            elif partition in found and found[partition] != expected:
                replaced[partition] = (
                    f"offset {offset} holds {found[partition] or 'nothing'}, not {expected}: "
                    "the log was made anew"
                )
        return replaced

    async def _events_at(self, offsets: Mapping[TopicPartition, int]) -> dict[TopicPartition, str]:
        """The ids of the events at these offsets ("": past the end), of those that answer in time."""
        found: dict[TopicPartition, str] = {}
        if not offsets:
            return found
        try:
            async with started(self._reader()) as reader:
                reader.assign(list(offsets))
                for partition, offset in offsets.items():
                    reader.seek(partition, offset)
                async with asyncio.timeout(_PEEK_TIMEOUT_S):
                    while unread := set(offsets) - set(found):
                        polled = await reader.getmany(*unread, timeout_ms=500)
                        found.update(_first_ids(polled, offsets))
        except TimeoutError:
            unread = set(offsets) - set(found)
            _log.warning("the events before some positions do not come", partitions=len(unread))
        return found

    async def _ends(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        if not partitions:
            return {}
        async with started(self._reader()) as reader:
            ends: dict[TopicPartition, int] = await reader.end_offsets(sorted(partitions))
        return ends

    def _reader(self) -> AIOKafkaConsumer:
        options = consumer_options(self._settings, "eni-ledger-intake-peek")
        return AIOKafkaConsumer(**options | {"max_partition_fetch_bytes": _PEEK_BYTES})

    def _read(self, first: Mapping[TopicPartition, int]) -> dict[TopicPartition, Standing]:
        """Where the ledger stands; at the log's beginning in a partition new to it."""
        with self._database.transaction() as connection:
            return {
                tp: Standing(*inputs.begin_offset(connection, tp.topic, tp.partition, offset))
                for tp, offset in sorted(first.items())
            }

    async def _start_again(
        self, partition: TopicPartition, first: int, position: int, why: str
    ) -> Standing:
        _log.warning(
            "starting again at the beginning of the log: what it repeats changes nothing",
            topic=partition.topic,
            partition=partition.partition,
            position=position,
            cause=why,
        )
        REPLACED.labels(topic=partition.topic).inc()
        if partition.topic == entity_topic("pod", self._settings.topic_prefix):
            # What was in the log and not read is lost: Pods may have come and gone unseen (P2).
            await asyncio.to_thread(restart_after_loss, self._database, why)
        await self._in_thread(inputs.reset_offset, partition.topic, partition.partition, first)
        return Standing(first, None)

    async def _in_thread(self, call: Callable[..., Any], *arguments: object) -> Any:
        def in_transaction() -> Any:
            with self._database.transaction() as connection:
                return call(connection, *arguments)

        return await asyncio.to_thread(in_transaction)


def _first_ids(
    polled: Mapping[TopicPartition, Sequence[Any]], offsets: Mapping[TopicPartition, int]
) -> dict[TopicPartition, str]:
    """The id of what was read at each wanted offset; "" where the log does not reach it.

    Past the end the client goes back to the beginning. Of a record that was compacted away, the
    next one speaks for it: it was in this log as well.
    """
    return {
        partition: event_id(as_record(records[0]))
        if records[0].offset == offsets[partition]
        else ""
        for partition, records in polled.items()
    }
