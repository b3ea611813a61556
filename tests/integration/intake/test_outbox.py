"""The topic of entries: feed order, no gap, at least once; whoever publishes, whoever is killed."""

import asyncio
import contextlib
import json
import os
import random
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from consumers.contract.encode import encode_observed
from consumers.contract.entries import Follower, RecordedEntry, decode_entry
from consumers.contract.events import Encoded
from consumers.contract.kafka_client import (
    connection_options,
    consumer_options,
    ensure_topics,
    started,
)
from consumers.contract.topics import entries_topic
from consumers.intake import outbox as room
from consumers.intake.entries_log import standing
from consumers.intake.outbox import Publisher, publish_entries
from consumers.intake.positions import as_record
from consumers.runtime.health import Health
from consumers.runtime.settings import Settings
from ledger.store import outbox as cursors
from ledger.store.database import Database
from ledger.store.feed import stamp
from ledger.store.incarnations import confirm_incarnation
from ledger.store.outbox import Cursor
from tests.integration.intake.ground import (
    CLUSTER,
    DEADLINE_S,
    ForgetfulBroker,
    eventually,
    intake,
    pod,
    process,
    producing,
    rows,
    send,
    settings,
)
from tests.integration.store.sealing import SealedLedger

ENTRIES = 1200


@pytest.fixture
def ledger(database: str) -> Iterator[SealedLedger]:
    made = SealedLedger(database)
    note_home(made)
    yield made
    made.close()


@pytest.fixture
def configured(broker: str, topic_prefix: str, database: str) -> Settings:
    return settings(broker, topic_prefix, database)


@pytest.fixture
def own_broker(tmp_path: Path, kafka_part: str) -> Iterator[ForgetfulBroker]:
    running = ForgetfulBroker(tmp_path, kafka_part)
    yield running
    running.stop()


def note_home(ledger: SealedLedger) -> None:
    with ledger.database.transaction() as connection:
        confirm_incarnation(connection, CLUSTER, standby_loses_nothing=False)


def topic_of(configured: Settings) -> str:
    return entries_topic(configured.kafka.topic_prefix)


def cursor(dsn: str) -> int:
    return int(rows(dsn, "SELECT coalesce(max(position), 0) FROM ledger.outbox")[0][0])


@contextlib.asynccontextmanager
async def publishing(
    configured: Settings, count: int = 1, health: Health | None = None
) -> AsyncIterator[None]:
    """So many publishers, stopped gracefully."""
    stop = asyncio.Event()
    database = Database(configured.postgres.dsn.get_secret_value(), pool_size=2 * count)
    tasks = [
        asyncio.create_task(publish_entries(configured, database, stop, uuid4, health or Health()))
        for _ in range(count)
    ]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*tasks)
        database.close()


async def published(configured: Settings, until: int) -> list[RecordedEntry]:
    """What a reader finds on the topic, in order of the log, up to the first of that position."""
    found: list[RecordedEntry] = []
    partition = TopicPartition(topic_of(configured), 0)
    async with started(AIOKafkaConsumer(**consumer_options(configured.kafka, "test"))) as reader:
        reader.assign([partition])
        await reader.seek_to_beginning(partition)
        async with asyncio.timeout(DEADLINE_S):
            while not found or found[-1].entry.position < until:
                polled = await reader.getmany(timeout_ms=200)
                for records in polled.values():
                    found += [decode_entry(as_record(record)) for record in records]
    return found


async def publish_all(configured: Settings, count: int = 1) -> None:
    dsn = configured.postgres.dsn.get_secret_value()
    [(fed,)] = rows(dsn, "SELECT coalesce(max(position), 0) FROM ledger.feed")
    async with publishing(configured, count):
        await eventually(lambda: cursor(dsn) == fed, f"{fed} entries are published")


