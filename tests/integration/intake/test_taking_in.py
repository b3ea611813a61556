"""Messages become observations and entries, once in effect, also when the process dies on the way."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from consumers.contract.topics import entity_topic
from ledger.store import deciding
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
    standing,
    wait_until,
)

WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'eni-ledger-intake' "
    "AND wait_event_type = 'Lock' AND datname = current_database()"
)


@pytest.mark.on_kafka("older")
def test_messages_become_observations_entries_and_offsets(
    broker: str, topic_prefix: str, database: str
) -> None:
    configured = settings(broker, topic_prefix, database)

    async def play() -> None:
        async with producing(configured) as producer, intake(configured) as health:
            await send(producer, configured, [observed(f"web-{n}", 10 + n) for n in range(12)])
            await eventually(lambda: len(seen_pods(database)) == 12, "twelve Pods seen")
            await send(producer, configured, [deleted("web-3", 100)])
            await eventually(lambda: len(seen_pods(database)) == 11, "one of them gone")
            assert health.is_ready, health.parts()

    asyncio.run(play())
    told = [
        ("web-3", "uid-of-web-3", 1, "requested"),
        ("web-3", "uid-of-web-3", 2, "gone-reported"),
    ]
    assert [row for row in effects(database) if row[0] == "web-3"] == told
    assert len(effects(database)) == 13
    topic = entity_topic("pod", topic_prefix)
    assert sum(at for (name, _), at in standing(database).items() if name == topic) == 13


@pytest.mark.on_kafka
def test_p5_killed_between_poll_and_commit_each_event_counts_once(
    broker: str, topic_prefix: str, database: str, tmp_path: Path
) -> None:
    """A lock of ours holds the transaction open; SIGKILL; the next process begins where it began."""
    configured = settings(broker, topic_prefix, database)
    names = [f"web-{n}" for n in range(20)]

    async def produce() -> None:
        async with producing(configured) as producer:
            await send(producer, configured, [observed(name, 10) for name in names])

    asyncio.run(produce())
    with process(configured, tmp_path / "first.log") as first:
        with psycopg.connect(database) as blocking:
            blocking.execute("LOCK TABLE ledger.entry IN SHARE MODE")
            wait_until(lambda: rows(database, WAITING)[0][0] > 0, "an open transaction")
            first.child.kill()
        assert first.child.exit_code == -signal.SIGKILL
    assert effects(database) == []
    assert not any(standing(database).values())
    with process(configured, tmp_path / "second.log") as second:
        wait_until(lambda: len(effects(database)) == 20, "every Pod requested")
        second.child.stop()
        assert second.child.exit_code == 0, second.log.read_text()
    assert effects(database) == [(name, f"uid-of-{name}", 1, "requested") for name in sorted(names)]
    assert set(seen_pods(database)) == set(names)


def test_a_defect_in_a_rule_costs_one_message_not_the_partition(
    broker: str, topic_prefix: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured = settings(broker, topic_prefix, database)
    whole = deciding.decide

    def defective(connection: Any, news: Any, new_id: Any) -> Any:
        if any(key.name == "web-7" for key in news):
            raise KeyError("a rule that forgot a case")
        return whole(connection, news, new_id)

    monkeypatch.setattr("consumers.intake.taking_in.decide", defective)

    async def play() -> None:
        async with producing(configured) as producer, intake(configured):
            pods = [observed(f"web-{n}", 10 + n) for n in range(12)]
            await send(producer, configured, pods, partition=0)
            await eventually(lambda: len(seen_pods(database)) == 11, "the others")

    asyncio.run(play())
    assert {row[0] for row in effects(database)} == {f"web-{n}" for n in range(12) if n != 7}
    letters = rows(database, "SELECT key, error_class, message FROM ledger.dead_letter")
    assert [(bytes(key), error_class) for key, error_class, _ in letters] == [
        (b"c1/shop/web-7", "refused")
    ]
    assert "forgot a case" in letters[0][2]
