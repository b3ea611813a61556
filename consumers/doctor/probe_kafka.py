"""Looks at the brokers: what they are, how the topics are set up, and the end of each topic.

Nothing is written, and no group is joined.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code
from aiokafka.protocol.admin import ApiVersionRequest

from consumers.contract.events import ContractError, Message, decode
from consumers.contract.kafka_client import connection_options, consumer_options, started
from consumers.contract.topics import all_topics, entity_topics
from consumers.doctor.attempts import attempt_async, cause_of
from consumers.doctor.facts import Brokers, KafkaFacts, Tail, Topic, Unseen, blind
from consumers.runtime.settings import KafkaSettings
from consumers.watcher.history import record_of

#: Records looked at before the end of each partition: a minute of heartbeats and what lies between.
WINDOW: Final = 64
_CLIENT: Final = "eni-ledger-doctor"

#: The first release whose brokers offer an API (its key), the newest first (KIP-848, 664, 700, 546).
_RELEASES: Final = (((3, 7), 68), ((3, 0), 66), ((2, 8), 60), ((2, 6), 48), ((1, 0), 37))
#: From 4.0 on, fetches older than this version are refused (KIP-896).
_FETCH: Final = 1
_FETCH_OF_4: Final = 4


def look_at_kafka(settings: KafkaSettings, facts: KafkaFacts) -> None:
    """Fill in `facts`, in a loop of its own. Raises nothing: a look that fails says why."""
    try:
        asyncio.run(_look(settings, facts))
    except Exception as failure:  # noqa: BLE001 - the failure of a look is what the doctor reports
        blind(facts, Unseen(cause_of(failure)))


async def _look(settings: KafkaSettings, facts: KafkaFacts) -> None:
    admin = AIOKafkaAdminClient(**connection_options(settings, _CLIENT))
    async with started(admin):
        facts.brokers = await _brokers(admin)
        described = await admin.describe_topics()
        wanted = set(all_topics(settings.topic_prefix))
        ours = [each for each in described if each["topic"] in wanted]
        facts.topics = await attempt_async(_topics(admin, ours))
    there = {each["topic"] for each in ours}
    entities = [name for name in entity_topics(settings.topic_prefix) if name in there]
    facts.tails = await attempt_async(_tails(settings, entities))


async def _brokers(admin: Any) -> Brokers:
    cluster = await admin.describe_cluster()
    offered = await admin._send_request(ApiVersionRequest())
    spans = {key: (low, high) for key, low, high in offered.api_versions}
    return Brokers(count=len(cluster.get("brokers") or ()), version=release_of(spans))


def release_of(spans: Mapping[int, tuple[int, int]]) -> tuple[int, ...]:
    """The oldest release that offers these APIs (key -> lowest and highest version). Pure."""
    if spans.get(_FETCH, (0, 0))[0] >= _FETCH_OF_4:
        return (4, 0)
    return next((release for release, key in _RELEASES if key in spans), (0, 0))


async def _topics(admin: Any, described: Sequence[Mapping[str, Any]]) -> dict[str, Topic]:
    if not described:
        return {}
    names = [each["topic"] for each in described]
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    configs: dict[str, dict[str, str]] = {}
    for answer in await admin.describe_configs(resources):
        for code, message, _kind, name, entries in answer.resources:
            if code:
                raise for_code(code)(message or f"the settings of topic {name}")
            configs[name] = {entry[0]: str(entry[1]) for entry in entries}
    return {
        each["topic"]: Topic(
            partitions=len(each["partitions"]),
            replicas=min((len(p["replicas"]) for p in each["partitions"]), default=0),
            config=configs.get(each["topic"], {}),
        )
        for each in described
    }


async def _tails(settings: KafkaSettings, topics: Sequence[str]) -> dict[str, tuple[Tail, ...]]:
    if not topics:
        return {}
    consumer = AIOKafkaConsumer(**consumer_options(settings, _CLIENT))
    async with started(consumer):
        partitions = []
        for topic in topics:
            # Metadata of the topic is only fetched for those that a consumer was told of.
            await consumer._client.add_topic(topic)
            numbers = consumer.partitions_for_topic(topic) or ()
            partitions += [TopicPartition(topic, number) for number in sorted(numbers)]
        consumer.assign(partitions)
        # Before the ends are known: however long the reading takes, it makes nothing older.
        now = time.time()
        ends = await consumer.end_offsets(partitions)
        begins = await consumer.beginning_offsets(partitions)
        unread = set()
        for each in partitions:
            start = max(begins[each], ends[each] - WINDOW)
            if start < ends[each]:
                consumer.seek(each, start)
                unread.add(each)
        messages = await _read_up_to(consumer, unread, ends, settings.message_bytes_max)
    return {
        topic: tuple(
            tail
            for each in partitions
            if each.topic == topic
            for tail in tails_of(each.partition, messages.get(each, ()), now)
        )
        for topic in topics
    }


async def _read_up_to(
    consumer: Any, unread: set[TopicPartition], ends: Mapping[TopicPartition, int], limit: int
) -> dict[TopicPartition, list[tuple[float, Message]]]:
    """(when, message) of each partition from where it stands to its end; dead letters are left out."""
    messages: dict[TopicPartition, list[tuple[float, Message]]] = {}
    while unread:
        for partition, records in (await consumer.getmany(*unread, timeout_ms=200)).items():
            for record in records:
                try:
                    message = decode(record_of(record), limit)
                except ContractError:
                    continue  # the intake tells of it: `eni-ledger dlq list`
                messages.setdefault(partition, []).append((record.timestamp / 1000, message))
        for each in list(unread):
            if await consumer.position(each) >= ends[each]:
                unread.discard(each)
    return messages


def tails_of(
    partition: int, messages: Iterable[tuple[float, Message]], now: float
) -> tuple[Tail, ...]:
    """For each cluster the newest heartbeat and the newest of anything else. Pure.

    `messages` carry the time of their record, `now` is of the same clock, in seconds.
    """
    heartbeats: dict[str, float] = {}
    events: dict[str, float] = {}
    for when, message in messages:
        newest = heartbeats if message.heartbeat is not None else events
        newest[message.cluster] = max(when, newest.get(message.cluster, when))
    return tuple(
        Tail(partition, cluster, _age(now, heartbeats, cluster), _age(now, events, cluster))
        for cluster in sorted({*heartbeats, *events})
    )


def _age(now: float, newest: Mapping[str, float], cluster: str) -> float | None:
    return max(0.0, now - newest[cluster]) if cluster in newest else None