def check_order(found: list[RecordedEntry], dsn: str) -> None:
    """A reader who follows the rule gets each entry once, in feed order, as the ledger has it."""
    follower = Follower(position=0)
    followed = [each.entry for each in found if follower.takes(each)]
    ledger = rows(
        dsn,
        "SELECT f.position, e.id, e.kind, e.recorded_at, e.cause, e.data FROM ledger.feed f "
        "JOIN ledger.entry e ON e.id = f.entry_id ORDER BY f.position",
    )
    assert [(e.position, e.id, e.kind, e.recorded_at, e.cause, e.data) for e in followed] == ledger[
        : len(followed)
    ]
    assert len(followed) == len(ledger)


def check_log(found: list[RecordedEntry]) -> None:
    """No message ever stands behind a gap: each continues or repeats what was there before."""
    reached = 0
    for each in found:
        assert each.entry.position <= reached + 1
        reached = max(reached, each.entry.position)


# ------------------------------------------------------------------------------ order


async def in_order(configured: Settings, ledger: SealedLedger, dsn: str) -> None:
    ledger.append(ENTRIES)
    async with publishing(configured):
        await eventually(lambda: cursor(dsn) == ENTRIES, "all are published")
        ledger.append(3)
        await eventually(lambda: cursor(dsn) == ENTRIES + 3, "what came later, too")
    found = await published(configured, ENTRIES + 3)
    assert [each.entry.position for each in found] == list(range(1, ENTRIES + 4))
    check_order(found, dsn)


@pytest.mark.on_kafka("older")
def test_entries_are_published_in_feed_order(
    configured: Settings, ledger: SealedLedger, database: str
) -> None:
    asyncio.run(in_order(configured, ledger, database))


def test_the_writers_role_is_enough(
    configured: Settings, ledger: SealedLedger, database: str
) -> None:
    [(name,)] = rows(database, "SELECT current_database()")
    ledger.append(20)
    ledger.owner.execute(f"ALTER DATABASE {name} SET role = 'eni_ledger_writer'")
    asyncio.run(publish_all(configured))
    assert rows(database, "SELECT current_user") == [("eni_ledger_writer",)]
    check_order(asyncio.run(published(configured, 20)), database)


async def at_once(configured: Settings, ledger: SealedLedger, dsn: str, seed: int) -> None:
    """Three publishers whose turns are taken away from them all the time, some cut off anywhere.

    Not more often than something is published, most times: a look at the log may take longer on one
    broker than any pause of ours on another, and nobody who loses each turn in it ever publishes.
    """
    dice = random.Random(seed)
    stop, databases = asyncio.Event(), Database(dsn, pool_size=8)

    def publisher() -> "asyncio.Task[None]":
        return asyncio.create_task(publish_entries(configured, databases, stop, uuid4, Health()))

    tasks = [publisher() for _ in range(3)]
    reached = 0
    with psycopg.connect(dsn, autocommit=True) as owner:
        while (reached := cursor(dsn)) < ENTRIES:
            owner.execute(
                "UPDATE ledger.outbox SET held_until = ledger.now() WHERE token IS NOT NULL"
            )
            if dice.random() < 0.8:
                at = reached
                await eventually(lambda at=at: cursor(dsn) > at, "somebody goes on")  # type: ignore[misc]
            await asyncio.sleep(dice.uniform(0, 0.2))
            if dice.random() < 0.4:
                victim = dice.randrange(3)
                tasks[victim].cancel()
                await asyncio.gather(tasks[victim], return_exceptions=True)
                tasks[victim] = publisher()
                ledger.append(dice.randint(0, 5))
    stop.set()
    await asyncio.gather(*tasks)
    databases.close()
    await publish_all(configured)
    [(fed,)] = rows(dsn, "SELECT max(position) FROM ledger.feed")
    found = await published(configured, fed)
    check_log(found)
    check_order(found, dsn)


