"""The database goes away and comes back: the intake says so, waits, and loses nothing."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.parts.postgres import create_database
from ledger.store import migrate
from tests.integration.intake.ground import (
    effects,
    observed,
    process,
    producing,
    seen_pods,
    send,
    settings,
    wait_until,
)
from tests.integration.servers import Restartable


@pytest.fixture
def own_server(stack_directory: Path) -> Iterator[Restartable]:
    restartable = Restartable(stack_directory / "own", stack_directory / "own.log")
    yield restartable
    restartable.stop()


def test_without_a_database_the_intake_waits_says_why_and_goes_on(
    own_server: Restartable, broker: str, topic_prefix: str, tmp_path: Path
) -> None:
    dsn = create_database(own_server.server.dsn(), "eni_ledger")
    migrate.upgrade(dsn)
    configured = settings(broker, topic_prefix, dsn)

    async def produce(start: int) -> None:
        async with producing(configured) as producer:
            names = range(start, start + 10)
            await send(producer, configured, [observed(f"web-{n}", 10 + n) for n in names])

    with process(configured, tmp_path / "intake.log") as running:
        running.wait_ready()
        asyncio.run(produce(0))
        wait_until(lambda: len(seen_pods(dsn)) == 10, "the first ten")
        own_server.stop()
        asyncio.run(produce(10))
        wait_until(lambda: running.readyz()[0] == 503, "not ready")
        parts = running.readyz()[1]["parts"]
        assert not parts["postgres"]["ready"]
        assert "connection" in parts["postgres"]["reason"], parts
        own_server.start()
        wait_until(lambda: running.readyz()[0] == 200, "ready again")
        wait_until(lambda: len(seen_pods(dsn)) == 20, "the other ten")
        running.child.stop()
        assert running.child.exit_code == 0
    assert len(effects(dsn)) == 20
