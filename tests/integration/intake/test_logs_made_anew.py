"""A broker that comes back empty: offsets start again at 0, and what the log repeats changes nothing.

Only Tansu does this by a restart; on Kafka it is a topic that was deleted and created again.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumers.contract.events import Encoded
from consumers.contract.topics import entity_topic
from consumers.runtime.settings import Settings
from tests.integration.intake.ground import (
    ForgetfulBroker,
    effects,
    eventually,
    intake,
    observed,
    producing,
    seen_pods,
    send,
    settings,
    standing,
)

PARTITION = 3


@pytest.fixture
def own_broker(tmp_path: Path, kafka_part: str) -> Iterator[ForgetfulBroker]:
    broker = ForgetfulBroker(tmp_path, kafka_part)
    yield broker
    broker.stop()


def pods(prefix: str, count: int) -> list[Encoded]:
    return [observed(f"{prefix}-{number}", 10) for number in range(count)]


async def fill(configured: Settings, messages: list[Encoded]) -> None:
    async with producing(configured) as producer:
        await send(producer, configured, messages, partition=PARTITION)


def stands_at(configured: Settings, dsn: str) -> int:
    topic = entity_topic("pod", configured.kafka.topic_prefix)
    return standing(dsn).get((topic, PARTITION), -1)


@pytest.mark.parametrize("known", [8, 200])
def test_p5_a_log_that_starts_again_under_a_running_intake(
    own_broker: ForgetfulBroker, topic_prefix: str, database: str, known: int
) -> None:
    """What is new in the new log is at its beginning: an intake that reads on in its middle misses it.

    With few known events the new log has grown beyond the old position when the intake gets there;
    with many, it ends before it.
    """
    configured = settings(own_broker.bootstrap, topic_prefix, database)
    old, new = pods("old", known), pods("new", 3)

    async def play() -> None:
        async with intake(configured) as health:
            await fill(configured, old)
            await eventually(lambda: len(seen_pods(database)) == known, "the old log taken in")
            before = effects(database)
            await asyncio.to_thread(own_broker.stop)
            await asyncio.to_thread(own_broker.start)
            await fill(configured, [*new, *old[:40]])
            await eventually(lambda: "new-2" in seen_pods(database), "the beginning of the new log")
            await eventually(lambda: health.is_ready, f"ready, not {health.parts()}")
            length = len(new) + len(old[:40])
            await eventually(lambda: stands_at(configured, database) == length, "its end")
            assert [row for row in effects(database) if row[0].startswith("old")] == before

    asyncio.run(play())
    assert [row[0] for row in effects(database) if row[0].startswith("new")] == [
        "new-0",
        "new-1",
        "new-2",
    ]


@pytest.mark.on_kafka
def test_p5_a_log_that_started_again_while_no_intake_ran(
    own_broker: ForgetfulBroker, topic_prefix: str, database: str
) -> None:
    """The offset alone would look right: the event before it is another one."""
    configured = settings(own_broker.bootstrap, topic_prefix, database)

    async def play() -> None:
        async with intake(configured):
            await fill(configured, pods("old", 5))
            await eventually(lambda: len(seen_pods(database)) == 5, "the old log taken in")
        await asyncio.to_thread(own_broker.stop)
        await asyncio.to_thread(own_broker.start)
        await fill(configured, [*pods("new", 3), *pods("old", 5)])
        async with intake(configured):
            await eventually(lambda: len(seen_pods(database)) == 8, "the beginning of the new log")
            await eventually(lambda: stands_at(configured, database) == 8, "its end")

    asyncio.run(play())
    assert sorted({row[0] for row in effects(database)}) == sorted(
        [f"new-{n}" for n in range(3)] + [f"old-{n}" for n in range(5)]
    )
    assert {row[2] for row in effects(database)} == {1}, "each was requested once"