@pytest.mark.on_kafka
@pytest.mark.parametrize("seed", [1, 2])
def test_publishers_at_once_and_cut_off_anywhere_leave_no_gap(
    configured: Settings,
    ledger: SealedLedger,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    monkeypatch.setattr(room, "_AT_ONCE", 40)
    monkeypatch.setattr(room, "_RETRY_S", 0.05)
    ledger.append(ENTRIES)
    asyncio.run(at_once(configured, ledger, database, seed))


@pytest.mark.on_kafka
def test_killed_processes_leave_no_gap(
    configured: Settings, ledger: SealedLedger, database: str, tmp_path: Path
) -> None:
    """Two real intakes; whichever is at it is killed with SIGKILL, the other goes on."""

    async def story() -> None:
        with (
            process(configured, tmp_path / "one.log") as one,
            process(configured, tmp_path / "two.log") as two,
        ):
            one.wait_ready()
            two.wait_ready()
            for victim in (one, two):
                before = cursor(database)
                ledger.append(400)
                await eventually(lambda at=before: cursor(database) > at, "somebody publishes")  # type: ignore[misc]
                os.kill(victim.child.pid, signal.SIGKILL)
            ledger.append(100)
        await publish_all(configured)
        found = await published(configured, 900)
        check_log(found)
        check_order(found, database)

    asyncio.run(story())


@pytest.mark.on_kafka
def test_a_crash_between_send_and_cursor_repeats(
    configured: Settings, ledger: SealedLedger, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashes = iter([True, False, True])
    advance = cursors.advance

    def crashing(*arguments: object) -> bool:
        if next(crashes, False):
            raise RuntimeError("killed between the broker's answer and the cursor")
        return advance(*arguments)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(cursors, "advance", crashing)
    monkeypatch.setattr(room, "_AT_ONCE", 100)
    ledger.append(300)
    asyncio.run(publish_all(configured))
    found = asyncio.run(published(configured, 300))
    assert len(found) == 500
    check_log(found)
    check_order(found, database)


# ------------------------------------------------------------------------------ a log that was lost


@pytest.mark.on_kafka
def test_a_broker_that_lost_its_log_gets_everything_again(
    own_broker: ForgetfulBroker, topic_prefix: str, ledger: SealedLedger, database: str
) -> None:
    configured = settings(own_broker.bootstrap, topic_prefix, database)

    async def story() -> None:
        ledger.append(60)
        async with publishing(configured):
            await eventually(lambda: cursor(database) == 60, "published")
            own_broker.stop()
            await asyncio.to_thread(own_broker.start)
            ledger.append(5)
            await eventually(lambda: cursor(database) == 65, "published again")
        found = await published(configured, 65)
        check_order(found, database)

    asyncio.run(story())


@pytest.mark.on_kafka
@pytest.mark.parametrize(
    ("position", "next_offset", "held"),
    [
        (100, 100, Cursor(50, 50)),  # the end of the log is gone
        (40, 50, Cursor(50, 50)),  # what lies before the offset is another entry
        (50, 50, Cursor(50, 50)),
        (30, 30, Cursor(30, 30)),  # another has published further without saying so
    ],
)
def test_where_the_log_stands_is_found_out(
    configured: Settings,
    ledger: SealedLedger,
    database: str,
    position: int,
    next_offset: int,
    held: Cursor,
) -> None:
    async def story() -> None:
        ledger.append(50)
        await publish_all(configured)
        claimed = Cursor(position, next_offset)
        assert await standing(configured.kafka, topic_of(configured), claimed) == held
        ledger.append(60)
        ledger.owner.execute(
            "UPDATE ledger.outbox SET position = %s, next_offset = %s", (position, next_offset)
        )
        await publish_all(configured)
        check_order(await published(configured, 110), database)

    asyncio.run(story())


@pytest.mark.on_kafka
def test_an_empty_topic_holds_nothing(configured: Settings) -> None:
    async def story() -> None:
        await ensure_topics(configured.kafka)
        topic = topic_of(configured)
        assert await standing(configured.kafka, topic, Cursor(0, 0)) == Cursor(0, 0)
        assert await standing(configured.kafka, topic, Cursor(7, 7)) == Cursor(0, 0)

    asyncio.run(story())


@pytest.mark.on_kafka
def test_the_topic_of_entries_has_one_partition(configured: Settings) -> None:
    """A genuine broker may need a moment before it tells of a topic that was just made."""

    async def story() -> set[int]:
        await ensure_topics(configured.kafka)
        options = connection_options(configured.kafka, "test")
        async with started(AIOKafkaAdminClient(**options)) as admin, asyncio.timeout(DEADLINE_S):
            while True:
                [told] = await admin.describe_topics([topic_of(configured)])
                if told["error_code"] == 0:
                    return {each["partition"] for each in told["partitions"]}

    assert asyncio.run(story()) == {0}


# ------------------------------------------------------------------------------ incarnations


def test_p11_a_restored_ledger_goes_on_under_another_number(
    configured: Settings, ledger: SealedLedger, database: str
) -> None:
    """Readers can tell what was published before and is no longer part of the ledger."""

    async def story() -> None:
        ledger.append(50)
        await publish_all(configured)
        ledger.tamper(
            "DELETE FROM ledger.entry WHERE id > 40",
            "DELETE FROM ledger.feed WHERE position > 40",
            "UPDATE ledger.outbox SET position = 40, next_offset = 40",
            "UPDATE ledger.incarnation SET home = 'server 1, database 1, timeline 1'",
        )
        ledger.append(20)
        publisher = Publisher(configured, ledger.database, asyncio.Event(), uuid4(), Health())
        await publisher.take_turn()
        assert cursor(database) == 40, "nothing goes out before the restore was noted"
        note_home(ledger)
        with ledger.database.transaction() as connection:
            stamp(connection)
        await publish_all(configured)
        [(fed,)] = rows(database, "SELECT max(position) FROM ledger.feed")
        found = await published(configured, fed)
        assert [each.incarnation for each in found] == [1] * 50 + [2] * (fed - 40)
        follower = Follower(position=0)
        followed = [each.entry for each in found if follower.takes(each)]
        assert [each.position for each in followed] == [*range(1, 51), *range(41, fed + 1)]

    asyncio.run(story())


# ------------------------------------------------------------------------------ what goes out


SECRET = "hunter2-never-to-be-seen"


def test_no_secret_of_a_pod_goes_out(
    configured: Settings, ledger: SealedLedger, database: str
) -> None:
    """From the API server's object over the intake to the topic; the raw object is what a foreign
    producer may send."""

    async def story() -> list[RecordedEntry]:
        made = pod("web-0", 10)
        made["metadata"]["annotations"]["example.com/api-token"] = SECRET
        made["metadata"]["managedFields"] = [{"manager": SECRET}]
        [container] = made["spec"]["containers"]
        container["env"] = [{"name": "PASSWORD", "value": SECRET}]
        container["args"] = [SECRET]
        async with intake(configured):
            async with producing(configured) as producer:
                await send(producer, configured, [raw(made)])
            await eventually(
                lambda: bool(rows(database, "SELECT FROM ledger.entry")), "the Pod is taken in"
            )
            with ledger.database.transaction() as connection:
                stamp(connection)
            await eventually(lambda: cursor(database) >= 1, "its entry is published")
        return await published(configured, 1)

    found = asyncio.run(story())
    assert found[0].subject == "shop/web-0"
    about = found[0].entry.allocation
    assert about is not None
    assert (about.namespace, about.pod, about.interface) == ("shop", "web-0", "eth0")
    assert found[0].entry.cause["topic"]
    assert all(SECRET not in each.model_dump_json() for each in found)


def raw(made: dict[str, Any]) -> Encoded:
    """An observed message whose data nobody has trimmed."""
    encoded = encode_observed(CLUSTER, "pod", made, epoch=0)
    return Encoded(encoded.key, json.dumps(made).encode(), encoded.headers)
