"""What connects to Kafka leaves no connection behind, at whatever moment it is told to stop."""

import asyncio
import gc
import warnings

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError

from consumers.contract.kafka_client import (
    connection_options,
    consumer_options,
    ensure_topics,
    started,
)
from consumers.contract.topics import entity_topic
from consumers.runtime.settings import KafkaSettings
from consumers.watcher.history import read_last_place


@pytest.mark.on_kafka
@pytest.mark.parametrize("after_ms", [0, 1, 2, 3, 5, 8, 12, 20, 30, 50, 80, 120])
def test_a_client_that_is_cancelled_closes_what_it_opened(
    broker: str, topic_prefix: str, after_ms: int
) -> None:
    kafka = KafkaSettings(bootstrap_servers=broker, topic_prefix=topic_prefix)
    topic = entity_topic("pod", topic_prefix)

    async def follow() -> None:
        async with started(
            AIOKafkaConsumer(topic, **consumer_options(kafka, "test-reader"))
        ) as consumer:
            async for _ in consumer:
                pass

    async def administer() -> None:
        async with started(AIOKafkaAdminClient(**connection_options(kafka, "test"))) as admin:
            while True:
                await admin.list_topics()

    async def play() -> None:
        await ensure_topics(kafka, [topic])
        tasks = [
            asyncio.create_task(each)
            for each in (follow(), administer(), read_last_place(kafka, topic, "c1"))
        ]
        await asyncio.sleep(after_ms / 1000)
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in outcomes[:2]), (
            f"cancelled and nothing else: {outcomes}"
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            gc.collect()
        assert [str(each.message) for each in caught] == []

    asyncio.run(play())


def test_a_start_that_fails_says_so_and_closes_what_it_opened(topic_prefix: str) -> None:
    nobody = KafkaSettings(bootstrap_servers="127.0.0.1:1", topic_prefix=topic_prefix)
    with pytest.raises(KafkaConnectionError, match="nothing listens there"):
        asyncio.run(ensure_topics(nobody))
