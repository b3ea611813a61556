"""P11, P2: a ledger that was restored, copied or promoted stands still until a person has accepted it."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from deploy.local.parts.postgres import PostgresServer, create_database, drop_database
from ledger.store import migrate
from ledger.store.database import Database
from ledger.store.incarnations import confirm_incarnation, unconfirmed
from tests.integration.commands import Say
from tests.integration.servers import Restartable
from tests.simulation.ground import Ground
from tests.simulation.world import CLUSTER, SimulatedWorld

COPY = "restored_from_a_dump"


def confirm(dsn: str, *, standby_loses_nothing: bool = False) -> str | None:
    database = Database(dsn, pool_size=1)
    try:
        with database.transaction() as connection:
            return confirm_incarnation(
                connection, CLUSTER, standby_loses_nothing=standby_loses_nothing
            )
    finally:
        database.close()


def why_not(dsn: str) -> str | None:
    database = Database(dsn, pool_size=1)
    try:
        with database.transaction() as connection:
            return unconfirmed(connection)
    finally:
        database.close()


def brakes(dsn: str) -> list[tuple[str, str]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute("SELECT scope, pulled_by FROM ledger.brake").fetchall()


def numbers(dsn: str) -> list[int]:
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT number FROM ledger.incarnation ORDER BY number")
        return [number for (number,) in rows]


def test_a_ledger_that_stays_where_it_is_has_one_incarnation(database: str) -> None:
    assert "has not been noted" in str(why_not(database))
    assert confirm(database) is None
    assert why_not(database) is None
    assert confirm(database) is None
    assert (numbers(database), brakes(database)) == ([1], [])


@pytest.fixture
def lived(postgres_server: PostgresServer, migrated_template: str) -> Iterator[SimulatedWorld]:
    """A ledger of a world of its own in which web-0's address is reserved."""
    dsn = create_database(postgres_server.dsn(), "before_the_dump", template=migrated_template)
    ground = Ground(dsn)
    world = SimulatedWorld(ground)
    world.create_pod("web-0")
    world.settle(10)
    world.delete_pod("web-0")
    world.settle(10)
    ground.close()
    yield world
    for name in (COPY, "before_the_dump"):
        drop_database(postgres_server.dsn(), name)


def test_a_copy_in_another_database_counts_ttls_anew_and_stands_still_until_accepted(
    lived: SimulatedWorld,
    postgres_server: PostgresServer,
    say: Say,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    [before] = _dues(lived.dsn)
    copy = create_database(postgres_server.dsn(), COPY, template="before_the_dump")
    with psycopg.connect(copy) as connection:
        connection.execute("UPDATE ledger.virtual_clock SET at = at + interval '20 minutes'")
        connection.execute("INSERT INTO ledger.cluster VALUES ('c-other', 'uid', ledger.now())")
    assert "ran on" in str(why_not(copy))
    assert "incarnation 2" in str(confirm(copy))
    assert why_not(copy) is None, "noted; the brake holds from here on"
    assert confirm(copy) is None
    assert numbers(copy) == [1, 2]
    assert brakes(copy) == [("destructive", "incarnation")] * 2, "of every cluster"
    [after] = _dues(copy)
    assert after - before >= timedelta(minutes=15), "the TTL counts anew"
    assert _dues(lived.dsn) == [before]

    monkeypatch.setenv("ENI_LEDGER_POSTGRES__DSN", copy)
    monkeypatch.setenv("ENI_LEDGER_CLUSTER_ID", CLUSTER)
    shown = say("verify")
    assert shown.code == 1
    assert "incarnation 2 of the ledger" in shown.out
    assert "eni-ledger verify --accept" in shown.out
    say("verify", "--accept")
    with psycopg.connect(copy) as connection:
        left = connection.execute("SELECT cluster FROM ledger.brake").fetchall()
    assert left == [("c-other",)], "accepted for this cluster, and for no other"


def _dues(dsn: str) -> list[datetime]:
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT ttl_due FROM ledger.allocation WHERE ttl_due IS NOT NULL ORDER BY id"
        ).fetchall()
    return [due for (due,) in rows]


@pytest.mark.parametrize("standby_loses_nothing", [False, True])
def test_another_timeline_is_a_restore_unless_the_standby_is_synchronous(
    stack_directory: Path, standby_loses_nothing: bool
) -> None:
    directory = stack_directory / f"timeline-{standby_loses_nothing}"
    server = Restartable(directory, directory.with_suffix(".log"))
    dsn = create_database(server.server.dsn(), "ledger")
    migrate.upgrade(dsn)
    assert confirm(dsn) is None
    server.stop()
    server.recover()
    try:
        found = confirm(dsn, standby_loses_nothing=standby_loses_nothing)
        assert numbers(dsn) == [1, 2]
        if standby_loses_nothing:
            assert (found, brakes(dsn)) == (None, [])
        else:
            assert "timeline 00000002" in str(found)
            assert brakes(dsn) == [("destructive", "incarnation")]
    finally:
        server.stop()
