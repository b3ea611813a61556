"""What the topic of entries holds, as the broker has it now: is it still what was published?

A broker can lose its log, or the end of it. Then what the cursor says was published is not there,
and going on would leave a gap that no reader could ever fill.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaTimeoutError

from consumers.contract.entries import Follower, RecordedEntry, decode_entry
from consumers.contract.events import ContractError
from consumers.contract.kafka_client import consumer_options, started
from consumers.intake.positions import as_record
from consumers.runtime.settings import KafkaSettings
from ledger.store.outbox import Cursor

_log = structlog.get_logger(__name__)

#: How long to wait for a record that should be there.
_PEEK_TIMEOUT_S = 3.0
_POLL_MS = 500
_SILENT_POLLS_MAX = 20


async def standing(settings: KafkaSettings, topic: str, cursor: Cursor) -> Cursor:
    """The cursor, where the log still holds what it says; else where the log holds all up to.

    In the latter case the whole log is read: it is rare, and nothing less finds every hole.
    """
    partition = TopicPartition(topic, 0)
    options = consumer_options(settings, "eni-ledger-intake-outbox-peek")
    async with started(AIOKafkaConsumer(**options)) as reader:
        reader.assign([partition])
        if await _holds(reader, partition, cursor):
            return cursor
        found = await _reach(reader, partition)
    _log.warning(
        "the log of entries has lost something: it is published again from there",
        topic=topic,
        published=cursor.position,
        held=found.position,
    )
    return found


async def _holds(reader: AIOKafkaConsumer, partition: TopicPartition, cursor: Cursor) -> bool:
    """Whether the log is the one of then, judged by the record that the cursor last stood behind."""
    if cursor.next_offset == 0:
        return cursor.position == 0
    wanted = cursor.next_offset - 1
    reader.seek(partition, wanted)
    try:
        async with asyncio.timeout(_PEEK_TIMEOUT_S):
            while not (records := await _poll(reader, partition)):
                pass
    except TimeoutError:
        # Nothing is left, or nothing came: where the log reaches further, its retention took it.
        ends: dict[TopicPartition, int] = await reader.end_offsets([partition])
        return ends[partition] > wanted
    first = records[0]
    if first.offset == wanted:
        entry = _entry(first)
        return entry is not None and entry.entry.position == cursor.position
    # Before it: the client started again at the beginning of a shorter log. After it: retention.
    return bool(first.offset > wanted)


async def _reach(reader: AIOKafkaConsumer, partition: TopicPartition) -> Cursor:
    """Up to where a reader who begins with this log gets every entry."""
    begins: dict[TopicPartition, int] = await reader.beginning_offsets([partition])
    # A log that begins at 0 begins with the first entry; else retention has taken its beginning.
    follower = Follower(position=0 if begins[partition] == 0 else None)
    next_offset = begins[partition]
    reader.seek(partition, next_offset)
    silent = 0
    while silent < _SILENT_POLLS_MAX:
        records = await _poll(reader, partition)
        for record in records:
            entry = _entry(record)
            if entry is not None and follower.takes(entry):
                next_offset = record.offset + 1
        silent = 0 if records else silent + 1
        if silent:
            ends: dict[TopicPartition, int] = await reader.end_offsets([partition])
            if await reader.position(partition) >= ends[partition]:
                return Cursor(follower.position or 0, next_offset)
    if next_offset > begins[partition]:
        raise KafkaTimeoutError(f"{partition.topic}: the broker does not send what it says it has")
    # A log of which nothing can be had holds nothing: at worst everything is published twice.
    return Cursor(0, begins[partition])


async def _poll(reader: AIOKafkaConsumer, partition: TopicPartition) -> Sequence[Any]:
    polled = await reader.getmany(partition, timeout_ms=_POLL_MS)
    found: Sequence[Any] = polled.get(partition, ())
    return found


def _entry(record: Any) -> RecordedEntry | None:
    try:
        return decode_entry(as_record(record), limit=len(record.value or b""))
    except ContractError as foreign:
        _log.warning(
            "not an entry of ours on the topic of entries",
            offset=record.offset,
            cause=str(foreign),
        )
        return None
