"""Several intakes in one group: a rebalance in the middle of traffic, a zombie, and none of it shows."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from consumers.contract.events import Encoded
from consumers.runtime.settings import Settings
from tests.integration.intake.ground import (
    deleted,
    effects,
    eventually,
    intake,
    observed,
    process,
    producing,
    rows,
    seen_pods,
    send,
    settings,
    wait_until,
)

ROUNDS, NAMES = 30, 12


def traffic() -> Iterator[list[Encoded]]:
    """Pods that come, change, go and come again under the same name, in rounds."""
    for round_ in range(ROUNDS):
        version = 100 * (round_ + 1)
        uid = f"uid-{round_ // 3}"
        make = deleted if round_ % 3 == 2 else observed
        yield [make(f"web-{n}", version + n, uid=uid) for n in range(NAMES)]


async def produce(configured: Settings, pause_s: float) -> None:
    """All rounds; each Pod's messages stay on one partition, as its key says."""
    async with producing(configured) as producer:
        for messages in traffic():
            await send(producer, configured, messages)
            await asyncio.sleep(pause_s)


def taken_in(dsn: str) -> int:
    return int(rows(dsn, "SELECT coalesce(sum(next), 0) FROM ledger.kafka_offset")[0][0])


def check_effects(dsn: str) -> None:
    """What any intake makes of the traffic: one request a Pod name, said to be gone once.

    Without a reconciler nobody confirms that a Pod is gone, so its successor waits. Whether the
    first was requested depends on how the messages fell into polls: a Pod that came and went within
    one of them leaves its successor's request.
    """
    told: dict[str, list[str]] = {}
    for name, _uid, version, kind in effects(dsn):
        told.setdefault(name, []).append(kind)
        assert version == len(told[name]), told
    assert set(told) == {f"web-{n}" for n in range(NAMES)}
    assert {tuple(kinds) for kinds in told.values()} == {("requested", "gone-reported")}


@pytest.mark.on_kafka("older")
def test_p5_a_rebalance_in_the_middle_of_traffic(
    broker: str, topic_prefix: str, database: str
) -> None:
    configured = settings(broker, topic_prefix, database)

    async def play() -> None:
        async with intake(configured) as first:
            await eventually(lambda: first.is_ready, "the first reads all")
            producing_ = asyncio.create_task(produce(configured, 0.25))
            await eventually(lambda: taken_in(database) > 3 * NAMES, "traffic flows")
            async with intake(configured) as second:
                await eventually(lambda: second.is_ready, "the second has its share")
                assert not producing_.done(), "the rebalance was to be in the middle of traffic"
                await producing_
                await eventually(lambda: taken_in(database) == ROUNDS * NAMES, "all of it")
            assert "reading" in second.parts()["kafka"].reason

    asyncio.run(play())
    assert seen_pods(database) == {}
    check_effects(database)


@pytest.mark.on_kafka
def test_p5_a_frozen_intake_blocks_nobody_and_changes_nothing_when_it_wakes(
    broker: str, topic_prefix: str, database: str, tmp_path: Path
) -> None:
    """Stopped with a transaction open and a poll in its hands; another takes over; it wakes up."""
    configured = settings(broker, topic_prefix, database)
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'eni-ledger-intake' "
        "AND wait_event_type = 'Lock' AND datname = current_database()"
    )
    held, later = [f"web-{n}" for n in range(20)], [f"late-{n}" for n in range(20)]

    async def send_all(names: list[str]) -> None:
        async with producing(configured) as producer:
            await send(producer, configured, [observed(name, 10) for name in names])

    async def take_over() -> None:
        async with intake(configured):
            await send_all(later)
            await eventually(lambda: taken_in(database) == 40, "the other takes all of it in")
            before = effects(database)
            os.kill(zombie.child.pid, signal.SIGCONT)
            await eventually(lambda: zombie.readyz()[0] == 200, "the zombie is back")
            await asyncio.sleep(2)  # for whatever it might still do with the poll in its hands
            assert effects(database) == before

    with process(configured, tmp_path / "zombie.log") as zombie:
        zombie.wait_ready()
        with psycopg.connect(database) as blocking:
            blocking.execute("LOCK TABLE ledger.entry IN SHARE MODE")
            asyncio.run(send_all(held))
            wait_until(lambda: rows(database, waiting)[0][0] > 0, "an open transaction")
            os.kill(zombie.child.pid, signal.SIGSTOP)
        # It now holds the offsets' rows, in a transaction that only its connection could end.
        asyncio.run(take_over())
        zombie.child.stop()
        assert zombie.child.exit_code == 0
    assert [row[::2] for row in effects(database)] == [(name, 1) for name in sorted(held + later)]
