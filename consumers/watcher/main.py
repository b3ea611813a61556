"""Kubernetes -> Kafka: one reflector and one topic per entity, and a heartbeat for each.

    connect ─▶ make sure of the topics ─▶ per entity: read the last place from Kafka ─▶ list ─▶
                                          watch ─▶ … beside it: heartbeats on every partition

Any number of watchers may run at once: they produce the same messages with the same ids.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Final, Protocol, TypeVar

import httpx2
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from consumers.contract import kafka_client
from consumers.contract.kafka_client import KafkaSetupError, ensure_topics, producer_options
from consumers.contract.kafka_trouble import explain
from consumers.contract.topics import ENTITIES, Entity, entity_topic
from consumers.kube import resources, wire
from consumers.kube.reflector import Reflector
from consumers.kube.resources import Resource
from consumers.runtime.settings import Settings, SettingsError
from consumers.watcher.delivery import Delivery
from consumers.watcher.feed import Feed
from consumers.watcher.history import HistoryError, read_last_place
from consumers.watcher.position import Place
from consumers.watcher.reach import Reach

_log = structlog.get_logger(__name__)

WATCHED: Final[dict[Entity, Resource]] = {
    "pod": resources.PODS,
    "node": resources.NODES,
    "podnetworking": resources.PODNETWORKINGS,
    "podeni": resources.PODENIS,
    "namespace": resources.NAMESPACES,
    "config": resources.ENI_CONFIG_MAP,
}

#: The log forgets by age; a reader that starts later must still learn of every object in it.
#: Topics must keep at least twice this (README.md).
RELIST_EVERY_S: Final = 6 * 3600.0
#: A beat starts this share of the interval after the one before: the rest is room for its own
#: duration.
BEAT_SHARE: Final = 0.8
RETRY_CAP_S: Final = 3.0
DRAIN_S: Final = 5.0

Result = TypeVar("Result")


class HealthReport(Protocol):
    """What we use of consumers.runtime.health.Health."""

    def ready(self, name: str, ok: bool, reason: str = "") -> None:
        """Report one part."""
        ...


async def run(settings: Settings, stop: asyncio.Event, health: HealthReport) -> None:
    """Watch until `stop` is set, then finish what is being sent.

    Raises SettingsError and wire.KubeConfigError when it can't start; everything later is
    retried and reported as not ready.
    """
    if not settings.cluster_id:
        raise SettingsError(
            "setting cluster_id is empty: set ENI_LEDGER_CLUSTER_ID to the ACK cluster id; "
            "it is in the key of every message"
        )
    for entity in ENTITIES:
        health.ready(f"watch {entity}", False, "waiting for Kafka")
    async with wire.connect_async(settings.kube) as client:
        working = asyncio.create_task(_watch(settings, client, stop, health))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            working.cancel()
            outcome = (await asyncio.gather(working, return_exceptions=True))[0]
        if isinstance(outcome, Exception):
            raise outcome


async def _watch(
    settings: Settings, client: httpx2.AsyncClient, stop: asyncio.Event, health: HealthReport
) -> None:
    """Everything between a connection to Kafka and its end; runs until cancelled."""
    kafka = settings.kafka
    name = "eni-ledger-watcher"
    reset: dict[str, asyncio.Event] = {}

    def report_kafka(ok: bool, reason: str) -> None:
        health.ready("kafka", ok, reason)

    async def repair() -> bool:
        try:
            await ensure_topics(kafka)
        except (KafkaError, KafkaSetupError) as failure:
            report_kafka(False, str(failure))
            return False
        return True

    await _retried(lambda: ensure_topics(kafka), report_kafka)
    producer = await _retried(lambda: _started(producer_options(kafka, name)), report_kafka)
    delivery = Delivery(
        producer,
        report=report_kafka,
        repair=repair,
        log_reset=lambda topic: reset[topic].set(),
    )
    reach = Reach(kafka, lambda topic: reset[topic].set())
    feeds: list[Feed] = []
    try:
        async with asyncio.TaskGroup() as tasks:
            for entity in ENTITIES:
                topic = entity_topic(entity, kafka.topic_prefix)
                reset[topic] = asyncio.Event()
                feed = _feed(settings, entity, topic, delivery, reach, report_kafka)
                feeds.append(feed)
                tasks.create_task(_follow(settings, client, feed, reset[topic], health))
                tasks.create_task(_beat(feed, settings.watcher.heartbeat_interval_s))
            tasks.create_task(reach.watch())
    finally:
        await _finish(feeds, producer, graceful=stop.is_set())


def _feed(
    settings: Settings,
    entity: Entity,
    topic: str,
    delivery: Delivery,
    reach: Reach,
    report: Callable[[bool, str], None],
) -> Feed:
    async def read() -> Place | None:
        await ensure_topics(settings.kafka, [topic])
        await reach.mark(topic)
        return await read_last_place(settings.kafka, topic, settings.cluster_id)

    async def read_place() -> Place | None:
        return await _retried(read, report)

    return Feed(
        settings.cluster_id,
        entity,
        topic,
        delivery=delivery,
        read_place=read_place,
        now=lambda: datetime.now(UTC),
    )


async def _follow(
    settings: Settings,
    client: httpx2.AsyncClient,
    feed: Feed,
    reset: asyncio.Event,
    health: HealthReport,
) -> None:
    """Keep one reflector running; begin again with a whole list when the log has lost what it
    had."""
    part = f"watch {feed.entity}"

    def report(ok: bool, reason: str) -> None:
        health.ready(part, ok, reason)

    health.ready(part, False, "reading the last place from Kafka")
    place = await feed.inherit()
    health.ready(part, False, "listing")
    while True:
        reset.clear()
        reflector = Reflector(
            client,
            WATCHED[feed.entity],
            feed.take,
            page_size=settings.kube.page_size,
            resume_from=place,
            relist_every_s=RELIST_EVERY_S,
            before_list=feed.before_list,
            report=report,
        )
        following = asyncio.create_task(reflector.run())
        resetting = asyncio.create_task(reset.wait())
        try:
            await asyncio.wait((following, resetting), return_when=asyncio.FIRST_COMPLETED)
        finally:
            resetting.cancel()
            following.cancel()
            outcome = (await asyncio.gather(following, return_exceptions=True))[0]
        if isinstance(outcome, Exception):
            raise outcome
        _log.warning("listing again: the log lost what it had", topic=feed.topic)
        place = reflector.place


async def _beat(feed: Feed, interval_s: float) -> None:
    """Heartbeats for ever, at most `interval_s` apart while Kafka takes them."""
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        await feed.heartbeat()
        await asyncio.sleep(max(0.0, interval_s * BEAT_SHARE - (loop.time() - began)))


async def _finish(feeds: list[Feed], producer: AIOKafkaProducer, *, graceful: bool) -> None:
    """What was read is delivered, and a last heartbeat says how far that is."""
    try:
        drained = await asyncio.gather(
            *(feed.drain(DRAIN_S if graceful else 0.0) for feed in feeds)
        )
        if graceful and all(drained):
            await asyncio.wait_for(
                asyncio.gather(*(feed.heartbeat() for feed in feeds)), timeout=DRAIN_S
            )
        elif graceful:
            _log.warning("stopping with unsent records: the next start lists them again")
    except TimeoutError:
        _log.warning("no last heartbeat: Kafka did not take it in time", seconds=DRAIN_S)
    finally:
        await kafka_client.stop(producer)


async def _started(options: dict[str, Any]) -> AIOKafkaProducer:
    producer = AIOKafkaProducer(**options)
    await kafka_client.start(producer)
    return producer


async def _retried(
    attempt: Callable[[], Coroutine[Any, Any, Result] | Awaitable[Result]],
    report: Callable[[bool, str], None],
) -> Result:
    """The result of `attempt`, tried until Kafka answers."""
    pause = 0.2
    while True:
        try:
            result = await attempt()
        except (KafkaError, KafkaSetupError, HistoryError, OSError) as failure:
            report(False, f"waiting for Kafka: {explain(failure)}")
            _log.warning("waiting for Kafka", cause=explain(failure))
            await asyncio.sleep(pause * (0.5 + random.random() / 2))  # noqa: S311 - jitter
            pause = min(RETRY_CAP_S, pause * 2)
        else:
            report(True, "")
            return result
