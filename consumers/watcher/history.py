"""The last place any watcher of this cluster has published: read from the heartbeats in Kafka
itself.

Kafka is the only memory a watcher has. The same log gives the same answer to every watcher.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from consumers.contract.events import ContractError, Message, Record, decode
from consumers.contract.kafka_client import consumer_options, started
from consumers.runtime.settings import KafkaSettings
from consumers.watcher.position import Place

#: Records looked at before the end of each partition; eight times as many when none of them is a
#: heartbeat.
WINDOW: Final = 32
WINDOW_GROWTH: Final = 8
READ_DEADLINE_S: Final = 30.0


class HistoryError(Exception):
    """The end of the log could not be read: names the topic and the cause."""


def last_place(messages: Iterable[Message], cluster: str) -> Place | None:
    """The highest place among the heartbeats of `cluster`; None if there is none.

    Watchers at the same place may differ in how far back they watched without a gap: the union
    holds.
    """
    places = [
        Place(message.epoch, message.resource_version, message.heartbeat.continuous_from)
        for message in messages
        if message.heartbeat is not None and message.cluster == cluster
    ]
    if not places:
        return None
    top = max((place.epoch, place.resource_version) for place in places)
    same = [place for place in places if (place.epoch, place.resource_version) == top]
    return min(same, key=lambda place: place.continuous_from)


async def read_last_place(settings: KafkaSettings, topic: str, cluster: str) -> Place | None:
    """The last place in `topic`; None if the log holds no heartbeat of this cluster.

    Raises HistoryError if the log can't be read: without it a new epoch could not be told from
    an old one.
    """
    consumer = AIOKafkaConsumer(topic, **consumer_options(settings, "eni-ledger-watcher-history"))
    try:
        async with asyncio.timeout(READ_DEADLINE_S), started(consumer):
            partitions = sorted(consumer.assignment())
            if partitions:
                return await _search(consumer, partitions, cluster, settings.message_bytes_max)
    except (KafkaError, TimeoutError) as failure:
        raise HistoryError(f"the end of {topic} can't be read: {failure!r}") from failure
    raise HistoryError(f"the topic {topic} does not exist: create it with `eni-ledger topics`")


async def _search(
    consumer: Any, partitions: list[TopicPartition], cluster: str, limit: int
) -> Place | None:
    """Look back from the end, further each time, until a heartbeat is found."""
    ends = await consumer.end_offsets(partitions)
    begins = await consumer.beginning_offsets(partitions)
    window = WINDOW
    while True:
        starts = {each: max(begins[each], ends[each] - window) for each in partitions}
        found = last_place(await _read(consumer, starts, ends, limit), cluster)
        if found is not None or all(starts[each] <= begins[each] for each in partitions):
            return found
        window *= WINDOW_GROWTH


async def _read(
    consumer: Any, starts: dict[TopicPartition, int], ends: dict[TopicPartition, int], limit: int
) -> list[Message]:
    """Every message of the contract from `starts` up to `ends`."""
    unread = {each for each in starts if starts[each] < ends[each]}
    for each in unread:
        consumer.seek(each, starts[each])
    messages: list[Message] = []
    while unread:
        batches = await consumer.getmany(*unread, timeout_ms=500)
        for partition, records in batches.items():
            for record in records:
                if record.offset >= ends[partition]:
                    continue
                try:
                    messages.append(decode(record_of(record), limit))
                except ContractError:
                    continue  # a dead letter of the intake's; it is not what is looked for here
        for each in list(unread):
            if await consumer.position(each) >= ends[each]:
                unread.discard(each)
    return messages


def record_of(record: Any) -> Record:
    """An aiokafka ConsumerRecord as the contract's Record."""
    return Record(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=record.key,
        value=record.value,
        headers=tuple((name, bytes(value or b"")) for name, value in record.headers),
        timestamp_ms=record.timestamp,
    )
